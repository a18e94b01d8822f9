"""Properties of training data, over random shapes and seeds."""

import cv2
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from masklet.data.batches import collate
from masklet.data.clips import Clip, choose_frames
from masklet.data.colours import ColourJitter
from masklet.data.prompts import deepest_point, jittered_box, next_click, tight_box
from masklet.data.transforms import Augmentation, to_opencv, warp_mask, warp_picture
from masklet.types import Size

SEEDS = st.integers(0, 2**32)
MASKS = hnp.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@given(MASKS.filter(np.any))
def test_the_deepest_point_is_as_deep_as_any(mask):
    """Against the plain reading: a pixel's depth is its distance to the nearest one outside or beyond the edge."""
    bordered = np.pad(mask, 1)
    outside = np.argwhere(~bordered)
    inside = np.argwhere(bordered)
    depths = np.sqrt(((inside[:, None] - outside[None]) ** 2).sum(-1)).min(1)
    x, y = deepest_point(mask)
    assert mask[y, x]
    reached = depths[(inside == (y + 1, x + 1)).all(1)][0]
    assert reached >= depths.max() - 1e-3


@given(
    st.tuples(st.integers(1, 10), st.integers(1, 10)).flatmap(lambda s: st.tuples(*[hnp.arrays(bool, s)] * 2)), SEEDS
)
def test_a_click_tells_the_truth(pair, seed):
    truth, predicted = pair
    x, y, label = next_click(truth, predicted, np.random.default_rng(seed))
    assert label == truth[y, x]
    if (truth != predicted).any():
        assert truth[y, x] != predicted[y, x]


@given(MASKS.filter(np.any), SEEDS, st.floats(0, 0.3))
def test_a_jittered_box_overlaps_the_tight_one(mask, seed, jitter):
    tight, jittered = tight_box(mask), jittered_box(mask, np.random.default_rng(seed), jitter)
    height, width = mask.shape
    assert (jittered >= 0).all()
    assert (jittered <= (width, height, width, height)).all()
    assert (jittered[2:] > jittered[:2]).all()
    reach = jitter * np.tile(tight[2:] - tight[:2], 2)
    assert (np.abs(jittered - tight) <= reach + 1e-4).all()


@given(st.integers(20, 90), st.integers(20, 90), SEEDS)
@example(67, 48, 1555204781)
def test_a_picture_equal_to_its_mask_stays_equal_to_it(height, width, seed):
    """Under every geometry: smooth a blob, cut it at the middle, warp both, cut the picture at the middle again."""
    generator = np.random.default_rng(seed)
    blob = cv2.resize(generator.random((4, 4), np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    mask = (blob > 0.5).astype(np.uint8)
    picture = np.repeat((mask * 255)[..., None], 3, -1)
    matrix = Augmentation(48, degrees=60, shear=25, crop=(0.3, 1.4), stretch=2).draw_matrix(
        Size(height, width), generator
    )
    warped = warp_mask(mask, matrix, 48)
    seen = warp_picture(picture, matrix, 48)[..., 2] > 127
    # A pixel of the picture spans several of an enlarged result; what is thinner than one of a reduced may vanish.
    reach = int(np.ceil(np.abs(np.linalg.inv(matrix[:2, :2])).sum(1).max()))
    near = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    # An edge may lie just outside what is shown, so that edges are looked for in a wider view.
    further = 2 * reach
    shift = np.array([[1, 0, -further], [0, 1, -further], [0, 0, 1]])
    wide = warp_mask(mask, matrix @ shift, 48 + 2 * further)
    edge = cv2.morphologyEx(wide, cv2.MORPH_GRADIENT, near) > 0
    thin = cv2.morphologyEx(wide, cv2.MORPH_OPEN, near) != wide
    gaps = cv2.morphologyEx(wide, cv2.MORPH_CLOSE, near) != wide
    unsure = (edge | thin | gaps)[further:-further, further:-further]
    assert not ((seen != (warped > 0)) & ~unsure).any()


@given(hnp.arrays(np.float64, (3, 3), elements=st.floats(-5, 5)))
def test_opencvs_places_are_half_a_pixel_off(matrix):
    matrix[2] = (0, 0, 1)
    point = np.array([3.0, 4.0, 1.0])
    half = np.array([0.5, 0.5, 0])
    np.testing.assert_allclose(to_opencv(matrix) @ point + half, matrix @ (point + half), atol=1e-9)


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 6), SEEDS)
def test_frames_chosen_exist_and_follow_each_other(available, num_frames, max_stride, seed):
    numbers = list(range(100, 100 + available))
    chosen = choose_frames(numbers, num_frames, np.random.default_rng(seed), max_stride=max_stride)
    assert len(chosen) == num_frames
    assert set(chosen) <= set(numbers)
    steps = np.abs(np.diff(chosen))
    assert (steps <= max_stride).all()
    if available >= num_frames:
        assert len(set(chosen)) == num_frames


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(8), st.just(8)), elements=st.integers(0, 5)),
    st.integers(1, 7),
    st.booleans(),
    SEEDS,
)
def test_rows_of_a_batch_are_objects_of_the_first_frame(masks, num_objects, repeat, seed):
    clip = Clip(np.zeros((*masks.shape, 3), np.uint8), masks, "random")
    batch = collate([clip], num_objects, np.random.default_rng(seed), repeat=repeat)
    present = set(np.unique(masks[0]).tolist()) - {0}
    rows = [mask.numpy() for mask, valid in zip(batch.masks[0], batch.valid[0], strict=True) if valid]
    drawn = [int(masks[0][row[0]][0]) for row in rows]
    assert all((row == (masks == number)).all() for row, number in zip(rows, drawn, strict=True))
    assert set(drawn) <= present
    expected = num_objects if repeat and present else min(num_objects, len(present))
    assert len(rows) == expected
    assert len(set(drawn)) == min(num_objects, len(present))
    assert not batch.masks[0][~batch.valid[0]].any()


@given(SEEDS)
def test_colours_of_any_jitter_leave_shape_and_type(seed):
    generator = np.random.default_rng(seed)
    pictures = generator.integers(0, 256, (2, 5, 6, 3)).astype(np.uint8)
    changed = ColourJitter(0.5, 0.5, 0.9, 0.3, 0.3, 2.0).draw(generator).apply(pictures)
    assert changed.shape == pictures.shape
    assert changed.dtype == np.uint8
