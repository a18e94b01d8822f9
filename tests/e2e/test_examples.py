"""Every example runs, as a person would run it; the official script with seeded official weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.checkpoints import read_checkpoint
from masklet.io.masklets import MaskletsWriter
from masklet.train.recipe import load_recipe
from masklet.types import Size
from parity import scenes
from tiny_training import write_clip, write_stills

from .tiny_model import save_tiny_model

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FRAMES = 5


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, str]:
    """A picture, a folder of frames and a model, by name."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "clip").mkdir()
    for number, frame in enumerate(scenes.clip(FRAMES, 90, 120)):
        Image.fromarray(frame).save(folder / "clip" / f"{number:05d}.jpg")
    Image.fromarray(scenes.picture(120, 160)).save(folder / "photo.png")
    model = save_tiny_model(folder / "tiny.safetensors")
    return {"picture": str(folder / "photo.png"), "clip": str(folder / "clip"), "model": str(model)}


def run(example: str, *arguments: str, cwd: Path) -> list[str]:
    """The lines it prints."""
    command = [sys.executable, str(EXAMPLES / example), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_segment_picture(files, tmp_path):
    run("segment_picture.py", files["picture"], "80", "60", "--model", files["model"], cwd=tmp_path)
    with Image.open(tmp_path / "mask.png") as mask:
        assert np.array(mask).shape == (120, 160)


def test_track_clip(files, tmp_path):
    prompts = ("--first", "20,20,60,60", "--second", "80,50")
    lines = run("track_clip.py", files["clip"], *prompts, "--model", files["model"], cwd=tmp_path)
    assert [line.split()[0] for line in lines[:FRAMES]] == [str(number) for number in range(FRAMES)]
    assert lines[-1] == f"corrected on frame {FRAMES - 1}; tracked back over {FRAMES} frames"


def test_stream_frames(files, tmp_path):
    lines = run("stream_frames.py", files["clip"], "60", "40", "--model", files["model"], cwd=tmp_path)
    assert len(lines) == FRAMES


def test_measure_areas(tmp_path):
    with MaskletsWriter(tmp_path / "masklets.json", name="cells.tif", size=Size(8, 10)) as writer:
        for frame in range(2):
            writer.add(frame, 3, np.pad(np.ones((2, 4), bool), ((1, 5), (2 + frame, 4 - frame))), presence=0.9)
    lines = run("measure_areas.py", "masklets.json", "areas.csv", cwd=tmp_path)
    assert lines == ["areas.csv: 2 masks on 2 frames"]
    header, *rows = (tmp_path / "areas.csv").read_text().splitlines()
    assert header == "clip,frame,object,area,left,top,right,bottom"
    assert [row.split(",")[2:] for row in rows] == [["3", "8", "2", "1", "6", "3"], ["3", "8", "3", "1", "7", "3"]]


def test_finetune(files, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # more corrupt memory on tiny clips, see test_train_loop.py
    write_stills(tmp_path / "stills", 4)
    write_clip(tmp_path / "clips", 5)
    arguments = ("--model", files["model"], "--steps", "4", "--out", "run")
    lines = run("finetune.py", "stills", "clips", files["picture"], "80", "60", *arguments, cwd=tmp_path)
    assert lines[-1].startswith("run/model.safetensors: predicted IoU ")
    with Image.open(tmp_path / "run" / "mask.png") as mask:
        assert np.array(mask).shape == (120, 160)
    recipe = load_recipe(tmp_path / "run" / "recipe.json")
    assert all(Path(source.path).is_absolute() for part in recipe.stages[0].parts for source in part.sources)
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert '"step": 4' in log and "tracked" in log, "batches of clips were among them"
    (before, _), (after, _) = read_checkpoint(Path(files["model"])), read_checkpoint(tmp_path / "run/model.safetensors")
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before if name.startswith("memory_attention."))


def test_a_script_for_the_official_package_runs_with_only_its_imports_changed(files, tmp_path, seeded_checkpoint):
    weights = str(seeded_checkpoint("sam2.1_hiera_t"))
    inputs = (files["picture"], files["clip"], "++model.image_size=256")
    lines = run("official_names.py", "configs/sam2.1/sam2.1_hiera_t.yaml", weights, *inputs, cwd=tmp_path)
    assert lines[0].startswith("picture: ")
    assert [line.split(":")[0] for line in lines[1:]] == [f"frame {number}" for number in range(FRAMES)]


def test_every_example_is_run_here():
    text = Path(__file__).read_text()
    assert [path.name for path in EXAMPLES.glob("*.py") if f'"{path.name}"' not in text] == []
