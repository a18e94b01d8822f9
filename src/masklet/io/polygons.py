"""Between masks and polygons, in pixels: corner (0, 0) is the picture's upper left corner, not a pixel's middle.

Outlines follow the edges of the pixels, so that COCO's own rasteriser gives back exactly the mask they were made from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LEAST_SLACK, SLACK = 1.0, 0.02
"""Corners may lie so many pixels beyond the picture's edge, as rounding leaves them, or this share of its longer side,
as hands do; farther out they tell that the annotation is of another picture or size."""


def fill_polygons(polygons: Sequence[Sequence[float]], size: Size, where: str) -> dict[str, Any]:
    """The union of polygons, each x0, y0, x1, y1, ..., as COCO RLE of a picture of `size`.

    Raises `InputError`, beginning with `where`, for fewer than three corners, an odd count of numbers, or corners
    far outside the picture; what reaches a little beyond it is cut off.
    """
    if not len(polygons):
        raise InputError(f"{where}: no polygon where at least one was expected")
    corners = [_checked_corners(polygon, size, where) for polygon in polygons]
    parts = coco.frPyObjects([loop.ravel().tolist() for loop in corners], *size)
    return {"size": [*size], "counts": coco.merge(parts)["counts"].decode("ascii")}


def outline_parts(mask: NDArray[np.bool_]) -> list[list[float]]:
    """One polygon x0, y0, x1, y1, ... for each connected part of a mask [H, W].

    A hole is joined to the part's edge by a cut of no width, which the even-odd rule fills correctly.
    """
    labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)[1]
    edges: dict[int, NDArray[np.int64]] = {}
    holes: list[tuple[int, NDArray[np.int64]]] = []
    for loop in trace_edges(mask):
        x, y = loop[0]
        inside = y < mask.shape[0] and x < mask.shape[1] and mask[y, x]
        if inside:
            edges[int(labels[y, x])] = loop
        else:
            holes.append((int(labels[y - 1, x]), loop))
    for label, hole in holes:
        edges[label] = _join(edges[label], hole)
    return [_flat(loop) for loop in edges.values()]


def outline_whole(mask: NDArray[np.bool_]) -> list[float]:
    """A mask [H, W] as a single polygon x0, y0, x1, y1, ...: parts and holes are joined by cuts of no width.

    Raises `InputError` for an empty mask.
    """
    if not mask.any():
        raise InputError("an empty mask has no outline")
    parts = [np.asarray(part).reshape(-1, 2) for part in outline_parts(mask)]
    whole = parts[0]
    for part in parts[1:]:
        whole = _join(whole, part)
    return _flat(whole)


def trace_edges(mask: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The closed loops of corners x, y, each (n, 2), along the pixel edges that part a mask [H, W] from its outside.

    Each loop starts at its uppermost, then leftmost corner and first goes right.
    """
    x, y, across, down = _corners(mask)
    loops = []
    visited = np.zeros(len(x), bool)
    for start in range(len(x)):
        if visited[start]:
            continue
        loop, corner = [], start
        while not visited[corner]:
            beyond = across[corner]
            visited[corner] = visited[beyond] = True
            loop += [corner, beyond]
            corner = down[beyond]
        loops.append(np.stack((x[loop], y[loop]), 1))
    return loops


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


def _join(outer: NDArray[np.int64], inner: NDArray[np.int64]) -> NDArray[np.int64]:
    """Walk `outer` to the corner nearest to `inner`'s first, go around `inner`, come back the same way and go on."""
    nearest = int(np.abs(outer - inner[0]).sum(1).argmin())
    return np.concatenate((outer[: nearest + 1], inner, inner[:1], outer[nearest:]))


def _flat(loop: NDArray[np.int64]) -> list[float]:
    return loop.astype(float).ravel().tolist()


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
