"""`masklet train` from the command line."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

from masklet.checkpoints import load, save
from masklet.cli import app
from masklet.cli.train import _told
from masklet.errors import CheckpointError, InputError
from masklet.model.network import Network
from masklet.train.recipe import load_recipe, save_recipe
from masklet.train.saved import make_model
from tiny_training import HIERA, stills_recipe, write_clip, write_stills


@pytest.fixture
def runner():
    return CliRunner()


def run(runner, *arguments):
    result = runner.invoke(app, ["train", *map(str, arguments)], catch_exceptions=True)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_fine_tune_resume_and_export(runner, tmp_path):
    data = write_stills(tmp_path / "stills", 4)
    save(Network(stills_recipe(data, 2).model), tmp_path / "start.safetensors")
    out = tmp_path / "run"
    run(runner, "finetune", "--data", data, "--out", out, "--from", tmp_path / "start.safetensors", "--steps", 1)
    assert load(out / "model.safetensors", device="cpu").config.name == "tiny-convnet"
    assert load_recipe(out / "recipe.json").num_steps == 1
    assert "model.safetensors" in run(runner, "resume", out, "--workers", 0).replace("\n", "")
    assert "1 of 1 steps" in run(runner, "export", out, tmp_path / "half.safetensors", "--half")
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * (out / "model.safetensors").stat().st_size


def test_a_run_goes_on_from_another_folder_at_its_own_size_without_what_it_began_with(runner, tmp_path, monkeypatch):
    data = write_stills(tmp_path / "stills", 4)
    start = tmp_path / "start.safetensors"
    save(Network(stills_recipe(data, 2).model), start)
    monkeypatch.chdir(tmp_path)
    arguments = ("--out", "run", "--from", start.name, "--steps", 1, "--image-size", 96)
    run(runner, "finetune", "--data", "stills", *arguments)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    start.unlink()
    (tmp_path / "run" / "model.safetensors").unlink()
    run(runner, "resume", tmp_path / "run", "--workers", 0)
    assert load(tmp_path / "run" / "model.safetensors", device="cpu").config.image_size == 96


def test_a_start_of_another_architecture_is_refused(tmp_path):
    recipe = stills_recipe(write_stills(tmp_path / "stills", 1), 2)
    save(Network(HIERA), tmp_path / "start.safetensors")
    with pytest.raises(CheckpointError, match="does not fit"):
        make_model(replace(recipe, start=str(tmp_path / "start.safetensors")), started=True)


def test_a_recipe_trains_where_fine_tuning_would_and_keeps_its_start_from_anywhere(runner, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr("masklet.train.loop.begin", lambda recipe, *more: begun.append((recipe, more[-1])))
    monkeypatch.setattr("masklet.checkpoints.choose_device", lambda *_: torch.device("meta"))
    save(Network(stills_recipe(tmp_path, 2).model), tmp_path / "start.safetensors")
    write_stills(tmp_path / "stills", 1)
    monkeypatch.chdir(tmp_path)
    run(runner, "finetune", "--data", "stills", "--out", "run", "--from", "start.safetensors")
    save_recipe(begun[0][0], tmp_path / "recipe.json")
    run(runner, "run", "recipe.json", "--out", "again")
    assert begun[0] == begun[1]
    assert begun[0][0].start == str(tmp_path / "start.safetensors") and begun[0][1] == "meta"


def test_data_that_are_not_there_are_named(runner, tmp_path):
    save(Network(stills_recipe(tmp_path, 2).model), tmp_path / "start.safetensors")
    data, out, start = tmp_path / "nowhere", tmp_path / "run", tmp_path / "start.safetensors"
    with pytest.raises(InputError, match="nowhere"):
        run(runner, "finetune", "--data", data, "--out", out, "--from", start)
    assert not out.exists(), "a run that cannot begin leaves nothing behind"


def test_pictures_of_an_annotation_file_may_lie_elsewhere(runner, tmp_path):
    (tmp_path / "apart").mkdir()
    write_stills(tmp_path / "stills", 1)
    (tmp_path / "stills" / "000.jpg").rename(tmp_path / "apart" / "000.jpg")
    polygon = [10, 10, 40, 10, 40, 40, 10, 40]
    coco = {
        "images": [{"id": 1, "file_name": "000.jpg", "width": 64, "height": 64}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [polygon], "iscrowd": 0}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    save(Network(stills_recipe(tmp_path, 2).model), tmp_path / "start.safetensors")
    arguments = ("--data", tmp_path / "coco.json", "--out", tmp_path / "run", "--from", tmp_path / "start.safetensors")
    with pytest.raises(InputError, match="--images"):
        run(runner, "finetune", *arguments, "--steps", 1)
    run(runner, "finetune", *arguments, "--steps", 1, "--images", tmp_path / "apart")
    assert (tmp_path / "run" / "model.safetensors").exists()

    write_stills(tmp_path / "others", 1, seed=1)
    (tmp_path / "held-out.json").write_text(json.dumps(coco))
    asked = ("--steps", 1, "--images", tmp_path / "apart", "--held-out")
    for name, more in (
        ("beside their masks", (tmp_path / "others",)),
        ("in the same place", (tmp_path / "held-out.json",)),
        ("elsewhere", (tmp_path / "held-out.json", "--held-out-images", tmp_path / "apart")),
    ):
        told = run(runner, "finetune", *arguments, "--out", tmp_path / name, *asked, *more)
        assert "1/1 held out" in told, name
    with pytest.raises(InputError, match=r"^held out: the picture 000\.jpg of .*held-out\.json is not in .*others"):
        run(
            runner, "finetune", *arguments, "--out", tmp_path / "not there", *asked, tmp_path / "held-out.json",
            "--held-out-images", tmp_path / "others" / "nothing",
        )  # fmt: skip
    with pytest.raises(InputError, match=r"apart would hold the pictures held out, but none are \(--held-out\)"):
        run(runner, "finetune", *arguments, "--held-out-images", tmp_path / "apart")


def test_fewer_gpus_take_more_steps_for_the_same_epochs(runner, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr("masklet.train.loop.begin", lambda recipe, *_: begun.append(recipe.num_steps))
    write_clip(tmp_path, 8)
    for processes in ("2", "1"):
        monkeypatch.setenv("WORLD_SIZE", processes)
        run(runner, "mose-finetune", "--data", tmp_path, "--out", tmp_path / "run")
    assert begun == [40 * 1, 40 * 2], "two draws of one clip an epoch"


@pytest.mark.parametrize("option", ["--steps", "--frames", "--stride"])
def test_a_number_out_of_range_is_told_by_the_name_of_its_option(runner, tmp_path, option):
    told = run(runner, "finetune", "--data", tmp_path, "--out", tmp_path / "run", option, 0)
    assert f"'{option}'" in told and "Traceback" not in told


def test_a_precision_nobody_knows_begins_no_run(runner, tmp_path):
    data, out = write_stills(tmp_path / "data", 2), tmp_path / "run"
    with pytest.raises(InputError, match="precision is one of float32, bfloat16, bfloat16 encoder, not 'fp32'"):
        run(runner, "finetune", "--data", data, "--out", out, "--precision", "fp32")
    assert not out.exists()


def test_help_names_the_recipes(runner):
    shown = run(runner, "--help")
    for name in ("nano", "finetune", "mose-finetune", "paper-full", "resume", "export"):
        assert name in shown


def test_after_ctrl_c_it_is_said_how_to_go_on(tmp_path, capsys):
    def stopped():
        raise KeyboardInterrupt

    for has_state in (False, True):
        with pytest.raises(KeyboardInterrupt):
            _told(tmp_path, stopped)
        assert (f"masklet train resume {tmp_path}" in capsys.readouterr().err) == has_state
        (tmp_path / "state.pt").touch()
