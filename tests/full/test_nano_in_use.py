"""The model in the package does its job: what it finds is held to what is there."""

from __future__ import annotations

import pytest

import masklet
from masklet.predict.demo import run_demo

FLOORS = {"astronaut": 0.65, "shuttle": 0.65, "saucer": 0.5}
"""Well below what it reaches, so that new weights need not be better at each, and well above what chance does."""


@pytest.mark.full
def test_the_demo_clip_is_tracked_to_its_end(tmp_path):
    pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")
    reached = run_demo(masklet.load("nano", device="cpu"), tmp_path).iou
    assert reached.keys() == FLOORS.keys()
    assert not {name: iou for name, iou in reached.items() if iou < FLOORS[name]}
