"""Index masks as the DAVIS data sets store them: PNGs whose pixel values are object numbers, coloured by a palette."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from masklet.errors import InputError, OutputError
from masklet.ops.index_masks import MAX_OBJECT_ID

if TYPE_CHECKING:
    from numpy.typing import NDArray

VOID, FEW_OBJECTS = 255, 64
"""255 beside objects that are numbered from the bottom says that a pixel counts for nothing, as in PASCAL VOC."""

MIDDLE_VALUES = 8
"""A mask with no more values than these, besides 0 and the highest, shades only where nearly every such pixel does."""

FEWEST_SHADES = 3
"""A mask with fewer is taken at its word: a band of doubt around an object lies between two values, too."""

DARK = 64
"""Brightness below which a pixel's colour says nothing."""

OTHER_COLOUR = 0.4
"""Difference in a channel, of the brightest one, that makes another colour."""

RARE = 0.01
"""Share of the pixels that are not dark, of which fewer make no colour of a picture."""

SHADED = 0.6
"""Share of the pixels with middle values, or of these values, that shades in no index mask."""

SHADED_THROUGHOUT = 0.9
"""The same share of pixels where there are few values, as in a mask of one object that was halved with smoothing."""


def davis_palette() -> NDArray[np.uint8]:
    """The palette [256, 3] of PASCAL VOC and DAVIS: black, dark red, dark green, olive, ...

    The bits of a number, from the lowest, go to red, green and blue by turns, filling each channel from its top bit.
    """
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    palette = np.zeros((256, 3), np.uint8)
    for place in range(8):
        palette[:, place % 3] |= (bits[:, place] << (7 - place // 3)).astype(np.uint8)
    return palette


def write_index_png(path: str | os.PathLike[str], index: NDArray[np.integer]) -> None:
    """Write an index mask [H, W] of whole numbers from 0: 8-bit with the DAVIS palette, 16-bit grey if any exceeds 255.

    Raises `InputError` for another shape or range, `OutputError` where the file cannot be written.
    """
    if index.ndim != 2 or not np.issubdtype(index.dtype, np.integer) or not index.size:
        raise InputError(f"an index mask is a whole-number array [H, W]; got {index.dtype} {list(index.shape)}")
    if index.min() < 0 or index.max() > MAX_OBJECT_ID:
        raise InputError(f"an index PNG holds 0..{MAX_OBJECT_ID}; got {index.min()}..{index.max()}")
    if index.max() <= 255:
        image = Image.fromarray(index.astype(np.uint8))
        image.putpalette(davis_palette().tobytes())
    else:
        image = Image.fromarray(index.astype(np.uint16))
    try:
        image.save(path, format="PNG")
    except OSError as error:
        raise OutputError(f"cannot write {os.fspath(path)}: {error.strerror or error}") from error


def read_index_png(path: str | os.PathLike[str]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """Read an index mask as uint8 or uint16 [H, W]. Raises `InputError` for a missing, damaged or coloured picture.

    Numbers are those of the palette's entries, unless a program that shrinks files gave a grey picture a palette.
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            if image.mode == "1":
                return np.asarray(image).astype(np.uint8)
            if image.mode == "P" and _shows_brightness(image):
                return np.array(image.convert("L"))
            if image.mode in ("P", "L"):
                return np.array(image)
            if image.mode.startswith("I"):
                return _as_uint16(np.array(image), path)
            mode = image.mode
    except FileNotFoundError as error:
        raise InputError(f"no such mask: {path}") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {path} as a mask: {error}") from error
    raise InputError(
        f"{path} is a {mode} picture, not an index mask: its pixels must be object numbers (palette or grey PNG)"
    )


def read_object_numbers(path: str | os.PathLike[str]) -> NDArray[np.uint8] | NDArray[np.uint16]:
    """As `read_index_png`, but raises `InputError` also where values shade into each other and number no objects."""
    mask = read_index_png(path)
    if is_shaded(mask):
        raise InputError(
            f"{path} is no index mask, in which each value is one object: its {len(np.unique(mask))} values shade into "
            "each other, as where edges are smoothed, in a JPEG or in a photograph; save it with a threshold, for "
            "example as 1 where it is above 127 and 0 elsewhere, and resize masks by the nearest pixel"
        )
    return mask


def _as_uint16(numbers: NDArray[np.integer], path: Path) -> NDArray[np.uint16]:
    """Numbers of 32 bits, as microscopes' label pictures have them, which must not wrap around."""
    if numbers.min() < 0 or numbers.max() > MAX_OBJECT_ID:
        raise InputError(
            f"{path} holds the numbers {numbers.min()} to {numbers.max()}; objects are numbered from 1 to "
            f"{MAX_OBJECT_ID}, so number them anew (scikit-image's relabel_sequential does)"
        )
    return numbers.astype(np.uint16)


def has_void(values: NDArray[Any]) -> bool:
    """Whether 255 is no object among the values of 8-bit index masks, all those of a clip together.

    It is one where it is the only one, and where all numbers up to it occur.
    """
    numbers = np.unique(values[(values > 0) & (values != VOID)])
    return bool((values == VOID).any() and len(numbers) and numbers[0] < FEW_OBJECTS and numbers[-1] < VOID - 1)


def _shows_brightness(image: Image.Image) -> bool:
    """Whether a picture's palette says how bright it is rather than which object: all grey, and the first not black."""
    colours = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    if not colours[0].any():
        return False
    shown = colours[np.unique(np.asarray(image)).clip(max=len(colours) - 1)]
    return bool((shown == shown[:, :1]).all())


def is_shaded(mask: NDArray[Any]) -> bool:
    """Whether an index mask [H W] plainly is a smoothed mask or a photograph.

    There, most pixels of middle values lie between a darker and a brighter neighbour. Objects have an inside, and
    outsides that mostly touch one other: of all real masks tried, hundreds of crowded nuclei among them, at most 3% of
    these pixels and 10% of the values are such, and less than half even after dropping three rows and columns of four.
    """
    window = np.ones((3, 3), np.uint8)
    shading = mask[(cv2.erode(mask, window) < mask) & (mask < cv2.dilate(mask, window))]
    if len(shading) <= MIDDLE_VALUES:
        return False
    pixels = np.bincount(mask.ravel())
    middle = np.flatnonzero(pixels)
    middle = middle[(middle > 0) & (middle < len(pixels) - 1)]
    if len(middle) < FEWEST_SHADES:
        return False
    between = np.bincount(shading, minlength=len(pixels))[middle]
    share_of_pixels = between.sum() / pixels[middle].sum()
    if len(middle) <= MIDDLE_VALUES:
        return bool(share_of_pixels > SHADED_THROUGHOUT)
    share_of_values = np.mean(2 * between > pixels[middle])
    return bool(max(share_of_pixels, share_of_values) > SHADED)


def has_several_colours(picture: NDArray[np.uint8]) -> bool:
    """Whether an RGB picture [H W 3] has areas of different colours besides black, however bright each pixel is.

    What few pixels have, as along the edges of a JPEG, does not count.
    """
    bright = picture[picture.max(-1) >= DARK].astype(np.float32)
    if not len(bright):
        return False
    colours = bright / bright.max(-1, keepdims=True)
    usual = np.median(colours, axis=0)
    others = (np.abs(colours - usual).max(-1) > OTHER_COLOUR).sum()
    return bool(others >= max(2, RARE * len(colours)))
