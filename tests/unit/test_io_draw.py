"""Overlays: each object's colour on its mask, smooth outlines, points and boxes on top, the picture left alone."""

from __future__ import annotations

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.io.draw import draw_masks, object_colour

GROUND = np.full((60, 80, 3), 128, np.uint8)


def _disc() -> np.ndarray:
    y, x = np.mgrid[:60, :80]
    return (x - 30) ** 2 + (y - 30) ** 2 < 400


def test_the_inside_is_tinted_the_outside_untouched_and_the_input_unchanged() -> None:
    before = GROUND.copy()
    drawn = draw_masks(GROUND, _disc()[None], [1], alpha=0.5)
    np.testing.assert_array_equal(GROUND, before)
    np.testing.assert_allclose(drawn[30, 30], (np.array(object_colour(1)) + 128) / 2, atol=1)
    assert (drawn[:, 60:] == 128).all()


def test_the_outline_is_in_the_full_colour_and_has_soft_edges() -> None:
    drawn = draw_masks(GROUND, _disc()[None], [1], alpha=0.0).astype(int)
    row = np.abs(drawn[30, :30] - object_colour(1)).max(-1)
    assert row.min() < 25
    steps = np.unique(np.abs(drawn - GROUND).max(-1))
    assert len(steps) > 20  # a line without anti-aliasing has two


def test_masks_on_the_edge_and_over_the_whole_picture_are_drawn() -> None:
    whole = draw_masks(GROUND, np.ones((1, 60, 80), bool), [2], alpha=0.5)
    assert len(np.unique(whole.reshape(-1, 3), axis=0)) == 1
    edge = np.zeros((1, 60, 80), bool)
    edge[0, :, 79] = True
    assert (draw_masks(GROUND, edge, [2])[:, 79] != 128).any(-1).all()


def test_nothing_to_draw_gives_the_picture_back() -> None:
    np.testing.assert_array_equal(draw_masks(GROUND, np.zeros((0, 60, 80), bool), []), GROUND)
    np.testing.assert_array_equal(draw_masks(GROUND, np.zeros((1, 60, 80), bool), [1]), GROUND)


def test_points_are_green_or_red_with_a_white_rim_and_boxes_take_their_objects_colour() -> None:
    empty = np.zeros((1, 60, 80), bool)
    drawn = draw_masks(GROUND, empty, [1], points=[(20, 30, 1), (60, 30, 0)], boxes=[(5, 5, 75, 55)]).astype(int)
    green, red = drawn[30, 20], drawn[30, 60]
    assert green.argmax() == 1 and red.argmax() == 0
    assert (drawn[24:37, 14:27].min(-1) > 240).any()
    assert np.abs(drawn[5, 40] - object_colour(1)).max() < 3
    white = draw_masks(GROUND, np.zeros((0, 60, 80), bool), [], boxes=[(5, 5, 75, 55)])
    assert white[5, 40].min() > 250


def test_points_and_boxes_may_reach_beyond_the_picture() -> None:
    drawn = draw_masks(
        GROUND, np.zeros((0, 60, 80), bool), [], points=[(0, 0, 1), (80, 60, 0)], boxes=[(-9, -9, 99, 99)]
    )
    assert (drawn != 128).any()


def test_colours_are_fixed_and_those_of_many_objects_stay_apart() -> None:
    colours = np.array([object_colour(number) for number in range(1, 25)], int)
    apart = np.abs(colours[:, None] - colours[None]).sum(-1)
    assert apart[~np.eye(24, dtype=bool)].min() > 20
    first = np.abs(colours[:8, None] - colours[None, :8]).sum(-1)
    assert first[~np.eye(8, dtype=bool)].min() > 100
    assert object_colour(5) == object_colour(5)
    assert object_colour(0) == object_colour(0)


@pytest.mark.parametrize("shape", [(1, 60, 79), (2, 60, 80), (60, 80)])
def test_masks_of_another_size_or_number_are_refused(shape) -> None:
    with pytest.raises(InputError, match="an array, such as .*; got str"):
        draw_masks("photo.jpg", np.zeros((1, 60, 80), bool), [1])
    with pytest.raises(InputError, match=r"give masks\[:, 0\]"):
        draw_masks(GROUND, np.zeros((1, 1, 60, 80), bool), [1])
    with pytest.raises(InputError, match=r"shape \[1, 60, 80\]"):
        draw_masks(GROUND, np.zeros(shape, bool), [1])
