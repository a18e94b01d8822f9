"""Video files: every container, exact seeking, rotation, odd rates, and files that are damaged or break off."""

from __future__ import annotations

import pickle
import struct
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import ExifTags, Image

from masklet.errors import BrokenVideo, InputError
from masklet.io import frame_source, video_file
from masklet.io.frames import open_frames
from masklet.io.images import read_image
from masklet.io.video_file import VideoFile
from masklet.io.video_writer import VideoWriter
from masklet.types import Size
from odd_clips import cut_off, decoded, moving_square, write_clip

KINDS = [
    ("clip.mp4", "libx264", {"g": "10", "bf": "2"}),
    ("clip.mov", "mpeg4", {}),
    ("clip.mkv", "libx264", {"g": "10", "bf": "3"}),
    ("clip.webm", "libvpx-vp9", {"g": "12"}),
    ("clip.gif", "gif", {}),
    ("simple.avi", "mjpeg", {}),
    ("reordered.avi", "mpeg4", {"bf": "2"}),
    ("hidden.webm", "libvpx", {"auto-alt-ref": "1", "lag-in-frames": "16"}),
]
FASTSTART = {"movflags": "faststart"}


def _encoded(path: Path, codec: str, options: dict[str, str], num_frames: int = 40) -> Path:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no encoder {codec}")
    return write_clip(path, moving_square(num_frames), codec, options=options)


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for three frames, so that going back has to seek."""
    monkeypatch.setattr(frame_source, "CACHE_BYTES", 3 * 48 * 64 * 3)


@pytest.mark.usefixtures("small_cache")
@pytest.mark.parametrize(("name", "codec", "options"), KINDS, ids=[kind[0] for kind in KINDS])
def test_any_order_gives_the_pixels_of_reading_in_order(tmp_path, name, codec, options) -> None:
    path = _encoded(tmp_path / name, codec, options)
    expected = decoded(path)
    frames = open_frames(path)
    assert len(frames) == len(expected) == 40
    assert tuple(frames.size) == (48, 64)
    assert frames.fps == pytest.approx(25 if codec == "gif" else 24)
    order = [0, 39, 20, 21, 22, 5, 4, 3, 38, *np.random.default_rng(0).permutation(40).tolist()]
    for number in order:
        np.testing.assert_array_equal(frames[number], expected[number], err_msg=f"frame {number}")
    for again, frame in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(again, frame)


def test_a_variable_rate_keeps_every_frame_in_its_place(tmp_path) -> None:
    times = np.cumsum(np.random.default_rng(1).integers(5, 300, 30)).tolist()
    path = write_clip(tmp_path / "phone.mkv", moving_square(30), options={"g": "8"}, times=times)
    frames, expected = open_frames(path), decoded(path)
    assert len(frames) == 30
    for number in (29, 3, 17, 8, 7, 0):
        np.testing.assert_array_equal(frames[number], expected[number])


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="this PyAV cannot write rotations")
@pytest.mark.parametrize("rotation", [-90, 90, 180])
def test_a_turned_phone_gives_upright_frames(tmp_path, rotation) -> None:
    path = write_clip(tmp_path / "phone.mp4", moving_square(6), rotation=rotation)
    frames = open_frames(path)
    upright = np.rot90(decoded(path)[4], rotation // 90)
    assert tuple(frames.size) == upright.shape[:2]
    np.testing.assert_array_equal(frames[4], upright)


def test_a_camera_s_jpegs_in_a_video_are_turned_as_their_exif_says(tmp_path) -> None:
    """Side data of a kind that PyAV does not know; a `ValueError` it was."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    with av.open(str(tmp_path / "timelapse.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for number, frame in enumerate(moving_square(3)):
            Image.fromarray(frame).save(tmp_path / "shot.jpg", exif=exif)
            packet = av.Packet((tmp_path / "shot.jpg").read_bytes())
            packet.stream, packet.pts, packet.dts, packet.is_keyframe = stream, number, number, True
            packet.time_base = Fraction(1, 5)
            container.mux(packet)
    frames = open_frames(tmp_path / "timelapse.avi")
    assert (len(frames), frames.size) == (3, Size(64, 48))
    np.testing.assert_allclose(frames[2].astype(int), read_image(tmp_path / "shot.jpg"), atol=4)


@pytest.mark.parametrize(
    "rows", [((1, 0), (0, 1)), ((-1, 0), (0, 1)), ((1, 0), (0, -1)), ((0, 1), (1, 0)), ((0, 1), (-1, 0))]
)
def test_a_mirrored_clip_is_shown_as_its_matrix_says(tmp_path, rows) -> None:
    """The 3 x 3 matrix of an mp4's track header, which is written over here."""
    path = write_clip(tmp_path / "front.mp4", moving_square(6))
    stored = decoded(path)[4]
    (a, b), (c, d) = rows
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    raw = path.read_bytes()
    place = raw.index(b"tkhd") + 44
    path.write_bytes(raw[:place] + matrix + raw[place + len(matrix) :])
    expected = stored.transpose(1, 0, 2) if b else stored
    expected = expected[:, ::-1] if (c if b else a) < 0 else expected
    expected = expected[::-1] if (b if b else d) < 0 else expected
    np.testing.assert_array_equal(open_frames(path)[4], expected)


@pytest.mark.parametrize("codec", ["mjpeg", "mpeg4"])
def test_frames_that_a_recorder_dropped_do_not_break_an_avi(tmp_path, codec) -> None:
    """The muxer fills the gaps with empty frames, which its header counts."""
    kept = [number for number in range(40) if number % 3 != 1]
    path = tmp_path / "screen.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number, array in zip(kept, moving_square(len(kept)), strict=True):
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = number, stream.codec_context.time_base or Fraction(1, 24)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > len(kept), "or nothing is tested"
    expected = decoded(path)
    opened = open_frames(path)
    assert len(opened) == len(expected) == len(kept)
    np.testing.assert_array_equal(opened[len(kept) - 1], expected[-1])


def test_what_a_recorder_adds_behind_an_mp4_does_not_break_it(tmp_path) -> None:
    path = write_clip(tmp_path / "clip.mp4", moving_square(12))
    for added in (b"\n", b"\0\0\0\x10\0\0\0\0 of our own"):
        path.write_bytes(path.read_bytes() + added)
        assert [frame.shape for frame in open_frames(path)] == 12 * [(48, 64, 3)]


def test_memory_is_bounded_and_walking_back_decodes_each_stretch_at_once(tmp_path, monkeypatch) -> None:
    path = write_clip(tmp_path / "long.mp4", moving_square(60), options={"g": "60"})
    monkeypatch.setattr(frame_source, "CACHE_BYTES", 20 * 48 * 64 * 3)
    jumps = []
    real_open = av.open
    frames = VideoFile(path)
    monkeypatch.setattr(av, "open", lambda *args: jumps.append(args) or real_open(*args))
    for number in reversed(range(60)):
        assert frames[number].shape == (48, 64, 3)
        assert len(frames._cache) <= 20
    assert len(jumps) == 3  # to frames 58, 38 and 18; 59 was reached by reading on


def test_frames_that_are_skipped_are_not_converted(tmp_path, monkeypatch) -> None:
    path = write_clip(tmp_path / "long.mp4", moving_square(60), options={"g": "60"})
    expected = decoded(path)
    frames = VideoFile(path)
    converted = []
    upright = video_file._upright
    monkeypatch.setattr(video_file, "_upright", lambda frame: converted.append(1) or upright(frame))
    for number in range(4, 60, 4):
        np.testing.assert_array_equal(frames[number], expected[number])
    assert len(converted) == 14


@pytest.mark.parametrize("place", ["decode_stream", "_upright"])
def test_reading_that_was_broken_off_can_be_tried_again(tmp_path, monkeypatch, place) -> None:
    """As by Ctrl-C, while a frame is decoded or while it is turned upright."""
    path = write_clip(tmp_path / "clip.mp4", moving_square(12))
    expected = decoded(path)
    frames = VideoFile(path)
    frames.close()
    decode = video_file.decode_stream

    def ended(*of):
        yield from islice(decode(*of), 3)
        raise KeyboardInterrupt

    def broken(_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(video_file, place, {"decode_stream": ended, "_upright": broken}[place])
        with pytest.raises(KeyboardInterrupt):
            frames[6]
    for number in (6, 7, 5):
        np.testing.assert_array_equal(frames[number], expected[number])


@pytest.mark.parametrize(
    ("name", "codec", "options", "muxer"),
    [
        ("clip.mp4", "libx264", {"g": "10", "bf": "2"}, FASTSTART),
        ("clip.mp4", "libx264", {"bf": "0"}, {"movflags": "frag_keyframe+empty_moov"}),
        ("clip.mov", "mpeg4", {}, FASTSTART),
        ("clip.mkv", "libx264", {"g": "10", "bf": "0"}, {}),
        ("clip.webm", "libvpx-vp9", {}, {}),
        ("clip.gif", "gif", {}, {}),
        ("clip.avi", "mjpeg", {}, {}),
    ],
    ids=["mp4", "fragmented mp4", "mov", "mkv", "webm", "gif", "avi"],
)
def test_a_file_that_breaks_off_gives_its_frames_and_then_names_the_last(tmp_path, name, codec, options, muxer) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3), np.uint8)
    whole = write_clip(tmp_path / name, list(noise), codec, options=options, muxer_options=muxer)
    expected = decoded(whole)
    frames = open_frames(cut_off(whole, 0.6))
    seen: list[np.ndarray] = []
    with pytest.raises(BrokenVideo, match=r"breaks off after frame \d+: .* ffmpeg -i") as caught:
        seen.extend(frames)
    assert 15 < len(seen) < 50
    assert len(frames) > len(seen)
    assert caught.value.frame == len(seen) - 1
    for number, frame in enumerate(seen[:-1]):
        np.testing.assert_array_equal(frame, expected[number])
    with pytest.raises(BrokenVideo) as again:
        frames[len(seen) + 1 if len(frames) > len(seen) + 1 else len(seen)]
    assert again.value.frame == len(seen) - 1
    np.testing.assert_array_equal(frames[2], expected[2])


def test_a_jump_onto_a_damaged_frame_names_the_last_good_one(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8)
    path = write_clip(tmp_path / "clip.mov", list(noise), "mjpeg")
    data = path.read_bytes()
    starts = [place for place in range(len(data)) if data[place : place + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 20, "each frame is a JPEG of its own"
    path.write_bytes(data[: starts[12]] + bytes(starts[13] - starts[12]) + data[starts[13] :])
    with pytest.raises(BrokenVideo, match="breaks off after frame 11"):
        open_frames(path)[12]


def test_a_whole_fragmented_file_is_not_taken_for_a_broken_one(tmp_path) -> None:
    muxer = {"movflags": "frag_keyframe+empty_moov"}
    path = write_clip(tmp_path / "clip.mp4", moving_square(30), options={"g": "7"}, muxer_options=muxer)
    assert len(list(open_frames(path))) == len(open_frames(path)) == 30


def test_what_is_no_video_is_an_error_that_names_the_file(tmp_path) -> None:
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    with pytest.raises(InputError, match=r"cannot read .*notes\.mp4 as a video"):
        open_frames(text)
    with pytest.raises(InputError, match=r"no such file or folder: .*missing\.mp4"):
        open_frames(tmp_path / "missing.mp4")
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(InputError, match=r"empty\.mp4"):
        open_frames(empty)
    whole = write_clip(tmp_path / "whole.mp4", moving_square(20))
    with pytest.raises(InputError, match="cannot read"):
        open_frames(cut_off(whole, 0.7))  # its table of contents stood at the end


def test_a_colon_in_a_relative_path_names_no_protocol(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    with VideoWriter("2024-05-01T10:22:33.mp4", Size(16, 16)) as writer:
        for frame in frames:
            writer.write(frame)
    video = open_frames("2024-05-01T10:22:33.mp4")
    assert len(list(video)) == 2
    assert video.name == "2024-05-01T10:22:33.mp4"


def test_errors_of_broken_videos_pass_between_processes() -> None:
    error = pickle.loads(pickle.dumps(BrokenVideo("a.mp4", 3, "end of file")))
    assert (str(error), error.frame) == (str(BrokenVideo("a.mp4", 3, "end of file")), 3)


def test_sound_alone_is_no_video(tmp_path) -> None:
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(InputError, match="no pictures in it"):
        open_frames(path)


def test_numbers_outside_the_clip_are_index_errors(tmp_path) -> None:
    frames = open_frames(write_clip(tmp_path / "clip.mp4", moving_square(5)))
    with pytest.raises(IndexError, match="5 frames"):
        frames[5]
    with pytest.raises(IndexError, match="from 0"):
        frames[-1]
