"""`masklet train` from the command line."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from masklet.checkpoints import load, save
from masklet.cli import app
from masklet.errors import InputError
from masklet.model.network import Network
from masklet.train.recipe import load_recipe
from tiny_training import stills_recipe, write_stills


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


def test_data_that_are_not_there_are_named(runner, tmp_path):
    save(Network(stills_recipe(tmp_path, 2).model), tmp_path / "start.safetensors")
    data, out, start = tmp_path / "nowhere", tmp_path / "run", tmp_path / "start.safetensors"
    with pytest.raises(InputError, match="nowhere"):
        run(runner, "finetune", "--data", data, "--out", out, "--from", start)
    assert not out.exists(), "a run that cannot begin leaves nothing behind"


def test_help_names_the_recipes(runner):
    shown = run(runner, "--help")
    for name in ("nano", "finetune", "mose-finetune", "paper-full", "resume", "export"):
        assert name in shown
