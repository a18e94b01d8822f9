"""One frame of one object or of several in step: condition, decode, commit. Sessions, streams, training and the
evaluator all track through these three functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from masklet.model.image_encoder import ImageFeatures
from masklet.model.network import FED_BACK_LIMIT, Decoded, Network
from masklet.ops.coordinates import Points
from masklet.tracking.memory import FrameResult, History, RecallPlan, gather, stack_memories

MAX_AMBIGUOUS_POINTS = 1
"""Up to this many points leave a doubt what is meant; a box counts as two."""

MAX_OBJECTS_IN_STEP = 16
"""More objects than this are decoded in several batches, which bounds the memory one frame takes."""
MAX_MAPS_IN_STEP_ON_MPS = 16
"""Attention on Apple's GPUs holds all its scores at once, 64 MB for each memory that an object of an official model
recalls, and Metal ends the process where all of them reach 4 GB."""


@dataclass(frozen=True, eq=False)
class Cue:
    """What is asked of a frame, in model pixels: points (b rows), logits of an earlier answer [b 1 4h 4w], or, alone, a
    mask [b 1 S S] of zeros and ones. Nothing of it means: carry on tracking."""

    points: Points | None = None
    earlier_logits: Tensor | None = None
    mask: Tensor | None = None


NO_CUE = Cue()


def condition_frame(
    model: Network, features: ImageFeatures, recalls: Sequence[tuple[History, RecallPlan]] = ()
) -> Tensor:
    """The frame's features in the light of what each object remembers, [b c h w].

    Plans must be of one shape. A frame that recalls nothing, which is the first one clicked, has no recalls.
    """
    if not recalls:
        return model.condition(features, None)
    return model.condition(features, stack_memories([gather(model, history, plan) for history, plan in recalls]))


def decode_frame(
    model: Network,
    features: ImageFeatures,
    conditioned: Tensor,
    cue: Cue = NO_CUE,
    *,
    stability_fallback: bool | None = None,
    second_look: bool | None = None,
) -> Decoded:
    """The mask of each object. A given mask is adopted; one point or none chooses among three readings.

    stability_fallback, second_look: see `Network.decode`.
    """
    if cue.mask is not None:
        return model.adopt(features, cue.mask)
    num_points = 0 if cue.points is None else cue.points.xy.shape[1]
    earlier = cue.earlier_logits
    return model.decode(
        features,
        conditioned,
        cue.points,
        None if earlier is None else earlier.clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT),
        multimask=num_points <= MAX_AMBIGUOUS_POINTS,
        stability_fallback=stability_fallback,
        second_look=second_look,
    )


def commit(
    model: Network,
    features: ImageFeatures,
    result: FrameResult,
    *,
    binarise: bool,
    memory_dtype: torch.dtype | None = torch.bfloat16,
) -> FrameResult:
    """The result with its memory, stored in `memory_dtype` (None: as computed, for training)."""
    assert result.logits is not None, "only a result with its mask can be remembered"
    memory = model.remember(features, result.logits, result.presence, binarise=binarise)
    return replace(result, memory=memory if memory_dtype is None else memory.to(memory_dtype))


def draft(frame: int, decoded: Decoded, *, conditioning: bool = False) -> FrameResult:
    """A decoded frame as a result without memory."""
    return FrameResult(
        frame=frame,
        logits=decoded.logits,
        pointer=decoded.pointer,
        presence=decoded.presence,
        conditioning=conditioning,
    )


def objects_in_step(num_maps: int, device: torch.device) -> int:
    """How many objects that recall `num_maps` memories each may go through a frame at once."""
    if device.type != "mps":
        return MAX_OBJECTS_IN_STEP
    return max(1, min(MAX_OBJECTS_IN_STEP, MAX_MAPS_IN_STEP_ON_MPS // max(1, num_maps)))
