"""Reading pictures and index masks from files, with errors that name the file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from masklet.errors import InputError
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture at `path` as uint8 RGB [H W 3], turned as its EXIF tag says. Raises `InputError` naming the file."""
    with _opened(path) as picture:
        return np.array(ImageOps.exif_transpose(picture).convert("RGB"))


def read_index_mask(path: Path, size: Size | None = None) -> NDArray[Any]:
    """The index mask at `path`: uint8 or uint16 [H W], 0 for background; of a palette picture the palette index.

    Raises `InputError` naming the file: missing or damaged, a colour picture, or not of the picture's `size`.
    """
    with _opened(path) as picture:
        mode, values = picture.mode, np.array(picture)
    if values.ndim == 3:
        if (values[..., :3] != values[..., :1]).any():
            raise InputError(
                f"{path} is a {mode} colour picture, not a mask: a mask has one channel (grey or palette) "
                "that holds 0 for background and 1..n for the objects"
            )
        values = values[..., 0]
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > 65535:
        raise InputError(f"{path}: a mask holds whole numbers 0..65535; got {mode} {values.min()}..{values.max()}")
    if size is not None and values.shape != tuple(size):
        raise InputError(
            f"{path}: the mask is {values.shape[1]} x {values.shape[0]} pixels (width x height), "
            f"its picture {size.width} x {size.height}"
        )
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)


def _opened(path: Path) -> Image.Image:
    """The file decoded (Pillow alone would only read its header). Raises `InputError` naming it."""
    try:
        picture = Image.open(path)
        picture.load()
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read as a picture: {error}") from error
    return picture
