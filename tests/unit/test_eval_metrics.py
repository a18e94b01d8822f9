"""J, F and their statistics: by hand, against plain dilation, and against the official figures."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from masklet.errors import InputError
from masklet.eval.metrics import boundary_f, contour, region_j, statistics


def square(size: tuple[int, int], top: int, left: int, side: int) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top : top + side, left : left + side] = True
    return mask


EMPTY = np.zeros((40, 60), bool)
SQUARE = square((40, 60), 10, 10, 10)


def test_region_counts_pixels_in_both_over_pixels_in_either():
    assert region_j(SQUARE, square((40, 60), 10, 15, 10)) == pytest.approx(50 / 150)
    assert region_j(SQUARE, SQUARE) == 1


def test_two_empty_masks_agree_and_one_empty_mask_is_wrong():
    assert region_j(EMPTY, EMPTY) == boundary_f(EMPTY, EMPTY) == 1
    assert region_j(EMPTY, SQUARE) == boundary_f(EMPTY, SQUARE) == 0
    assert region_j(SQUARE, EMPTY) == boundary_f(SQUARE, EMPTY) == 0


def test_a_mask_of_the_whole_picture_has_no_contour():
    full = np.ones((40, 60), bool)
    assert not contour(full).any()
    assert boundary_f(full, EMPTY) == 1, "as DAVIS has it: neither has a contour"


def test_contour_is_one_pixel_wide_towards_the_upper_left():
    edge = contour(square((6, 6), 2, 2, 2))
    expected = np.zeros((6, 6), bool)
    expected[1:4, 1:4] = True
    expected[2, 2] = False
    assert (edge == expected).all()


def test_boundary_forgives_shifts_within_the_tolerance():
    truth = square((300, 400), 100, 100, 80)
    assert boundary_f(truth, square((300, 400), 100, 104, 80)) == 1, "0.008 of a diagonal of 500 pixels is 4"
    assert boundary_f(truth, square((300, 400), 100, 106, 80)) < 0.8


@pytest.mark.parametrize("seed", range(5))
def test_boundary_equals_matching_by_dilation_with_a_disk(seed):
    generator = np.random.default_rng(seed)
    size = (int(generator.integers(30, 400)), int(generator.integers(30, 400)))
    truth, predicted = (cv2.blur(generator.random(size), (15, 15)) > 0.5 for _ in range(2))
    radius = int(np.ceil(0.008 * np.linalg.norm(size)))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    near_truth, near_predicted = (cv2.dilate(contour(mask).astype(np.uint8), disk) > 0 for mask in (truth, predicted))
    precision = (contour(predicted) & near_truth).sum() / contour(predicted).sum()
    recall = (contour(truth) & near_predicted).sum() / contour(truth).sum()
    assert boundary_f(truth, predicted) == pytest.approx(2 * precision * recall / (precision + recall), abs=1e-12)


def test_statistics_of_a_falling_curve():
    found = statistics([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2])
    assert found.mean == pytest.approx(0.55)
    assert found.recall == pytest.approx(0.5), "0.5 itself is not above 0.5"
    assert found.decay == pytest.approx((0.9 + 0.8 + 0.7) / 3 - (0.4 + 0.3 + 0.2) / 3)


def test_statistics_leave_out_frames_without_a_value():
    found = statistics([1.0, np.nan, 0.2, np.nan])
    assert (found.mean, found.recall) == (pytest.approx(0.6), 0.5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: region_j(SQUARE, SQUARE[:-1]), r"\(40, 60\).*\(39, 60\)"),
        (lambda: boundary_f(SQUARE, SQUARE.astype(np.uint8)), "boolean.*uint8"),
        (lambda: statistics([np.nan]), "at least one"),
    ],
)
def test_errors_name_what_was_given(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize(
    "clip", ["bear", "boat", "dog-agility", "elephant", "hike", "mallard-water", "rollerblade", "soccerball"]
)
def test_figures_equal_the_official_evaluation(clip, shared_dir):
    from PIL import Image

    official = json.loads((shared_dir / "parity/metrics/davis2017_official.json").read_text())[clip]
    truths = sorted((shared_dir / "data/dev/davis/Annotations" / clip).glob("*.png"))
    predictions = [shared_dir / "parity/metrics/predictions" / clip / path.name for path in truths]
    pairs = [[np.array(Image.open(path)) > 0 for path in pair] for pair in zip(truths, predictions, strict=True)]
    for name, measure in (("J", region_j), ("F", boundary_f)):
        per_frame = [measure(*pair) for pair in pairs]
        assert np.abs(np.array(per_frame) - official[f"{name}_per_frame"]).max() <= 1e-6
        found = statistics(per_frame[1:-1])
        assert found.mean == pytest.approx(official[f"{name}_mean"], abs=1e-9)
        assert found.recall == pytest.approx(official[f"{name}_recall"], abs=1e-9)
        assert found.decay == pytest.approx(official[f"{name}_decay"], abs=1e-9)
