"""Masks as COCO run-length encoding: runs down the columns, off and on by turns, packed into printable characters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def encode_rle(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask [H, W] as COCO's compressed RLE, `{"size": [H, W], "counts": str}`, ready for JSON."""
    if mask.ndim != 2:
        raise InputError(f"a mask to encode must have shape (H, W); got {mask.shape}")
    packed = coco.encode(cv2.transpose(mask.astype(np.uint8)).T)  # OpenCV turns a large mask over many times faster
    return {"size": [int(side) for side in mask.shape], "counts": packed["counts"].decode("ascii")}


def decode_rle(rle: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Decode COCO RLE, its counts compressed (str or bytes) or a plain list, to a mask [H, W] bool.

    Raises `InputError` where the size or the counts are missing or malformed, or the counts do not add up to the size.
    """
    height, width = _size(rle)
    counts = _checked_counts(rle, height, width)
    return np.repeat(_are_on(counts), counts).reshape(width, height).T


def decode_rle_columns(rle: Mapping[str, Any]) -> tuple[int, NDArray[np.bool_]]:
    """The part of a mask from the first to the last column that it has pixels in: the first one's x, and bool [w, H].

    Turned like that, as the runs go, which is fast for small things in large pictures. Raises as `decode_rle` does.
    """
    height, width = _size(rle)
    counts = _checked_counts(rle, height, width)
    ends = counts.cumsum()
    on = np.flatnonzero(_are_on(counts) & (counts > 0))
    if not len(on):
        return 0, np.zeros((0, height), np.bool_)
    first, last = (ends[on[0]] - counts[on[0]]) // height, (ends[on[-1]] - 1) // height
    runs = np.diff(ends.clip(first * height, (last + 1) * height), prepend=first * height)
    return int(first), np.repeat(_are_on(counts), runs).reshape(-1, height)


def rle_counts(rle: Mapping[str, Any]) -> NDArray[np.int64]:
    """The run lengths of an RLE, compressed or not; even places are off, odd ones on. Raises `InputError`."""
    counts = rle.get("counts")
    if isinstance(counts, str):
        counts = counts.encode("ascii", "replace")
    if isinstance(counts, bytes):
        return _unpack(counts)
    try:
        return np.asarray(counts, np.int64).reshape(-1)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"RLE counts must be a string or a list of whole numbers; got {counts!r}") from error


def _checked_counts(rle: Mapping[str, Any], height: int, width: int) -> NDArray[np.int64]:
    counts = rle_counts(rle)
    if (counts < 0).any() or counts.sum() != height * width:
        raise InputError(
            f"RLE counts add up to {int(counts.sum())} pixels, but the size {height} x {width} (height x width) "
            f"has {height * width}: the annotation is damaged or belongs to another picture"
        )
    return counts


def _are_on(counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    return np.arange(len(counts)) % 2 == 1


def _size(rle: Mapping[str, Any]) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in rle["size"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"an RLE needs a size [height, width]; got {rle.get('size')!r}") from error
    if height < 0 or width < 0:
        raise InputError(f"an RLE size cannot be negative; got {[height, width]}")
    return height, width


def _unpack(packed: bytes) -> NDArray[np.int64]:
    """Undo COCO's packing: base-32 digits, least first, in characters from "0"; from the fourth on, differences.

    Of a digit's character, bit 5 says that another follows; bit 4 of a number's last one is its sign.
    """
    digits = np.frombuffer(packed, np.uint8).astype(np.int64) - 48
    if not len(digits):
        return np.zeros(0, np.int64)
    if (digits < 0).any() or (digits > 63).any() or digits[-1] & 32:
        raise InputError(f"RLE counts {packed[:40]!r} are damaged or cut off")
    last = np.flatnonzero((digits & 32) == 0)
    first = np.concatenate(([0], last[:-1] + 1))
    lengths = last - first + 1
    if (lengths > 12).any():
        raise InputError(f"RLE counts {packed[:40]!r} hold a number too large for any picture")
    places = np.arange(len(digits)) - np.repeat(first, lengths)
    numbers = np.add.reduceat((digits & 31) << (5 * places), first)
    numbers -= np.where(digits[last] & 16, 1 << (5 * lengths), 0)
    numbers[1::2] = numbers[1::2].cumsum()
    numbers[2::2] = numbers[2::2].cumsum()
    return numbers
