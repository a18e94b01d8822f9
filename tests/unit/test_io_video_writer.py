"""mp4 files: right colours, any size, valid after Ctrl-C, and clear errors where they cannot be written."""

from __future__ import annotations

import signal
from pathlib import Path

import av
import numpy as np
import pytest

from masklet.errors import InputError, OutputError
from masklet.io import video_writer
from masklet.io.frames import open_frames
from masklet.io.video_writer import VideoWriter
from masklet.types import Size
from odd_clips import moving_square

SIZE = Size(48, 64)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4"])
def test_what_is_written_can_be_read_in_the_same_colours(tmp_path, monkeypatch, encoder) -> None:
    monkeypatch.setattr(av, "codecs_available", {encoder})
    path = tmp_path / "out.mp4"
    colour = np.zeros((48, 64, 3), np.uint8)
    colour[:, :32], colour[:, 32:] = (200, 40, 30), (20, 90, 220)
    with VideoWriter(path, SIZE, 12) as writer:
        for _ in range(5):
            writer.write(colour)
    frames = open_frames(path)
    assert len(frames) == 5
    assert frames.fps == 12
    apart = np.abs(frames[2][:, [10, 54]].astype(int) - colour[:, [10, 54]])
    assert apart.max() < 20  # 3 here; 17 where an older PyAV takes the tag for BT.601
    with av.open(str(path)) as container:
        assert container.streams.video[0].pix_fmt == "yuv420p"


@pytest.mark.parametrize("size", [(47, 63), (1, 1), (720, 3)])
def test_odd_sides_are_made_even(tmp_path, size) -> None:
    with VideoWriter(tmp_path / "odd.mp4", Size(*size)) as writer:
        writer.write(np.full((*size, 3), 90, np.uint8))
    frames = open_frames(tmp_path / "odd.mp4")
    assert tuple(frames.size) == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    assert frames.fps == video_writer.DEFAULT_FPS


def test_an_interrupted_block_leaves_a_valid_file_of_what_was_done(tmp_path) -> None:
    def interrupted() -> None:
        with VideoWriter(tmp_path / "part.mp4", SIZE, 29.97) as writer:
            for frame in moving_square(7):
                writer.write(frame)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    frames = open_frames(tmp_path / "part.mp4")
    assert len(list(frames)) == 7
    assert frames.fps == pytest.approx(29.97, abs=0.001)


def test_a_block_without_frames_leaves_no_file(tmp_path) -> None:
    with VideoWriter(tmp_path / "none.mp4", SIZE):
        pass
    assert not (tmp_path / "none.mp4").exists()


@pytest.mark.parametrize("frame", [np.zeros((48, 60, 3), np.uint8), np.zeros((48, 64, 3))], ids=["size", "type"])
def test_other_frames_are_refused(tmp_path, frame) -> None:
    with VideoWriter(tmp_path / "out.mp4", SIZE) as writer, pytest.raises(InputError, match="uint8 frames"):
        writer.write(frame)


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path) -> None:
    with pytest.raises(OutputError, match=r"out\.mp4"), VideoWriter(tmp_path / "no" / "out.mp4", SIZE) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))


def test_a_disk_that_fills_up_is_an_output_error_and_leaves_what_was_done(tmp_path) -> None:
    resource = pytest.importorskip("resource", reason="this system cannot limit file sizes")
    noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)

    def fill() -> None:
        with VideoWriter(tmp_path / "out.mp4", SIZE) as writer:
            for turn in range(400):
                writer.write(np.roll(noise, turn * 7))

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, limits[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            fill()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    frames = open_frames(tmp_path / "out.mp4")
    assert frames[40].shape == (48, 64, 3)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
def test_a_full_disk_is_an_output_error() -> None:
    def fill() -> None:
        with VideoWriter("/dev/full", SIZE) as writer:
            for frame in moving_square(60):
                writer.write(frame)

    with pytest.raises(OutputError, match="No space left"):
        fill()
