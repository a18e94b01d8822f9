"""The README's Python runs as it stands, with a tiny model in place of nano."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image

import masklet
from masklet.io.video_writer import VideoWriter
from masklet.types import Size
from parity import scenes
from tiny import tiny_model

FRAMES = 62


def python_blocks(repository):
    text = (repository / "README.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where the README's files are: photo.jpg and clip.mp4."""
    Image.fromarray(scenes.picture(480, 640)).save(tmp_path / "photo.jpg")
    picture = scenes.picture(240, 320)
    with VideoWriter(tmp_path / "clip.mp4", Size(240, 320), fps=25) as writer:
        for number in range(FRAMES):
            writer.write(np.roll(picture, number, axis=1))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(masklet, "load", lambda *names, **options: tiny_model(), raising=False)
    return tmp_path


class Camera:
    """Three pictures, as OpenCV's `VideoCapture` hands them out."""

    def __init__(self, number):
        assert number == 0
        self.pictures = [frame[..., ::-1] for frame in scenes.clip(3, 480, 640)]

    def read(self):
        return (True, self.pictures.pop(0)) if self.pictures else (False, None)


def test_readme_python_runs(folder, repository, capsys, monkeypatch):
    blocks = python_blocks(repository)
    assert len(blocks) >= 4
    monkeypatch.setattr("cv2.VideoCapture", Camera)
    names = {"masklet": masklet}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    frames = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert frames == [str(number) for number in range(FRAMES)]
    assert names["masks"].frame == 2
