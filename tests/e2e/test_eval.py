"""`masklet eval` from a benchmark's folder to its report, with a tiny model and clips of moving shapes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.cli import main
from masklet.errors import MaskletWarning
from masklet.eval.image import ImageRun
from masklet.eval.running import ModelChoice
from masklet.io.palette import read_index_png, write_index_png

from .tiny_model import save_tiny_model

NUM_FRAMES = 7
SIZE = (48, 64)
COMMAND = [sys.executable, "-m", "masklet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    return str(save_tiny_model(tmp_path_factory.mktemp("model") / "tiny.safetensors"))


def scene(frame: int, late: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its index mask: object 1 moves right, object 2 down, shown from frame `late` on."""
    picture = np.full((*SIZE, 3), 90, np.uint8)
    index = np.zeros(SIZE, np.uint8)
    for number, (top, left), colour in ((1, (6, 4 + 3 * frame), (220, 40, 40)), (2, (24 + frame, 30), (40, 60, 220))):
        if number == 1 or frame >= late:
            picture[top : top + 14, left : left + 16] = colour
            index[top : top + 14, left : left + 16] = number
    return picture, index


def write_clip(
    root: Path, name: str, *, late: int = 0, masks: range = range(NUM_FRAMES), num_frames: int = NUM_FRAMES
) -> None:
    """A clip in the layout of DAVIS, with masks on some frames."""
    for frame in range(num_frames):
        picture, index = scene(frame, late)
        for folder, suffix in (("JPEGImages", "jpg"), ("Annotations", "png")):
            path = root / folder / name / f"{frame:05d}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if suffix == "jpg":
                Image.fromarray(picture).save(path, quality=95)
            elif frame in masks:
                write_index_png(path, index)


@pytest.fixture(scope="module")
def davis(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("davis")
    for name in ("alpha", "beta"):
        write_clip(root, name)
    return root


def run(*arguments: object) -> int:
    """The exit code of a command run in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in ("eval", *arguments)])
    return caught.value.code


def figures(out: Path) -> dict:
    """A report without what differs from run to run."""
    report = json.loads((out / "report.json").read_text())
    del report["timing"]
    return report


def test_vos_in_one_command(davis, model, tmp_path, capsys):
    assert run("vos", "--data", davis, "--model", model, "--out", tmp_path, "--processes", 1) == 0
    printed = capsys.readouterr().out
    assert "J&F" in printed and "report.html" in printed
    report = figures(tmp_path)
    assert report["settings"]["layout"] == "davis2017"
    assert [row["name"] for row in report["rows"]] == ["alpha/1", "alpha/2", "beta/1", "beta/2"]
    assert report["summary"]["J&F"] == pytest.approx(np.mean([row["values"]["J&F"] for row in report["rows"]]))
    with (tmp_path / "report.csv").open() as file:
        lines = list(csv.reader(file))
    assert lines[0][:2] == ["name", "J&F"] and lines[-1][0] == "mean" and len(lines) == 6
    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 4 and "<svg" in page
    assert not re.search(r"(src|href)=['\"]?https?:", page), "the page must need nothing from elsewhere"
    written = read_index_png(tmp_path / "predictions/alpha/00003.png")
    assert written.shape == SIZE and set(np.unique(written)) <= {0, 1, 2}


def test_objects_that_do_not_count_do_not_take_pixels(model, tmp_path):
    write_clip(tmp_path / "data", "alpha", late=3)
    assert run("vos", "--data", tmp_path / "data", "--model", model, "--out", tmp_path / "out", "--quiet") == 0
    written = [read_index_png(path) for path in sorted(tmp_path.glob("out/predictions/alpha/*.png"))]
    assert len(written) == NUM_FRAMES and not any((index == 2).any() for index in written)
    report = figures(tmp_path / "out")
    assert [row["name"] for row in report["rows"]] == ["alpha/1"]
    assert report["settings"]["objects not on their clip's first frame, not counted"] == "alpha/2"


@pytest.mark.parametrize("public", [True, False])
def test_davis_2016_gets_masks_as_its_own(model, tmp_path, public):
    write_clip(tmp_path / "data", "alpha", masks=range(NUM_FRAMES if public else 1))
    for path in (tmp_path / "data/Annotations/alpha").iterdir():
        write_index_png(path, np.where(read_index_png(path) > 0, 255, 0))
    common = ("--layout", "davis2016", "--model", model, "--quiet")
    assert run("vos", "--data", tmp_path / "data", *common, "--out", tmp_path / "out") == 0
    written = [read_index_png(path) for path in sorted(tmp_path.glob("out/predictions/alpha/*.png"))]
    assert set(np.unique(written)) == {0, 255}
    if public:
        assert [row["name"] for row in figures(tmp_path / "out")["rows"]] == ["alpha/1"]
    else:
        assert (tmp_path / "out/submission.zip").is_file()


def test_two_processes_and_a_broken_run_give_the_same_figures(davis, model, tmp_path):
    common = ("vos", "--data", davis, "--model", model, "--prompt", "3-click", "--quiet")
    assert run(*common, "--out", tmp_path / "one", "--processes", 1) == 0
    assert run(*common, "--out", tmp_path / "two", "--processes", 2) == 0
    assert figures(tmp_path / "one") == figures(tmp_path / "two")
    shutil.copytree(tmp_path / "one", tmp_path / "broken")
    (tmp_path / "broken/items/beta.json").unlink()
    shutil.rmtree(tmp_path / "broken/predictions/beta")
    (tmp_path / "broken/predictions/.beta.part").mkdir()
    kept = (tmp_path / "broken/items/alpha.json").stat().st_mtime_ns
    assert run(*common, "--out", tmp_path / "broken", "--processes", 1) == 0
    assert figures(tmp_path / "broken") == figures(tmp_path / "one")
    assert (tmp_path / "broken/items/alpha.json").stat().st_mtime_ns == kept, "done work must not be done again"


def test_killed_half_way_and_started_again(model, tmp_path):
    data = tmp_path / "davis"
    write_clip(data, "alpha")
    write_clip(data, "beta", num_frames=60)
    arguments = ["eval", "vos", "--data", str(data), "--model", model, "--quiet", "--processes", "1"]
    killed = subprocess.Popen([*COMMAND, *arguments, "--out", str(tmp_path / "killed")], env=dict(os.environ))
    deadline = time.monotonic() + 120
    while not list((tmp_path / "killed").glob("items/*.json")) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.kill()
    killed.wait()
    assert list((tmp_path / "killed").glob("items/*.json"))
    assert not (tmp_path / "killed/report.json").exists()
    assert run(*arguments[1:], "--out", tmp_path / "killed") == 0
    assert run(*arguments[1:], "--out", tmp_path / "whole") == 0
    assert figures(tmp_path / "killed") == figures(tmp_path / "whole")


def test_other_settings_need_another_folder(davis, model, tmp_path, capsys):
    common = ("vos", "--data", davis, "--model", model, "--clip", "alpha", "--out", tmp_path, "--quiet")
    assert run(*common) == 0
    assert run(*common, "--prompt", "box") == 2
    assert "prompt = 'mask', now it is 'box'" in capsys.readouterr().err
    assert run(*common, "--precision", "bfloat16") == 2
    assert "precision = 'float32', now it is 'bfloat16'" in capsys.readouterr().err


def test_nothing_that_another_wrote_is_written_over(davis, model, tmp_path, capsys):
    common = ("vos", "--data", davis, "--model", model, "--clip", "alpha", "--quiet", "--out")
    for name, contents in (("predictions/alpha/mine.png", "mask"), ("settings.json", '{"mine": 1}')):
        path = tmp_path / name.replace("/", "-") / name
        path.parent.mkdir(parents=True)
        path.write_text(contents)
        assert run(*common, tmp_path / name.replace("/", "-")) == 1
        assert "would be written over, and is not of masklet eval" in capsys.readouterr().err
        assert path.read_text() == contents


def test_masks_that_went_are_made_again(davis, model, tmp_path):
    common = ("vos", "--data", davis, "--model", model, "--clip", "alpha", "--clip", "alpha", "--quiet")
    assert run(*common, "--out", tmp_path) == 0
    before = figures(tmp_path)
    shutil.rmtree(tmp_path / "predictions")
    assert run(*common, "--out", tmp_path) == 0
    assert figures(tmp_path) == before
    assert len(list((tmp_path / "predictions/alpha").iterdir())) == NUM_FRAMES


def test_masks_of_anybody_are_scored_and_compared(davis, tmp_path, capsys):
    shutil.copytree(davis / "Annotations", tmp_path / "perfect")
    shutil.copytree(davis / "Annotations", tmp_path / "worse")
    for path in (tmp_path / "worse/beta").glob("*.png"):
        write_index_png(path, np.roll(read_index_png(path), 5, 1))
    common = ("masks", "--truth", davis, "--processes", 1, "--predicted")
    assert run(*common, tmp_path / "perfect", "--out", tmp_path / "a", "--quiet") == 0
    assert figures(tmp_path / "a")["summary"]["J&F"] == 1
    capsys.readouterr()
    assert run(*common, tmp_path / "worse", "--out", tmp_path / "b", "--compare", tmp_path / "a/report.json") == 0
    difference = figures(tmp_path / "b")["summary"]["J&F"] - 1
    assert f"{difference:+.4f}" in capsys.readouterr().out
    assert f"{difference:+.3f}" in (tmp_path / "b/report.html").read_text()
    for clip in ("alpha", "beta"):  # as `masklet track` leaves them
        shutil.copytree(tmp_path / "perfect" / clip, tmp_path / "tracked" / clip / "masks")
        (tmp_path / "tracked" / clip / "masklets.json").touch()
    assert run(*common, tmp_path / "tracked", "--out", tmp_path / "c", "--quiet") == 0
    assert figures(tmp_path / "c")["summary"]["J&F"] == 1
    for path in (tmp_path / "worse/beta").glob("*.png"):
        shutil.copy(tmp_path / "perfect/beta" / path.name, path)
    assert run(*common, tmp_path / "worse", "--out", tmp_path / "b", "--quiet") == 0
    assert figures(tmp_path / "b")["summary"]["J&F"] == 1, "masks that were made anew are scored anew"


def test_a_run_that_found_nothing_does_not_stand_in_the_way_of_the_next(davis, tmp_path, capsys):
    common = ("masks", "--truth", davis, "--processes", 1, "--out", tmp_path / "out", "--predicted")
    assert run(*common, tmp_path / "nope") == 2
    assert "no such folder of masks" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(*common, tmp_path / "empty") == 2
    shutil.copytree(davis / "Annotations", tmp_path / "out/predictions")
    assert run(*common, tmp_path / "out/predictions", "--quiet") == 0


def test_truth_that_is_not_public_gives_a_submission(model, tmp_path):
    write_clip(tmp_path / "mose", "alpha", masks=range(1))
    common = ("--model", model, "--quiet", "--processes", 1)
    assert run("vos", "--data", tmp_path / "mose", "--out", tmp_path / "out", *common) == 0
    with zipfile.ZipFile(tmp_path / "out/submission.zip") as archive:
        assert archive.namelist() == [f"alpha/{frame:05d}.png" for frame in range(NUM_FRAMES)]
    assert not (tmp_path / "out/report.json").exists()


def test_a_mask_of_0_and_255_is_an_object_s(model, tmp_path, capsys):
    write_clip(tmp_path / "mose", "alpha", masks=range(1))
    mask = tmp_path / "mose/Annotations/alpha/00000.png"
    Image.fromarray((read_index_png(mask) == 1).astype(np.uint8) * 255).save(mask)
    common = ("vos", "--data", tmp_path / "mose", "--model", model, "--processes", 1, "--out")
    (tmp_path / "out/predictions/.other.part").mkdir(parents=True)
    (tmp_path / "out/settings.json").write_text('{"masklet": "of a run that was broken off"}')
    assert run(*common, tmp_path / "out", "--clip", "alpha", "--clip", "alpha") == 0
    assert f"{NUM_FRAMES} masks to submit" in capsys.readouterr().out
    masks = [read_index_png(path) for path in (tmp_path / "out/predictions/alpha").glob("*.png")]
    assert set(np.unique(masks)) == {0, 255}

    write_index_png(mask, np.zeros(SIZE, np.uint8))
    assert run(*common, tmp_path / "empty") == 2
    assert "masks show no object" in capsys.readouterr().err


def test_an_object_of_sav_that_is_never_seen_does_not_end_a_run(model, tmp_path):
    root = tmp_path / "sav"
    for frame in range(NUM_FRAMES):
        picture, index = scene(frame)
        for folder in (root / "JPEGImages_24fps/clip", root / "Annotations_6fps/clip/000"):
            folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / f"JPEGImages_24fps/clip/{frame:05d}.jpg")
        write_index_png(root / f"Annotations_6fps/clip/000/{frame:05d}.png", (index == 1).astype(np.uint8))
    for number in ("001", "003"):
        (root / f"Annotations_6fps/clip/{number}").mkdir()
    (root / "Annotations_6fps/clip/000").rename(root / "Annotations_6fps/clip/002")
    assert run("vos", "--data", root, "--model", model, "--out", tmp_path / "out", "--quiet") == 0
    assert figures(tmp_path / "out")["settings"]["objects"] == 1
    common = ("interactive", "--data", root, "--model", model, "--quiet", "--rounds", 1, "--clicks", 1)
    assert run(*common, "--out", tmp_path / "clicked") == 0
    assert figures(tmp_path / "clicked")["settings"]["objects"] == 1
    for path in sorted((root / "Annotations_6fps/clip/002").iterdir())[1:]:
        path.unlink()
    assert run("vos", "--data", root, "--model", model, "--out", tmp_path / "sent", "--quiet") == 0
    with zipfile.ZipFile(tmp_path / "sent/submission.zip") as archive:
        assert Path("clip/002") in {Path(name).parent for name in archive.namelist()}


def test_lvos_is_known_by_its_ranges(model, tmp_path):
    write_clip(tmp_path / "data", "alpha")
    ranges = {str(number): {"frame_range": {"start": 0, "end": 5}} for number in (1, 2)}
    videos = {"alpha": {"objects": ranges}, "other": {"objects": ["a cat"]}}
    (tmp_path / "data/meta.json").write_text(json.dumps({"videos": videos}))
    assert run("vos", "--data", tmp_path / "data", "--model", model, "--out", tmp_path / "out", "--quiet") == 0
    assert figures(tmp_path / "out")["settings"]["layout"] == "lvos"


def test_youtube_vos_objects_join_where_they_are_first_seen(model, tmp_path):
    root = tmp_path / "ytvos"
    write_clip(root, "alpha", late=3, masks=range(0))
    (root / "Annotations/alpha").mkdir(parents=True, exist_ok=True)
    write_index_png(root / "Annotations/alpha/00000.png", scene(0, 3)[1])
    late = scene(3, 3)[1]
    write_index_png(root / "Annotations/alpha/00003.png", np.where(late == 2, late, 0))
    (root / "meta.json").write_text(json.dumps({"videos": {"alpha": {"objects": {}}}}))
    assert run("vos", "--data", root, "--model", model, "--out", tmp_path / "out", "--quiet") == 0
    masks = [read_index_png(tmp_path / f"out/predictions/alpha/{frame:05d}.png") for frame in range(NUM_FRAMES)]
    assert all(2 not in mask for mask in masks[:3])
    assert 2 in masks[3], "its own mask was given there"


def test_sav_objects_have_folders_of_their_own(model, tmp_path, capsys):
    root = tmp_path / "sav"
    write_clip(root, "sav_1", late=4)
    (root / "JPEGImages").rename(root / "JPEGImages_24fps")
    shutil.rmtree(root / "Annotations")
    for frame in range(0, NUM_FRAMES, 2):
        index = scene(frame, 4)[1]
        for object_id in (0, 1):
            path = root / f"Annotations_6fps/sav_1/{object_id:03d}/{frame:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_index_png(path, (index == object_id + 1).astype(np.uint8))
    assert run("vos", "--data", root, "--model", model, "--out", tmp_path / "out", "--quiet") == 0
    written = sorted(path.relative_to(tmp_path / "out/predictions") for path in (tmp_path / "out").rglob("*.png"))
    assert [str(path) for path in written[:2]] == ["sav_1/000/00000.png", "sav_1/000/00002.png"]
    assert len(written) == 8
    with pytest.raises(SystemExit) as caught:
        main(["sav", "check", "--data", str(root), str(tmp_path / "out/predictions")])
    assert caught.value.code == 0
    (tmp_path / "out/predictions/sav_1/001/00004.png").unlink()
    with pytest.raises(SystemExit) as caught:
        main(["sav", "check", "--data", str(root), str(tmp_path / "out/predictions")])
    assert caught.value.code == 1
    assert "001/00004.png" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["offline", "online"])
def test_interactive_protocols(davis, model, tmp_path, mode):
    common = ("interactive", "--data", davis, "--clip", "alpha", "--model", model, "--mode", mode, "--quiet")
    assert run(*common, "--rounds", 3, "--clicks", 2, "--out", tmp_path) == 0
    report = figures(tmp_path)
    assert list(report["summary"]) == ["J&F", "J&F @1", "J&F @2", "J&F @3"]
    item = json.loads((tmp_path / "items/alpha.json").read_text())
    for record in item["objects"]:
        clicked = [entry["frame"] for entry in record["rounds"]]
        assert clicked[0] == 0
        if mode == "online":
            assert clicked == sorted(clicked), "online never goes back"
            for before, after in zip(record["rounds"], record["rounds"][1:]):
                assert after["j"][: after["frame"]] == before["j"][: after["frame"]], "what came before is settled"
    assert "<svg" in (tmp_path / "report.html").read_text()


def test_image_protocol(model, tmp_path):
    for place in range(3):
        picture, index = scene(place)
        Image.fromarray(picture).save(tmp_path / f"shot{place}.jpg")
        write_index_png(tmp_path / f"shot{place}.png", index)
    common = ("image", "--data", tmp_path, "--model", model, "--clicks", 3, "--quiet", "--processes", 1)
    assert run(*common, "--out", tmp_path / "out") == 0
    report = figures(tmp_path / "out")
    assert list(report["summary"]) == ["box", "1 click", "2 clicks", "3 clicks"]
    assert len(report["rows"]) == 6
    assert run(*common, "--whole", "--limit", 2, "--out", tmp_path / "whole") == 0
    assert [row["name"] for row in figures(tmp_path / "whole")["rows"]] == ["shot0.jpg/1", "shot2.jpg/1"]
    assert run(*common, "--min-area", 100000, "--out", tmp_path / "none") == 2


def test_pictures_that_were_added_are_measured_and_none_twice(model, tmp_path):
    data, common = tmp_path / "data", ("--model", model, "--clicks", 1, "--quiet", "--processes", 1)
    data.mkdir()
    for names in ("acd", "b"):
        for place, name in enumerate(names):
            picture, index = scene(place)
            Image.fromarray(picture).save(data / f"{name}.jpg")
            write_index_png(data / f"{name}.png", (index == 1).astype(np.uint8))
        assert run("image", "--data", data, *common, "--out", tmp_path / "out") == 0
    rows = [row["name"] for row in figures(tmp_path / "out")["rows"]]
    assert rows == ["a.jpg/1", "b.jpg/1", "c.jpg/1", "d.jpg/1"]
    measured = ImageRun(data, ModelChoice(str(model)))
    stamp = measured.state("0")
    for name in (".DS_Store", "Thumbs.db"):  # which macOS and Windows leave in folders that are looked at
        (data / name).touch()
    assert replace(measured).state("0") == stamp
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "all").symlink_to(data)
    (tmp_path / "some.json").write_text("{}")  # whose pictures lie below
    others = [replace(measured, data=place) for place in (tmp_path / "linked", tmp_path / "some.json")]
    stamps = [other.state("0") for other in others]
    Image.fromarray(scene(9)[0]).save(data / "a.jpg")
    assert all(replace(other).state("0") != stamp for other, stamp in zip(others, stamps, strict=True))


def test_results_among_the_pictures_are_no_pictures(model, tmp_path):
    Image.fromarray(scene(0)[0]).save(tmp_path / "0.jpg")
    write_index_png(tmp_path / "0.png", scene(0)[1])
    common = ("image", "--data", tmp_path, "--model", model, "--clicks", 1, "--quiet", "--out", tmp_path / "eval-image")
    assert run(*common) == 0
    before = (tmp_path / "eval-image/items/000000.json").stat().st_mtime_ns
    assert run(*common) == 0
    assert (tmp_path / "eval-image/items/000000.json").stat().st_mtime_ns == before
    among = (*common[:-1], tmp_path)
    assert run(*among) == 0
    Image.fromarray(scene(3)[0]).save(tmp_path / "0.jpg")
    before = (tmp_path / "items/000000.json").stat().st_mtime_ns
    assert run(*among) == 0
    assert (tmp_path / "items/000000.json").stat().st_mtime_ns > before, "a picture that changed is measured again"


def test_objects_that_overlap_all_count(model, tmp_path):
    picture, _ = scene(0)
    Image.fromarray(picture).save(tmp_path / "a.jpg")
    boxes = [(4, 6, 40, 30), (10, 10, 20, 20), (30, 24, 46, 38)]  # the second lies on the first, the third partly
    corners = [[x0, y0, x1, y0, x1, y1, x0, y1] for x0, y0, x1, y1 in boxes]
    document = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": SIZE[0], "width": SIZE[1]}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "segmentation": [loop]}
            for number, loop in enumerate(corners, 1)
        ],
    }
    (tmp_path / "coco.json").write_text(json.dumps(document))
    run("image", "--data", tmp_path / "coco.json", "--model", model, "--clicks", 1, "--out", tmp_path / "out")
    report = json.loads((tmp_path / "out/items/000000.json").read_text())
    areas = {record["object_id"]: record["area"] for record in report["objects"]}
    assert areas == {number: (x1 - x0) * (y1 - y0) for number, (x0, y0, x1, y1) in enumerate(boxes, 1)}


def test_clips_without_truth_or_objects_are_named(model, tmp_path):
    write_clip(tmp_path / "data", "alpha")
    write_clip(tmp_path / "data", "still", masks=range(1))
    write_clip(tmp_path / "data", "void")
    for path in (tmp_path / "data/Annotations/void").iterdir():
        write_index_png(path, np.zeros(SIZE, np.uint8))
    assert run("vos", "--data", tmp_path / "data", "--model", model, "--quiet", "--out", tmp_path / "out") == 0
    settings = figures(tmp_path / "out")["settings"]
    assert settings["clips"] == 1 and settings["clips without truth to score"] == "still, void"


@pytest.mark.parametrize(("place", "named"), [("images/{}", "images/val"), ("{}/images", "val")])
def test_pictures_that_were_trained_on_are_not_measured_among_the_others(model, tmp_path, capsys, place, named):
    for split in ("train", "val"):
        pictures = tmp_path / "set" / place.format(split)
        labels = tmp_path / "set" / place.format(split).replace("images", "labels")
        pictures.mkdir(parents=True)
        labels.mkdir(parents=True)
        Image.fromarray(scene(0)[0]).save(pictures / f"{split}.jpg")
        (labels / f"{split}.txt").write_text("0 0.1 0.1 0.3 0.1 0.3 0.4 0.1 0.4\n")
    options = ("--model", model, "--out", tmp_path / "out", "--processes", 1)
    assert run("image", "--data", tmp_path / "set", *options) == 2
    assert str(tmp_path / "set" / named) in capsys.readouterr().err.replace("\n", "")
    assert run("image", "--data", tmp_path / "set" / named, *options) == 0
    assert "val.jpg" in (tmp_path / "out" / "report.json").read_text()


@pytest.mark.parametrize("protocol", ["vos", "image", "interactive"])
def test_dark_pictures_are_measured_in_a_range_of_values(model, tmp_path, protocol):
    write_clip(tmp_path / "data", "a")
    for path in (tmp_path / "data" / "JPEGImages" / "a").glob("*.jpg"):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 8
        Image.fromarray(grey).save(path.with_suffix(".png"))
        path.unlink()
    options = ("--data", tmp_path / "data", "--model", model, "--processes", 1, "--out", tmp_path / "out")
    options += ("--rounds", 1, "--clicks", 1) if protocol == "interactive" else ()
    with warnings.catch_warnings():
        warnings.simplefilter("error", MaskletWarning)  # of pictures that are seen as black
        assert run(protocol, *options, "--range", "0,2040") == 0
    assert json.loads((tmp_path / "out" / "settings.json").read_text())["value_range"] == [0, 2040]
    assert run(protocol, *options, "--range", "0,2040") == 0
    assert run(protocol, *options, "--range", "0,4000") == 2
