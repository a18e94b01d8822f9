"""Which frames the drop-in `init_state` opens."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.sam2.clips import official_clip
from masklet.sam2.sam2_video_predictor import SAM2VideoPredictor
from odd_clips import moving_square, write_clip
from tiny import tiny_model

ORIENTATION, QUARTER_TURN = 0x0112, 6


def grey(path: Path, level: int, **options) -> None:
    """A picture of one grey, 12 pixels wide and 8 high."""
    Image.new("RGB", (12, 8), (level, level, level)).save(path, **options)


def levels(clip) -> list[int]:
    return [int(frame.mean().round()) for frame in clip]


def test_only_the_jpeg_files_of_a_folder_count_in_the_order_of_their_numbers(tmp_path):
    for number, level in ((10, 90), (2, 50), (1, 10)):
        grey(tmp_path / f"{number}.jpg", level)
        grey(tmp_path / f"{number}.png", 200)
    grey(tmp_path / "00011.JPEG", 120)
    assert levels(official_clip(tmp_path)) == [10, 50, 90, 120]
    state = SAM2VideoPredictor(tiny_model()).init_state(str(tmp_path))
    assert (state["num_frames"], state["video_height"], state["video_width"]) == (4, 8, 12)


def test_a_folder_without_jpeg_files_is_opened_as_ever(tmp_path):
    grey(tmp_path / "1.png", 200)
    assert official_clip(tmp_path) is tmp_path


def test_frames_are_taken_as_they_are_stored(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER_TURN
    grey(tmp_path / "0.jpg", 10, exif=exif)
    clip = official_clip(tmp_path)
    assert clip.size == clip[0].shape[:2] == (8, 12)


def test_damaged_jpeg_files_are_named(tmp_path):
    grey(tmp_path / "0.jpg", 10)
    (tmp_path / "1.jpg").write_bytes((tmp_path / "0.jpg").read_bytes()[:200])
    grey(tmp_path / "2.jpg", 10)
    clip = official_clip(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*1\.jpg"):
        clip[1]
    with pytest.raises(IndexError, match="no frame 3"):
        clip[3]


def test_jpeg_files_of_other_sizes_are_brought_to_that_of_the_last(tmp_path):
    Image.new("RGB", (20, 30), (200, 200, 200)).save(tmp_path / "0.jpg")
    grey(tmp_path / "1.jpg", 10)
    clip = official_clip(tmp_path)
    assert clip.size == clip[0].shape[:2] == clip[1].shape[:2] == (8, 12)
    assert (clip[0].mean(), clip[1].mean()) == (pytest.approx(200, abs=2), pytest.approx(10, abs=2))


def test_a_video_may_be_given_as_bytes(tmp_path):
    path = write_clip(tmp_path / "clip.mp4", moving_square(6), "libx264")
    clip = official_clip(path.read_bytes())
    assert len(clip) == 6
    np.testing.assert_array_equal(clip[5], list(official_clip(path.read_bytes()))[5])
    clip.close()
    clip._cache.clear()
    assert clip[2].shape == clip[5].shape, "one that was closed opens again where it is asked for more"
    copied = Path(clip.name)
    assert copied.exists()
    del clip
    gc.collect()
    assert not copied.exists()


def test_bytes_that_are_no_video_are_an_error():
    with pytest.raises(InputError, match="as a video"):
        official_clip(b"not a video")
