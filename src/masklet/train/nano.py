"""The recipe of `nano`, the small model in the package: the stages that its weights went through."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from masklet.config import NANO
from masklet.data.colours import ColourJitter
from masklet.data.transforms import Augmentation
from masklet.train.losses import FROM_SCRATCH
from masklet.train.optimiser import OptimiserConfig
from masklet.train.recipe import Part, Recipe, Share, Source, Stage, Synthetic
from masklet.train.rollout import Annotator

ARTWORK = (
    *("animals", "buildings", "containers", "decorations", "education", "electronics", "food", "office", "people"),
    *("plants", "recreation", "science", "tools", "transportation", "unsorted"),
)
"""The folders of the Open Clip Art Library that show things, rather than icons, stars and flags."""

STAMPS = ("animals", "clothes", "food", "hobbies", "household", "plants", "sports", "town", "vehicles")
"""The folders of Tux Paint's rubber stamps that hold photographs of things cut out, besides drawings."""


RENDERS = {"animals": 0.8, "people": 0.5, "buildings": 0.1, "things": 0.2}
"""The folders of stills that `tools/render_models.py` writes, and how often each is drawn from."""

VEHICLES = {"vehicles": 0.6}
"""The folder that it writes with `--vehicles`, from "192 seen" on."""

MOVING, PLACES = "moving", "places"
"""The folder of clips that it writes, and that of `tools/render_scenery.py`."""


def nano(
    data: Path,
    font: Path | None = None,
    artwork: Path | None = None,
    stamps: Path | None = None,
    renders: Path | None = None,
) -> Recipe:
    """Our small model from scratch: stills, then stills and clips in turn at growing sizes, over and over.

    data: holds the folders `cats`, `fashion`, `coco` and `nuclei` of pictures with index masks; font: colour glyphs;
    artwork: the Open Clip Art Library as PNG files; stamps: Tux Paint's rubber stamps; renders: what
    `tools/render_models.py`, with vehicles, and `tools/render_scenery.py` draw of games' models and textures. The
    lengths are those that the weights in the package were trained with, from "128 again" on by two processes, but for
    the last three, by one. The result is a mean of the weights after stages at the largest sizes.

    They came about in pieces: the first eight stages computed in float32 and drew every drawing, not every folder of
    them, equally often; "192 lively", "192 close", "192 parted", "192 seen", "192 calm", "448 near" and "256 whole"
    began with weights in half precision and a fresh optimiser, the last five with the mean of what is blended below and
    came before; 400 steps of another optimiser lay before "192 calm" (decision 0011); the trunk got its global
    attention at "192 close"; up to step 1,600 of "192 acted" the paint on acting things did not go along with their
    limbs; up to step 800 of "192 seen" nothing was a vehicle, and from there to "192 calm" most airliners were plain
    white; in "448 near" scenes were not cut out closely. Samples were numbered through all stages, so that some came
    twice, at different sizes. Close looks that were turned showed padding, emoji had dark edges and drawings grey ones;
    each process drew by itself what its sessions do.
    """
    cats, fashion, coco, nuclei = (
        Source(str(data / name), cached=True) for name in ("cats", "fashion", "coco", "nuclei")
    )
    photographs = (
        replace(cats, weight=0.25),
        replace(fashion, weight=0.22, merge=0.75),
        replace(coco, weight=0.1),
        replace(nuclei, weight=0.08),
    )
    plain = Synthetic(
        stills=(cats, replace(fashion, merge=0.8), coco),
        weight=0.35,
        font=None if font is None else str(font),
    )
    drawings = _artwork(artwork, dict.fromkeys(ARTWORK, 0.5 / len(ARTWORK)))
    varied = replace(plain, weight=0.55, artwork=drawings)
    # Half of the stamps drawn are to be animals, most of which are photographs.
    stamped = _artwork(stamps, dict.fromkeys(STAMPS, 0.5 / (len(STAMPS) - 1)) | {"animals": 0.5})
    lively = replace(varied, artwork=(*drawings, *stamped), drawings=0.8 if stamped else 0.3)
    near = replace(lively, sides=(0.15, 1.2))
    modelled = _artwork(renders, RENDERS)
    drawn = lively.drawings + (0.6 if modelled else 0.0)
    solid = replace(near, artwork=(*near.artwork, *modelled), drawings=drawn, disguises=0.15, shapes=0.15)
    parted = replace(solid, recolour=0.4)
    acted = parted
    if renders is not None:
        actors = (Source(str(renders / MOVING), max_stride=2),)
        acted = replace(parted, actors=actors, acting=0.6, scenery=(str(renders / PLACES),))
    driven = replace(acted, weight=0.45, artwork=(*acted.artwork, *_artwork(renders, VEHICLES)))
    # What a box holds may be two things that go together, a rider and a machine; close looks of specks are blur.
    assembled = replace(driven, assemblies=0.6)
    ample = replace(assembled, sides=(0.25, 1.2))
    # The weights after "448 acted" did no better on photographs they were trained with than on others.
    photographed = (
        replace(cats, weight=0.35),
        replace(fashion, weight=0.15, merge=0.75),
        replace(coco, weight=0.2),
        replace(nuclei, weight=0.04),
    )
    seen = partial(_stills, photographed, weight=0.65, jitter=0.05)
    looking = partial(seen, second_looks=0.4)
    exact = partial(looking, jitter=0.02)
    seldom = partial(_long_clips, weight=0.35)
    stills = partial(_stills, photographs)
    tight = partial(_stills, photographs, jitter=0.05)
    return Recipe(
        "nano",
        NANO,
        (
            _stage("128 first prompts", 128, 700, 1.2e-3, 0.9, (stills(plain, 16, 4, 0),), warmup=100),
            _stage("128", 128, 900, 1.0e-3, 0.3, (stills(plain, 16, 2, 1),)),
            _stage("192", 192, 700, 8e-4, 0.5, (stills(plain, 10, 1, 3), _clips(plain, 3))),
            _stage("192 more clips", 192, 400, 6e-4, 0.5, (stills(plain, 10, 1, 3, 0.35), _clips(plain, 3, 0.65))),
            _stage("256", 256, 400, 4e-4, 0.03, (stills(plain, 6, 1, 3, 0.45), _clips(plain, 2, 0.55))),
            _stage("128 again", 128, 1300, 1e-3, 0.7, (stills(varied, 16, 2, 2, 0.8), _clips(varied, 6, 0.2))),
            _stage("192 again", 192, 600, 7e-4, 0.6, (stills(varied, 10, 1, 3), _clips(varied, 3))),
            _stage("256 again", 256, 850, 4e-4, 0.02, (stills(varied, 6, 1, 3), _clips(varied, 2))),
            _stage("192 lively", 192, 1600, 8e-4, 0.6, (stills(lively, 16, 1, 1), _long_clips(lively, 3, 5, 0.6))),
            _stage("256 lively", 256, 500, 6e-4, 0.6, (stills(lively, 10, 1, 2), _long_clips(lively, 2, 6, 1.0))),
            replace(
                _stage("384", 384, 1200, 4e-4, 0.01, (stills(lively, 5, 1, 3), _long_clips(lively, 1, 6, 1.0))),
                fixed_statistics=True,
                losses=replace(FROM_SCRATCH, iou=2.0),
            ),
            _close("192 close", 192, 550, 8e-4, 0.9, (stills(near, 16, 1, 1), _long_clips(near, 3, 5, 0.8))),
            _close("192 modelled", 192, 1450, 8e-4, 0.6, (stills(solid, 16, 1, 1), _long_clips(solid, 3, 5, 0.8))),
            _close("256 modelled", 256, 800, 6e-4, 0.6, (stills(solid, 10, 1, 2), _long_clips(solid, 2, 6, 1.0))),
            replace(
                _close("384 modelled", 384, 1150, 4e-4, 0.01, (stills(solid, 5, 1, 3), _long_clips(solid, 1, 6, 1.0))),
                fixed_statistics=True,
            ),
            _close("192 parted", 192, 1000, 8e-4, 0.9, (tight(parted, 16, 1, 1), _long_clips(parted, 3, 5, 0.8))),
            _close("192 acted", 192, 1700, 8e-4, 0.6, (tight(acted, 16, 1, 1), _long_clips(acted, 3, 5, 0.8))),
            _close("256 acted", 256, 900, 6e-4, 0.6, (tight(acted, 10, 1, 2), _long_clips(acted, 2, 6, 1.0))),
            replace(
                _close("448 acted", 448, 1200, 4e-4, 0.01, (tight(acted, 4, 1, 3), _long_clips(acted, 1, 6, 1.0))),
                fixed_statistics=True,
            ),
            _close("192 seen", 192, 2000, 8e-4, 0.6, (seen(driven, 16, 1, 1), seldom(driven, 3, 5, 0.8))),
            replace(
                _close("256 seen", 256, 1200, 6e-4, 0.6, (looking(driven, 10, 1, 2), seldom(driven, 2, 6, 1.0))),
                losses=replace(FROM_SCRATCH, iou=3.0),
            ),
            replace(
                _close("448 seen", 448, 1600, 4e-4, 0.01, (exact(driven, 4, 1, 3), seldom(driven, 1, 6, 1.0))),
                fixed_statistics=True,
                losses=replace(FROM_SCRATCH, iou=3.0),
            ),
            _sure("192 calm", 192, 800, 4e-4, 0.6, (looking(driven, 16, 1, 1), seldom(driven, 3, 5, 0.8))),
            _sure("256 calm", 256, 900, 3e-4, 0.5, (looking(driven, 10, 1, 2), seldom(driven, 2, 6, 1.0))),
            replace(
                _sure("448 calm", 448, 1000, 2e-4, 0.01, (exact(driven, 4, 1, 3), seldom(driven, 1, 6, 1.0))),
                fixed_statistics=True,
            ),
            _near(
                replace(
                    _sure("448 near", 448, 1500, 3.5e-4, 0.01, (exact(driven, 6, 1, 3), seldom(driven, 1, 6, 1.0))),
                    fixed_statistics=True,
                )
            ),
            _near(_sure("256 whole", 256, 900, 4e-4, 0.6, (looking(ample, 10, 1, 2), seldom(assembled, 2, 6, 1.0)))),
            _near(
                replace(
                    _sure("448 whole", 448, 1700, 3e-4, 0.01, (exact(ample, 6, 1, 3), seldom(assembled, 1, 6, 1.0))),
                    fixed_statistics=True,
                )
            ),
        ),
        OptimiserConfig(weight_decay=0.05, betas=(0.9, 0.98), clip=1.0, ema=0.998),
        precision="bfloat16 encoder",
        blended=(
            *(Share("384"), Share("384 modelled", 3.0), Share("448 acted", 20.0), Share("448 seen", 24.0)),
            *(Share("448 calm", 24.0), Share("448 near", 48.0), Share("448 whole", 80.0)),
        ),
    )


def _artwork(folder: Path | None, weights: dict[str, float]) -> tuple[Source, ...]:
    """The named folders of drawings within one, or none."""
    if folder is None:
        return ()
    return tuple(Source(str(folder / name), weight, cached=True) for name, weight in weights.items())


def _stills(
    photographs: tuple[Source, ...],
    scenes: Synthetic,
    clips: int,
    objects: int,
    corrections: int,
    weight: float = 0.5,
    jitter: float = Annotator.box_jitter,
    second_looks: float = 0.0,
) -> Part:
    """Batches of pictures on which boxes and clicks are corrected."""
    annotator = Annotator(
        mask_share=0.0, box_share=0.5, corrections=corrections, box_jitter=jitter, second_looks=second_looks
    )
    return Part((*photographs, scenes), clips, sessions=2, objects=objects, weight=weight, annotator=annotator)


def _clips(scenes: Synthetic, clips: int, weight: float = 0.5) -> Part:
    """Batches of four frames in which six objects each are tracked from their first one."""
    annotator = Annotator(mask_share=0.4, box_share=0.3, max_prompted=1, max_corrected=1, corrections=1)
    slow = (replace(scenes, motion=0.5),)
    return Part(slow, clips, frames=4, sessions=2, objects=3, weight=weight, annotator=annotator)


def _long_clips(scenes: Synthetic, clips: int, frames: int, motion: float, weight: float = 0.5) -> Part:
    """Batches of more frames with two objects each: more pictures are seen in the same time."""
    annotator = Annotator(mask_share=0.5, box_share=0.3, max_prompted=1, max_corrected=1, corrections=1)
    moved = (replace(scenes, motion=motion),)
    return Part(moved, clips, frames, sessions=1, objects=2, weight=weight, annotator=annotator)


def _sure(name: str, size: int, steps: int, lr: float, final: float, parts: tuple[Part, ...]) -> Stage:
    """As `_close`, with more weight yet on knowing how good a mask is."""
    return replace(_close(name, size, steps, lr, final, parts), losses=replace(FROM_SCRATCH, iou=3.0))


def _near(stage: Stage) -> Stage:
    """Most stills as a close look has them."""
    return replace(stage, augmentation=replace(stage.augmentation, close=0.6))


def _close(name: str, size: int, steps: int, lr: float, final: float, parts: tuple[Part, ...]) -> Stage:
    """Things up to larger than the picture, and more weight on knowing how good a mask is."""
    stage = _stage(name, size, steps, lr, final, parts, warmup=60)
    augmentation = replace(stage.augmentation, crop=(0.25, 1.1))
    return replace(stage, augmentation=augmentation, losses=replace(FROM_SCRATCH, iou=2.0))


def _stage(
    name: str, size: int, steps: int, lr: float, final: float, parts: tuple[Part, ...], warmup: int = 20
) -> Stage:
    """Strong variation, and losses at half the picture's size, where the masks have a quarter of it."""
    colour = ColourJitter(0.3, 0.3, 0.3, 0.03, 0.05, 1.2)
    augmentation = Augmentation(
        size,
        degrees=15,
        shear=8,
        crop=(0.4, 1.1),
        stretch=1.3,
        clip_colour=colour,
        min_area=40 * size * size // 128**2,
    )
    return Stage(name, steps, lr, parts, augmentation, warmup, final, supervision=2, losses=FROM_SCRATCH)
