"""Whole training runs: killed and resumed, a known loss curve, a clip learnt by heart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from masklet.predict.video import VideoSession
from masklet.train.loop import Pace, Run
from masklet.train.recipe import save_recipe
from tiny_training import clip_recipe, stills_recipe, write_clip, write_stills

pytestmark = pytest.mark.full

PACE = Pace(save_every=5, print_every=1, workers=1)

TRAIN = """
import sys, torch
from pathlib import Path
from masklet.train.loop import Pace, Run
from masklet.train.recipe import load_recipe
torch.set_num_threads(1)
folder, pace = Path(sys.argv[1]), Pace(save_every=5, print_every=1, workers=1)
begun = (folder / "state.pt").exists()
run = Run.resume(folder, pace) if begun else Run.begin(load_recipe(Path(sys.argv[2])), folder, pace)
run.train()
"""


def curve(folder: Path) -> dict[int, float]:
    """The last loss noted for each step: a resumed run notes the steps after its last save again."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


def start_training(folder: Path, recipe: Path) -> subprocess.Popen[bytes]:
    """A process of its own, with its workers in its own process group."""
    command = [sys.executable, "-c", TRAIN, str(folder), str(recipe)]
    return subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True)


def test_killed_and_resumed_the_curve_goes_on_as_if_uninterrupted(tmp_path):
    steps = 16
    recipe = stills_recipe(write_stills(tmp_path / "stills", 8), steps)
    save_recipe(recipe, tmp_path / "recipe.json")
    assert start_training(tmp_path / "whole", tmp_path / "recipe.json").wait(timeout=100) == 0
    process = start_training(tmp_path / "killed", tmp_path / "recipe.json")
    log = tmp_path / "killed" / "log.jsonl"
    while not log.exists() or max(curve(tmp_path / "killed"), default=0) < 8:
        assert process.poll() is None, "the run ended by itself"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] < steps
    assert start_training(tmp_path / "killed", tmp_path / "recipe.json").wait(timeout=100) == 0
    whole, killed = curve(tmp_path / "whole"), curve(tmp_path / "killed")
    assert sorted(whole) == list(range(1, steps + 1))
    assert killed == whole
    states = [torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed")]
    for name, value in states[0]["average"]["weights"].items():
        assert torch.equal(value, states[1]["average"]["weights"][name]), name


GOLDEN = Path(__file__).parent / "golden_losses.json"
"""Losses of twenty steps; other processors round differently, which the tolerance allows for."""


def test_twenty_steps_give_the_known_losses(tmp_path):
    recipe = stills_recipe(write_stills(tmp_path / "stills", 8), 20)
    Run.begin(recipe, tmp_path / "run", PACE).train()
    losses = list(curve(tmp_path / "run").values())
    np.testing.assert_allclose(losses, json.loads(GOLDEN.read_text()), rtol=0.02)


def test_a_clip_is_learnt_by_heart(tmp_path):
    data = write_clip(tmp_path / "clip", num_frames=4)
    torch.manual_seed(0)
    model = Run.begin(clip_recipe(data, steps=80, num_frames=4), tmp_path / "run", PACE).train()
    truths = np.load(data / "truth.npy")
    session = VideoSession(model, data / "JPEGImages" / "disc")
    session.add(1, frame=0, mask=truths[0])
    overlaps = [
        (frame.mask(1) & truths[frame.frame]).sum() / (frame.mask(1) | truths[frame.frame]).sum()
        for frame in session.propagate()
    ]
    assert len(overlaps) == 4
    assert min(overlaps) > 0.95
