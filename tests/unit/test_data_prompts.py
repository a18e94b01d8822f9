"""Simulated annotators: where clicks and boxes fall."""

import numpy as np
import pytest

from masklet.data.prompts import (
    BOX_JITTER_LIMIT,
    Click,
    deeper_error_click,
    deepest_point,
    jittered_box,
    next_click,
    sample_click,
    tight_box,
)
from masklet.errors import InputError


def rectangle(x0, y0, x1, y1, size=(40, 60)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def test_the_deepest_point_is_the_middle():
    assert deepest_point(rectangle(10, 5, 21, 16)) == (15, 10)


def test_the_pictures_edge_counts_as_outside():
    """Half a disc at the edge: without the border its deepest point would lie on the edge."""
    assert deepest_point(rectangle(0, 10, 11, 21)) == (5, 15)
    assert deepest_point(np.ones((21, 21), bool)) == (10, 10)


def test_sampled_clicks_cover_the_region_and_nothing_else():
    region = rectangle(3, 4, 6, 7)
    generator = np.random.default_rng(0)
    clicks = {sample_click(region, generator) for _ in range(200)}
    assert clicks == {(x, y) for x in range(3, 6) for y in range(4, 7)}


def test_the_official_rule_prefers_what_is_deep_to_what_is_large():
    """A rim of two pixels is missed all around, 848 in all; a square of 100 is spilled."""
    truth = np.zeros((200, 200), bool)
    truth[40:150, 40:150] = True
    predicted = np.zeros_like(truth)
    predicted[42:148, 42:148] = True
    predicted[180:190, 180:190] = True
    click = deeper_error_click(truth, predicted)
    assert click.label == 0 and 183 <= click.x <= 186 and 183 <= click.y <= 186
    assert deeper_error_click(truth, np.zeros_like(truth)) == Click(*deepest_point(truth), 1)
    with pytest.raises(InputError, match="nothing is wrong"):
        deeper_error_click(truth, truth)


def test_a_sampled_next_click_lies_on_an_error_with_its_label():
    truth, predicted = rectangle(0, 0, 20, 20), rectangle(10, 0, 30, 20)
    generator = np.random.default_rng(1)
    labels = set()
    for _ in range(50):
        x, y, label = next_click(truth, predicted, generator)
        assert truth[y, x] != predicted[y, x]
        assert label == truth[y, x]
        labels.add(label)
    assert labels == {0, 1}


def test_without_an_error_the_click_falls_on_the_background():
    generator = np.random.default_rng(0)
    truth = rectangle(0, 0, 20, 20)
    x, y, label = next_click(truth, truth, generator)
    assert label == 0
    assert not truth[y, x]
    full = np.ones((8, 8), bool)
    assert next_click(full, full, generator).label == 1


def test_the_tight_box_excludes_its_far_edges():
    assert tight_box(rectangle(10, 5, 21, 16)).tolist() == [10, 5, 21, 16]


def test_a_jittered_box_stays_within_its_bounds():
    mask = rectangle(0, 5, 50, 35)
    generator = np.random.default_rng(0)
    boxes = np.stack([jittered_box(mask, generator) for _ in range(500)])
    limit = BOX_JITTER_LIMIT * 60
    assert 0.95 * limit < np.abs(boxes - (0, 5, 50, 35)).max() <= limit + 1e-4
    assert boxes.min() >= 0
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    assert np.ptp(boxes[:, 1]) > limit  # it does move, both ways


def test_a_large_picture_lets_a_box_move_by_a_tenth():
    mask = np.zeros((1024, 1024), bool)
    mask[400:500, 400:500] = True
    generator = np.random.default_rng(0)
    boxes = np.stack([jittered_box(mask, generator) for _ in range(300)])
    reach = np.abs(boxes - (400, 400, 500, 500)).max()
    assert 9 < reach <= 10


@pytest.mark.parametrize("simulate", [deepest_point, tight_box, lambda m: sample_click(m, np.random.default_rng(0))])
def test_an_empty_mask_is_an_error(simulate):
    with pytest.raises(InputError, match="empty"):
        simulate(np.zeros((4, 4), bool))


def test_shapes_that_differ_are_an_error():
    with pytest.raises(InputError, match="one shape"):
        next_click(np.zeros((4, 4), bool), np.zeros((4, 5), bool), np.random.default_rng(0))
