"""Clips, runs of frames, and batches."""

import numpy as np
import pytest
import torch

from masklet.data.batches import collate, join
from masklet.data.clips import Clip, Joined, Merged, choose_frames, choose_shown_frames, holds_stills
from masklet.errors import InputError
from masklet.ops.pixels import PIXEL_MEAN, PIXEL_STD


def clip_of(masks, name="test"):
    masks = np.asarray(masks)
    frames = np.repeat((masks * 40).astype(np.uint8)[..., None], 3, -1)
    return Clip(frames, masks, name)


def squares(num_objects, num_frames=2, side=16):
    """Objects 1..n of 4 x 4 pixels side by side; object n is missing on the last frame."""
    masks = np.zeros((num_frames, side, side), np.uint8)
    for number in range(1, num_objects + 1):
        masks[:, :4, 4 * (number - 1) : 4 * number] = number
    masks[-1][masks[-1] == num_objects] = 0
    return clip_of(masks)


class Listed:
    """A dataset of given clips."""

    def __init__(self, clips):
        self.clips = clips

    def __len__(self):
        return len(self.clips)

    def clip(self, index, generator, num_frames):
        return self.clips[index]


def test_a_clip_knows_its_objects():
    clip = clip_of(np.array([[[0, 3], [3, 0]], [[7, 7], [0, 0]]], np.int64))
    assert clip.object_ids == (3, 7)
    assert clip.masks.dtype == np.uint16
    assert (clip.num_frames, clip.size) == (2, (2, 2))


@pytest.mark.parametrize(
    ("frames", "masks", "message"),
    [
        (np.zeros((1, 4, 4, 3), np.float32), np.zeros((1, 4, 4), int), "uint8"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 5), int), "do not fit"),
        (np.zeros((0, 4, 4, 3), np.uint8), np.zeros((0, 4, 4), int), "at least one frame"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.zeros((1, 4, 4)), "whole numbers"),
        (np.zeros((1, 4, 4, 3), np.uint8), np.full((1, 4, 4), -1), "0..65535"),
    ],
)
def test_a_clip_that_does_not_fit_together_is_named(frames, masks, message):
    with pytest.raises(InputError, match=f"(?s)my clip.*{message}"):
        Clip(frames, masks, "my clip")


def test_chosen_frames_are_evenly_spaced_and_at_times_reversed():
    generator = np.random.default_rng(0)
    available = list(range(0, 60, 3))
    runs = [choose_frames(available, 4, generator, max_stride=3) for _ in range(300)]
    steps = [np.diff(run) for run in runs]
    assert all(len(set(step)) == 1 for step in steps)
    assert {int(step[0]) for step in steps} == {-9, -6, -3, 3, 6, 9}
    assert {run[0] for run in runs} | {run[-1] for run in runs} == set(available)


@pytest.mark.parametrize("num_frames", range(2, 7))
def test_a_clip_that_is_long_enough_is_never_turned_round(num_frames):
    for available in range(num_frames, 13):
        for seed in range(20):
            run = choose_frames(range(available), num_frames, np.random.default_rng(seed), max_stride=12)
            assert len(set(np.diff(run).tolist())) == 1, (available, seed)


def test_a_short_clip_is_played_to_and_fro():
    generator = np.random.default_rng(0)
    assert choose_frames([5, 6, 7], 6, generator, reverse_probability=0) == [5, 6, 7, 6, 5, 6]
    assert choose_frames([5], 3, generator) == [5, 5, 5]
    with pytest.raises(InputError, match="0 annotated frames"):
        choose_frames([], 3, generator)


def test_runs_begin_where_something_is_shown_if_anything_is():
    generator = np.random.default_rng(0)
    asked = []

    def shows(number):
        asked.append(number)
        return number >= 5

    runs = [choose_shown_frames(range(10), 4, generator, shows) for _ in range(60)]
    assert np.mean([run[0] >= 5 for run in runs]) > 0.85  # a plain draw would in half of the runs
    assert all(abs(run[-1] - run[0]) == 3 for run in runs)
    asked.clear()
    assert len(choose_shown_frames(range(3), 2, generator, lambda number: shows(number - 10))) == 2
    assert len(asked) == 4, "a clip without objects is given up"


def test_joined_and_merged_stills_are_stills():
    stills, unsaid = Listed([]), Listed([])
    stills.only_stills = True
    assert holds_stills(stills) and not holds_stills(unsaid)
    assert holds_stills(Joined([stills, stills])) and not holds_stills(Joined([stills, unsaid]))
    assert holds_stills(Merged(stills, 0.5)) and not holds_stills(Merged(unsaid, 0.5))


def test_joined_datasets_are_counted_through():
    first, second, third = (clip_of(np.full((1, 2, 2), value), str(value)) for value in (1, 2, 3))
    joined = Joined([Listed([first]), Listed([]), Listed([second, third])])
    generator = np.random.default_rng(0)
    assert len(joined) == 3
    assert [joined.clip(i, generator, 1).name for i in range(3)] == ["1", "2", "3"]


def test_parts_are_merged_as_often_as_asked():
    generator = np.random.default_rng(0)
    parts = Listed([squares(3)])
    assert Merged(parts, 1.0).clip(0, generator, 2).object_ids == (1,)
    assert Merged(parts, 0.0).clip(0, generator, 2).object_ids == (1, 2, 3)
    merged = [Merged(parts, 0.5).clip(0, generator, 2).object_ids == (1,) for _ in range(60)]
    assert 15 < sum(merged) < 45
    assert len(Merged(parts, 0.5)) == 1
    with pytest.raises(InputError, match="probability"):
        Merged(parts, 2)


def test_a_batch_holds_each_objects_masks():
    batch = collate([squares(2), squares(3)], 3, np.random.default_rng(0))
    assert batch.pixels.shape == (2, 2, 3, 16, 16)
    assert batch.masks.shape == (2, 3, 2, 16, 16)
    assert batch.valid.tolist() == [[True, True, False], [True, True, True]]
    assert not batch.masks[0, 2].any()
    assert (batch.masks[batch.valid][:, 0].sum((-1, -2)) == 16).all()
    assert sorted(batch.masks[1, :, 1].sum((-1, -2)).tolist()) == [0, 16, 16]  # one object leaves
    mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
    assert batch.pixels.dtype == torch.uint8, "as small as can be, since batches pass between processes"
    torch.testing.assert_close(batch.normalised()[0, 0, :, 15, 15], -mean / std)
    torch.testing.assert_close(batch.normalised()[0, 0, :, 0, 0], (40 / 255 - mean) / std)


def test_more_objects_than_rows_are_sampled():
    drawn = set()
    for seed in range(30):
        batch = collate([squares(4)], 2, np.random.default_rng(seed))
        assert batch.valid.all()
        drawn |= {int(mask[0].any(0).nonzero()[0]) // 4 for mask in batch.masks[0]}
    assert drawn == {0, 1, 2, 3}


def test_repeat_fills_the_rows_with_the_same_objects():
    batch = collate([squares(1)], 5, np.random.default_rng(0), repeat=True)
    assert batch.valid.all()
    assert (batch.masks[0] == batch.masks[0, :1]).all()


def test_small_and_absent_objects_are_not_drawn():
    clip = squares(3)
    assert collate([clip], 3, np.random.default_rng(0), min_area=17).valid.sum() == 0
    backwards = Clip(clip.frames[::-1].copy(), clip.masks[::-1].copy(), "backwards")
    assert collate([backwards], 3, np.random.default_rng(0), repeat=False).valid.sum() == 2


def test_joined_batches_keep_their_order():
    generator = np.random.default_rng(0)
    one, two = collate([squares(1)], 2, generator), collate([squares(2)], 2, generator)
    both = join([one, two])
    assert both.valid.tolist() == [[True, False], [True, True]]
    assert both.names == ("test", "test")
    torch.testing.assert_close(both.pixels[1:], two.pixels)


def test_clips_of_another_shape_are_named():
    with pytest.raises(InputError, match="wide"):
        collate([clip_of(np.zeros((1, 4, 8), int), "wide")], 1, np.random.default_rng(0))
    with pytest.raises(InputError, match="at least one"):
        collate([], 1, np.random.default_rng(0))
