"""From masks that may overlap to one index mask, in which they may not."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import cv2
import numpy as np

from masklet.ops.rle import decode_rle_columns, rle_counts
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

Masklet: TypeAlias = Sequence["Mapping[str, Any] | None"]
"""One object's RLE on each of t frames, None where it is not to be seen."""

OVERLAP_TOLERANCE = 0.02
"""An object that others have covered by more than this share is left out, lest its truth have a hole."""

MAX_OBJECTS = 48
"""More are not painted: a picture of SA-1B has a hundred and more, decoding is slow, and training draws a few."""


def paint_masklets(
    masklets: Sequence[Masklet],
    num_frames: int,
    size: Size,
    generator: np.random.Generator,
    first: Collection[int] = (),
) -> NDArray[np.uint16]:
    """Index masks [t H W] of as many objects as have room, picked in random order; object i gets number i + 1.

    Parts and wholes overlap in many data sets. Each time others are picked, so that all get their turn. first: objects
    (by their place) that are picked before all others.
    """
    turned = np.zeros((num_frames, size.width, size.height), np.uint16)  # as the runs of an RLE go
    painted = 0
    for place in sorted(generator.permutation(len(masklets)).tolist(), key=lambda place: place not in first):
        area, too_covered = 0, False
        visible: list[tuple[NDArray[np.uint16], NDArray[np.bool_]]] = []
        for frame, rle in zip(turned, masklets[place], strict=True):
            if rle is not None:
                column, mask = decode_rle_columns(rle)
                under = frame[column : column + len(mask)]
                shown = int(np.count_nonzero(mask))
                area += shown
                too_covered |= int(np.count_nonzero(under[mask])) > OVERLAP_TOLERANCE * shown
                visible.append((under, mask))
        if not area or too_covered:
            continue
        for under, mask in visible:
            under[mask & (under == 0)] = place + 1
        painted += 1
        if painted == MAX_OBJECTS:
            break
    return np.stack([cv2.transpose(frame) for frame in turned])


def paint_in_turn(
    masklets: Sequence[Masklet], size: Size, generator: np.random.Generator, most: int
) -> list[NDArray[np.uint16]]:
    """Up to `most` index masks [1 H W] of one picture: each begins with the objects that all before it left out.

    They end where every object has been shown, so that a picture without overlaps has one.
    """
    paintings: list[NDArray[np.uint16]] = []
    left = set(range(len(masklets)))
    while left and len(paintings) < most:
        index = paint_masklets(masklets, 1, size, generator, left)
        shown = {int(number) - 1 for number in np.flatnonzero(np.bincount(index.ravel())) if number}
        if not shown & left:  # those left have no pixels
            break
        paintings.append(index)
        left -= shown
    return paintings or [np.zeros((1, *size), np.uint16)]


def is_visible(rle: Mapping[str, Any] | None) -> bool:
    """Whether a mask has pixels, told from its run lengths without decoding it."""
    return rle is not None and bool(rle_counts(rle)[1::2].any())
