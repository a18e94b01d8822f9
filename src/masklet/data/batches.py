"""From clips to the tensors that a training step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from masklet.data.clips import Clip, objects_to_prompt
from masklet.errors import InputError
from masklet.ops.pixels import normalise


@dataclass(frozen=True, eq=False)
class ClipBatch:
    """What one training step sees.

    pixels: uint8 [b t 3 S S], RGB, since batches pass between processes; masks: bool [b n t S S], one map for each
    object; valid: bool [b n], False for rows that hold no object (their masks are empty); names: the b clips.
    """

    pixels: torch.Tensor
    masks: torch.Tensor
    valid: torch.Tensor
    names: tuple[str, ...]

    def normalised(self) -> torch.Tensor:
        """The pixels as models expect them, float32 [b t 3 S S]."""
        return normalise(self.pixels.float() / 255)

    def to(self, device: torch.device | str) -> ClipBatch:
        """The same batch on another device."""
        return ClipBatch(self.pixels.to(device), self.masks.to(device), self.valid.to(device), self.names)


def collate(
    clips: Sequence[Clip],
    num_objects: int,
    generator: np.random.Generator,
    *,
    min_area: int = 1,
    repeat: bool = False,
) -> ClipBatch:
    """Stack clips of one length and one square size, each with up to `num_objects` of its objects, drawn at random.

    Only objects with at least `min_area` pixels in the first frame are drawn, since the first frame is prompted. With
    `repeat` a clip with fewer objects fills its rows by taking them again, so that one object gets several prompts.
    Raises `InputError` naming the clip whose shape differs.
    """
    shape = _common_shape(clips)
    pixels = torch.from_numpy(np.stack([clip.frames for clip in clips])).permute(0, 1, 4, 2, 3)
    masks = np.zeros((len(clips), num_objects, *shape[:3]), bool)
    valid = np.zeros((len(clips), num_objects), bool)
    for row, clip in enumerate(clips):
        for column, object_id in enumerate(_draw_objects(clip, num_objects, generator, min_area, repeat)):
            masks[row, column] = clip.masks == object_id
            valid[row, column] = True
    return ClipBatch(
        pixels=pixels.contiguous(),
        masks=torch.from_numpy(masks),
        valid=torch.from_numpy(valid),
        names=tuple(clip.name for clip in clips),
    )


def join(batches: Sequence[ClipBatch]) -> ClipBatch:
    """Batches of one shape, one after another along b."""
    return ClipBatch(
        pixels=torch.cat([batch.pixels for batch in batches]),
        masks=torch.cat([batch.masks for batch in batches]),
        valid=torch.cat([batch.valid for batch in batches]),
        names=tuple(name for batch in batches for name in batch.names),
    )


def _common_shape(clips: Sequence[Clip]) -> tuple[int, ...]:
    if not clips:
        raise InputError("a batch needs at least one clip")
    shape = clips[0].frames.shape
    for clip in clips:
        if clip.frames.shape != shape or shape[1] != shape[2]:
            raise InputError(
                f"{clip.name}: frames {clip.frames.shape} cannot join a batch of {shape}; "
                "bring all clips to one length and one square size first (data.transforms)"
            )
    return shape


def _draw_objects(
    clip: Clip, num_objects: int, generator: np.random.Generator, min_area: int, repeat: bool
) -> list[int]:
    candidates = objects_to_prompt(clip, min_area)
    drawn = generator.permutation(candidates)[:num_objects].tolist()
    if repeat and drawn:
        drawn += generator.choice(candidates, num_objects - len(drawn)).tolist()
    return drawn
