"""Hole filling and speck removal on logits, and masks without overlap."""

from __future__ import annotations

import numpy as np
import torch

from masklet.ops.components import fill_holes_and_specks, small_regions
from masklet.ops.overlap import non_overlapping


def _ring_and_speck() -> torch.Tensor:
    """A 5 x 5 ring with a hole of one pixel, and a speck of two pixels touching by a corner."""
    logits = torch.full((1, 10, 12), -3.0)
    logits[0, 1:6, 1:6] = 3.0
    logits[0, 3, 3] = -2.0
    logits[0, 8, 9] = logits[0, 9, 10] = 2.0
    return logits


def test_a_small_hole_is_filled_and_a_small_speck_removed() -> None:
    logits = _ring_and_speck()
    done = fill_holes_and_specks(logits, hole_area=1, speck_area=2, fill=0.1)
    expected = logits.clone()
    expected[0, 3, 3] = 0.1
    expected[0, 8, 9] = expected[0, 9, 10] = -0.1
    assert torch.equal(done, expected)


def test_regions_above_the_limit_stay_and_diagonal_pixels_count_together() -> None:
    logits = _ring_and_speck()
    assert torch.equal(fill_holes_and_specks(logits, hole_area=0, speck_area=1), logits)


def test_masks_without_holes_or_specks_are_handed_back() -> None:
    logits = torch.full((2, 8, 8), -1.0)
    logits[0, 2:6, 2:6] = 1.0
    assert fill_holes_and_specks(logits, hole_area=4, speck_area=4) is logits


def test_an_area_of_zero_is_off_and_nothing_is_changed_in_place() -> None:
    logits = _ring_and_speck()
    before = logits.clone()
    assert fill_holes_and_specks(logits, hole_area=0, speck_area=0) is logits
    fill_holes_and_specks(logits, hole_area=5, speck_area=5)
    assert torch.equal(logits, before)


def test_a_channel_dimension_and_the_number_type_are_kept() -> None:
    logits = _ring_and_speck()[None].to(torch.bfloat16)
    done = fill_holes_and_specks(logits, hole_area=1, speck_area=2, fill=10.0)
    assert done.shape == (1, 1, 10, 12)
    assert done.dtype == torch.bfloat16
    assert done[0, 0, 3, 3] == 10
    assert done[0, 0, 8, 9] == -10


def test_no_objects_pass_through() -> None:
    assert fill_holes_and_specks(torch.zeros(0, 4, 4), hole_area=8, speck_area=8).shape == (0, 4, 4)


def test_small_regions_of_a_full_mask_are_none() -> None:
    assert not small_regions(np.ones((4, 4), bool), 15).any()
    assert small_regions(np.ones((4, 4), bool), 16).all()


def test_each_pixel_goes_to_the_highest_logit() -> None:
    logits = torch.tensor([[[5.0, -1.0, 2.0]], [[1.0, -20.0, 3.0]]])
    assert non_overlapping(logits).tolist() == [[[5.0, -1.0, -10.0]], [[-10.0, -20.0, 3.0]]]


def test_one_object_alone_is_left_as_it_is() -> None:
    logits = torch.randn(1, 4, 4)
    assert non_overlapping(logits) is logits


def test_the_largest_region_is_no_speck_unless_asked() -> None:
    logits = torch.full((1, 8, 8), -1.0)
    logits[0, 1, 1:3], logits[0, 5, 5] = 1.0, 1.0
    kept = fill_holes_and_specks(logits, hole_area=0, speck_area=8) > 0
    assert kept.sum() == 2 and kept[0, 1, 1:3].all()
    assert not (fill_holes_and_specks(logits, hole_area=0, speck_area=8, keep_largest=False) > 0).any()
