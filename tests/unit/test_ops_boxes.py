"""Tight boxes, their overlap, and non-maximum suppression."""

from __future__ import annotations

import numpy as np

from masklet.ops.boxes import box_iou, mask_boxes, nms


def test_a_box_is_tight_and_its_far_edges_are_exclusive() -> None:
    mask = np.zeros((6, 9), bool)
    mask[2:5, 3:8] = True
    mask[3, 4] = False
    assert mask_boxes(mask).tolist() == [3, 2, 8, 5]


def test_a_full_mask_and_a_single_pixel() -> None:
    assert mask_boxes(np.ones((4, 7), bool)).tolist() == [0, 0, 7, 4]
    corner = np.zeros((4, 7), bool)
    corner[3, 6] = True
    assert mask_boxes(corner).tolist() == [6, 3, 7, 4]


def test_an_empty_mask_has_a_box_of_zeros_beside_others() -> None:
    masks = np.zeros((2, 3, 4, 5), bool)
    masks[1, 2, 1, 1] = True
    boxes = mask_boxes(masks)
    assert boxes.shape == (2, 3, 4)
    assert boxes.dtype == np.float32
    assert boxes[1, 2].tolist() == [1, 1, 2, 2]
    assert boxes[0].sum() == 0


def test_no_masks_give_no_boxes() -> None:
    assert mask_boxes(np.zeros((0, 4, 5), bool)).shape == (0, 4)


def test_iou_of_halves_strangers_and_points() -> None:
    whole, half, away, point = (0, 0, 4, 4), (2, 0, 4, 4), (9, 9, 10, 10), (1, 1, 1, 1)
    iou = box_iou(np.array([whole, point]), np.array([whole, half, away, point]))
    np.testing.assert_allclose(iou, [[1, 0.5, 0, 0], [0, 0, 0, 0]])


def test_nms_keeps_the_best_of_each_cluster_best_first() -> None:
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 10, 10.5]], np.float32)
    assert nms(boxes, np.array([0.5, 0.9, 0.7, 0.4]), 0.5).tolist() == [1, 2]


def test_nms_suppresses_only_above_the_threshold_and_prefers_the_earlier_of_equals() -> None:
    boxes = np.array([[0, 0, 2, 1], [0, 0, 1, 1], [0, 0, 2, 1]], np.float32)
    assert nms(boxes, np.ones(3), 0.5).tolist() == [0, 1]
    assert nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
