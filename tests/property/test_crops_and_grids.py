"""Where automatic masks look, and that what they keep is sound and not said twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from colour_network import ColourNetwork, Thing, paint
from masklet.ops.boxes import box_iou, mask_boxes
from masklet.ops.crops import EDGE_TOLERANCE, Crop, crop_windows, point_grid, touches_cut
from masklet.predict.everything_options import EverythingOptions
from masklet.predict.mask_finder import MaskFinder, stability_scores

SIDES = st.integers(1, 400)
RATIOS = st.floats(0, 0.9)
COLOURS = [(230, 40, 40), (40, 220, 60), (40, 60, 240), (230, 220, 40)]


@given(SIDES, SIDES, st.integers(0, 3), RATIOS)
@example(40, 41, 3, 0.0)
@example(50, 50, 3, 0.0)
def test_each_layer_of_crops_covers_the_picture(height: int, width: int, num_layers: int, ratio: float) -> None:
    crops = crop_windows((height, width), num_layers, ratio)
    assert crops[0] == Crop(0, 0, width, height)
    for layer in range(1, num_layers + 1):
        members = [crop for crop in crops if crop.layer == layer]
        assert len(members) <= 4**layer
        if min(height, width) >= 50:  # of 8 windows each a rounded-up pixel too wide, the last lies outside 49
            assert len(members) == 4**layer
        covered = np.zeros((height, width), bool)
        for crop in members:
            assert 0 <= crop.x0 < crop.x1 <= width and 0 <= crop.y0 < crop.y1 <= height
            assert covered[crop.window].shape == crop.size
            covered[crop.window] = True
        assert covered.all()


@given(st.integers(200, 1000), st.integers(200, 1000), st.floats(0, 0.6))
def test_neighbours_share_the_overlap_asked_for(height: int, width: int, ratio: float) -> None:
    top_left, below, right, _ = crop_windows((height, width), 1, ratio)[1:]
    overlap = int(ratio * min(height, width))
    assert top_left.y1 - below.y0 == pytest.approx(overlap, abs=1)
    assert top_left.x1 - right.x0 == pytest.approx(overlap, abs=1)


@given(st.integers(1, 40))
def test_grids_are_even_and_symmetric(per_side: int) -> None:
    grid = point_grid(per_side)
    assert grid.shape == (per_side**2, 2)
    cells = set(map(tuple, (grid * per_side).astype(int).tolist()))
    assert cells == {(x, y) for x in range(per_side) for y in range(per_side)}
    np.testing.assert_allclose(grid, 1 - grid[::-1], atol=1e-12)


@given(st.lists(st.integers(0, 300), min_size=4, max_size=4))
def test_only_edges_inside_the_picture_cut(corners: list[int]) -> None:
    x0, x1 = sorted(corners[:2])
    y0, y1 = sorted(corners[2:])
    box = np.array([[x0, y0, x1, y1]], np.float32)
    size = (300, 300)
    assert not touches_cut(box, Crop(0, 0, 300, 300), size).any()
    left_half = Crop(0, 0, 150, 300, 1)
    assert touches_cut(box, left_half, size)[0] == (abs(x1 - 150) <= EDGE_TOLERANCE)


@given(st.integers(0, 2**32 - 1), st.floats(-2, 2), st.floats(0, 3))
def test_stability_is_the_iou_of_a_mask_cut_high_and_low(seed: int, threshold: float, offset: float) -> None:
    logits = torch.from_numpy(np.random.default_rng(seed).normal(0, 2, (3, 4, 5)))
    scores = stability_scores(logits, threshold, offset)
    for mask, score in zip(logits, scores.tolist()):
        high, low = mask > threshold + offset, mask > threshold - offset
        union = (high | low).sum()
        assert score == pytest.approx(float((high & low).sum() / union) if union else 0.0)


@pytest.fixture(scope="module")
def model():
    return ColourNetwork()


def in_corners(size: tuple[int, int], margins: list[int], side: int) -> list[Thing]:
    """A square of a colour of its own in each of the first corners, so far from the edges of the picture."""
    things = []
    for corner, (margin, colour) in enumerate(zip(margins, COLOURS)):
        y, x = (edge - margin - side if far else margin for edge, far in zip(size, divmod(corner, 2)))
        things.append((x, y, x + side, y + side, colour))
    return things


@settings(max_examples=8)
@given(
    size=st.tuples(st.integers(180, 220), st.integers(180, 220)),
    margins=st.lists(st.integers(2, 10), min_size=2, max_size=4),
    side=st.integers(40, 52),
    layers=st.integers(0, 1),
    overlap=st.sampled_from([0.3, 0.7]),
    stability=st.sampled_from([0.0, 0.5]),
    refine=st.booleans(),
)
@example(size=(180, 210), margins=[4, 8, 6], side=48, layers=1, overlap=0.7, stability=0.5, refine=True)
def test_what_is_found_is_sound_and_not_said_twice(
    model, size, margins, side, layers, overlap, stability, refine
) -> None:
    options = EverythingOptions(
        points_per_side=6,
        points_per_batch=20,
        pred_iou_thresh=0,
        stability_score_thresh=stability,
        box_nms_thresh=overlap,
        crop_nms_thresh=overlap,
        crop_n_layers=layers,
        use_m2m=refine,
    )
    things = in_corners(size, margins, side)
    found = MaskFinder(model, options).find(paint(things, *size))
    for mask in found:
        pixels = mask.mask
        assert pixels.shape == size
        assert pixels.sum() == mask.area >= 1
        np.testing.assert_array_equal(mask_boxes(pixels), mask.box)
        assert stability <= mask.stability <= 1
        assert mask.crop.x0 <= mask.point[0] <= mask.crop.x1 and mask.crop.y0 <= mask.point[1] <= mask.crop.y1
        outside = pixels.copy()
        outside[mask.crop.window] = False
        assert not outside.any()
    boxes = np.array([mask.box for mask in found], np.float32).reshape(-1, 4)
    between_centres = boxes - (0, 0, 1, 1)
    among = box_iou(between_centres, between_centres)[~np.eye(len(found), dtype=bool)]
    assert (among <= overlap).all()
    for x0, y0, x1, y1, _ in things:
        overlaps = box_iou(np.array([x0, y0, x1, y1]), boxes)[0]
        showing = [mask for mask, overlap in zip(found, overlaps) if overlap > 0.5]
        assert layers in {mask.crop.layer for mask in showing}, "what two crops hold is taken from the finer one"
        for mask in showing:
            assert np.abs(np.array(mask.point) - ((x0 + x1) / 2, (y0 + y1) / 2)).max() < side
    areas = [mask.crop.size[0] * mask.crop.size[1] for mask in found]
    assert areas == sorted(areas), "finer crops first"
    assert areas[-1] == size[0] * size[1], "the ground is whole on the picture alone"
    for crop in {mask.crop for mask in found}:
        ious = [mask.iou for mask in found if mask.crop == crop]
        assert ious == sorted(ious, reverse=True)
