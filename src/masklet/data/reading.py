"""A picture file with its index mask, with errors that name the file at fault."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.io.images import ValueRange, read_image
from masklet.io.palette import VOID, has_void, read_index_png, read_object_numbers
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


MOST_ASKED = 50
"""All masks of a clip of thousands of frames would take minutes to read."""


def read_index_mask(path: Path, size: Size) -> NDArray[Any]:
    """The index mask at `path`, uint8 or uint16 [H W], void pixels as background. Raises as `read_index_masks` does."""
    return read_index_masks([path], size)[0]


def read_index_masks(paths: Sequence[Path], size: Size, clip: Sequence[Path] | None = None) -> NDArray[Any]:
    """Index masks of one clip [t H W], void pixels as background: 255 is void on all frames or on none.

    clip: all masks of the clip, which tell so, where `paths` are some of them. Raises `InputError` as `_read_mask`
    does.
    """
    masks = np.stack([_read_mask(path, size) for path in paths])
    if masks.dtype != np.uint8 or not (masks == VOID).any():
        return masks
    void = has_void(masks) if clip is None else has_void_masks(tuple(clip))
    return np.where(masks == VOID, np.uint8(0), masks) if void else masks


@lru_cache(maxsize=1024)
def has_void_masks(clip: tuple[Path, ...]) -> bool:
    """Whether 255 is no object in the index masks of a clip, as up to `MOST_ASKED` of them from all over it tell."""
    asked = np.unique(np.linspace(0, len(clip) - 1, MOST_ASKED).round().astype(int))
    return has_void(np.concatenate([np.unique(read_index_png(clip[number])) for number in asked]))


def shows_object(path: Path, clip: Sequence[Path]) -> bool:
    """Whether an index mask of a clip shows any object. clip: all its masks."""
    numbers = set(np.unique(read_index_png(path)).tolist()) - {0}
    return not has_void_masks(tuple(clip)) if numbers == {VOID} else bool(numbers)


def _read_mask(path: Path, size: Size) -> NDArray[Any]:
    """The index mask at `path`, uint8 or uint16 [H W].

    Raises `InputError` naming the file: missing, damaged, a colour picture, not of the picture's `size`, or with values
    that shade into each other.
    """
    mask = read_object_numbers(path)
    if mask.shape != tuple(size):
        raise InputError(
            f"{path}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels (width x height), "
            f"its picture {size.width} x {size.height}{turned(mask.shape, size)}"
        )
    return mask


def turned(annotated: Sequence[int], shown: Sequence[int]) -> str:
    """What more to say of an annotation and a picture of other sizes, [H W] each: that EXIF may turn the picture."""
    if tuple(annotated) != tuple(shown)[::-1]:
        return ""
    return ", the other way round, as where EXIF data turn the picture: save it upright, or annotate it as it is shown"


def read_frames(paths: Sequence[Path], value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """The pictures of one clip, [t H W 3]; value_range: see `read_image`.

    Raises `InputError` naming one that is unreadable or of another size.
    """
    frames = [read_image(path, value_range) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise InputError(
                f"{path} is {frame.shape[1]} x {frame.shape[0]} pixels (width x height), "
                f"{paths[0]} of the same clip {frames[0].shape[1]} x {frames[0].shape[0]}"
            )
    return np.stack(frames)
