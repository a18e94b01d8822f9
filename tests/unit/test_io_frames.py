"""Folders, globs, arrays, lists and iterables as sources of frames."""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.errors import InputError, OutputError
from masklet.io import frame_source
from masklet.io.frames import open_frames
from masklet.io.images import Pages


def _picture(value: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def _folder(path: Path, names: list[str]) -> Path:
    path.mkdir()
    for value, name in enumerate(names):
        Image.fromarray(_picture(value)).save(path / name)
    return path


def test_a_folder_is_read_in_natural_order_without_what_is_no_picture(tmp_path) -> None:
    folder = _folder(tmp_path / "shots", ["shot10.png", "shot9.PNG", "Shot1.png", ".hidden.png"])
    (folder / "notes.txt").write_text("not a frame")
    (folder / "old").mkdir()
    frames = open_frames(str(folder))
    assert len(frames) == 3
    assert frames.fps is None
    assert [int(frame[0, 0, 0]) for frame in frames] == [2, 1, 0]


def test_a_glob_takes_what_it_matches(tmp_path) -> None:
    folder = _folder(tmp_path / "shots", ["a2.png", "a10.png", "b1.png"])
    assert [int(frame[0, 0, 0]) for frame in open_frames(str(folder / "a*.png"))] == [0, 1]
    with pytest.raises(InputError, match=r"no pictures in .*c\*\.png"):
        open_frames(str(folder / "c*.png"))


def test_sources_are_called_by_their_own_names(tmp_path, monkeypatch) -> None:
    folder = _folder(tmp_path / "shots.v2", ["a7.png", "a10.png"])
    monkeypatch.chdir(folder)
    for source in (folder, ".", str(folder / "*.png"), str(tmp_path / "*/a*.png")):
        frames = open_frames(source)
        assert frames.title == "shots.v2"
        assert [frames.file_name(number) for number in range(2)] == ["a7.png", "a10.png"]
        assert [frames.number_of(label) for label in ("a10", "a7", "00001")] == [1, 0, None]
    assert open_frames(folder / "a7.png").title == "a7.png"
    bare = open_frames([_picture(1)])
    assert (bare.file_name(0), bare.number_of("00012"), bare.number_of("x")) == (None, 12, None)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")
def test_sources_are_not_called_by_where_their_links_lead(tmp_path) -> None:
    store = _folder(tmp_path / "store", ["9f.png", "a7.png"])
    (tmp_path / "dog").mkdir()
    for number, file in enumerate(sorted(store.iterdir())):
        (tmp_path / f"dog/{number}.png").symlink_to(file)
    for source in (tmp_path / "dog", str(tmp_path / "dog/*.png")):
        assert open_frames(source).title == "dog"


def test_files_of_one_name_in_several_folders_are_numbered(tmp_path) -> None:
    for name in ("left", "right"):
        _folder(tmp_path / name, ["a.png"])
    frames = open_frames(str(tmp_path / "*/a.png"))
    assert ([frames.label(number) for number in range(2)], frames.file_name(1)) == (["00000", "00001"], None)
    assert frames.title == tmp_path.name


def test_frames_beside_their_masks_are_no_clip_of_twice_as_many(tmp_path) -> None:
    folder = _folder(tmp_path / "pairs", ["0.jpg", "0.png", "1.jpg"])
    with pytest.raises(InputError, match=r"holds 0\.jpg and 0\.png: .*\*\.jpg"):
        open_frames(folder)
    assert len(open_frames(str(folder / "*.jpg"))) == 2


def test_an_empty_folder_is_an_error_that_says_what_was_looked_for(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no pictures in folder .*looked for .*\.jpg"):
        open_frames(tmp_path)


def test_frames_of_different_sizes_are_an_error_that_names_the_file(tmp_path) -> None:
    folder = _folder(tmp_path / "shots", ["1.png", "2.png"])
    Image.fromarray(_picture(9, 7, 8)).save(folder / "3.png")
    frames = open_frames(folder)
    assert frames[1][0, 0, 0] == 1
    with pytest.raises(
        InputError, match=r"different sizes.*3\.png is 8 x 7 pixels \(width x height\), the first 8 x 6"
    ):
        frames[2]


def test_one_picture_is_a_clip_of_one_frame(tmp_path) -> None:
    folder = _folder(tmp_path / "shots", ["1.png"])
    assert len(open_frames(folder / "1.png")) == 1


@pytest.mark.parametrize(
    "source",
    [
        np.stack([_picture(value) for value in range(4)]),
        torch.stack([torch.full((3, 6, 8), value / 255) for value in range(4)]),
        [Image.fromarray(_picture(value)) for value in range(4)],
        tuple(_picture(value) for value in range(4)),
        (_picture(value) for value in range(4)),
    ],
    ids=["array", "tensor", "images", "tuple", "generator"],
)
def test_arrays_sequences_and_generators_are_clips(source) -> None:
    frames = open_frames(source)
    assert tuple(frames.size) == (6, 8)
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2, 3]
    assert len(frames) == 4
    assert frames[1][0, 0, 0] == 1
    with pytest.raises(IndexError):
        frames[4]


def test_a_source_handed_in_again_is_the_same_source() -> None:
    frames = open_frames([_picture(0)])
    assert open_frames(frames) is frames


def test_an_endless_iterable_is_pulled_only_as_far_as_asked(monkeypatch) -> None:
    monkeypatch.setattr(frame_source, "CACHE_BYTES", 2 * 6 * 8 * 3)
    pulled = []
    endless = (pulled.append(value) or _picture(value) for value in itertools.count())
    frames = open_frames(endless)
    assert pulled == [0]
    assert frames[5][0, 0, 0] == 5
    assert pulled == [0, 1, 2, 3, 4, 5]
    with pytest.raises(TypeError, match="no length"):
        len(frames)
    noise = np.random.default_rng(0).integers(0, 255, (9, 6, 8, 3), np.uint8)
    frames = open_frames(iter(noise))
    for number in (8, 0, 4, 7, 1):
        np.testing.assert_array_equal(frames[number], noise[number])
    assert len(frames._cache) == 2


@pytest.mark.parametrize("revisit", [True, False])
def test_a_source_that_fails_is_not_taken_for_one_that_ends(revisit) -> None:
    def failing():
        yield _picture(0)
        yield _picture(1)
        [][0]

    with pytest.raises(InputError, match=r"the iterable failed after 2 frames: IndexError"):
        list(open_frames(failing(), revisit=revisit))

    class Longer(list):
        def __len__(self):
            return 3

    with pytest.raises(InputError, match=r"says it has 3 frames and fails on 1: IndexError"):
        list(open_frames(Longer([_picture(0)])))


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError("the camera is busy"), IndexError("none")])
def test_a_generator_that_failed_is_not_taken_for_ended_when_asked_again(error) -> None:
    def failing():
        yield _picture(0)
        raise error

    frames = open_frames(failing())
    with pytest.raises((type(error), InputError)):
        frames[1]
    for _ in range(2):
        with pytest.raises(InputError, match="failed after 1 frames and gives no more"):
            frames[1]
    assert frames[0][0, 0, 0] == 0
    with pytest.raises(TypeError, match="no length"):
        len(frames)


def test_a_camera_that_fails_once_goes_on_where_it_was() -> None:
    class Camera:
        answers = iter([_picture(0), OSError("busy"), _picture(1)])

        def __iter__(self):
            return self

        def __next__(self):
            answer = next(self.answers)
            if isinstance(answer, OSError):
                raise answer
            return answer

    frames = open_frames(Camera())
    with pytest.raises(OSError, match="busy"):
        frames[1]
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1]
    assert len(frames) == 2


def test_a_bad_picture_does_not_shift_those_behind_it() -> None:
    frames = open_frames(iter([_picture(0), _picture(1, 5, 5), _picture(2)]))
    for _ in range(2):
        with pytest.raises(InputError, match="frame 1 is 5 x 5"):
            list(frames)


def test_frames_that_passed_are_gone_when_nobody_will_revisit_them(monkeypatch) -> None:
    monkeypatch.setattr(frame_source, "CACHE_BYTES", 2 * 6 * 8 * 3)
    frames = open_frames((_picture(value) for value in range(9)), revisit=False)
    assert frames[5][0, 0, 0] == 5
    assert frames[4][0, 0, 0] == 4
    with pytest.raises(InputError, match="frame 1 has passed.*revisit=True"):
        frames[1]


def test_a_camera_that_reuses_its_buffer_does_not_change_earlier_frames() -> None:
    def camera():
        buffer = _picture(0)
        for value in range(3):
            buffer[:] = value
            yield buffer

    frames = open_frames(camera())
    assert frames[2][0, 0, 0] == 2
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 1, 2]


def test_an_iterable_whose_frames_change_size_is_an_error() -> None:
    frames = open_frames(iter([_picture(0), _picture(1, 5, 5)]))
    with pytest.raises(InputError, match="frame 1 is 5 x 5"):
        frames[1]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (_picture(0), r"\[t, H, W, 3\]; got \[6, 8, 3\]"),
        (np.zeros((0, 6, 8, 3), np.uint8), "no frames"),
        ([], "no frames"),
        (iter(()), "no frames"),
        (7, "got int"),
        (["/nowhere/1.png"], "no such picture"),
    ],
)
def test_what_is_no_clip_is_an_error(source, words) -> None:
    with pytest.raises(InputError, match=words):
        open_frames(source)


def test_an_address_is_told_from_a_missing_file():
    with pytest.raises(InputError, match="rtsp://camera/1 is not a file; step a masklet.Stream through"):
        open_frames("rtsp://camera/1")


@pytest.mark.parametrize("name", ["stack.tif", "moving.png", "moving.webp"])
def test_the_pages_of_one_file_are_frames(tmp_path, name) -> None:
    pages = [np.full((12, 16, 3), 40 * number, np.uint8) for number in range(5)]
    first, *others = [Image.fromarray(page) for page in pages]
    first.save(tmp_path / name, save_all=True, append_images=others, lossless=True)
    frames = open_frames(tmp_path / name)
    assert len(frames) == 5
    for number in (4, 0, 2):
        np.testing.assert_array_equal(frames[number], pages[number])
    unpickled = pickle.loads(pickle.dumps(frames))
    np.testing.assert_array_equal(unpickled[3], pages[3])


def test_a_stack_is_opened_once_however_many_pages_are_read(tmp_path, monkeypatch) -> None:
    pages = [Image.fromarray(np.full((12, 16, 3), 40 * number, np.uint8)) for number in range(5)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    opened: list[str] = []
    really_open = Image.open
    monkeypatch.setattr(Image, "open", lambda path: opened.append(str(path)) or really_open(path))
    assert [int(page[0, 0, 0]) for page in Pages(tmp_path / "stack.tif")] == [0, 40, 80, 120, 160]
    assert len(opened) == 2, "to count its pages, and to read them"


def test_previews_behind_a_picture_are_no_frames(tmp_path) -> None:
    picture, preview = Image.new("RGB", (16, 12)), Image.new("RGB", (4, 3))
    picture.save(tmp_path / "photo.tif", save_all=True, append_images=[preview])
    picture.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[picture])
    assert [len(open_frames(tmp_path / name)) for name in ("photo.tif", "phone.jpg")] == [1, 1]


def test_a_full_disk_under_an_iterable_s_frames_says_what_to_do(monkeypatch) -> None:
    frames = open_frames(iter(np.zeros((3, 8, 8, 3), np.uint8)))
    monkeypatch.setattr(frames._spool, "_file", Mock(write=Mock(side_effect=OSError(28, "No space left on device"))))
    with pytest.raises(OutputError, match=r"cannot hold frame \d in .*: No space left on device; .*TMPDIR"):
        list(frames)
