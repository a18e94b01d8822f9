"""`masklet track` on real clips and on a folder of real pictures, from the command line to the files it leaves."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from masklet.eval.metrics import region_j
from masklet.io.frames import open_frames
from masklet.io.palette import read_index_png


@pytest.mark.full
@pytest.mark.parametrize(
    ("clip", "box"),
    [
        ("clips/bedroom.mp4", "300,0,500,400"),
        ("clips/01_dog.mp4", "400,150,900,650"),
        ("clips/05_default_juggle.mp4", "250,100,450,500"),
        ("dev/davis/JPEGImages/bear", "96,214,465,435"),
    ],
)
def test_a_real_clip_is_tracked_from_the_command_line(shared_dir, tmp_path, clip, box):
    source = shared_dir / "data" / clip
    command = [sys.executable, "-m", "masklet", "track", str(source), "--box", box, "--image-size", "128", "--quiet"]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    frames = open_frames(source)
    masks = sorted((tmp_path / "masks").glob("*.png"))
    assert len(masks) == len(open_frames(tmp_path / "overlay.mp4")) == len(frames)
    first = np.array(Image.open(masks[0]))
    assert first.shape == tuple(frames.size)
    assert set(first.ravel()) == {0, 1}
    (track,) = json.loads((tmp_path / "masklets.json").read_text())["objects"]
    assert [entry["frame"] for entry in track["frames"]] == list(range(len(frames)))
    seen = [bool(read_index_png(mask).any()) for mask in masks]
    assert np.mean(seen) > 0.5, "the object is in view most of the time in each of these"
    truth = sorted((shared_dir / "data" / clip.replace("JPEGImages", "Annotations")).glob("*.png"))
    if truth and truth[0].parent != source:
        pairs = zip(truth, masks, strict=True)
        assert np.mean([region_j(read_index_png(true) > 0, read_index_png(mask) > 0) for true, mask in pairs]) > 0.6
