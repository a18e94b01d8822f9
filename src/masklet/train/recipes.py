"""Recipes for everybody's models: fine-tuning on data of one's own, and the paper's training written down."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch

from masklet.checkpoints import find_checkpoint, read_checkpoint, recognise
from masklet.config import SAM21_BASE_PLUS, ModelConfig
from masklet.data.colours import ColourJitter
from masklet.data.layouts.opening import is_parted
from masklet.data.transforms import Augmentation
from masklet.errors import InputError
from masklet.train.feed import open_bare
from masklet.train.losses import FROM_SCRATCH, LossWeights
from masklet.train.optimiser import OptimiserConfig
from masklet.train.recipe import HeldOut, Part, Precision, Recipe, Source, Stage
from masklet.train.rollout import Annotator

CLIP_COLOUR = ColourJitter(brightness=0.1, contrast=0.03, saturation=0.03, grey=0.05)
FRAME_COLOUR = ColourJitter(brightness=0.1, contrast=0.05, saturation=0.05)
PAPER_VIDEO = Augmentation(1024, degrees=25, shear=20, clip_colour=CLIP_COLOUR, frame_colour=FRAME_COLOUR)
"""The augmentation of clips in the paper and in the official fine-tuning configuration."""

LEAST_BETWEEN = 25
"""Steps from one measurement on what is held out to the next, as each takes about as long as a few steps."""


@dataclass(frozen=True)
class Regime:
    """What fine-tuning takes of a kind of network and of data: how much at once, what of it learns, and how fast.

    clips: in a batch; clip: the gradient's largest norm; lora_rank: of updates of the trunk, which is else frozen; 0 to
    train all of it. The other fields are those of `Recipe`, `Stage` and `Part`.
    """

    lr: float
    annotator: Annotator
    clips: int
    accumulate: int
    supervision: int
    losses: LossWeights
    fixed_statistics: bool
    clip: float
    lora_rank: int
    precision: Precision
    checkpointing: bool


SMALL_ON_STILLS = Regime(
    lr=2.5e-4,
    annotator=Annotator(corrections=1, mask_share=0.0, box_share=0.5, box_jitter=0.05),
    clips=4,
    accumulate=1,
    supervision=2,
    losses=FROM_SCRATCH,
    fixed_statistics=True,
    clip=1.0,
    lora_rank=0,
    precision="float32",
    checkpointing=False,
)
"""As `nano` was first trained, and as fast as twenty pictures bear; see decision 19."""

SMALL_ON_CLIPS = replace(SMALL_ON_STILLS, lr=1e-4, annotator=Annotator(corrections=1), clips=1)
"""See decision 14."""

OFFICIAL_SIZES = Regime(
    lr=5e-5,
    annotator=Annotator(corrections=3),
    clips=1,
    accumulate=4,
    supervision=4,
    losses=LossWeights(),
    fixed_statistics=False,
    clip=0.1,
    lora_rank=8,
    precision="bfloat16",
    checkpointing=True,
)
"""Within the memory of one consumer GPU."""


def finetune(
    data: str | os.PathLike[str],
    start: str = "nano",
    *,
    steps: int = 500,
    frames: int = 1,
    image_size: int | None = None,
    images: str | os.PathLike[str] | None = None,
    max_stride: int = 4,
    precision: Precision | None = None,
    held_out: str | os.PathLike[str] | None = None,
    held_out_images: str | os.PathLike[str] | None = None,
    value_range: tuple[float, float] | None = None,
) -> Recipe:
    """Adapt any checkpoint to a folder of one's own, within the memory of one consumer GPU or in patience on a CPU.

    data: a folder or annotation file of stills, or of clips; frames: of each clip, 1 for stills and for single frames
    of clips; start: a name or a path; image_size: None for the model's own; images: where the pictures of an annotation
    file lie; max_stride: up to so many annotated frames from one to the next, as drawn for each clip: neighbours alone
    teach a model to expect little motion. The official sizes compute in bfloat16 with their trunk frozen but for
    low-rank updates, and encode again in the backward pass; `nano` is small enough to be trained as a whole, without a
    change of its statistics, on stills seen whole and as its close looks have them, on clips more slowly. Stills are
    shrunk and packed first, unless more lie there than the run will draw, or close looks need them as they are.
    precision: None for bfloat16 with the official sizes, which wants a GPU that computes in it (`precision_on` knows),
    and float32 with `nano`. held_out: like `data`, what the run is measured on every tenth of its steps, or every 25:
    stills by boxes and clicks, clips by the mask on the first frame; of data that are parted, as DAVIS's and YOLO's
    are, the part `val`, so that it may be `data` itself; held_out_images: as `images`, which are also those of what is
    held out where both are files, or both folders; value_range: the values that are black and white in pictures of 12
    or 16 bits, those that are held out too. Raises `InputError` for data that cannot be opened, or are held out and
    trained on.
    """
    if held_out_images is not None and held_out is None:
        raise InputError(f"{os.fspath(held_out_images)} would hold the pictures held out, but none are (--held-out)")
    model = config_of(start)
    size = model.image_size if image_size is None else image_size
    regime = OFFICIAL_SIZES
    if model.trunk.kind == "convnet":
        regime = SMALL_ON_STILLS if frames == 1 else SMALL_ON_CLIPS
    augmentation = Augmentation(
        size,
        degrees=10,
        shear=5,
        crop=(0.7, 1.1),
        close=0.5 if model.close_look else 0.0,
        stretch=1.2,
        clip_colour=CLIP_COLOUR,
    )
    pictures = None if images is None else os.fspath(images)
    source = Source(os.fspath(data), images=pictures, max_stride=max_stride, value_range=value_range)
    drawn = steps * regime.accumulate * regime.clips
    packed = frames == 1 and not model.close_look and len(open_bare(source)) <= drawn
    part = Part(
        (replace(source, cached=packed),),
        clips=regime.clips,
        frames=frames,
        sessions=2 if frames == 1 else 1,
        objects=3,
        annotator=regime.annotator,
    )
    stage = Stage(
        "fine-tune",
        steps,
        regime.lr,
        (part,),
        augmentation,
        warmup=steps // 20,
        losses=regime.losses,
        supervision=regime.supervision,
        fixed_statistics=regime.fixed_statistics,
    )
    measured = None
    if held_out is not None:
        if os.path.realpath(held_out) == os.path.realpath(data) and not is_parted(source.path, pictures):
            raise InputError(
                f"{os.fspath(data)} is what is trained on, and is not parted into train and val; hold out other "
                "pictures or clips than these"
            )
        asked = Annotator(box_share=0.5, mask_share=0.0, max_prompted=1, corrections=0, box_jitter=0.0)
        if frames > 1:
            asked = replace(asked, box_share=0.0, mask_share=1.0)
        if held_out_images is not None:
            pictures = os.fspath(held_out_images)
        elif os.path.isdir(held_out) != os.path.isdir(data):
            pictures = None
        other = replace(source, path=os.fspath(held_out), images=pictures, cached=packed, split="val")
        others = replace(part, sources=(other,), annotator=asked)
        measured = HeldOut(others, every=max(LEAST_BETWEEN, steps // 10))
    return Recipe(
        "finetune",
        replace(model, image_size=size),
        (stage,),
        OptimiserConfig(weight_decay=0.05, clip=regime.clip, ema=0.99),
        start=start,
        lora_rank=regime.lora_rank,
        accumulate=regime.accumulate,
        precision=precision or regime.precision,
        checkpointing=regime.checkpointing,
        held_out=measured,
    )


def precision_on(device: str) -> Precision | None:
    """What `finetune` had best compute in: None, its own choice, on GPUs that have bfloat16, and else float32."""
    fast = device.startswith("cuda") and torch.cuda.is_available()
    return None if fast and torch.cuda.is_bf16_supported(including_emulation=False) else "float32"


def config_of(name_or_path: str) -> ModelConfig:
    """The configuration of a checkpoint. Raises `CheckpointError`."""
    path = find_checkpoint(name_or_path)
    state, config = read_checkpoint(path)
    return config or recognise(state, path, hint=name_or_path)


def paper_full(
    stills: str | os.PathLike[str], clips: str | os.PathLike[str], start: str, model: ModelConfig = SAM21_BASE_PLUS
) -> Recipe:
    """The paper's full training (SAM 2, table 12b), for 256 GPUs; batches of stills and of clips take turns.

    stills: a tenth of SA-1B; clips: SA-V, without its automatic masklets; start: a network pretrained on SA-1B as in
    table 12a; model: the layer decay is the one for base-plus (the paper's: 0.8 for tiny and small, 0.925 for large).
    The image encoder learns at 6e-5 and the rest at 3e-4. Steps: the paper's second version calls 50,000 a third of
    them; its first has 300,000, with the warm-up given here. Left out: Meta's internal clips, drop path in the trunk
    (0.2), 2 x 2 mosaics of a tenth of the clips, the last 50,000 steps on clips of 16 frames, and the filter for masks
    of over 90% of a picture. Unlike there, stills are varied as clips are, not only mirrored and resized, and show
    at most 48 masks, which do not overlap and are repeated to fill the 64; and as in `mose_finetune`.
    """
    # The paper draws 15.2% of its batches from SA-1B and 70% from SA-V; without the internal clips that is 18 to 82.
    pictures = Part((Source(os.fspath(stills)),), objects=64, weight=0.178)
    videos = Part((Source(os.fspath(clips), kinds=("manual",)),), frames=8, objects=3, weight=0.822)
    stage = Stage("full", 150_000, 3e-4, (pictures, videos), PAPER_VIDEO, warmup=15_000, final=0.0)
    optimiser = OptimiserConfig(vision_lr_factor=0.2, layer_decay=0.9)
    return Recipe("paper-full", model, (stage,), optimiser, start=start, precision="bfloat16", checkpointing=True)


def mose_finetune(
    data: str | os.PathLike[str], start: str = "sam2.1-base-plus", num_gpus: int = 8, num_clips: int | None = None
) -> Recipe:
    """Meta's released fine-tuning configuration for MOSE, for eight 80 GB GPUs: 40 epochs, two draws a clip in each.

    data: MOSE's training split in the DAVIS layout, all clips of which are used (the official list names 1,246 of
    them); num_clips: how many those are, None to count them. Left out: drop path in the trunk and dropout in the memory
    attention (0.1 each). Unlike there:

    - clips are drawn at random, so that of an epoch's two draws a clip may get none or more, and half of them are
      played backwards, as in the paper;
    - losses are averaged over a clip's decodings, not summed, and the masks of objects that are wrongly taken to be
      absent are compared as they were decoded, not as empty;
    - every process takes the mean of its own objects, so that in a clip of one object that counts as much as all three
      of another's, while there every object counts alike over all GPUs;
    - objects of less than 16 pixels after the augmentation are not prompted, clips of fewer than 8 frames are played to
      and fro, and an affine map that loses all objects is drawn again, up to four times, where there one that loses any
      is left out;
    - as in use, an answer that is fed back is clamped to what is sure, and a given mask is remembered from the
      resolution at which the decoder draws;
    - a correction ignores the errors object by object, not for all objects of a click at once, and the scales of the
      norms over channels are not decayed, like those of all others.

    Source: `sam2.1_hiera_b+_MOSE_finetune.yaml`.
    """
    source = Source(os.fspath(data))
    num_clips = len(open_bare(source)) if num_clips is None else num_clips
    steps_per_epoch = -(-2 * num_clips // num_gpus)  # rounded up: the official sampler repeats clips to fill the last
    part = Part((source,), frames=8, objects=3)
    stage = Stage("MOSE", 40 * steps_per_epoch, 5e-6, (part,), PAPER_VIDEO, final=0.1)
    optimiser = OptimiserConfig(vision_lr_factor=0.6, layer_decay=0.9)
    return Recipe("mose-finetune", SAM21_BASE_PLUS, (stage,), optimiser, start=start, precision="bfloat16")
