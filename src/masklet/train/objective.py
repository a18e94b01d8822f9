"""The objective of one batch: sessions are rolled out on every clip and each of their decodings is compared."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from masklet.model.image_encoder import ImageFeatures
from masklet.train.losses import decoding_loss
from masklet.train.rollout import Session, SessionPlan, TrainingDecoding, plan_session

if TYPE_CHECKING:
    import numpy as np

    from masklet.data.batches import ClipBatch
    from masklet.model.network import Network
    from masklet.train.recipe import Part, Precision, Stage

Scalars = dict[str, float]
"""What is watched: names such as `loss/dice` or `iou/click0` and their values."""


class Chance(NamedTuple):
    """What draws the prompts of a batch.

    plans: what sessions do, the same in all processes that train together, lest all wait for the one whose sessions
    happen to be the longest; clicks: where prompts are. Source: the official `SAM2Train`.
    """

    plans: np.random.Generator
    clicks: np.random.Generator


class BatchLoss(nn.Module):
    """The loss of a batch, as a module so that DistributedDataParallel can wrap it.

    checkpointing: encode the pictures again during the backward pass, one after the other, rather than keep every
    activation. (Batch normalisation needs all of them at once, and its running statistics move twice by the batch.)
    """

    def __init__(self, model: Network, checkpointing: bool = False, precision: Precision = "float32") -> None:
        super().__init__()
        self.model = model
        self.checkpointing = checkpointing
        self.precision = precision
        self._norms_batches = any(isinstance(module, nn.BatchNorm2d) for module in model.image_encoder.modules())

    def forward(self, batch: ClipBatch, part: Part, stage: Stage, chance: Chance) -> tuple[Tensor, Scalars]:
        """The mean over sessions, decodings and objects, and scalars to watch."""
        with torch.autocast(batch.pixels.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            return self._rollout(batch, part, stage, chance)

    def _rollout(self, batch: ClipBatch, part: Part, stage: Stage, chance: Chance) -> tuple[Tensor, Scalars]:
        num_frames = batch.pixels.shape[1]
        features = self._encode(batch.normalised().flatten(0, 1))
        losses: list[Tensor] = []
        watched: dict[str, list[Tensor]] = {}
        # Clips with few objects have none for the later sessions: no kind of prompt is to be the first one's for good.
        turn = int(chance.plans.integers(part.sessions))
        for number in range(part.sessions):
            place = (number + turn) % part.sessions
            plan = plan_session(part.annotator, num_frames, chance.plans, place, part.sessions)
            clips, objects = session_rows(batch.valid, number, part.sessions)
            if not len(clips):
                continue
            masks = batch.masks[clips, objects]
            views = [features.select(clips * num_frames + frame) for frame in range(num_frames)]
            truths = shrink_masks(masks.flatten(0, 1)[:, None], stage.supervision).unflatten(0, masks.shape[:2])
            for decoding in Session(self.model, views, masks, plan, part.annotator, chance.clicks).decodings():
                loss = decoding_loss(decoding.decoded.candidates, truths[:, decoding.frame], stage.losses)
                losses.append(loss.total(stage.losses).mean())
                for name, values in loss.scalars(moment(plan, decoding)).items():
                    watched.setdefault(name, []).append(values.detach().mean())
        means = torch.stack([torch.stack(values).mean() for values in watched.values()])  # read from the device at once
        return torch.stack(losses).mean(), dict(zip(watched, means.tolist(), strict=True))

    def _encode(self, pixels: Tensor) -> ImageFeatures:
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.precision != "float32"):
            if self.checkpointing:
                several = (pixels,) if self._norms_batches else pixels.split(1)
                features = ImageFeatures.join(
                    [checkpoint(self.model.encode, some, use_reentrant=False) for some in several]
                )
            else:
                features = self.model.encode(pixels)
        return features.to(dtype=torch.float32) if self.precision == "bfloat16 encoder" else features


def session_rows(valid: Tensor, number: int, sessions: int) -> tuple[Tensor, Tensor]:
    """Clip and object number, [r] each, of the rows that session `number` of `sessions` takes from `valid` [b n].

    A batch without any object still teaches that nothing is there: it gives each session one empty row. One with fewer
    objects than sessions leaves some sessions without rows.
    """
    share = valid.clone()
    columns = torch.arange(valid.shape[1], device=valid.device)
    share[:, columns % sessions != number] = False
    if not valid.any():
        share[0, number] = True
    clips, objects = share.nonzero(as_tuple=True)
    return clips, objects


def moment(plan: SessionPlan, decoding: TrainingDecoding) -> str:
    """What a decoding is watched as: the prompt's kind and the number of corrections, or that it was tracked."""
    if decoding.frame in plan.prompted:
        return f"{plan.kind(decoding.frame)}{decoding.correction}"
    return f"corrected{decoding.correction}" if decoding.correction else "tracked"


def shrink_masks(masks: Tensor, factor: int) -> Tensor:
    """Boolean masks [b 1 H W] at H/factor, W/factor: true where at least half of the pixels were.

    An object too small or thin for that keeps every place that it touches, lest it be taught to be absent.
    """
    if factor == 1:
        return masks
    share = F.avg_pool2d(masks.float(), factor)
    half = share >= 0.5
    return torch.where(half.flatten(1).any(1)[:, None, None, None], half, share > 0)
