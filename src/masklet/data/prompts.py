"""Simulated annotators: the clicks and boxes that a person would give, drawn from ground truth.

Training draws them at random from the generator handed in; evaluation clicks where the object or an error is deepest.
Points are pixel indices x, y (column, row).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from masklet.errors import InputError
from masklet.ops.boxes import mask_boxes

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOX_JITTER_LIMIT = 20 / 1024
"""A box corner moves by at most this share of the picture's longer side: 20 pixels at the official 1024."""


class Click(NamedTuple):
    """A point on one frame: label 1 lies on the object, 0 off it."""

    x: int
    y: int
    label: int


def deepest_point(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The point x, y of `mask` [H W] farthest from its outside; beyond the picture's edge counts as outside.

    Raises `InputError` for an empty mask.
    """
    if not mask.any():
        raise InputError("an empty mask has no deepest point; leave absent objects out")
    _, x, y = _deepest(mask)
    return x, y


def sample_click(region: NDArray[np.bool_], generator: np.random.Generator) -> tuple[int, int]:
    """A pixel x, y of `region` [H W], each equally likely. Raises `InputError` for an empty region."""
    inside = np.flatnonzero(region)
    if not len(inside):
        raise InputError("cannot click in an empty region; leave absent objects out")
    row, column = divmod(int(inside[generator.integers(len(inside))]), region.shape[1])
    return column, row


def next_click(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], generator: np.random.Generator) -> Click:
    """A click that corrects `predicted` [H W] towards `truth` [H W]: on any wrong pixel, each equally likely.

    Where nothing is wrong it falls on the background, as in the official trainer (`sample_random_points_from_errors`),
    or on the object if that fills the picture.
    """
    if truth.shape != predicted.shape:
        raise InputError(f"truth {truth.shape} and prediction {predicted.shape} must have one shape")
    missed, spilled = truth & ~predicted, predicted & ~truth
    if not missed.any() and not spilled.any():
        missed, spilled = (truth, spilled) if truth.all() else (missed, ~truth)
    x, y = sample_click(missed | spilled, generator)
    return Click(x, y, int(missed[y, x]))


def deeper_error_click(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> Click:
    """The click that corrects `predicted` [H W] where a wrong pixel lies deepest, whichever kind of error has more.

    A wide but thin rim of missed pixels gives way to a small, compact spill. On a spill in a tie. Raises `InputError`
    where nothing is wrong. Source: the official `sample_one_point_from_error_center`.
    """
    missed, spilled = truth & ~predicted, predicted & ~truth
    if not missed.any() and not spilled.any():
        raise InputError("nothing is wrong, so there is nothing to click")
    places = [(*_deepest(region), label) for label, region in ((0, spilled), (1, missed)) if region.any()]
    _, x, y, label = max(places, key=lambda place: place[0])
    return Click(x, y, label)


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The smallest box x0, y0, x1, y1 around `mask` [H W], right and lower edges exclusive: float32 [4].

    Raises `InputError` for an empty mask.
    """
    if not mask.any():
        raise InputError("an empty mask has no box; leave absent objects out")
    return mask_boxes(mask)


def jittered_box(mask: NDArray[np.bool_], generator: np.random.Generator, jitter: float = 0.1) -> NDArray[np.float32]:
    """The tight box with each edge moved by up to `jitter` of the box's side, clipped to the picture: float32 [4].

    The movement is also limited to 20 pixels of a 1024-pixel picture. Source: the official trainer's
    `sample_box_points`, whose boxes end on their last pixel, where all of ours end behind it.
    """
    box = tight_box(mask)
    height, width = mask.shape
    sides = np.array([box[2] - box[0], box[3] - box[1]], np.float32)
    reach = np.tile(np.minimum(sides * jitter, BOX_JITTER_LIMIT * max(height, width)), 2)
    moved = box + generator.uniform(-1, 1, 4).astype(np.float32) * reach
    return np.clip(moved, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)


def _deepest(mask: NDArray[np.bool_]) -> tuple[float, int, int]:
    """How deep the deepest point of a mask [H W] lies, and the point x, y."""
    bordered = np.pad(mask.astype(np.uint8), 1)
    depth = cv2.distanceTransform(bordered, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return float(depth[row, column]), int(column), int(row)
