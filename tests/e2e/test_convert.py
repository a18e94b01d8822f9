"""`masklet convert`: from what `masklet track` writes to what other tools read, and back."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from masklet.cli import main
from masklet.io.masklets import MaskletsWriter
from masklet.io.palette import read_index_png
from masklet.types import Size

SIZE = Size(24, 32)


def block(left: int) -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[4:12, left : left + 6] = True
    return mask


@pytest.fixture
def tracked(tmp_path) -> str:
    """A clip of three frames; object 2 joins on the second and overlaps object 1 on the third."""
    with MaskletsWriter(tmp_path / "masklets.json", name="square.mp4", size=SIZE) as writer:
        for frame in range(3):
            writer.add(frame, 1, block(2 * frame), presence=0.9)
            writer.add(frame, 2, block(18 - 5 * frame) & (frame > 0), presence=0.8)
    return str(tmp_path / "masklets.json")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["convert", *(str(argument) for argument in arguments)])
    return caught.value.code


def test_tracked_masks_become_coco_and_come_back(tracked, tmp_path, capsys):
    assert run(tracked, tmp_path / "coco.json", "--to", "coco", "--polygons") == 0
    assert "masklets -> coco: 5 masks on 3 frames of 1 clips" in capsys.readouterr().out
    reader = COCO(str(tmp_path / "coco.json"))
    assert sorted(record["area"] for record in reader.loadAnns(reader.getAnnIds())) == [48] * 5
    assert run(tmp_path / "coco.json", tmp_path / "again", "--to", "masklets") == 0
    areas = [
        [record["area"] for record in entry["frames"]]
        for entry in json.loads((tmp_path / "again/square.json").read_text())["objects"]
    ]
    assert areas == [[48, 48, 48], [0, 48, 48]]


def test_what_the_target_cannot_hold_is_said(tracked, tmp_path, capsys):
    assert run(tracked, tmp_path / "davis", "--to", "davis") == 0
    told = capsys.readouterr().err
    assert "not kept: scores" in told and "not kept: overlap: 1 masks" in told
    assert sorted(np.unique(read_index_png(tmp_path / "davis/square/00002.png"))) == [0, 1, 2]


def test_objects_can_be_told_what_they_are(tracked, tmp_path, capsys):
    categories = ("--category", "cat", "--category", "2=dog")
    assert run(tracked, tmp_path / "coco.json", "--to", "coco", *categories) == 0
    coco = json.loads((tmp_path / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in coco["categories"]}
    found = {(record.get("track_id", record["id"]), names[record["category_id"]]) for record in coco["annotations"]}
    assert found == {(1, "cat"), (2, "dog")} and sorted(names.values()) == ["cat", "dog"]
    assert run(tmp_path / "coco.json", tmp_path / "again.json", "--to", "coco", "--category", "bird") == 2
    assert "nothing is left to be called 'bird'" in capsys.readouterr().err, "they have one"
    assert run(tracked, tmp_path / "x.json", "--to", "coco", "--category", "cat", "--category", "bird") == 2
    assert "one category for all others, not 'cat' and 'bird'" in capsys.readouterr().err
    for wrong, words in (("x=cat", "a category is NAME or ID=NAME"), ("7=cat", "no object 7 without a category")):
        assert run(tracked, tmp_path / "x.json", "--to", "coco", "--category", wrong) == 2
        assert words in capsys.readouterr().err


def test_bad_input_is_one_line_and_exit_code_2(tracked, tmp_path, capsys):
    assert run(tracked, tmp_path / "x", "--to", "pascal") == 2
    assert "unknown format 'pascal'" in capsys.readouterr().err
    (tmp_path / "cut.json").write_text('{"images": [')
    assert run(tmp_path / "cut.json", tmp_path / "x", "--to", "coco") == 2
    told = capsys.readouterr().err
    assert "cut off" in told and "Traceback" not in told


def test_what_is_read_is_not_written_over(tracked, tmp_path, capsys):
    before = (tmp_path / "masklets.json").read_bytes()
    assert run(tracked, tracked, "--to", "coco") == 1
    assert "masklets.json would be written over, and it is what is read" in capsys.readouterr().err
    assert (tmp_path / "masklets.json").read_bytes() == before


def test_what_is_there_is_written_over_only_if_that_is_asked_for(tracked, tmp_path, capsys):
    for target, to, file in (("coco.json", "coco", "coco.json"), ("masks", "davis", "masks/square/00000.png")):
        assert run(tracked, tmp_path / target, "--to", to) == 0
        before = (tmp_path / file).stat().st_mtime_ns
        assert run(tracked, tmp_path / target, "--to", to) == 1
        assert f"{tmp_path / file} is there already" in " ".join(capsys.readouterr().err.split())
        assert (tmp_path / file).stat().st_mtime_ns == before
        assert run(tracked, tmp_path / target, "--to", to, "--replace") == 0
        assert (tmp_path / file).stat().st_mtime_ns > before
