"""Boxes as x0, y0, x1, y1 in pixels, the right and lower edges exclusive, so that x1 - x0 is the width; and areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def mask_areas(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The pixels in each mask [..., H, W], [...]: counted, which takes a tenth of the time of adding up or less."""
    flat = masks.reshape(-1, *masks.shape[-2:])
    return np.array([np.count_nonzero(mask) for mask in flat], np.int64).reshape(masks.shape[:-2])


def mask_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The tight box of each mask.

    masks: [..., H, W] bool. Returns [..., 4] float32, zeros where a mask is empty.
    """
    height, width = masks.shape[-2:]
    rows: NDArray[np.bool_] = np.any(masks, axis=-1)
    columns: NDArray[np.bool_] = np.any(masks, axis=-2)
    x0, y0 = columns.argmax(-1), rows.argmax(-1)
    x1 = width - columns[..., ::-1].argmax(-1)
    y1 = height - rows[..., ::-1].argmax(-1)
    boxes = np.stack((x0, y0, x1, y1), -1).astype(np.float32)
    return boxes * np.asarray(rows.any(-1))[..., None]


def box_iou(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float32]:
    """Intersection over union of every box of `a` [n, 4] with every box of `b` [m, 4]: [n, m], 0 to 1.

    Two boxes without area overlap by 0.
    """
    a, b = np.asarray(a, np.float32).reshape(-1, 4), np.asarray(b, np.float32).reshape(-1, 4)
    upper_left = np.maximum(a[:, None, :2], b[None, :, :2])
    lower_right = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.clip(lower_right - upper_left, 0, None).prod(-1)
    total = _areas(a)[:, None] + _areas(b)[None] - shared
    return np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)


def nms(boxes: NDArray[np.floating], scores: NDArray[np.floating], iou_threshold: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: drop each box that overlaps a better-scored kept one by more than the threshold.

    boxes: [n, 4]; scores: [n]. Returns the indices kept, best score first; of equal scores the earlier box goes first.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    waiting = np.argsort(-np.asarray(scores), kind="stable")
    kept = []
    while len(waiting):
        best, waiting = waiting[0], waiting[1:]
        kept.append(best)
        overlap = box_iou(boxes[best], boxes[waiting])[0]
        waiting = waiting[overlap <= iou_threshold]
    return np.array(kept, np.intp)


def _areas(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)
