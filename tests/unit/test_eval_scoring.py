"""Benchmarks' folders, the rules by which frames and objects count, and errors where masks do not fit."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError
from masklet.eval.layouts import object_ranges, open_clips
from masklet.eval.running import ModelChoice
from masklet.eval.scoring import ObjectScores, counted_frames, score_clip
from masklet.eval.submission import check_submission, pack_submission
from masklet.eval.truth import read_objects
from masklet.eval.vos import MaskScores, VosRun, vos_report
from masklet.io.palette import write_index_png

SIZE = (20, 30)
FULL = np.zeros(SIZE, np.uint8)
FULL[5:15, 5:20] = 1


def index_of(*objects: int) -> np.ndarray:
    """An index mask with a block for each object."""
    index = np.zeros(SIZE, np.uint8)
    for object_id in objects:
        index[4 * object_id - 3 : 4 * object_id, 5:20] = object_id
    return index


def write_masks(folder: Path, masks: dict[int, np.ndarray], width: int = 5) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for frame, index in masks.items():
        write_index_png(folder / f"{frame:0{width}d}.png", index)
    return folder


def write_pictures(folder: Path, count: int, width: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for frame in range(count):
        Image.new("RGB", (SIZE[1], SIZE[0])).save(folder / f"{frame:0{width}d}.jpg")


def score(root: Path, predicted: Path, **options) -> list[ObjectScores]:
    data = open_clips(root, **options)
    (clip,) = data.clips
    counted = counted_frames(clip, data.counting, object_ranges(data.root).get(clip.name))
    return score_clip(clip, predicted / clip.name, data.counting, counted)


def test_davis_leaves_out_the_first_and_last_frame_and_late_objects(tmp_path):
    masks = {frame: index_of(1, 2) if frame > 1 else index_of(1) for frame in range(5)}
    write_masks(tmp_path / "truth/clip", masks)
    write_masks(tmp_path / "predicted/clip", {frame: index_of(1) for frame in range(5)})
    (found,) = score(tmp_path / "truth", tmp_path / "predicted")
    assert (found.object_id, found.frames, found.jf) == (1, (1, 2, 3), 1)


def test_davis_2016_takes_all_that_is_not_0_for_one_object(tmp_path):
    write_masks(tmp_path / "truth/clip", dict.fromkeys(range(4), (FULL * 255).astype(np.uint8)))
    write_masks(tmp_path / "predicted/clip", dict.fromkeys(range(4), FULL))
    assert open_clips(tmp_path / "truth").layout == "davis2016"
    (found,) = score(tmp_path / "truth", tmp_path / "predicted")
    assert (found.object_id, found.j) == (1, (1, 1))


def test_davis_2017_does_not_count_void(tmp_path):
    truth = index_of(1)
    truth[16:] = 255
    write_masks(tmp_path / "truth/clip", dict.fromkeys(range(4), truth))
    write_masks(tmp_path / "predicted/clip", dict.fromkeys(range(4), index_of(1)))
    assert open_clips(tmp_path / "truth").layout == "davis2017"
    (found,) = score(tmp_path / "truth", tmp_path / "predicted")
    assert (found.object_id, found.jf) == (1, 1)


def sav(root: Path, appearances: dict[int, list[bool]]) -> Path:
    """SA-V's folders: object -> on which of the annotated frames it shows."""
    for object_id, visible in appearances.items():
        masks = {4 * place: FULL * shown for place, shown in enumerate(visible)}
        write_masks(root / f"sav_1/{object_id:03d}", masks)
    return root


def test_sav_counts_an_object_from_where_it_is_first_seen(tmp_path):
    truth = sav(tmp_path / "truth", {0: [True] * 6, 1: [False, False, False, True, True, True]})
    predicted = sav(tmp_path / "predicted", {0: [True] * 6, 1: [False, False, False, False, True, True]})
    first, late = score(truth, predicted)
    assert first.frames == (1, 2, 3, 4)
    assert late.frames == (3, 4), "the frames before count neither for nor against"
    assert late.j == (0, 1)


def test_sav_counts_from_a_prediction_that_is_too_early(tmp_path):
    truth = sav(tmp_path / "truth", {0: [False, False, False, True, True, True]})
    predicted = sav(tmp_path / "predicted", {0: [False, True, False, True, True, True]})
    (found,) = score(truth, predicted)
    assert (found.frames, found.j) == ((1, 2, 3, 4), (0, 1, 1, 1))


@pytest.mark.parametrize("guess", [False, True])
def test_sav_leaves_out_an_object_that_is_seen_on_no_frame_that_counts(tmp_path, guess):
    truth = sav(tmp_path / "truth", {0: [True] * 4, 1: [True, False, False, False], 2: [False, False, False, True]})
    predicted = sav(tmp_path / "predicted", {0: [True] * 4, 1: [guess] * 4, 2: [guess] * 4})
    measure = MaskScores(open_clips(truth), predicted)
    report = vos_report("", measure.settings, {"sav_1": measure("sav_1")}, 0)
    assert [row.name for row in report.rows] == ["sav_1/0"]
    assert report.settings["objects seen on no frame that counts, not counted"] == "sav_1/1, sav_1/2"


def lvos(root: Path) -> Path:
    """LVOS's folders: one clip, of which every fifth frame is annotated, and whose second object comes late."""
    masks = {5 * place: index_of(1, 2) if place > 1 else index_of(1) for place in range(6)}
    write_masks(root / "Annotations/clip", masks, width=8)
    write_pictures(root / "JPEGImages/clip", 26, width=8)
    ranges = {"1": {"start": "00000000", "end": "00000025"}, "2": {"start": "00000010", "end": "00000020"}}
    told = {"valid_meta": {number: {"frame_range": span} for number, span in ranges.items()}}
    told["valid_expression_meta"] = {number: {"caption": "a block"} for number in ranges}
    for name, objects in told.items():
        (root / f"{name}.json").write_text(json.dumps({"videos": {"clip": {"objects": objects}}}))
    return root


def test_lvos_counts_over_each_objects_range(tmp_path):
    truth = lvos(tmp_path / "truth")
    write_masks(tmp_path / "predicted/clip", dict.fromkeys(range(0, 26, 5), index_of(1, 2)), width=8)
    first, second = score(truth, tmp_path / "predicted")
    assert first.frames == (0, 5, 10, 15, 20), "numbers in the clip, of which every fifth frame is annotated"
    assert second.frames == (10, 15)


@pytest.mark.parametrize("masks", ["Annotations", "Annotations/clip"])
def test_lvos_is_recognised_by_its_masks_alone(tmp_path, masks):
    truth = lvos(tmp_path / "truth")
    data = open_clips(truth / masks)
    assert data.layout == "lvos"
    assert object_ranges(data.root) == {"clip": {1: (0, 25), 2: (10, 20)}}


def test_lvos_without_its_ranges_is_not_scored_by_another_rule(tmp_path):
    truth = lvos(tmp_path / "truth")
    write_masks(tmp_path / "predicted/clip", dict.fromkeys(range(0, 26, 5), index_of(1, 2)), width=8)
    (truth / "valid_meta.json").unlink()
    with pytest.raises(InputError, match=r"object 1 of clip clip .* no \*_meta\.json .* part of LVOS's download"):
        score(truth, tmp_path / "predicted")
    with pytest.raises(InputError, match="part of LVOS's download"):
        VosRun(open_clips(truth), ModelChoice("never loaded"), tmp_path / "out")("clip")


def test_youtube_vos_is_recognised_by_its_masks_alone(tmp_path):
    write_masks(tmp_path / "Annotations/clip", {0: index_of(1), 3: index_of(2)})
    (tmp_path / "meta.json").write_text(json.dumps({"videos": {"clip": {"objects": {}}}}))
    assert open_clips(tmp_path / "Annotations").layout == "youtube-vos"


def test_objects_that_davis_does_not_count_are_named(tmp_path):
    masks = {frame: index_of(1, 2) if frame > 1 else index_of(1) for frame in range(5)}
    write_masks(tmp_path / "truth/clip", masks)
    write_masks(tmp_path / "predicted/clip", masks)
    measure = MaskScores(open_clips(tmp_path / "truth"), tmp_path / "predicted")
    report = vos_report("", measure.settings, {"clip": measure("clip")}, 0)
    assert [row.name for row in report.rows] == ["clip/1"]
    assert report.settings["objects not on their clip's first frame, not counted"] == "clip/2"


def test_the_validation_list_is_taken_where_there_is_one(tmp_path):
    for name in ("alpha", "beta"):
        write_masks(tmp_path / f"Annotations/480p/{name}", {0: FULL * 255})
        write_pictures(tmp_path / f"JPEGImages/480p/{name}", 1)
    (tmp_path / "ImageSets/480p").mkdir(parents=True)
    line = "/JPEGImages/480p/beta/00000.jpg /Annotations/480p/beta/00000.png"
    (tmp_path / "ImageSets/480p/val.txt").write_text(f"{line}\n")
    data = open_clips(tmp_path)
    assert ([clip.name for clip in data.clips], data.split) == (["beta"], "ImageSets/480p/val.txt")
    assert [clip.name for clip in open_clips(tmp_path, names=["alpha"]).clips] == ["alpha"]
    with pytest.raises(InputError, match="no masks for clip 'delta'; there are 2"):
        open_clips(tmp_path, names=["delta"])
    (tmp_path / "ImageSets/480p/val.txt").write_text("\n")
    with pytest.raises(InputError, match=r"val\.txt lists no clip; there are 2: .*alpha"):
        open_clips(tmp_path)


def test_davis_2016_has_its_own_list_in_the_download_of_2017(tmp_path):
    for name in ("alpha", "beta"):
        write_masks(tmp_path / f"Annotations/480p/{name}", {0: FULL * 255})
    for year, names in (("2016", "beta\n"), ("2017", "alpha\nbeta\n")):
        (tmp_path / f"ImageSets/{year}").mkdir(parents=True)
        (tmp_path / f"ImageSets/{year}/val.txt").write_text(names)
    assert [clip.name for clip in open_clips(tmp_path, "davis2016").clips] == ["beta"]
    assert [clip.name for clip in open_clips(tmp_path, "davis2017").clips] == ["alpha", "beta"]


def test_hidden_files_are_no_frames_masks_or_clips(tmp_path):
    write_masks(tmp_path / "Annotations/clip", dict.fromkeys(range(3), FULL))
    write_pictures(tmp_path / "JPEGImages/clip", 3)
    for place in ("Annotations/clip/._00000.png", "JPEGImages/clip/._00000.jpg", "Annotations/.trash/00000.png"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).write_bytes(b"what a file system keeps")
    (clip,) = open_clips(tmp_path).clips
    assert (clip.names, clip.annotated) == (("00000", "00001", "00002"), (0, 1, 2))


def test_object_0_of_sav_needs_a_folder_of_its_own(tmp_path):
    truth = sav(tmp_path / "truth", {0: [True] * 6})
    predicted = tmp_path / "predicted"
    write_masks(predicted / "sav_1", {4 * place: FULL for place in range(6)})
    with pytest.raises(InputError, match="object 0 of clip sav_1 cannot be told from the background"):
        score(truth, predicted)


def test_mended_truth_is_scored_again(tmp_path):
    truth, predicted = tmp_path / "truth", tmp_path / "predicted"
    write_masks(truth / "clip", dict.fromkeys(range(3), FULL))
    write_masks(predicted / "clip", dict.fromkeys(range(3), FULL))
    measure = MaskScores(open_clips(truth), predicted)
    before = measure.state("clip")
    assert before == measure.state("clip")
    write_masks(truth / "clip", {1: index_of(1, 2)})
    assert measure.state("clip") != before


def test_a_mask_that_was_written_anew_is_read_anew(tmp_path):
    for second, mask in enumerate((index_of(1), index_of(2)), 1):
        write_masks(tmp_path, {0: mask})
        os.utime(tmp_path / "00000.png", (second, second))
        assert (read_objects(tmp_path / "00000.png", single=False) == mask).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({2: None}, "frame 00002 of clip clip has no prediction"),
        ({2: np.zeros((20, 31), np.uint8)}, "00002.png is 31 x 20 pixels .* the truth 30 x 20"),
        ({2: index_of(1, 3)}, r"00002.png has object 3, the truth only \[1, 2\]"),
        ({2: FULL * 255}, r"00002.png has object 255, the truth only \[1, 2\]"),
        ({9: index_of(1)}, "00009.png is of a frame that the truth does not have"),
    ],
)
def test_predictions_that_do_not_fit_are_named(tmp_path, change, words):
    write_masks(tmp_path / "truth/clip", dict.fromkeys(range(4), index_of(1, 2)))
    masks = dict.fromkeys(range(4), index_of(1)) | change
    write_masks(tmp_path / "predicted/clip", {frame: mask for frame, mask in masks.items() if mask is not None})
    with pytest.raises(InputError, match=words):
        score(tmp_path / "truth", tmp_path / "predicted")


def test_masks_are_asked_for_only_where_they_count(tmp_path):
    late = {frame: index_of(1, 2) if frame > 1 else index_of(1) for frame in range(5)}
    write_masks(tmp_path / "truth/clip", late)
    for layered, name in ((False, "flat"), (True, "layered")):
        folder = tmp_path / name / "clip" / ("001" if layered else "")
        write_masks(folder, dict.fromkeys((1, 2, 3), index_of(1)))
        (found,) = score(tmp_path / "truth", tmp_path / name)
        assert (found.object_id, found.frames, found.jf) == (1, (1, 2, 3), 1)
        (folder / "00003.png").unlink()
        with pytest.raises(InputError, match="frame 00003 of clip clip has no prediction"):
            score(tmp_path / "truth", tmp_path / name)


def test_a_single_clip_needs_no_folder_around_it(tmp_path):
    truth = write_masks(tmp_path / "truth", dict.fromkeys(range(4), index_of(1)))
    predicted = write_masks(tmp_path / "predicted", dict.fromkeys(range(4), index_of(1)))
    (record,) = MaskScores(open_clips(truth), predicted)("truth")["objects"]
    assert record["j"] == (1, 1)


def test_a_clip_without_predictions_is_named(tmp_path):
    write_masks(tmp_path / "truth/clip", {0: FULL, 1: FULL, 2: FULL})
    with pytest.raises(InputError, match="clip clip has no predictions"):
        score(tmp_path / "truth", tmp_path / "predicted")


def test_a_sav_object_without_predictions_is_named(tmp_path):
    truth = sav(tmp_path / "truth", {0: [True] * 3, 1: [True] * 3})
    predicted = sav(tmp_path / "predicted", {0: [True] * 3})
    with pytest.raises(InputError, match=r"no predictions for object 1; there are \[0\]"):
        score(truth, predicted)


def test_unknown_layouts_say_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"looked for folders CLIP/00000\.png .* CLIP/OBJECT/00000\.png"):
        open_clips(tmp_path)
    with pytest.raises(InputError, match="unknown layout 'coco'; there are davis2016"):
        open_clips(tmp_path, "coco")
    (tmp_path / "clip.json").touch()
    with pytest.raises(InputError, match=r"clip\.json is a file; .* masklet convert .* --to davis"):
        open_clips(tmp_path / "clip.json")
    with pytest.raises(InputError, match="no such folder"):
        open_clips(tmp_path / "nowhere")


def test_a_submission_is_checked_and_packed(tmp_path):
    root = tmp_path / "mose"
    write_masks(root / "Annotations/clip", {0: index_of(1, 2)})
    write_pictures(root / "JPEGImages/clip", 4)
    data = open_clips(root)
    assert data.layout == "mose" and not data.clips[0].has_truth
    predicted = tmp_path / "predicted"
    write_masks(predicted / "clip", {0: index_of(1), 1: index_of(1, 4), 2: np.zeros((3, 3), np.uint8)})
    (predicted / "other").mkdir()
    problems = check_submission(data, predicted)
    for words in ("00003.png", "00001.png has object 4", "00002.png is 3 x 3 pixels, the clip 30 x 20", "other"):
        assert any(words in problem for problem in problems), words
    with pytest.raises(InputError, match="cannot be sent, it has 4 problems"):
        pack_submission(data, predicted, tmp_path / "out.zip")
    (predicted / "other").rmdir()
    write_masks(predicted / "clip", dict.fromkeys(range(4), index_of(2)))
    assert check_submission(data, predicted) == []
    assert pack_submission(data, predicted, tmp_path / "out.zip") == 4


@pytest.mark.parametrize(
    ("layout", "around"),
    [("youtube-vos", "Annotations/"), ("lvos", "Annotations/"), ("mose", ""), ("davis2017", "")],
)
def test_a_submission_is_laid_out_as_its_server_wants_it(tmp_path, layout, around):
    write_masks(tmp_path / "data/Annotations/clip", {0: index_of(1)})
    write_pictures(tmp_path / "data/JPEGImages/clip", 2)
    write_masks(tmp_path / "predicted/clip", dict.fromkeys(range(2), index_of(1)))
    pack_submission(open_clips(tmp_path / "data", layout), tmp_path / "predicted", tmp_path / "out.zip")
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert archive.namelist() == [f"{around}clip/00000.png", f"{around}clip/00001.png"]


def test_figures_of_clips_equal_the_official_ones(shared_dir):
    official = json.loads((shared_dir / "parity/metrics/davis2017_official.json").read_text())
    data = open_clips(shared_dir / "data/dev/davis", names=["dog-agility"])
    counted = counted_frames(data.clips[0], data.counting)
    predicted = shared_dir / "parity/metrics/predictions/dog-agility"
    (found,) = score_clip(data.clips[0], predicted, data.counting, counted)
    for letter, statistics in (("J", found.region), ("F", found.boundary)):
        for name in ("mean", "recall", "decay"):
            expected = official["dog-agility"][f"{letter}_{name}"]
            assert getattr(statistics, name) == pytest.approx(expected, abs=1e-9)


def test_masks_among_the_frames_are_not_taken_for_frames(tmp_path):
    """A model that is shown each frame's mask as a frame tracks far too well."""
    write_pictures(tmp_path / "JPEGImages" / "clip", 3)
    write_masks(tmp_path / "Annotations" / "clip", dict.fromkeys(range(3), FULL))
    assert open_clips(tmp_path).clips[0].names == ("00000", "00001", "00002")
    write_masks(tmp_path / "JPEGImages" / "clip", {1: FULL})
    with pytest.raises(
        InputError, match=r"00001\.jpg and .*00001\.png have one name: which is it that the mask belongs to"
    ):
        open_clips(tmp_path)
