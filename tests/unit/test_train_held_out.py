"""Measuring a run on data held out: the same questions each time, and the best model kept."""

import json
import os
import signal
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from masklet.checkpoints import load
from masklet.errors import InputError
from masklet.io.formats import read_annotations, write_annotations
from masklet.train.feed import check_sources, open_source
from masklet.train.held_out import Examiner, _told
from masklet.train.loop import Pace, Run
from masklet.train.recipe import HeldOut, Part, Source, load_recipe, save_recipe
from masklet.train.recipes import finetune
from masklet.train.rollout import Annotator
from tiny_training import clip_recipe, stills_recipe, write_clip, write_stills

PACE = Pace(save_every=2, print_every=1, workers=0)
ASKED = Annotator(mask_share=0.0, box_share=0.5, max_prompted=1, corrections=0, box_jitter=0.0)


pytestmark = pytest.mark.usefixtures("no_torchrun")


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    return write_stills(tmp_path_factory.mktemp("data") / "stills", 6)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return write_stills(tmp_path_factory.mktemp("data") / "others", 4, seed=1)


def write_yolo(folder, count):
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for number in range(count):
        picture = np.full((64, 64, 3), 20 * number, np.uint8)
        picture[10:40, 10:40] = 200
        cv2.imwrite(str(folder / "images" / f"{number}.jpg"), picture)
        (folder / "labels" / f"{number}.txt").write_text("0 0.15 0.15 0.62 0.15 0.62 0.62 0.15 0.62\n")


def held_out_recipe(stills, others, steps=6, every=2):
    part = Part((Source(str(others)),), clips=2, sessions=2, annotator=ASKED)
    return replace(stills_recipe(stills, steps), held_out=HeldOut(part, batches=2, every=every))


def entries(folder):
    return [json.loads(line) for line in (folder / "held-out.jsonl").read_text().splitlines()]


def test_a_run_is_measured_before_it_learns_and_then_every_so_many_steps(stills, others, tmp_path):
    Run.begin(held_out_recipe(stills, others, steps=5), tmp_path, PACE).train()
    found = entries(tmp_path)
    assert [entry["step"] for entry in found] == [0, 2, 4, 5]
    for entry in found:
        assert set(entry) == {"step", "questions", "iou/box0", "iou/click0", "mean"}
        assert entry["mean"] == pytest.approx((entry["iou/box0"] + entry["iou/click0"]) / 2)


def test_the_same_model_gets_the_same_marks(stills, others, tmp_path):
    recipe = held_out_recipe(stills, others)
    run = Run.begin(recipe, tmp_path, PACE)
    examiner = Examiner(recipe.held_out, recipe, tmp_path)
    for _ in range(2):
        examiner.ask(run.result(), 0)
    first, second = entries(tmp_path)
    assert first == second


def test_measuring_changes_nothing_of_what_is_learned(stills, others, tmp_path):
    recipe = held_out_recipe(stills, others)
    measured = Run.begin(recipe, tmp_path / "measured", PACE).train()
    plain = Run.begin(replace(recipe, held_out=None), tmp_path / "plain", PACE).train()
    for name, value in plain.state_dict().items():
        assert torch.equal(value, measured.state_dict()[name]), name


def test_the_best_model_is_kept_and_a_worse_one_does_not_replace_it(stills, others, tmp_path, monkeypatch, capsys):
    marks = iter([0.5, 0.7, 0.4, 0.6])
    monkeypatch.setattr("masklet.train.held_out.measure", lambda *_: {"iou/box0": next(marks)})
    recipe = held_out_recipe(stills, others)
    run = Run.begin(recipe, tmp_path, PACE)
    examiner = Examiner(recipe.held_out, recipe, tmp_path)
    best = tmp_path / "best.safetensors"
    kept = []
    capsys.readouterr()
    model = run.result()
    for step in range(4):
        torch.nn.init.constant_(model.no_obj_ptr, step)
        examiner.ask(model, step)
        kept.append(load(best, device="cpu").no_obj_ptr[0, 0].item() if best.exists() else None)
    assert kept == [None, 1.0, 1.0, 1.0], "what it started from is no result of training"
    told = capsys.readouterr().out.splitlines()
    assert [line.endswith("best so far") for line in told] == [False, True, False, False]


def test_a_run_ends_with_where_its_best_model_lies(stills, others, tmp_path, monkeypatch, capsys):
    for name, given, told in (
        ("better", [0.5, 0.7, 0.4, 0.6], f"0.600  best after 2 steps: {tmp_path / 'better' / 'best.safetensors'}"),
        ("worse", [0.5, 0.4, 0.3, 0.2], "0.200  never better than what it started from"),
        ("last", [0.5, 0.4, 0.3, 0.6], "0.600  best so far"),
    ):
        marks = iter(given)
        monkeypatch.setattr("masklet.train.held_out.measure", lambda *_, marks=marks: {"iou/box0": next(marks)})
        Run.begin(held_out_recipe(stills, others), tmp_path / name, PACE).train()
        assert capsys.readouterr().out.splitlines()[-1] == f"6/6 held out  iou/box0 {told}"


def test_marks_on_other_data_are_not_compared(stills, others, tmp_path, monkeypatch):
    marks = iter([0.2, 0.9, 0.3, 0.4, 0.5])
    monkeypatch.setattr("masklet.train.held_out.measure", lambda *_: {"iou/box0": next(marks)})
    Run.begin(held_out_recipe(stills, others, steps=2), tmp_path / "run", PACE).train()
    best = tmp_path / "run" / "best.safetensors"
    before = best.read_bytes()
    again = write_stills(tmp_path / "again", 4, seed=2)
    save_recipe(held_out_recipe(stills, again, steps=4), tmp_path / "run" / "recipe.json")
    Run.resume(tmp_path / "run", PACE).train()
    found = [(entry["step"], entry["mean"]) for entry in entries(tmp_path / "run")]
    assert found == [(0, 0.2), (2, 0.9), (2, 0.3), (4, 0.4)], "what it goes on from is asked anew, by the new questions"
    assert best.read_bytes() != before, "0.4 is better than 0.3, whatever the others gave"
    assert (tmp_path / "run" / "best-before.safetensors").read_bytes() == before


def test_marks_of_earlier_versions_count(stills, others, tmp_path):
    """Which did not write down what had been asked; nor do fields that a recipe gets later change it."""
    recipe = held_out_recipe(stills, others)
    run = Run.begin(recipe, tmp_path, PACE)
    (tmp_path / "held-out.jsonl").write_text('{"step": 0, "iou/box0": 0.9, "mean": 0.9}\n')
    Examiner(recipe.held_out, recipe, tmp_path).ask(run.result(), 2)
    assert not (tmp_path / "best.safetensors").exists(), "it is worse than 0.9"
    assert _told(Part((Source("data"),), frames=4)) == (
        "Part",
        [("sources", [("Source", [("path", "data")])]), ("frames", 4)],
    )


def test_a_run_whose_questions_change_is_measured_where_it_goes_on(stills, others, tmp_path):
    Run.begin(replace(held_out_recipe(stills, others, steps=3), held_out=None), tmp_path, PACE).train()
    save_recipe(held_out_recipe(stills, others, steps=6, every=5), tmp_path / "recipe.json")
    Run.resume(tmp_path, PACE).train()
    assert [entry["step"] for entry in entries(tmp_path)] == [3, 5, 6]


def test_what_was_best_is_remembered_when_a_run_goes_on(stills, others, tmp_path, monkeypatch):
    marks = iter([0.1, 0.9, 0.5, 0.5, 0.5])
    monkeypatch.setattr("masklet.train.held_out.measure", lambda *_: {"iou/box0": next(marks)})
    run = Run.begin(held_out_recipe(stills, others), tmp_path, PACE)
    take_a_step = run._optimise

    def press(drawn, stage, rate):
        if run.step == 3:
            signal.raise_signal(signal.SIGINT)
        return take_a_step(drawn, stage, rate)

    monkeypatch.setattr(run, "_optimise", press)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    before = os.stat(tmp_path / "best.safetensors").st_mtime_ns
    Run.resume(tmp_path, PACE).train()
    assert [entry["step"] for entry in entries(tmp_path)] == [0, 2, 4, 6]
    assert os.stat(tmp_path / "best.safetensors").st_mtime_ns == before


def test_what_a_killed_run_measured_after_its_last_state_is_measured_again(stills, others, tmp_path):
    recipe = held_out_recipe(stills, others, steps=4)
    run = Run.begin(recipe, tmp_path, PACE)
    state = (tmp_path / "state.pt").read_bytes()
    run.train()
    first = entries(tmp_path)
    (tmp_path / "state.pt").write_bytes(state)
    Run.resume(tmp_path, PACE).train()
    assert entries(tmp_path) == first


def test_clips_held_out_are_tracked_from_their_first_mask(tmp_path):
    clips = write_clip(tmp_path / "clips", 5)
    part = Part((Source(str(clips)),), frames=4, annotator=replace(ASKED, mask_share=1.0, box_share=0.0))
    recipe = replace(clip_recipe(clips, 2, 4), held_out=HeldOut(part, batches=1, every=2))
    Run.begin(recipe, tmp_path / "run", PACE).train()
    assert [set(entry) for entry in entries(tmp_path / "run")] == [{"step", "questions", "iou/tracked", "mean"}] * 2


def test_data_held_out_are_opened_before_a_run_and_must_show_something(stills, others, tmp_path):
    with pytest.raises(InputError, match="no such file or folder: .*missing"):
        check_sources(held_out_recipe(stills, tmp_path / "missing"))
    empty = write_stills(tmp_path / "empty", 1)
    for mask in empty.glob("*.png"):
        mask.write_bytes((others / "000.png").read_bytes())
    recipe = held_out_recipe(stills, empty)
    large = replace(recipe.stages[-1], augmentation=replace(recipe.stages[-1].augmentation, min_area=10**6))
    with pytest.raises(InputError, match=r"the data held out, .*empty, show no object"):
        Run.begin(replace(recipe, stages=(large,)), tmp_path / "run", PACE)
    Run.begin(recipe, tmp_path / "run", PACE)  # what was refused is no run in the way of another


def test_a_run_that_never_gets_better_says_so(stills, others, tmp_path, monkeypatch, capsys):
    marks = iter([0.5, 0.4])
    monkeypatch.setattr("masklet.train.held_out.measure", lambda *_: {"iou/box0": next(marks)})
    recipe = held_out_recipe(stills, others)
    run = Run.begin(recipe, tmp_path, PACE)
    examiner = Examiner(recipe.held_out, recipe, tmp_path)
    for step in (0, recipe.num_steps):
        examiner.ask(run.result(), step)
    assert capsys.readouterr().out.splitlines()[-1].endswith("never better than what it started from")


def test_what_is_trained_on_is_not_held_out(stills, tmp_path):
    (tmp_path / "link").symlink_to(stills)
    with pytest.raises(InputError, match="is what is trained on"):
        finetune(stills, held_out=tmp_path / "link")


def test_folders_that_are_called_train_and_val_are_not_all_parts(tmp_path):
    """One annotation file over both is opened whole; labels that only one of them has are all there is."""
    for name in ("train", "val"):
        write_yolo(tmp_path / "one" / name, 2)
    write_annotations(read_annotations(tmp_path / "one"), tmp_path / "coco" / "all.json", "coco")
    for name in ("train", "val"):
        (tmp_path / "one" / name / "images").rename(tmp_path / "coco" / name)
    contents = json.loads((tmp_path / "coco" / "all.json").read_text())
    for image in contents["images"]:
        image["file_name"] = image["file_name"].replace("images/", "").replace("labels/", "")
    (tmp_path / "coco" / "all.json").write_text(json.dumps(contents))
    write_yolo(tmp_path / "bare" / "train", 2)
    (tmp_path / "bare" / "val" / "labels").mkdir(parents=True)
    for name in ("coco", "bare"):
        with pytest.raises(InputError, match="is what is trained on, and is not parted into train and val"):
            finetune(tmp_path / name, held_out=tmp_path / name)


def test_of_data_that_are_parted_the_other_part_is_held_out(tmp_path, capsys):
    for name, count in (("train", 3), ("valid", 2), ("test", 1)):
        write_yolo(tmp_path / "yolo" / name, count)
    recipe = finetune(tmp_path / "yolo", steps=1, held_out=tmp_path / "yolo", image_size=64)
    small = replace(
        recipe, model=stills_recipe(tmp_path, 2).model, start=None, held_out=replace(recipe.held_out, batches=2)
    )
    Run.begin(small, tmp_path / "run", PACE)
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path / 'yolo'} (train): 3 pictures",
        f"{tmp_path / 'yolo'} (val): 2 pictures",
    ]
    (part,) = small.stages[0].parts
    for packed in (False, True):
        for source, place in ((part.sources[0], "train"), (small.held_out.part.sources[0], "valid")):
            dataset = open_source(replace(source, cached=packed), tmp_path / "cache", 64)
            names = {dataset.clip(number, np.random.default_rng(0)).name for number in range(len(dataset))}
            assert {f"/{place}/" in name for name in names} == {True}, (packed, names)


def test_what_is_held_out_stands_in_the_recipe(stills, others, tmp_path):
    recipe = finetune(stills, steps=1000, held_out=others)
    save_recipe(recipe, tmp_path / "recipe.json")
    assert load_recipe(tmp_path / "recipe.json") == recipe
    assert recipe.held_out.every == 100 and recipe.held_out.part.sources[0].path == str(others)
    assert finetune(stills, steps=60, held_out=others).held_out.every == 25
    assert finetune(stills).held_out is None
