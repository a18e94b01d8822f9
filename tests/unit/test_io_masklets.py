"""masklets.json: complete, in order, atomic, valid after Ctrl-C; and folders that cannot be written."""

from __future__ import annotations

import json
import signal
import threading

import numpy as np
import pytest

from masklet.errors import OutputError
from masklet.io.masklets import MaskletsWriter, read_index_masks
from masklet.io.output import atomic_file, make_folder, undivided
from masklet.ops.rle import decode_rle
from masklet.types import Size

SIZE = Size(6, 8)


def _mask(left: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[1:4, left : left + 2] = True
    return mask


def test_objects_and_frames_come_out_in_order_with_areas_boxes_and_scores(tmp_path) -> None:
    path = tmp_path / "masklets.json"
    with MaskletsWriter(path, name='say "dog".mp4', size=SIZE, fps=29.97, model="nano") as writer:
        writer.add(1, 7, _mask(3), presence=0.123456)
        writer.add(0, 7, _mask(2), presence=1.0)
        writer.add(1, 2, np.zeros(SIZE, bool), presence=0.0)
        assert not path.exists()
    found = json.loads(path.read_text())
    head = {key: found[key] for key in ("format", "version", "name", "size", "fps", "model")}
    assert head == {
        "format": "masklets",
        "version": 1,
        "name": 'say "dog".mp4',
        "size": [6, 8],
        "fps": 29.97,
        "model": "nano",
    }
    assert [item["id"] for item in found["objects"]] == [2, 7]
    empty, dog = found["objects"]
    assert empty["frames"][0]["area"] == 0 and empty["frames"][0]["bbox"] == [0, 0, 0, 0]
    assert [record["frame"] for record in dog["frames"]] == [0, 1]
    last = dog["frames"][1]
    assert last["area"] == 6 and last["bbox"] == [3, 1, 2, 3] and last["presence"] == 0.123456
    np.testing.assert_array_equal(decode_rle(last["segmentation"]), _mask(3))


def test_a_frame_added_again_replaces_the_first(tmp_path) -> None:
    with MaskletsWriter(tmp_path / "m.json", name="x", size=SIZE) as writer:
        writer.add(0, 1, _mask(0))
        writer.add(0, 1, _mask(5))
    (record,) = json.loads((tmp_path / "m.json").read_text())["objects"][0]["frames"]
    assert record["bbox"][0] == 5


def test_an_interrupted_block_leaves_a_valid_file_of_what_was_done(tmp_path) -> None:
    def interrupted() -> None:
        with MaskletsWriter(tmp_path / "m.json", name="x", size=SIZE) as writer:
            writer.add(0, 1, _mask(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(json.loads((tmp_path / "m.json").read_text())["objects"]) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["m.json"]


def test_an_error_before_anything_was_added_leaves_the_earlier_file(tmp_path) -> None:
    (tmp_path / "m.json").write_text("earlier")
    with pytest.raises(RuntimeError), MaskletsWriter(tmp_path / "m.json", name="x", size=SIZE):
        raise RuntimeError
    assert (tmp_path / "m.json").read_text() == "earlier"


def test_a_discarded_frame_is_not_written(tmp_path) -> None:
    with MaskletsWriter(tmp_path / "m.json", name="x", size=SIZE) as writer:
        writer.add(0, 2, _mask(0))
        writer.add(1, 1, _mask(0))
        writer.add(1, 2, _mask(0))
        writer.discard(1)
    (item,) = json.loads((tmp_path / "m.json").read_text())["objects"]
    assert (item["id"], [record["frame"] for record in item["frames"]]) == (2, [0])


@pytest.mark.parametrize("num_objects", [0, 2])
def test_the_index_masks_written_with_it_are_named(tmp_path, num_objects) -> None:
    with MaskletsWriter(tmp_path / "m.json", name="x", size=SIZE) as writer:
        for object_id in range(num_objects):
            writer.add(0, object_id, _mask(0))
        writer.index_masks += ["shot 1.png", "00001.png"]
    assert json.loads((tmp_path / "m.json").read_text())["masks"] == ["shot 1.png", "00001.png"]
    assert read_index_masks(tmp_path / "m.json") == ["shot 1.png", "00001.png"]


@pytest.mark.parametrize(
    "text",
    [
        "no JSON",
        '{"format": "other", "masks": ["00000.png"], "objects": [\n]}',
        '{"format": "masklets", "objects": [\n]}',
        '{"format": "masklets", "masks": ["../mine.png", "notes.txt", 5], "objects": [\n]}',
        '{"format": "masklets", "masks": 5, "objects": [\n]}',
    ],
)
def test_no_other_file_is_named(tmp_path, text) -> None:
    assert read_index_masks(tmp_path / "m.json") == []
    (tmp_path / "m.json").write_text(text)
    assert read_index_masks(tmp_path / "m.json") == []


def test_no_objects_make_a_valid_file(tmp_path) -> None:
    with MaskletsWriter(tmp_path / "m.json", name="x", size=SIZE):
        pass
    assert json.loads((tmp_path / "m.json").read_text())["objects"] == []


def test_a_place_that_cannot_be_written_is_an_output_error(tmp_path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*m\.json"),
        MaskletsWriter(tmp_path / "no" / "m.json", name="x", size=SIZE),
    ):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="is a file; name a folder"):
        make_folder(tmp_path / "file" / "below")
    assert make_folder(tmp_path / "a" / "b").is_dir()


def test_an_atomic_file_leaves_the_old_one_when_its_block_fails(tmp_path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_file(path) as file:
            file.write("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.txt"]


def test_ctrl_c_waits_for_an_undivided_block_and_then_comes() -> None:
    done = []

    def work() -> None:
        with undivided():
            signal.raise_signal(signal.SIGINT)
            done.append("block")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["block"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_the_first_ctrl_c_is_told_of_where_a_block_takes_long_and_the_second_one_comes_at_once(capsys) -> None:
    done = []

    def work() -> None:
        with undivided("wait"):
            signal.raise_signal(signal.SIGINT)
            done.append("after one")
            signal.raise_signal(signal.SIGINT)
            done.append("after two")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["after one"]
    assert capsys.readouterr().err == "wait\n"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_an_undivided_block_goes_before_a_ctrl_c_that_waits() -> None:
    def work() -> None:
        with undivided():
            signal.raise_signal(signal.SIGINT)
            raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="full"):
        work()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_undivided_block_works_in_other_threads() -> None:
    done = []

    def work() -> None:
        with undivided():
            done.append("block")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == ["block"]
