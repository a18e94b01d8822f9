"""The protocols' own rules, with a stand-in for the model where its answers do not matter."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

import masklet
from masklet.data.prompts import deepest_point
from masklet.errors import InputError
from masklet.eval.image import ImageRun, click_ious
from masklet.eval.interactive import InteractiveRun, SimulatedAnnotator, interactive_report
from masklet.eval.layouts import Dataset, open_clips
from masklet.eval.prompting import prompt_object
from masklet.eval.running import ModelChoice
from masklet.eval.vos import MaskScores, VosRun
from masklet.io.palette import write_index_png
from masklet.io.processes import num_cores
from masklet.types import FrameMasks, ImageMasks

SIZE = (24, 40)
NUM_FRAMES = 6
MODEL = ModelChoice("unused")


def truth_at(frame: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[6:18, 4 + 3 * frame : 16 + 3 * frame] = True
    return mask


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    for frame in range(NUM_FRAMES):
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
            path = tmp_path / folder / "clip" / f"{frame:05d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == "jpg":
                Image.new("RGB", (SIZE[1], SIZE[0])).save(path)
            else:
                write_index_png(path, truth_at(frame).astype(np.uint8))
    return open_clips(tmp_path)


class Person:
    """A stand-in for a session: right on frames that were clicked on and the two after, wrong on the others."""

    REACH = 2

    def __init__(self) -> None:
        self.clicks: list[tuple[int, tuple, int]] = []
        self.passes: list[int] = []

    def add(self, object_id, frame, points, labels):
        self.clicks.append((frame, tuple(points[0]), labels[0]))
        return self.answer(frame)

    def propagate(self, start):
        self.passes.append(start)
        return (self.answer(frame) for frame in range(start, NUM_FRAMES))

    def answer(self, frame: int) -> FrameMasks:
        near = any(clicked <= frame <= clicked + self.REACH for clicked, *_ in self.clicks)
        mask = truth_at(frame) if near else truth_at(0) & ~truth_at(2)
        return FrameMasks(frame, (1,), torch.from_numpy(mask[None] * 2.0 - 1), torch.ones(1))


@pytest.fixture
def person() -> Person:
    return Person()


@pytest.fixture
def annotator(dataset, person) -> SimulatedAnnotator:
    return SimulatedAnnotator(person, dataset.clips[0], 1, num_clicks=3)


def test_offline_clicks_on_the_worst_frame_and_tracks_again_from_the_first(annotator, person):
    annotator.annotate(0, from_start=True)
    worst = annotator.worst()
    assert worst is not None and worst > Person.REACH
    annotator.annotate(worst, from_start=True)
    assert person.passes == [0, 0]
    assert annotator.worst() is None or annotator.worst() not in (0, worst)


def test_online_goes_on_from_the_next_frame_below_the_threshold(annotator, person):
    annotator.annotate(0, from_start=False)
    pause = annotator.next_below(0.75, after=0)
    assert pause == Person.REACH + 1
    annotator.annotate(pause, from_start=False)
    assert person.passes == [0, 3]
    assert annotator.next_below(0.75, after=pause) is None
    assert annotator.scores()["j"] == [1] * NUM_FRAMES


class Stubborn(Person):
    """Wrong wherever it is asked, though on frames 0 and 1 less so."""

    REACH = -1


def test_no_frame_is_clicked_on_twice_however_wrong_it_stays(dataset):
    offline, online = (SimulatedAnnotator(Stubborn(), dataset.clips[0], 1, num_clicks=3) for _ in range(2))
    clicked: list[int | None] = [0]
    for _ in range(NUM_FRAMES):
        offline.annotate(clicked[-1], from_start=True)
        clicked.append(offline.worst())
    assert clicked == [0, 2, 3, 4, 5, 1, None]
    online.annotate(0, from_start=False)
    assert online.next_below(0.75, after=0) == 1


def test_only_frames_from_the_object_s_first_on_count(dataset, person):
    for frame in range(2):
        write_index_png(dataset.root / "Annotations" / "clip" / f"{frame:05d}.png", np.zeros(SIZE, np.uint8))
    assert SimulatedAnnotator(person, open_clips(dataset.root).clips[0], 1, num_clicks=3).frames == [2, 3, 4, 5]


def test_clicking_stops_where_nothing_is_wrong(annotator, person):
    annotator.annotate(0, from_start=True)
    assert person.clicks == [(0, deepest_point(truth_at(0)), 1)], "one click was enough, the two others are not needed"


def test_corrections_begin_from_the_mask_that_tracking_showed(annotator, person):
    annotator.annotate(0, from_start=True)
    annotator.annotate(5, from_start=True)
    frame, (x, y), label = person.clicks[1]
    wrong = truth_at(5) ^ (truth_at(0) & ~truth_at(2))
    assert frame == 5 and wrong[y, x] and label == int(truth_at(5)[y, x])


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [("mask", {"mask"}), ("box", {"box"}), ("1-click", {"points", "labels"})],
)
def test_each_prompt_is_what_its_name_says(prompt, expected):
    given = []

    class Session:
        def add(self, object_id, frame, **prompts):
            given.append(prompts)
            return FrameMasks(0, (1,), torch.ones(1, *SIZE), torch.ones(1))

    prompt_object(Session(), 1, 0, truth_at(0), prompt)
    assert [set(prompts) for prompts in given] == [expected]
    if prompt == "box":
        assert given[0]["box"].tolist() == [4, 6, 16, 18]


def test_clicks_on_pictures_take_the_best_predicted_of_three_then_feed_logits_back():
    truth = truth_at(0)
    asked = []

    class Predictor:
        def predict(self, embedding, *, points, labels, multimask, mask_logits=None):
            asked.append((len(points), multimask, None if mask_logits is None else float(mask_logits[0, 0, 0, 0])))
            masks = [truth_at(2), truth, truth_at(1)] if multimask else [truth_at(1)]
            logits = torch.stack([torch.from_numpy(mask * 2.0 - 1) for mask in masks])[None]
            iou = torch.tensor([[0.9, 0.2, 0.3][: len(masks)]])
            return ImageMasks(logits, iou, torch.arange(len(masks))[None, :, None, None].float() + len(asked))

    ious = click_ious(Predictor(), None, truth, 3)
    assert asked == [(1, True, None), (2, False, 1.0), (3, False, 2.0)]
    overlap = [np.logical_and(truth, truth_at(k)).sum() / np.logical_or(truth, truth_at(k)).sum() for k in (2, 1)]
    assert ious == pytest.approx([overlap[0], overlap[1], overlap[1]]), "what the model judges best, not what is"


def test_clicks_on_pictures_fall_where_an_error_is_deepest_until_nothing_is_wrong():
    truth = truth_at(0)
    compact = np.zeros(SIZE, bool)
    compact[18:23, 30:35] = True
    rimmed = (cv2.erode(truth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0) | compact
    assert (truth & ~rimmed).sum() > compact.sum(), "more is missed than spilled, but nowhere as deep"
    asked = []

    class Predictor:
        def predict(self, embedding, *, points, labels, multimask, mask_logits=None):
            asked.append((points[-1], labels[-1]))
            mask = rimmed if multimask else truth
            return ImageMasks(torch.from_numpy(mask * 2.0 - 1)[None, None], torch.ones(1, 1), torch.zeros(1, 1, 1, 1))

    first, *later = click_ious(Predictor(), None, truth, 4)
    assert first < 1 and later == [1, 1, 1]
    assert asked == [(deepest_point(truth), 1), ((32, 20), 0)], "two clicks were enough"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda data: VosRun(data, MODEL, Path("out"), "2-click"), "unknown prompt '2-click'; there are mask, box"),
        (lambda data: InteractiveRun(data, MODEL, "sideways"), "offline or online, not 'sideways'"),
        (lambda data: InteractiveRun(data, MODEL, rounds=0), "at least 1; got 0 and 3"),
        (lambda data: ImageRun(data.root, MODEL, clicks=0), "at least 1; got 0, 1 and None"),
    ],
)
def test_options_out_of_range_are_refused(dataset, make, words):
    with pytest.raises(InputError, match=words):
        make(dataset)


def test_no_more_processes_than_can_hold_the_model(dataset, monkeypatch):
    monkeypatch.setattr(ModelChoice, "processes", 7)
    for run in (VosRun(dataset, MODEL, Path("out")), InteractiveRun(dataset, MODEL), ImageRun(dataset.root, MODEL)):
        assert run.processes == 7
    assert MaskScores(dataset, Path("out")).processes == num_cores()


def test_settings_tell_by_whose_rules_a_run_was_measured(dataset):
    """So that a run which is taken up again after an upgrade does not mix two protocols."""
    nano, out = ModelChoice("nano"), Path("out")
    tracked = VosRun(dataset, nano, out), InteractiveRun(dataset, nano)
    for run in (*tracked, ImageRun(dataset.root, nano), MaskScores(dataset, out)):
        assert run.settings["masklet"] == masklet.__version__
    changed = {"fill_hole_area": 0, "binarise_prompted": False, "stability_fallback": False}
    assert [run.settings["policy"] for run in tracked] == [changed, {}]


def test_masks_alone_are_not_enough_for_a_model(dataset):
    alone = open_clips(dataset.root / "Annotations")
    with pytest.raises(InputError, match="has masks but no pictures"):
        VosRun(alone, MODEL, Path("out"))
    with pytest.raises(InputError, match="has no pictures, which the interactive protocols need"):
        InteractiveRun(alone, MODEL)


def test_a_report_of_no_object_is_an_error(dataset):
    with pytest.raises(InputError, match="nothing to click on"):
        interactive_report(InteractiveRun(dataset, MODEL), {"clip": {"objects": []}}, 0.0)


def test_the_list_of_training_clips_does_not_choose_what_is_evaluated(dataset):
    (dataset.root / "ImageSets" / "2017").mkdir(parents=True)
    (dataset.root / "ImageSets" / "2017" / "train.txt").write_text("another\n")
    assert len(ImageRun(dataset.root, MODEL).items) == 1
