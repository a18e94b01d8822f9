"""Properties of files of masks and of sources of frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masklet.io.draw import draw_masks
from masklet.io.frames import open_frames
from masklet.io.images import read_image
from masklet.io.palette import read_index_png, write_index_png
from masklet.ops.index_masks import index_map

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(hnp.arrays(np.uint16, SHAPES, elements=st.sampled_from([0, 1, 254, 255, 256, 4000, 65535])))
def test_index_pngs_round_trip(tmp_path_factory, index: np.ndarray) -> None:
    path = tmp_path_factory.getbasetemp() / "index.png"
    write_index_png(path, index)
    np.testing.assert_array_equal(read_index_png(path), index)


@given(hnp.arrays(bool, st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))))
def test_an_index_map_shows_an_object_wherever_there_is_one(masks: np.ndarray) -> None:
    ids = [3 * place + 2 for place in range(len(masks))]
    index = index_map(masks, ids)
    np.testing.assert_array_equal(index > 0, masks.any(0))
    for mask, object_id in zip(masks, ids, strict=True):
        assert mask[index == object_id].all()
    smallest = masks.sum((1, 2)).argmin()
    if (masks.sum((1, 2)) == masks.sum((1, 2))[smallest]).sum() == 1:
        assert (index[masks[smallest]] == ids[smallest]).all()


@pytest.mark.filterwarnings("ignore::masklet.errors.MaskletWarning")
@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.integers(1, 5), st.sampled_from([1, 3, 4]))))
def test_pictures_as_bytes_floats_and_16_bits_are_the_same_picture(picture: np.ndarray) -> None:
    expected = read_image(picture)
    np.testing.assert_array_equal(read_image(picture / 255), expected)
    np.testing.assert_array_equal(read_image(picture.astype(np.uint16) * 257), expected)
    np.testing.assert_array_equal(read_image(expected), expected)


@given(st.lists(st.integers(0, 11), min_size=1, max_size=20))
def test_an_iterable_gives_the_same_frames_in_any_order(order: list[int]) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (12, 3, 4, 3), np.uint8)
    source = open_frames(iter(frames))
    source._cache_frames = 2
    for number in order:
        np.testing.assert_array_equal(source[number], frames[number])


@settings(max_examples=30)
@given(hnp.arrays(bool, st.tuples(st.integers(0, 3), st.just(12), st.just(17))))
def test_drawing_never_changes_pixels_far_from_masks(masks: np.ndarray) -> None:
    picture = np.full((12 + 40, 17 + 40, 3), 77, np.uint8)
    larger = np.zeros((len(masks), *picture.shape[:2]), bool)
    larger[:, 20:32, 20:37] = masks
    drawn = draw_masks(picture, larger, list(range(1, len(masks) + 1)))
    ring = np.ones(picture.shape[:2], bool)
    ring[8:44, 8:49] = False
    assert (drawn[ring] == 77).all()
    if not masks.any():
        np.testing.assert_array_equal(drawn, picture)
