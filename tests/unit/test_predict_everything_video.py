"""Everything in a clip: what is there, what comes late, what leaves, and how much is remembered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from colour_network import ColourNetwork, paint
from masklet import FrameMasks, VideoSession, everything_video
from masklet.errors import InputError
from masklet.model.network import Network
from masklet.ops.boxes import mask_boxes
from masklet.ops.crops import Crop
from masklet.ops.rle import encode_rle
from masklet.predict.everything_options import EverythingOptions
from masklet.predict.everything_video import MaskletRules, MaskletSearch, later_doubles
from masklet.predict.mask_finder import FoundMask, MaskFinder
from tiny import tiny_clip, tiny_model

RED, GREEN, BLUE = (230, 40, 40), (40, 220, 60), (40, 60, 240)
RULES = MaskletRules(look_every=4)
ENTERS, WHOLE, LEAVES = 6, 10, 17


def frame(number: int) -> np.ndarray:
    """A red square that stays, a green one that leaves at frame 17, and a blue one that comes in from the right."""
    things = [(8, 8, 40, 40, RED)]
    if number < LEAVES:
        things.append((8 + 4 * number, 56, 36 + 4 * number, 84, GREEN))
    if number >= ENTERS:
        x = max(128 - 8 * (number - ENTERS + 1), 88)
        things.append((x, 92, min(x + 32, 128), 124, BLUE))
    return paint(things)


def of_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    return (picture == colour).all(-1)


def object_of(result: FrameMasks, colour: tuple[int, int, int]) -> int | None:
    """The id whose mask is the thing of that colour, but for its rounded corners."""
    wanted = of_colour(frame(result.frame), colour)
    close = [i for i in result.object_ids if (result.mask(i) != wanted).sum() <= 4]
    return close[0] if wanted.any() and close else None


@pytest.fixture(scope="module")
def results() -> list[FrameMasks]:
    clip = [frame(number) for number in range(32)]
    return list(everything_video(clip, ColourNetwork(), rules=RULES, points_per_side=8))


def test_every_frame_comes_once_in_order(results):
    assert [result.frame for result in results] == list(range(32))


def test_what_is_there_at_first_is_tracked_from_the_first_frame(results):
    red, green = object_of(results[0], RED), object_of(results[0], GREEN)
    assert red != green
    assert {object_of(result, RED) for result in results} == {red}
    assert {object_of(result, GREEN) for result in results[:LEAVES]} == {green}


def test_an_object_that_enters_late_is_covered_from_the_next_look_on(results):
    blue = object_of(results[WHOLE + 2], BLUE)
    assert blue not in (None, *results[ENTERS - 1].object_ids)
    first_seen = next(result.frame for result in results if blue in result.object_ids)
    assert first_seen in (8, 12), "the first looks after it entered"
    assert {object_of(result, BLUE) for result in results[WHOLE + 2 :]} == {blue}


def test_an_object_that_left_is_let_go(results):
    green = object_of(results[0], GREEN)
    for result in results[LEAVES:]:
        if green in result.object_ids:
            assert not result.mask(green).any()
            assert result.presence[result.object_ids.index(green)] < 0
    last_seen = max(result.frame for result in results if green in result.object_ids)
    assert last_seen == 23, "absent at the looks of frames 20 and 24"


def test_what_is_let_go_takes_no_other_along():
    finder = MaskFinder(ColourNetwork(), EverythingOptions(points_per_side=8))
    session = VideoSession(finder.model, [frame(0)], keep="window")
    search = MaskletSearch(session, finder, RULES)
    result = next(search.run())
    *lost, last = result.object_ids
    search._missed.update(dict.fromkeys(lost, RULES.patience - 1))
    drifted = result.logits[[result.object_ids.index(last)] * len(result.object_ids)]
    search._let_go(replace(result, logits=drifted, presence=torch.tensor([-5.0] * len(lost) + [5.0])))
    assert list(session.tracks) == [last]


def test_masks_found_are_not_found_again(results):
    assert max(max(result.object_ids) for result in results) == 4  # ground, red, green and blue
    for result in results:
        assert result.masks.sum(0).max() == 1


def test_numbers_are_never_given_again():
    def blinking() -> Iterator[np.ndarray]:
        for number in range(32):
            shown = number < 6 or number >= 20
            yield paint([(8, 8, 40, 40, RED), *([(64, 64, 96, 96, GREEN)] if shown else [])])

    results = list(everything_video(blinking(), ColourNetwork(), rules=RULES, points_per_side=8))
    before = {i for result in results[:6] for i in result.object_ids}
    returned = [i for i in results[-1].object_ids if results[-1].mask(i)[80, 80]]
    assert len(returned) == 1
    assert returned[0] not in before


@pytest.mark.parametrize("limit", [1, 2])
def test_no_more_objects_than_allowed(limit):
    clip = [frame(number) for number in range(14)]
    rules = MaskletRules(look_every=4, max_objects=limit)
    counts = {len(result.object_ids) for result in everything_video(clip, ColourNetwork(), rules=rules)}
    assert counts == {limit}


def test_small_things_are_left_alone():
    clip = [paint([(8, 8, 40, 40, RED), (80, 80, 88, 88, GREEN)])] * 2
    few = everything_video(clip, ColourNetwork(), rules=MaskletRules(min_part=0.01), stability_score_thresh=0.5)
    all_of_it = everything_video(clip, ColourNetwork(), rules=MaskletRules(min_part=0.001), stability_score_thresh=0.5)
    assert [len(result.object_ids) for result in few] == [2, 2]
    assert [len(result.object_ids) for result in all_of_it] == [3, 3]


class GivenMask(MaskFinder):
    """Finds one mask, or several, whatever the picture; `asked` is where, at each look."""

    def __init__(self, model: Network, *masks: np.ndarray) -> None:
        super().__init__(model, EverythingOptions())
        self.masks = masks
        self.asked: list[np.ndarray] = []

    def find(self, image: np.ndarray, where: np.ndarray | None = None) -> list[FoundMask]:
        self.asked.append(where)
        found = []
        for mask in self.masks:
            y, x = np.argwhere(mask)[0].tolist()
            height, width = mask.shape
            box = tuple(mask_boxes(mask).astype(int).tolist())
            area = int(mask.sum())
            found.append(FoundMask(encode_rle(mask), area, box, 0.9, 0.9, (x, y), Crop(0, 0, width, height)))
        return found


def square(x0: int, y0: int, x1: int, y1: int) -> np.ndarray:
    mask = np.zeros((128, 128), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def numbers_given(pictures: list[np.ndarray], *masks: np.ndarray) -> list[tuple[int, ...]]:
    """The objects of each frame, where every look finds these masks."""
    model = ColourNetwork()
    session = VideoSession(model, pictures, keep="window")
    return [result.object_ids for result in MaskletSearch(session, GivenMask(model, *masks), RULES).run()]


def test_of_masks_found_together_one_that_another_covers_is_left_alone():
    red = square(8, 8, 40, 40)
    assert numbers_given([frame(0)], red, square(8, 8, 40, 32)) == [(1,)]
    assert numbers_given([frame(0)], red, square(24, 8, 56, 40)) == [(1, 2)], "half of it is not covered"


def test_a_mask_that_tracked_ones_cover_is_left_alone():
    still = [paint([(8, 8, 40, 40, RED)])] * 5
    assert numbers_given(still, square(8, 8, 40, 40)) == [(1,)] * 5
    moved = [paint([(8 + 4 * number, 8, 40 + 4 * number, 40, RED)]) for number in range(5)]
    assert numbers_given(moved, square(8, 8, 40, 40)) == [(1,)] * 4 + [(1, 2)], "now half of it is not covered"


def test_no_point_is_put_close_to_a_known_mask():
    model = ColourNetwork()
    finder = GivenMask(model, square(8, 8, 40, 40))
    list(MaskletSearch(VideoSession(model, [frame(0)] * 5, keep="window"), finder, RULES).run())
    first, second = finder.asked
    assert first.all()
    np.testing.assert_array_equal(second[20, 36:44], [False] * 5 + [True] * 3)
    np.testing.assert_array_equal(second[20, 4:12], [True] * 3 + [False] * 5)


def test_only_absence_at_looks_in_a_row_lets_an_object_go():
    """Seen at every other look: at those of frames 0, 8 and 16."""
    clip = [paint([(64, 64, 96, 96, GREEN)] if number % 8 in (0, 1, 7) else []) for number in range(20)]
    results = list(everything_video(clip, ColourNetwork(), rules=RULES, points_per_side=8))
    green = next(i for i in results[0].object_ids if results[0].mask(i)[80, 80] and not results[0].mask(i)[8, 8])
    assert not results[4].mask(green).any() and not results[12].mask(green).any()
    assert results[16].mask(green)[80, 80]


def test_what_is_found_is_tracked_as_if_it_had_been_prompted():
    model, clip = tiny_model(), tiny_clip(20)
    mask = np.zeros(clip.shape[1:3], bool)
    mask[12:28, 4:20] = True
    prompted = VideoSession(model, clip)
    prompted.add(1, 0, mask=mask)
    rules = MaskletRules(max_objects=1, look_every=5, min_stability=0, patience=1000)
    search = MaskletSearch(VideoSession(model, clip, keep="window"), GivenMask(model, mask), rules)
    for found, expected in zip(search.run(), prompted.propagate(), strict=True):
        assert found.object_ids == expected.object_ids == (1,)
        assert (found.logits - expected.logits).abs().max() < 1e-4


def test_where_there_is_room_for_few_the_best_are_taken_up():
    model, clip = tiny_model(), tiny_clip(1)
    masks = np.zeros((3, *clip.shape[1:3]), bool)
    for place, mask in enumerate(masks):
        mask[12:28, 24 * place : 24 * place + 16] = True

    class Unordered(GivenMask):
        def find(self, image: np.ndarray, where: np.ndarray | None = None) -> list[FoundMask]:
            return [replace(one, iou=iou) for one, iou in zip(super().find(image, where), (0.6, 0.8, 0.7))]

    search = MaskletSearch(VideoSession(model, clip), Unordered(model, *masks), MaskletRules(max_objects=1))
    (found,) = search.run()
    assert found.masks[0][20, 32] and not found.masks[0][20, 8]


def test_memory_is_constant_on_an_endless_source():
    def endless() -> Iterator[np.ndarray]:
        while True:
            yield from tiny_clip(8)

    model = tiny_model()
    session = VideoSession(model, endless(), keep="window")
    options = EverythingOptions(points_per_side=4, pred_iou_thresh=0, stability_score_thresh=0)
    rules = MaskletRules(max_objects=2, look_every=5, min_stability=0, duplicate_iou=1, patience=1000)
    held = []
    for result in islice(MaskletSearch(session, MaskFinder(model, options), rules).run(), 48):
        assert len(result.object_ids) <= 2
        held.append((session.object_ids, session.history_bytes))
    settled = {size for ids, size in held[24:] if ids == held[-1][0]}
    assert len(held[-1][0]) == 2
    assert len(settled) == 1


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"max_objects": 0}, "max_objects must be 1 or more; got 0"),
        ({"look_every": -3}, "look_every must be 1 or more; got -3"),
        ({"duplicate_iou": 1.5}, "duplicate_iou must be between 0 and 1; got 1.5"),
    ],
)
def test_rules_out_of_range_are_refused(rules, message):
    with pytest.raises(InputError, match=message):
        MaskletRules(**rules)


def test_bad_arguments_are_told_before_the_first_frame():
    with pytest.raises(InputError, match="unknown preset 'slow'"):
        everything_video([frame(0)], ColourNetwork(), preset="slow")
    with pytest.raises(InputError, match="no such file"):
        everything_video("missing.mp4", ColourNetwork())


@given(st.integers(0, 2**32 - 1), st.integers(0, 6), st.floats(0, 1))
def test_of_two_alike_the_later_goes(seed: int, count: int, max_iou: float) -> None:
    masks = np.random.default_rng(seed).random((count, 5, 7)) < 0.6
    later = later_doubles(masks, max_iou)
    kept = [place for place in range(count) if place not in later]

    def alike(a: int, b: int) -> bool:
        union = (masks[a] | masks[b]).sum()
        return bool(union and np.float32((masks[a] & masks[b]).sum()) / np.float32(union) > max_iou)

    assert not any(alike(a, b) for a in kept for b in kept if a < b)
    assert all(any(alike(a, place) for a in kept if a < place) for place in later)
