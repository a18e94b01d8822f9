"""Where automatic masks look: grids of points, and windows on the picture that overlap.

Source: SAM paper, appendix B; official `sam2/utils/amg.py`.
"""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

EDGE_TOLERANCE = 20
"""Pixels within which a mask counts as touching an edge."""


class Crop(NamedTuple):
    """A window on a picture in pixels, right and lower edges exclusive; layer 0 is the whole picture."""

    x0: int
    y0: int
    x1: int
    y1: int
    layer: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.y1 - self.y0, self.x1 - self.x0

    @property
    def window(self) -> tuple[slice, slice]:
        """What cuts the crop out of an array [H, W, ...]."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)


def crop_between(low: ArrayLike, high: ArrayLike, size: tuple[int, int]) -> Crop:
    """The pixels of a picture of `size` (height, width) from (x, y) `low` to `high`, as far as it goes; of layer 1."""
    sides = np.array(size[::-1])
    x0, y0 = np.clip(low, 0, sides - 1).astype(int).tolist()
    x1, y1 = np.clip(np.ceil(high), 1, sides).astype(int).tolist()
    return Crop(x0, y0, x1, y1, layer=1)


def point_grid(per_side: int) -> NDArray[np.float64]:
    """The centres of `per_side` x `per_side` equal cells, [per_side**2, 2] as x, y in 0 to 1, row by row."""
    half_cell = 0.5 / per_side
    centres = np.linspace(half_cell, 1 - half_cell, per_side)
    return np.stack(np.meshgrid(centres, centres), -1).reshape(-1, 2)


def crop_windows(size: tuple[int, int], num_layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole picture, then for each layer i from 1 its 2**i x 2**i windows, column by column.

    size: height, width; overlap_ratio: 0 to below 1. Neighbours in layer 1 share that part of the picture's shorter
    side, half as much in each further layer. A small picture, less than 50 pixels high or wide for three layers, gets
    only those that hold any pixel.
    """
    height, width = size
    crops = [Crop(0, 0, width, height)]
    for layer in range(1, num_layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(size) * 2 / per_side)
        columns = _spans(width, per_side, overlap)
        rows = _spans(height, per_side, overlap)
        crops += [Crop(x0, y0, x1, y1, layer) for (x0, x1), (y0, y1) in product(columns, rows)]
    return crops


def _spans(side: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """`count` stretches of one length, neighbours sharing `overlap`, that cover 0 to `side`."""
    length = math.ceil((side + overlap * (count - 1)) / count)
    starts = [place * (length - overlap) for place in range(count)]
    return [(start, min(start + length, side)) for start in starts if start < side]


def touches_cut(boxes: NDArray[np.floating], crop: Crop, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Whether each box [n, 4], in pixels of the picture, ends at an edge of the crop that is not the picture's own.

    Such a mask was probably cut off, and another crop holds the whole of it.
    """
    height, width = size
    at_crop = np.abs(boxes - np.array(crop[:4])) <= EDGE_TOLERANCE
    at_picture = np.abs(boxes - np.array((0, 0, width, height))) <= EDGE_TOLERANCE
    return (at_crop & ~at_picture).any(-1)
