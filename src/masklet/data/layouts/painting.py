"""From masks that may overlap to one index mask, in which they may not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from masklet.ops.rle import decode_rle
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
    masklets: Sequence[Masklet], num_frames: int, size: Size, generator: np.random.Generator
) -> NDArray[np.uint16]:
    """Index masks [t H W] of as many objects as have room, picked in random order; object i gets number i + 1.

    Parts and wholes overlap in many data sets. Each time others are picked, so that all get their turn.
    """
    index = np.zeros((num_frames, *size), np.uint16)
    painted = 0
    for place in generator.permutation(len(masklets)):
        area = covered = 0
        visible = [(k, decode_rle(rle)) for k, rle in enumerate(masklets[place]) if rle is not None]
        for k, mask in visible:
            area += int(np.count_nonzero(mask))
            covered += int(np.count_nonzero(index[k][mask]))
        if not area or covered > OVERLAP_TOLERANCE * area:
            continue
        for k, mask in visible:
            index[k][mask & (index[k] == 0)] = place + 1
        painted += 1
        if painted == MAX_OBJECTS:
            break
    return index
