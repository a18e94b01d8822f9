"""Properties of operations on arrays, against slow and obvious references."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as coco

from masklet.ops.boxes import box_iou, mask_boxes, nms
from masklet.ops.components import fill_holes_and_specks
from masklet.ops.rle import decode_rle, encode_rle, rle_counts

MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12)))
CORNERS = hnp.arrays(np.float32, st.tuples(st.integers(0, 12), st.just(4)), elements=st.integers(0, 9))


@given(MASKS)
def test_rle_round_trips_and_agrees_with_pycocotools(mask: np.ndarray) -> None:
    rle = encode_rle(mask)
    np.testing.assert_array_equal(decode_rle(rle), mask)
    np.testing.assert_array_equal(decode_rle({"size": rle["size"], "counts": rle_counts(rle).tolist()}), mask)
    np.testing.assert_array_equal(coco.decode(rle).astype(bool), mask)


@given(st.lists(st.integers(0, 10_000_000), min_size=1, max_size=9))
def test_long_runs_unpack_as_pycocotools_packs_them(counts: list[int]) -> None:
    packed = coco.frPyObjects({"size": [sum(counts), 1], "counts": counts}, sum(counts), 1)
    assert rle_counts(packed).tolist() == counts


@given(MASKS)
def test_a_box_holds_every_pixel_and_touches_one_on_each_side(mask: np.ndarray) -> None:
    x0, y0, x1, y1 = mask_boxes(mask).astype(int)
    inside = np.zeros_like(mask)
    inside[y0:y1, x0:x1] = True
    assert not (mask & ~inside).any()
    if mask.any():
        assert mask[y0].any() and mask[y1 - 1].any() and mask[:, x0].any() and mask[:, x1 - 1].any()


@given(CORNERS, st.sampled_from([0.0, 0.3, 0.5, 1.0]), st.randoms(use_true_random=False))
def test_nms_keeps_a_spread_out_set_that_explains_every_box_dropped(corners, threshold, random) -> None:
    boxes = np.concatenate((np.minimum(corners[:, :2], corners[:, 2:]), np.maximum(corners[:, :2], corners[:, 2:])), 1)
    scores = np.array([random.random() for _ in boxes])
    kept = nms(boxes, scores, threshold)
    overlap = box_iou(boxes, boxes)
    among = overlap[np.ix_(kept, kept)]
    assert (among[~np.eye(len(kept), dtype=bool)] <= threshold).all()
    assert (np.diff(scores[kept]) <= 0).all()
    for dropped in set(range(len(boxes))) - set(kept.tolist()):
        rivals = kept[overlap[dropped, kept] > threshold]
        assert (scores[rivals] >= scores[dropped]).any()


@given(MASKS, st.integers(0, 9), st.integers(0, 9))
def test_hole_filling_equals_flood_filling_by_hand(mask: np.ndarray, hole_area: int, speck_area: int) -> None:
    logits = torch.from_numpy(np.where(mask, 2.0, -2.0))[None]
    areas = {"hole_area": hole_area, "speck_area": speck_area}
    done = fill_holes_and_specks(logits, **areas, fill=0.5, keep_largest=False)[0].numpy()
    expected = logits[0].numpy().copy()
    expected[_in_small_regions(~mask, hole_area)] = 0.5
    expected[_in_small_regions(mask, speck_area)] = -0.5
    np.testing.assert_array_equal(done, expected)


def _in_small_regions(mask: np.ndarray, max_area: int) -> np.ndarray:
    small = np.zeros_like(mask)
    waiting = set(zip(*np.nonzero(mask), strict=True))
    while waiting:
        region, edge = set(), [waiting.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & waiting
            waiting -= near
            edge.extend(near)
        if len(region) <= max_area:
            small[tuple(np.array(list(region)).T)] = True
    return small
