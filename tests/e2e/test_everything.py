"""Everything in a picture and in a clip, into a folder and from the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from colour_network import ColourNetwork, paint
from masklet.cli import main
from masklet.io.frames import open_frames
from masklet.io.palette import read_index_png
from masklet.ops.rle import decode_rle
from masklet.predict.everything_record import everything_to_folder, everything_video_to_folder
from masklet.predict.everything_video import MaskletRules
from odd_clips import cut_off, moving_square, write_clip

from .tiny_model import save_tiny_model

RED, GREEN = (230, 40, 40), (40, 220, 60)
PICTURE = paint([(8, 8, 40, 40, RED), (72, 16, 112, 64, GREEN)])


def test_a_picture_is_recorded_with_a_number_for_each_mask(tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "things.png")
    told = []
    recorded = everything_to_folder(
        ColourNetwork(), tmp_path / "things.png", tmp_path / "out", preset="fast", on_points=lambda *of: told.append(of)
    )
    assert told[-1] == (256, 256) and told == sorted(told)
    found = json.loads(recorded.masklets.read_text())
    assert (found["name"], found["size"], found["model"]) == ("things.png", [128, 128], "colours")
    assert [item["id"] for item in found["objects"]] == [1, 2, 3]
    index = read_index_png(recorded.masks)
    for item in found["objects"]:
        (record,) = item["frames"]
        np.testing.assert_array_equal(decode_rle(record["segmentation"]), index == item["id"])
        assert record["iou"] == pytest.approx(0.95)
        assert 0.95 <= record["stability"] <= 1
    with Image.open(recorded.overlay) as overlay:
        changed = (np.asarray(overlay) != PICTURE).any(-1)
    assert changed[20, 20] and changed[30, 90] and changed[100, 100]


def test_an_interrupted_clip_is_recorded_until_then(tmp_path):
    told = []

    def stop(done: int, total: int | None) -> None:
        told.append((done, total))
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        everything_video_to_folder(
            ColourNetwork(), [PICTURE] * 6, tmp_path, rules=MaskletRules(look_every=2), on_frame=stop
        )
    assert told == [(1, 6), (2, 6), (3, 6)]
    found = json.loads((tmp_path / "masklets.json").read_text())
    assert [[record["frame"] for record in item["frames"]] for item in found["objects"]] == [[0, 1, 2]] * 3
    assert len(open_frames(tmp_path / "overlay.mp4")) == 3
    for number in range(3):
        assert set(np.unique(read_index_png(tmp_path / "masks" / f"{number:05d}.png"))) <= {0, 1, 2, 3}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    path = save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors")
    return str(path)


def run(*arguments: object) -> int:
    """The exit code of a command run in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


LOOSE = ("--points", 4, "--iou", 0, "--stability", 0)


def test_the_command_takes_a_picture(model, tmp_path, capsys):
    Image.fromarray(moving_square(1)[0]).save(tmp_path / "square.png")
    out = tmp_path / "out"
    assert run("everything", tmp_path / "square.png", *LOOSE, "--model", model, "--out", out) == 0
    objects = json.loads((out / "masklets.json").read_text())["objects"]
    files = [out / name for name in ("overlay.png", "masks.png", "masklets.json")]
    assert capsys.readouterr().out.splitlines() == [f"{len(objects)} objects", *(str(file) for file in files)]
    assert objects


def test_a_folder_that_cannot_be_used_is_told_before_anything_is_looked_for(model, tmp_path, capsys, monkeypatch):
    Image.fromarray(PICTURE).save(tmp_path / "overlay.png")
    (tmp_path / "file").touch()
    monkeypatch.setattr("masklet.predict.everything_record.everything", lambda *_, **__: [][0])
    for out, message in ((tmp_path / "file", "is a file; name a folder"), (tmp_path, "would be written over")):
        assert run("everything", tmp_path / "overlay.png", "--model", model, "--out", out) != 0
        assert message in capsys.readouterr().err


def test_help_tells_the_presets_that_are_the_default(capsys):
    assert run("everything", "--help") == 0
    assert "[default: default; fast for a clip]" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_finding_nothing_is_told_with_what_to_do(model, tmp_path, capsys):
    Image.fromarray(PICTURE).save(tmp_path / "things.png")
    assert run("everything", tmp_path / "things.png", "--iou", 1, "--model", model, "--out", tmp_path, "--quiet") == 0
    assert "lower --iou" in capsys.readouterr().err


def test_the_command_takes_a_clip(model, tmp_path, capsys):
    clip = write_clip(tmp_path / "square.mp4", moving_square(5))
    limits = ("--max-objects", 2, "--every", 2)
    assert run("everything", clip, *LOOSE, *limits, "--model", model, "--out", tmp_path / "out", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert len(open_frames(tmp_path / "out" / "overlay.mp4")) == 5
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 5


def test_a_stack_of_pictures_is_a_clip(model, tmp_path):
    first, *others = [Image.fromarray(frame) for frame in moving_square(3)]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    assert run("everything", tmp_path / "stack.tif", *LOOSE, "--model", model, "--out", tmp_path, "--quiet") == 0
    assert len(list((tmp_path / "masks").iterdir())) == 3


def test_a_broken_clip_is_told_after_its_good_frames_were_saved(model, tmp_path, capsys):
    noise = list(np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8))
    whole = write_clip(tmp_path / "clip.mp4", noise, options={"bf": "0"}, muxer_options={"movflags": "faststart"})
    out = tmp_path / "out"
    assert run("everything", cut_off(whole, 0.6), *LOOSE, "--model", model, "--out", out, "--quiet") == 2
    done = len(list((out / "masks").iterdir()))
    assert 5 < done < 15
    assert f"breaks off after frame {done - 1}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png"], "no such file"),
        (["PICTURE", "--preset", "slow"], "unknown preset 'slow'"),
    ],
)
def test_bad_arguments_are_one_line(model, tmp_path, capsys, arguments, message):
    Image.fromarray(PICTURE).save(tmp_path / "picture.png")
    given = [str(tmp_path / "picture.png") if argument == "PICTURE" else argument for argument in arguments]
    assert run("everything", *given, "--model", model, "--out", tmp_path / "out", "--quiet") == 2
    complaint = capsys.readouterr().err
    assert message in complaint
    assert complaint.count("\n") == 1
