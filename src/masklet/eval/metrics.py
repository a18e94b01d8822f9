"""Region J, boundary F and their means, recall and decay, as the DAVIS 2017 benchmark defines them.

NumPy and OpenCV only, so that masks from any source can be measured. Sources: Perazzi et al., "A Benchmark Dataset and
Evaluation Methodology for Video Object Segmentation" (2016), section 4, and Pont-Tuset et al., "The 2017 DAVIS
Challenge on Video Object Segmentation", section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from masklet.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BOUNDARY_TOLERANCE = 0.008
"""How far a contour may be off and still count, as a part of the picture's diagonal."""

RECALL_THRESHOLD = 0.5
"""Recall is the part of the frames that score above this."""

NUM_DECAY_BINS = 4
"""Decay compares the first and the last of this many stretches of a clip."""


@dataclass(frozen=True)
class Statistics:
    """One object over a clip: the mean, the part of frames above 0.5, the loss from the first to the last quarter."""

    mean: float
    recall: float
    decay: float


def region_j(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks [H, W], 0 to 1; two empty masks agree (1).

    Raises `InputError` where the sizes differ.
    """
    _check_pair(truth, predicted)
    union = np.count_nonzero(truth | predicted)
    return np.count_nonzero(truth & predicted) / union if union else 1.0


def boundary_f(truth: NDArray[np.bool_], predicted: NDArray[np.bool_], tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """F-measure of the contours of two masks [H, W], 0 to 1.

    A contour pixel is matched where the other mask's contour passes within `tolerance` x diagonal, rounded up to whole
    pixels. Precision is the matched part of the predicted contour, recall that of the true one. Two masks without a
    contour agree (1); where only one has a contour the measure is 0. Raises `InputError` where the sizes differ.
    """
    _check_pair(truth, predicted)
    radius = int(np.ceil(tolerance * np.linalg.norm(truth.shape)))
    true_contour, predicted_contour = contour(truth), contour(predicted)
    if not true_contour.any() or not predicted_contour.any():
        return float(true_contour.any() == predicted_contour.any())
    window = _extent(true_contour | predicted_contour)
    true_contour, predicted_contour = true_contour[window], predicted_contour[window]
    precision = _within(predicted_contour, true_contour, radius)
    recall = _within(true_contour, predicted_contour, radius)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The contour of a mask [H, W], one pixel wide.

    A pixel is on it where it differs from its right, lower or lower right neighbour. The last row looks only to the
    right and the last column only down, so that the picture's edge itself is no contour.
    """
    mask = np.asarray(mask, bool)
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def statistics(per_frame: ArrayLike) -> Statistics:
    """Mean, recall and decay of one object's values over the frames that count, (n), frames without a value as NaN.

    Decay is the mean of the first of four stretches minus that of the last; neighbouring stretches share a frame.
    Raises `InputError` where no frame has a value.
    """
    values = np.asarray(per_frame, np.float64)
    if values.ndim != 1 or not np.isfinite(values).any():
        raise InputError(f"statistics need one value a frame, at least one of them a number; got shape {values.shape}")
    # The small term makes halves round up: NumPy alone would round them to the nearest even number.
    cuts = np.round(np.linspace(1, len(values), NUM_DECAY_BINS + 1) + 1e-10).astype(int) - 1
    first, last = values[: cuts[1] + 1], values[cuts[-2] : cuts[-1] + 1]
    return Statistics(
        mean=_mean(values),
        recall=_mean(np.where(np.isnan(values), np.nan, values > RECALL_THRESHOLD)),
        decay=_mean(first) - _mean(last),
    )


def _check_pair(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> None:
    if truth.ndim != 2 or truth.shape != predicted.shape:
        raise InputError(
            f"masks to compare must both have shape (H, W) and be of one size; got {truth.shape} for the truth and "
            f"{predicted.shape} for the prediction"
        )
    if truth.dtype != bool or predicted.dtype != bool:
        raise InputError(f"masks to compare must be boolean; got {truth.dtype} and {predicted.dtype}")


def _extent(pixels: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns that hold all pixels that are set; distances between these need nothing outside."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _within(contour_pixels: NDArray[np.bool_], other: NDArray[np.bool_], radius: int) -> float:
    """The part of `contour_pixels` that lies within a disk of `radius` pixels around `other`."""
    # The exact distance transform answers as dilation by a disk would, at a cost that is the same for any radius.
    distance = cv2.distanceTransform((~other).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.count_nonzero(distance[contour_pixels] <= radius) / np.count_nonzero(contour_pixels)


def _mean(values: NDArray[np.float64]) -> float:
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
