"""A picture file with its index mask, with errors that name the file at fault."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.io.images import read_image
from masklet.io.palette import read_index_png
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


def read_index_mask(path: Path, size: Size) -> NDArray[Any]:
    """The index mask at `path`, uint8 or uint16 [H W].

    Raises `InputError` naming the file: missing, damaged, a colour picture, or not of the picture's `size`.
    """
    mask = read_index_png(path)
    if mask.shape != tuple(size):
        raise InputError(
            f"{path}: the mask is {mask.shape[1]} x {mask.shape[0]} pixels (width x height), "
            f"its picture {size.width} x {size.height}"
        )
    return mask


def read_frames(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """The pictures of one clip, [t H W 3]. Raises `InputError` naming one that is unreadable or of another size."""
    frames = [read_image(path) for path in paths]
    for path, frame in zip(paths, frames, strict=True):
        if frame.shape != frames[0].shape:
            raise InputError(
                f"{path} is {frame.shape[1]} x {frame.shape[0]} pixels (width x height), "
                f"{paths[0]} of the same clip {frames[0].shape[1]} x {frames[0].shape[0]}"
            )
    return np.stack(frames)
