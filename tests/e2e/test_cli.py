"""The command line, end to end, with a tiny model: files written, errors in one line, exit codes, Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from colour_network import ColourNetwork
from masklet import __version__
from masklet.cli import main
from masklet.cli.prompt_options import results_folder
from masklet.errors import MaskletWarning, format_warning
from masklet.io.frames import open_frames
from masklet.io.palette import read_index_png, write_index_png
from masklet.ops.rle import decode_rle
from odd_clips import cut_off, moving_square, write_clip

from .tiny_model import save_tiny_model

COMMAND = [sys.executable, "-m", "masklet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


@pytest.fixture(scope="module")
def picture(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("picture") / "square.png"
    Image.fromarray(moving_square(6)[5]).save(path)
    return str(path)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> str:
    return str(write_clip(tmp_path_factory.mktemp("clip") / "square.mp4", moving_square(8), options={"g": "4"}))


def run(*arguments: object) -> int:
    """The exit code of a command run in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


def checked(out: Path, frames: list[str], objects: list[int]) -> dict:
    """masklets.json of a tracked clip, after its masks were found to equal the index PNGs."""
    assert sorted(file.name for file in (out / "masks").iterdir()) == [f"{name}.png" for name in frames]
    found = json.loads((out / "masklets.json").read_text())
    assert [item["id"] for item in found["objects"]] == objects
    for item in found["objects"] if len(objects) == 1 else []:
        for record, name in zip(item["frames"], frames, strict=True):
            index = read_index_png(out / "masks" / f"{name}.png")
            np.testing.assert_array_equal(decode_rle(record["segmentation"]), index == item["id"])
            assert 0 <= record["presence"] <= 1
    return found


def test_a_picture_is_segmented_from_a_click(model, picture, tmp_path, capsys) -> None:
    assert run("segment", picture, "--point", "20,15", "--point", "50,40,0", "--model", model, "--out", tmp_path) == 0
    assert capsys.readouterr().out.split() == [
        str(tmp_path / name) for name in ("overlay.png", "masks.png", "masklets.json")
    ]
    found = json.loads((tmp_path / "masklets.json").read_text())
    assert (found["name"], found["size"], found["model"]) == ("square.png", [48, 64], "tiny-convnet")
    (record,) = found["objects"][0]["frames"]
    np.testing.assert_array_equal(decode_rle(record["segmentation"]), read_index_png(tmp_path / "masks.png") == 1)
    assert record["iou"] is not None
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.size == (64, 48)


def test_several_boxes_are_an_object_each(model, picture, tmp_path, capsys) -> None:
    boxes = ("--box", "5,5,30,30", "--box", "30,5,60,40")
    assert run("segment", picture, *boxes, "--model", model, "--out", tmp_path, "--quiet", "--image-size", 96) == 0
    assert capsys.readouterr().out == ""
    assert [item["id"] for item in json.loads((tmp_path / "masklets.json").read_text())["objects"]] == [1, 2]


def test_results_of_several_sources_lie_side_by_side(model, picture, clip, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(picture, tmp_path / "other.png")
    for source, command in ((picture, "segment"), ("other.png", "segment"), (clip, "track")):
        assert run(command, source, "--box", "5,5,30,30", "--model", model, "--quiet") == (
            1 if source == clip else 0
        ), "two are called square"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["other", "square"]
    assert run("track", clip, "--box", "5,5,30,30", "--model", model, "--out", "clip") == 0
    assert run("everything", f"{tmp_path}/clip/masks/*.png", "--model", model, "--quiet") == 0
    assert (tmp_path / "out/masks/overlay.mp4").is_file()


def test_results_are_called_as_their_source(tmp_path, monkeypatch) -> None:
    (tmp_path / "shots/take.1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "shots")
    for source, name in {
        "photo.v2.jpg": "photo.v2",
        "take.1": "take.1",
        "take.1/": "take.1",
        ".": "shots",
        "take.1/..": "shots",
        "take.1/*.png": "take.1",
        "take.1/**/0000?.png": "take.1",
        "/": "clip",
    }.items():
        assert results_folder(None, source) == Path("out", name), source
    assert results_folder(Path("mine"), "photo.jpg") == Path("mine")


def test_how_sure_a_mask_is_is_told(model, picture, tmp_path, capsys, monkeypatch) -> None:
    assert run("segment", picture, "--point", "20,15", "--model", model, "--out", tmp_path) == 0
    (record,) = json.loads((tmp_path / "masklets.json").read_text())["objects"][0]["frames"]
    told = capsys.readouterr().err
    assert f"object 1: predicted IoU {record['iou']:.2f}" in told
    assert ("look at it" in told) == (record["iou"] < 0.5)


def test_a_clip_is_tracked_from_a_box(model, clip, tmp_path, capsys) -> None:
    assert run("track", clip, "--box", "0,8,14,22", "--model", model, "--out", tmp_path, "--object", 3) == 0
    found = checked(tmp_path, [f"{number:05d}" for number in range(8)], [3])
    assert found["fps"] == 24
    overlay = open_frames(tmp_path / "overlay.mp4")
    assert (len(overlay), tuple(overlay.size), overlay.fps) == (8, (48, 64), 24)
    captured = capsys.readouterr()
    assert captured.out.split()[0] == str(tmp_path / "overlay.mp4")
    assert "8/8" in captured.err


def test_several_boxes_are_tracked_as_an_object_each(model, clip, tmp_path) -> None:
    boxes = ("--box", "0,8,14,22", "--box", "30,5,60,40")
    assert run("track", clip, *boxes, "--model", model, "--out", tmp_path, "--object", 3) == 0
    checked(tmp_path, [f"{number:05d}" for number in range(8)], [3, 4])


@pytest.mark.parametrize("command", ["segment", "track", "everything"])
def test_the_model_computes_in_the_precision_that_is_named(model, picture, tmp_path, capsys, command) -> None:
    box = () if command == "everything" else ("--box", "5,5,30,30")
    given = (command, picture, *box, "--model", model, "--out", tmp_path, "--precision")
    assert run(*given, "bfloat16") == 0
    assert run(*given, "half") == 2
    assert "float32, bfloat16 or float16, not in half" in capsys.readouterr().err


def test_a_microscope_s_pictures_are_shown_in_the_range_that_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("masklet.checkpoints.load", lambda *_, **__: ColourNetwork())
    stack = np.full((3, 128, 128), 300, np.uint16)
    stack[:, 32:64, 32:64] = 2900
    pages = [Image.fromarray(page) for page in stack]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    pages[0].save(tmp_path / "page.tif")
    arguments = ("--range", "300,2900")
    for command in (("track", "stack.tif", "--box", "32,32,64,64"), ("segment", "page.tif", "--box", "32,32,64,64")):
        out = tmp_path / command[0]
        assert run(command[0], tmp_path / command[1], *command[2:], *arguments, "--out", out) == 0
        record = json.loads((out / "masklets.json").read_text())["objects"][0]["frames"][-1]
        assert abs(record["area"] - 32 * 32) < 40


def test_warnings_are_a_line_without_the_place_in_the_code() -> None:
    assert format_warning("seen as black", MaskletWarning, "images.py", 7) == "masklet: seen as black\n"
    assert "driver.py:7" in format_warning("another's", UserWarning, "driver.py", 7)


def test_frames_on_which_an_object_was_not_to_be_seen_are_told(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("masklet.checkpoints.load", lambda *_, **__: ColourNetwork())
    frames = np.full((9, 128, 128, 3), 40, np.uint8)
    for number in (0, 1, 2, 5, 8):
        frames[number, 32:64, 32:64] = (220, 30, 30)
    (tmp_path / "clip").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / "clip" / f"{number}.png")
    assert run("track", tmp_path / "clip", "--point", "48,48", "--out", tmp_path / "out") == 0
    assert "object 1 was not to be seen on frames 3-4, 6-7\n" in capsys.readouterr().err


def test_overlapping_objects_are_told_apart_where_that_is_asked(model, clip, tmp_path) -> None:
    prompts = [{"frame": 0, "object": 1, "box": [0, 0, 60, 40]}, {"frame": 0, "object": 2, "box": [4, 4, 64, 48]}]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    both = []
    for option in ((), ("--apart",)):
        out = tmp_path / f"out{len(option)}"
        assert run("track", clip, "--prompts", tmp_path / "prompts.json", "--model", model, "--out", out, *option) == 0
        objects = json.loads((out / "masklets.json").read_text())["objects"]
        one, other = (decode_rle(item["frames"][0]["segmentation"]) for item in objects)
        both.append((one & other).sum())
    assert both[0] > 0 and both[1] == 0


def test_a_folder_is_tracked_both_ways_from_a_prompts_file(model, tmp_path, capsys) -> None:
    shots = tmp_path / "shots"
    shots.mkdir()
    for number, frame in enumerate(moving_square(6)):
        Image.fromarray(frame).save(shots / f"shot{number + 7}.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 4:16] = 2
    write_index_png(tmp_path / "mask.png", mask)
    prompts = [
        {"frame": 2, "object": 2, "mask": "mask.png"},
        {"frame": 4, "object": 5, "points": [[14, 15], [60, 40]], "labels": [1, 0]},
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    names = [f"shot{number}" for number in range(7, 13)]
    options = ("--prompts", tmp_path / "prompts.json", "--model", model, "--quiet", "--out")
    assert run("track", shots, *options, tmp_path / "both", "--both") == 0
    assert capsys.readouterr() == ("", "")
    found = checked(tmp_path / "both", sorted(names), [2, 5])
    assert [[record["frame"] for record in item["frames"]] for item in found["objects"]] == [list(range(6))] * 2
    assert len(open_frames(tmp_path / "both" / "overlay.mp4")) == 6
    assert run("track", f"{shots}/*.png", *options, tmp_path / "back", "--reverse") == 0
    found = checked(tmp_path / "back", sorted(names[:5]), [2, 5])
    assert [[record["frame"] for record in item["frames"]] for item in found["objects"]] == [[0, 1, 2], [0, 1, 2, 3, 4]]


def test_a_video_that_breaks_off_is_tracked_as_far_as_it_goes_and_the_frame_is_named(model, tmp_path, capsys) -> None:
    noise = list(np.random.default_rng(0).integers(0, 255, (20, 48, 64, 3), np.uint8))
    whole = write_clip(tmp_path / "clip.mp4", noise, options={"bf": "0"}, muxer_options={"movflags": "faststart"})
    broken = cut_off(whole, 0.6)
    out = tmp_path / "out"
    assert run("track", broken, "--point", "20,20", "--model", model, "--out", out, "--quiet") == 2
    error = capsys.readouterr().err
    done = len(list((out / "masks").iterdir()))
    assert 5 < done < 15
    assert f"breaks off after frame {done - 1}" in error
    checked(out, [f"{number:05d}" for number in range(done)], [1])
    assert len(open_frames(out / "overlay.mp4")) == done


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_a_request_to_end_leave_valid_files_of_what_was_done(model, tmp_path, number) -> None:
    clip = write_clip(tmp_path / "long.mp4", moving_square(20) * 100)
    out = tmp_path / "out"
    arguments = ["track", str(clip), "--point", "5,15", "--model", model, "--out", str(out)]
    process = subprocess.Popen([*COMMAND, *arguments], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not any((out / "masks").glob("*.png")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert f"stopped; {out} holds the frames done until then" in errors
    done = len(list((out / "masks").iterdir()))
    assert 0 < done < 2000
    checked(out, [f"{number:05d}" for number in range(done)], [1])
    assert len(open_frames(out / "overlay.mp4")) == done


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("segment", "PICTURE"), 2, "--point X,Y or --box"),
        (("segment", "missing.png", "--point", "1,1"), 2, "no such picture: missing.png"),
        (("segment", "PICTURE", "--point", "1,1,0"), 2, "only what the object is not: add a --point X,Y on it"),
        (("track", "CLIP", "--point", "1,1,0"), 2, "only what the object is not: add a --point X,Y on it"),
        (("segment", "PICTURE", "--point", "1"), 2, "a point is X,Y or X,Y,LABEL"),
        (("segment", "PICTURE", "--point", "1,2,3"), 2, "LABEL is 1"),
        (("segment", "PICTURE", "--box", "1,2,3"), 2, "a box is X0,Y0,X1,Y1"),
        (("segment", "PICTURE", "--box", "9,9,3,3"), 2, "empty or inverted"),
        (("segment", "PICTURE", "--point", "500,1"), 2, "outside the picture of 64 x 48"),
        (("segment", "PICTURE", "--point", "1,1", "--image-size", "100"), 2, "multiple of 32"),
        (("segment", "PICTURE", "--point", "1,1", "--out", "PICTURE/x"), 1, "is a file; name a folder"),
        (("track", "CLIP"), 2, "say what to track"),
        (("track", "missing.mp4", "--point", "1,1"), 2, "no such file or folder: missing.mp4"),
        (("track", "PICTURE.d/*.tif", "--point", "1,1"), 2, "no pictures in"),
        (("track", "CLIP", "--point", "1,1", "--frame", "99"), 2, "no frame 99"),
        (("track", "CLIP", "--prompts", "none.json"), 2, "no such prompts file"),
        (("track", "CLIP", "--point", "1,1", "--reverse", "--both"), 2, "exclude each other"),
        (("track", "CLIP", "--point", "1,1", "--reverse"), 2, "all are on frame 0: leave it out"),
        (("track", "CLIP", "--box", "1,1,9,9", "--box", "9,9,20,20", "--point", "3,3"), 2, "an object each"),
        (("track", "CLIP", "--point", "1,1", "--range", "0,4095"), 2, "is a video"),
        (("segment", "PICTURE", "--point", "1,1", "--range", "9"), 2, "a range is LOW,HIGH"),
        (("segment", "PICTURE", "--point", "1,1", "--range", "9,3"), 2, "a larger one for white"),
        (("everything", "PICTURE", "--every", "3"), 2, "are for clips"),
        (("everything", "PICTURE", "--iou", "5"), 2, "--iou"),
        (("segment", "PICTURE", "--point", "1,1", "--device", "banana"), 1, "unknown device 'banana'; there are cpu"),
        (("track", "CLIP", "--point", "1,1", "--mask", "PICTURE"), 2, "leave out --box and --point"),
    ],
)
def test_bad_input_is_one_line_that_says_what_is_wrong(
    model, picture, clip, tmp_path, monkeypatch, capsys, arguments, code, words
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    filled = [part.replace("PICTURE", picture).replace("CLIP", clip) for part in arguments]
    assert run(*filled, "--model", model) == code
    captured = capsys.readouterr()
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_each_object_of_a_clip_is_shown_somewhere(model, clip, tmp_path, capsys) -> None:
    prompts = tmp_path / "prompts.json"
    box = [4, 12, 20, 28]
    boxes = [{"box": box}, {"frame": 2, "box": box}, {"object": 2, "box": box}]
    prompts.write_text(json.dumps([*boxes, {"frame": 3, "points": [[40, 40]], "labels": [0]}]))
    given = ("track", clip, "--prompts", prompts, "--model", model, "--out", tmp_path / "out", "--quiet")
    assert run(*given) == 0, "a correction"
    assert run(*given, "--point", "40,40,0", "--object", "5") == 2
    assert "the prompts of object 5 say only what it is not" in capsys.readouterr().err
    assert run(*given, "--box", "5,12,20,28", "--frame", "2") == 2
    assert "object 1 has 2 boxes on frame 2" in capsys.readouterr().err


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(picture, capsys) -> None:
    assert run("segment", picture, "--point", "1,1", "--model", "sam9") == 1
    assert "unknown model 'sam9'; known are nano, sam2.1-tiny" in capsys.readouterr().err


def test_models_lists_every_name_and_where_it_is(capsys) -> None:
    from masklet.config import CONFIGS

    assert run("models") == 0
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(CONFIGS)
    assert "in the package" in lines[0]


def test_a_folder_that_may_not_be_looked_into_is_one_line(picture, capsys, monkeypatch) -> None:
    def forbidden(*_, **__):
        raise PermissionError(13, "Permission denied", "/somewhere/else")

    monkeypatch.setattr("masklet.predict.record.segment_to_folder", forbidden)
    assert run("segment", picture, "--point", "1,1") == 1
    assert capsys.readouterr().err.strip() == "masklet: no permission to use /somewhere/else: Permission denied"


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 9 GiB"), "takes less, --device cpu has more"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried 9 bytes"),
            "takes less",
        ),
        (MemoryError("Unable to allocate 9 GiB for an array"), "takes less"),
    ],
)
def test_memory_that_runs_out_is_one_line(picture, capsys, monkeypatch, error, advice) -> None:
    def out_of_memory(*_, **__):
        raise error

    monkeypatch.setattr("masklet.predict.record.segment_to_folder", out_of_memory)
    assert run("segment", picture, "--point", "1,1") == 1
    found = capsys.readouterr().err.strip()
    assert found == f"masklet: memory ran out: a smaller picture, --image-size or model {advice}"


def test_options_that_would_not_count_are_refused(clip, tmp_path, capsys) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text('[{"frame": 0, "object": 1, "box": [0, 8, 14, 22]}]')
    mask, box = ("--mask", tmp_path / "mask.png"), ("--box", "0,8,14,22")
    for options in ((*mask, *box), (*mask, *box, *box), (*mask, "--point", "3,9")):
        assert run("track", clip, *options) == 2
        assert "--mask says all of an object" in " ".join(capsys.readouterr().err.split())
    for options in (("--frame", 3), ("--object", 2)):
        assert run("track", clip, "--prompts", prompts, *options) == 2
        assert "--prompts says its own" in " ".join(capsys.readouterr().err.split())


def test_help_and_no_arguments_load_no_torch() -> None:
    code = "import sys; from masklet.cli import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    for command in ("segment", "track", "models", "demo"):
        assert command in done.stdout


def test_the_version_is_told(capsys) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"masklet {__version__}\n"


def test_an_unknown_option_is_a_usage_error(capsys) -> None:
    assert run("track", "--nonsense") == 2
    assert "nonsense" in capsys.readouterr().err
