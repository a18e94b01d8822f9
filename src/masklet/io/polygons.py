"""Between masks and polygons, in pixels: corner (0, 0) is the picture's upper left corner, not a pixel's middle.

Outlines follow the edges of the pixels, so that COCO's own rasteriser gives back exactly the mask they were made from.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

LEAST_SLACK, SLACK = 1.0, 0.02
"""Corners may lie so many pixels beyond the picture's edge, as rounding leaves them, or this share of its longer side,
as hands do; farther out they tell that the annotation is of another picture or size."""


def fill_polygons(polygons: Sequence[Sequence[float]], size: Size, where: str) -> dict[str, Any]:
    """The union of polygons, each x0, y0, x1, y1, ..., as COCO RLE of a picture of `size`.

    Beside others, points and lines are passed over, which hold nothing: annotation tools leave them behind. Raises
    `InputError`, beginning with `where`, for fewer than three corners, an odd count of numbers, or corners far outside
    the picture; what reaches a little beyond it is cut off.
    """
    if not len(polygons):
        raise InputError(f"{where}: no polygon where at least one was expected")
    kept = [polygon for polygon in polygons if not _is_line(polygon)] or polygons
    corners = [_checked_corners(polygon, size, where) for polygon in kept]
    parts = coco.frPyObjects([loop.ravel().tolist() for loop in corners], *size)
    return {"size": [*size], "counts": coco.merge(parts)["counts"].decode("ascii")}


def outline_parts(mask: NDArray[np.bool_]) -> list[list[float]]:
    """One polygon x0, y0, x1, y1, ... for each connected part of a mask [H, W].

    A hole is joined to the part's edge by a cut of no width, which the even-odd rule fills correctly.
    """
    edges = _trace(mask)
    inside = mask[edges.first[:, 1], edges.first[:, 0]]
    cuts = _cuts(mask, edges, np.flatnonzero(~inside))
    return [_flat(_joined(edges.loops, cuts, part)) for part in np.flatnonzero(inside).tolist()]


def outline_whole(mask: NDArray[np.bool_]) -> list[float]:
    """A mask [H, W] as a single polygon x0, y0, x1, y1, ...: parts and holes are joined by cuts of no width.

    Raises `InputError` for an empty mask.
    """
    if not mask.any():
        raise InputError("an empty mask has no outline")
    edges = _trace(mask)
    return _flat(_joined(edges.loops, _cuts(mask, edges, np.arange(1, len(edges.loops))), 0))


@dataclass(frozen=True)
class _Edges:
    """The closed loops along the pixel edges that part a mask from its outside, those of holes among them.

    xy: [n, 2] all corners in reading order, of which 2k and 2k + 1 end the same horizontal edge; owner, place: [n] the
    loop that each is in, and where; loops: each one's corners [m, 2], from its uppermost, then leftmost to the right.
    """

    xy: NDArray[np.int64]
    owner: NDArray[np.int64]
    place: NDArray[np.int64]
    loops: list[NDArray[np.int64]]

    @property
    def first(self) -> NDArray[np.int64]:
        """[loops, 2] each one's first corner. They are in reading order."""
        return np.array([loop[0] for loop in self.loops], np.int64).reshape(-1, 2)


@dataclass(frozen=True)
class _Cut:
    """From a point of one loop, `along` pixels behind the corner at `place`, to the first corner of another."""

    place: int
    along: int
    point: NDArray[np.int64]
    loop: int


def _trace(mask: NDArray[np.bool_]) -> _Edges:
    x, y, across, down = _corners(mask)
    xy = np.stack((x, y), 1)
    owner, place = np.full(len(x), -1), np.zeros(len(x), np.int64)
    loops: list[NDArray[np.int64]] = []
    for start in range(len(x)):
        if owner[start] >= 0:
            continue
        loop, corner = [], start
        while owner[corner] < 0:
            beyond = across[corner]
            owner[corner] = owner[beyond] = len(loops)
            loop += [corner, beyond]
            corner = down[beyond]
        place[loop] = np.arange(len(loop))
        loops.append(xy[loop])
    return _Edges(xy, owner, place, loops)


def _cuts(mask: NDArray[np.bool_], edges: _Edges, loops: NDArray[np.int64]) -> dict[int, list[_Cut]]:
    """A cut to each of `loops` from one before it, by the loop that it starts from and in the order along that.

    It goes straight up to the next edge: through the part, for a hole, through the ground, for a part. What has nothing
    above it is joined to the nearest corner before; there is one such loop in each column at the most.
    """
    width = mask.shape[1]
    x, y = edges.first[loops].T
    row = _edges_above(mask)[y, x]
    left = np.searchsorted(edges.xy @ [1, width + 1], row * (width + 1) + x, side="right") - 1
    by_column = np.argsort(edges.xy[:, 0], kind="stable")
    columns = edges.xy[by_column, 0]
    cuts = defaultdict(list)
    for loop, column, height, corner in zip(loops.tolist(), x.tolist(), row.tolist(), left.tolist(), strict=True):
        if height < 0:
            corner = _nearest(edges, loop, by_column, columns)
            cut = _Cut(int(edges.place[corner]), 0, edges.xy[corner], loop)
        else:
            start = corner if edges.place[corner] < edges.place[corner + 1] else corner + 1
            along = abs(column - int(edges.xy[start, 0]))
            cut = _Cut(int(edges.place[start]), along, np.array([column, height]), loop)
        cuts[int(edges.owner[corner])].append(cut)
    return {loop: sorted(found, key=lambda cut: (cut.place, cut.along)) for loop, found in cuts.items()}


def _nearest(edges: _Edges, loop: int, by_column: NDArray[np.int64], columns: NDArray[np.int64]) -> int:
    """The corner of a loop before this one that is nearest to its first, looked for in more and more columns about.

    by_column: [n] the corners from left to right; columns: [n] their x.
    """
    first, reach = edges.loops[loop][0], 1
    while True:
        reach *= 2
        start, stop = np.searchsorted(columns, (first[0] - reach, first[0] + reach + 1))
        near = by_column[start:stop]
        near = near[edges.owner[near] < loop]
        steps = np.abs(edges.xy[near] - first).sum(1)
        if len(near) and (steps.min() <= reach or stop - start == len(columns)):
            return int(near[steps.argmin()])


def _edges_above(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """[H + 1, W]: the row of the nearest horizontal edge above each corner and the pixel to its right, -1 for none."""
    around = np.pad(mask, ((1, 1), (0, 0)))
    rows = np.where(around[1:] != around[:-1], np.arange(len(mask) + 1)[:, None], -1)
    above = np.full_like(rows, -1)
    above[1:] = np.maximum.accumulate(rows)[:-1]
    return above


def _joined(loops: Sequence[NDArray[np.int64]], cuts: Mapping[int, Sequence[_Cut]], loop: int) -> NDArray[np.int64]:
    """Walk along a loop [m, 2] and, at each cut, to the other loop, around it in the same way, and back."""
    walked: list[NDArray[np.int64]] = []
    waiting: list[int | NDArray[np.int64]] = [loop]
    while waiting:  # without recursion, for holes below one another are cut from each other
        ahead = waiting.pop()
        if isinstance(ahead, np.ndarray):
            walked.append(ahead)
            continue
        steps: list[int | NDArray[np.int64]] = []
        start = 0
        for cut in cuts.get(ahead, ()):
            steps += [loops[ahead][start : cut.place + 1], cut.point[None], cut.loop]
            steps.append(np.stack((loops[cut.loop][0], cut.point)))
            start = cut.place + 1
        waiting += [loops[ahead][start:], *reversed(steps)]
    return np.concatenate(walked)


def _corners(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """The corners x, y of a mask's outline in reading order, and the corner each meets along its row and its column.

    Between two corners of a row runs an edge, then none, then an edge again; likewise in a column. Where two pixels
    touch at a corner only, there are two corners in one place, each belonging to one of the pixels.
    """
    around = np.pad(mask, 1)
    upper_left, upper_right = around[:-1, :-1], around[:-1, 1:]
    lower_left, lower_right = around[1:, :-1], around[1:, 1:]
    touching = (upper_left == lower_right) & (upper_right == lower_left) & (upper_left != upper_right)
    single = upper_left ^ upper_right ^ lower_left ^ lower_right
    y, x = np.nonzero(single | touching)
    double = touching[y, x]
    x, y, rising = (np.repeat(values, 1 + double) for values in (x, y, (touching & upper_right)[y, x]))
    second = np.zeros(len(x), bool)
    second[1:] = (x[1:] == x[:-1]) & (y[1:] == y[:-1])
    across, down = np.empty_like(x), np.empty_like(x)
    for partner, order in ((across, np.lexsort((second, x, y))), (down, np.lexsort((second ^ rising, y, x)))):
        partner[order[::2]], partner[order[1::2]] = order[1::2], order[::2]
    return x, y, across, down


def _flat(loop: NDArray[np.int64]) -> list[float]:
    return loop.astype(float).ravel().tolist()


def _is_line(polygon: Sequence[float]) -> bool:
    """Whether it is one point or two, which surround nothing."""
    return isinstance(polygon, list | tuple) and len(polygon) in (2, 4)


def _checked_corners(polygon: Sequence[float], size: Size, where: str) -> NDArray[np.float64]:
    """[n, 2] x, y."""
    try:
        corners = np.asarray(polygon, float).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: a polygon is numbers x0, y0, x1, y1, ...; got {str(polygon)[:60]}") from error
    if len(corners) < 3:
        raise InputError(f"{where}: a polygon needs at least 3 corners; got {len(corners)}")
    limit = np.array([size.width, size.height])
    slack = max(LEAST_SLACK, SLACK * max(size))
    outside = ~((corners >= -slack) & (corners <= limit + slack)).all(1)
    if outside.any():
        x, y = corners[outside][0]
        raise InputError(
            f"{where}: polygon corner ({x:g}, {y:g}) lies outside the picture of {size.width} x {size.height} pixels"
        )
    return corners
