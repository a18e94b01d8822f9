"""Annotation files as people have them: variants that must be read, and damage that must be named."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image

from masklet.errors import InputError, OutputError
from masklet.io.annotations import UNNAMED_CATEGORY, Annotations, Category, Frame, ObjectMask, categorised
from masklet.io.documents import numbers_in
from masklet.io.formats import FORMATS, read_annotations, recognise, write_annotations
from masklet.io.masklets import MaskletsWriter
from masklet.io.palette import write_index_png
from masklet.io.sav import read_sav
from masklet.ops.rle import decode_rle, encode_rle
from masklet.types import Size

SIZE = Size(10, 12)
BLOCK = np.zeros(SIZE, bool)
BLOCK[2:6, 3:8] = True


def coco(**changes) -> dict:
    annotation = {"id": 7, "image_id": 1, "category_id": 2, "segmentation": encode_rle(BLOCK)}
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 10, "width": 12}],
        "categories": [{"id": 2, "name": "cat"}],
        "annotations": [annotation | changes],
    }


def ytvis(**changes) -> dict:
    video = {"id": 1, "height": 10, "width": 12, "file_names": ["v/00000.jpg", "v/00001.jpg"]}
    annotation = {"id": 7, "video_id": 1, "category_id": 2, "segmentations": [None, encode_rle(BLOCK)]}
    return {"videos": [video], "categories": [{"id": 2, "name": "cat"}], "annotations": [annotation | changes]}


def labelme(shape: dict) -> dict:
    base = {"label": "cat", "points": [[3, 2], [8, 2], [8, 6], [3, 6]], "shape_type": "polygon", "group_id": None}
    return {"imageHeight": 10, "imageWidth": 12, "imagePath": "a.png", "shapes": [base | shape]}


def saved(folder: Path, contents: dict, name: str = "file.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(contents))
    return path


def only_mask(annotations: Annotations) -> ObjectMask:
    (pair,) = annotations.all_masks()
    return pair[1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_id": 5}, "annotation 7: there is no image 5"),
        ({"category_id": 5}, "annotation 7: there is no category 5"),
        ({"segmentation": {"size": [10, 12], "counts": [100, 30]}}, "annotation 7: .*130 pixels, the picture has 120"),
        ({"segmentation": {"size": [10, 12], "counts": "0~"}}, "annotation 7: RLE counts .* damaged"),
        (
            {"segmentation": {"size": [12, 10], "counts": [120]}},
            r"annotation 7: .*\[12, 10\], the picture's \[10, 12\]",
        ),
        ({"segmentation": [[1, 1, 5, 5, 20, 1]]}, r"annotation 7: polygon corner \(20, 1\) lies outside"),
        ({"segmentation": [[1, 1, 5, 5]]}, "annotation 7: a polygon needs at least 3"),
        ({"segmentation": [[1, 1, 5, 5, 3]]}, "annotation 7: a polygon is numbers"),
    ],
)
def test_damaged_coco_names_the_annotation(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        read_annotations(saved(tmp_path, coco(**changes)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video_id": 5}, "annotation 7: there is no video 5"),
        ({"segmentations": [None]}, "annotation 7: 1 masks for the 2 frames"),
        ({"segmentations": [None, {"size": [10, 12], "counts": [1]}]}, "annotation 7, frame 1: .*add up to 1 "),
    ],
)
def test_damaged_ytvis_names_the_annotation(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        read_annotations(saved(tmp_path, ytvis(**changes)))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"shape_type": "line"}, r"file\.json has points and lines only: none of its 1 shapes encloses an area"),
        ({"shape_type": "cuboid"}, "shape 0: its shape_type is 'cuboid'; polygon, rectangle, circle and mask are read"),
        ({"shape_type": "circle"}, "shape 0: a circle has two points, its centre and one on it; got 4"),
        ({"points": [[1, 1], [2, 2], [40, 2]]}, r"shape 0: polygon corner \(40, 2\)"),
        ({"shape_type": "mask", "mask": "!!!"}, "shape 0: its mask is no PNG"),
        ({"label": None}, "shape 0: 'label' cannot be"),
    ],
)
def test_damaged_labelme_names_the_shape(tmp_path, shape, words):
    with pytest.raises(InputError, match=words):
        read_annotations(saved(tmp_path, labelme(shape)))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("0 0.1 0.1 0.5", "line 1: 3 coordinates"),
        ("0 0.1 0.1 0.5 0.5", "line 1: it has a box"),
        ("0 0.1 0.1 0.5 0.5 3 0.1", "line 1: polygon corner .* outside"),
        ("cat 0.1 0.1 0.5 0.5 0.9 0.1", "line 1: expected a class number"),
        ("4 0.1 0.1 0.5 0.5 0.9 0.1", "line 1: class 4 has no name"),
    ],
)
def test_damaged_yolo_names_the_line(tmp_path, line, words):
    (tmp_path / "a.txt").write_text(line)
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    Image.new("L", (12, 10)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=words):
        read_annotations(tmp_path, "yolo")


def test_one_damaged_label_file_does_not_hide_what_the_others_are(tmp_path):
    for name, line in (("a", "0 0 0 1 0 1 1"), ("b", "cat 0 0 1 0 1 1")):
        (tmp_path / f"{name}.txt").write_text(line)
        Image.new("RGB", SIZE[::-1]).save(tmp_path / f"{name}.png")
    with pytest.raises(InputError, match=r"b\.txt, line 1: "):
        read_annotations(tmp_path)


def test_yolo_needs_the_pictures(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.5 0.5 0.9 0.1\n")
    with pytest.raises(InputError, match="a.txt has no picture, .* looked in"):
        read_annotations(tmp_path)
    pictures = tmp_path / "elsewhere"
    pictures.mkdir()
    Image.new("L", (12, 10)).save(pictures / "a.png")
    assert read_annotations(tmp_path, images=pictures).frames[0].size == SIZE


@pytest.mark.parametrize(
    "names",
    [
        "names: [cat, 'a dog, \"grey\"']",
        'names: ["cat", "a dog, \\"grey\\""]',
        "names: {0: cat, 1: 'a dog, \"grey\"'}",
        'names:\n  0: cat  # the tame one\n  1: a dog, "grey"  # or brown\nnc: 2',
        'names:\n- cat\n- a dog, "grey"',
        "names: [\n  cat,  # tame\n  'a dog, \"grey\"',\n]\nnc: 2",
    ],
)
@pytest.mark.parametrize("file", ["data.yaml", "data.yml"])
def test_yolo_names_in_every_usual_style(tmp_path, names, file):
    (tmp_path / "labels").mkdir()
    (tmp_path / "images").mkdir()
    (tmp_path / "labels/a.txt").write_text("1 0.1 0.1 0.5 0.5 0.9 0.1\n")
    (tmp_path / file).write_text(f"path: .\n{names}\n")
    Image.new("L", (12, 10)).save(tmp_path / "images/a.jpg")
    found = read_annotations(tmp_path)
    assert [category.name for category in found.categories] == ["cat", 'a dog, "grey"']
    assert only_mask(found).category == 'a dog, "grey"'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("names: [cat", r"data\.yaml is no YAML: while parsing a flow sequence"),
        ("nc: 2", r"data\.yaml: 'names' is missing"),
        ("names: cat", r"data\.yaml: 'names' cannot be 'cat'"),
        ("names: {cat: 0}", r"data\.yaml: names must be text, each alone or after its number; got 'cat': '0'"),
        ("names: [[cat]]", r"data\.yaml: names must be text"),
    ],
)
def test_damaged_yolo_names_name_the_file(tmp_path, text, words):
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.5 0.5 0.9 0.1\n")
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=words):
        read_annotations(tmp_path, "yolo")


def test_yolo_names_that_mean_something_in_yaml_come_back(tmp_path):
    names = ("no", "1", "null", "a: b", "# c", "")
    annotations = Annotations((Frame("a.jpg", SIZE),), tuple(Category(n, name) for n, name in enumerate(names, 1)))
    write_annotations(annotations, tmp_path, "yolo")
    assert yaml.safe_load((tmp_path / "data.yaml").read_text()) == {
        "train": "images",
        "val": "images",
        "names": list(names),
    }
    Image.new("L", (12, 10)).save(tmp_path / "a.jpg")
    assert read_annotations(tmp_path, "yolo", tmp_path).categories == annotations.categories


def test_yolo_labels_are_never_mixed_with_earlier_ones(tmp_path):
    annotations = Annotations((Frame("a.jpg", SIZE, (ObjectMask(1, encode_rle(BLOCK)),)),))
    lost = write_annotations(annotations, tmp_path, "yolo")
    assert lost == (
        "pictures: they are not copied; put them into images/ beside labels/, by the same names",
        "splits: train and val name the same pictures in data.yaml; part them before you train",
    )
    with pytest.raises(OutputError, match=r"data\.yaml is there already.*name a new folder"):
        write_annotations(annotations, tmp_path, "yolo")
    (tmp_path / "data.yaml").unlink()
    with pytest.raises(OutputError, match="labels is there already"):
        write_annotations(annotations, tmp_path, "yolo")


def test_labelme_rectangles_and_groups(tmp_path):
    contents = labelme({"shape_type": "rectangle", "points": [[3, 2], [8, 6]], "group_id": 4})
    contents["shapes"].append(contents["shapes"][0] | {"points": [[0, 0], [1, 1]]})
    mask = only_mask(read_annotations(saved(tmp_path, contents)))
    assert mask.object_id == 4
    assert mask.mask.sum() == BLOCK.sum() + 1
    assert mask.mask[BLOCK].all() and mask.mask[0, 0]


def test_labelme_circles_are_round(tmp_path):
    contents = labelme({"shape_type": "circle", "points": [[6, 5], [6, 1]]})
    area = only_mask(read_annotations(saved(tmp_path, contents))).mask.sum()
    assert area == pytest.approx(np.pi * 4**2, rel=0.1)


def test_numbered_pictures_are_a_clip_only_where_each_shape_tells_which_object_it_is(tmp_path):
    for number, group in enumerate((4, 4)):
        saved(tmp_path, labelme({"group_id": group}), f"{number:05d}.json")
    assert list(read_annotations(tmp_path).clips) == [tmp_path.name]
    saved(tmp_path, labelme({"group_id": None}), "00002.json")
    found = read_annotations(tmp_path)
    assert not found.clips and len(found.stills) == 3


def test_lines_of_yolo_are_no_objects_of_a_clip(tmp_path):
    for number in range(3):
        (tmp_path / f"{number:06d}.txt").write_text("0 0.1 0.1 0.5 0.5 0.9 0.1\n")
        Image.new("L", (12, 10)).save(tmp_path / f"{number:06d}.jpg")
    found = read_annotations(tmp_path)
    assert not found.clips and len(found.stills) == 3


@pytest.mark.parametrize("segmentation", [[], None, {}])
def test_boxes_among_the_masks_of_coco_are_passed_over_with_a_word(tmp_path, segmentation):
    contents = coco()
    contents["annotations"].append({"id": 8, "image_id": 1, "category_id": 2, "segmentation": segmentation})
    path = saved(tmp_path, contents)
    with pytest.warns(UserWarning, match=r"file\.json: 1 annotations have no segmentation"):
        found = read_annotations(path)
    assert only_mask(found).object_id == 7
    contents["annotations"].pop(0)
    with pytest.raises(InputError, match="has boxes only: none of its 1 annotations"):
        read_annotations(saved(tmp_path, contents))


def test_davis_with_its_lists_and_youtube_with_its_index_are_recognised(tmp_path):
    for place in ("JPEGImages/bear", "Annotations/bear", "ImageSets/2017"):
        (tmp_path / place).mkdir(parents=True)
    Image.new("RGB", (12, 10)).save(tmp_path / "JPEGImages/bear/00000.jpg")
    write_index_png(tmp_path / "Annotations/bear/00000.png", BLOCK.astype(np.uint8))
    (tmp_path / "ImageSets/2017/train.txt").write_text("bear\n")
    (tmp_path / "meta.json").write_text('{"videos": {}}')
    assert recognise(tmp_path) == "davis"
    assert list(read_annotations(tmp_path).clips) == ["bear"]


def test_masklets_of_clips_of_one_name_stay_apart(tmp_path):
    frame = Frame("00050.jpg", SIZE, (ObjectMask(1, encode_rle(BLOCK)),), "cam")
    for day in ("day1", "day2"):
        write_annotations(Annotations((frame,)), tmp_path / day, "masklets")
        (tmp_path / day / "cam.json").rename(tmp_path / day / "masklets.json")
    write_annotations(Annotations((replace(frame, clip="other"),)), tmp_path, "masklets")
    found = read_annotations(tmp_path)
    assert {name: [frame.name for frame in frames] for name, frames in found.clips.items()} == {
        "day1/cam": ["00050.jpg"],
        "day2/cam": ["00050.jpg"],
        "other": ["00050.jpg"],
    }


def test_outlines_that_reach_a_little_beyond_their_picture_are_cut_off_there(tmp_path):
    """As a hand that follows an edge draws them; in YOLO, whose readers take shares of the picture only, for good."""
    contents = coco(segmentation=[[500, 400, 652, 400, 652, 492, 500, 492]])
    contents["images"][0] |= {"height": 480, "width": 640}
    annotations = read_annotations(saved(tmp_path, contents), "coco")
    expected = np.zeros((480, 640), bool)
    expected[400:, 500:] = True
    np.testing.assert_array_equal(only_mask(annotations).mask, expected)
    write_annotations(annotations, tmp_path / "yolo", "yolo")
    numbers = (tmp_path / "yolo" / "labels" / "a.txt").read_text().split()[1:]
    assert all(0 <= float(number) <= 1 for number in numbers)
    contents["annotations"][0]["segmentation"][0][2] = 654
    with pytest.raises(InputError, match=r"corner \(654, 400\) lies outside the picture of 640 x 480"):
        read_annotations(saved(tmp_path, contents), "coco")


def test_coco_takes_uncompressed_rle_and_crowds(tmp_path):
    contents = coco(segmentation={"size": [10, 12], "counts": [32, 4, 84]}, iscrowd=1)
    mask = only_mask(read_annotations(saved(tmp_path, contents)))
    assert mask.crowd and mask.mask.sum() == 4 and isinstance(mask.rle["counts"], str)


def test_coco_clips_are_put_in_order_and_objects_told_by_instance(tmp_path):
    """As CocoVID has it: numbered frames in any order, and `instance_id`."""
    contents = coco() | {"videos": [{"id": 3, "name": "v"}]}
    image, annotation = contents["images"][0], contents["annotations"][0]
    order = [2, 0, 1]
    contents["images"] = [
        image | {"id": 10 + number, "file_name": f"v/{number}.jpg", "video_id": 3, "frame_id": number}
        for number in order
    ]
    contents["annotations"] = [
        annotation | {"id": place, "image_id": 10 + number, "instance_id": 5} for place, number in enumerate(order)
    ]
    (clip,) = read_annotations(saved(tmp_path, contents)).clips.values()
    assert [frame.name for frame in clip] == ["0.jpg", "1.jpg", "2.jpg"]
    assert [mask.object_id for frame in clip for mask in frame.masks] == [5, 5, 5]


def test_coco_objects_without_a_number_are_counted(tmp_path):
    contents = coco(id=None, track_id=None)
    contents["annotations"] *= 2
    (frame,) = read_annotations(saved(tmp_path, contents)).frames
    assert [mask.object_id for mask in frame.masks] == [1, 2]


def test_a_category_without_objects_may_share_its_name(tmp_path):
    contents = coco()
    contents["categories"].insert(0, {"id": 0, "name": "cat"})
    assert [category.number for category in read_annotations(saved(tmp_path, contents)).categories] == [2]
    contents["annotations"].append(contents["annotations"][0] | {"id": 8, "category_id": 0})
    with pytest.raises(InputError, match=r"file\.json, categories: 0 and 2 are both called 'cat'"):
        read_annotations(saved(tmp_path, contents))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "seven"}, "annotation seven: an object's id"),
        ({"score": "high"}, "annotation 7: the score of object 7 must be a finite number; got 'high'"),
        ({"score": float("nan")}, "annotation 7: the score of object 7 must be a finite number; got nan"),
        ({"score": float("inf")}, "annotation 7: the score of object 7 must be a finite number; got inf"),
    ],
)
def test_wrong_types_in_coco_name_the_file_and_annotation(tmp_path, changes, words):
    with pytest.raises(InputError, match=rf"file\.json, {words}"):
        read_annotations(saved(tmp_path, coco(**changes)))


def test_text_that_is_not_utf8_is_named(tmp_path):
    (tmp_path / "a.txt").write_text("0 0.1 0.1 0.5 0.5 0.9 0.1\n")
    (tmp_path / "classes.txt").write_bytes("café".encode("cp1252"))
    Image.new("L", (12, 10)).save(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"classes\.txt is no UTF-8 text at byte 3; save it as UTF-8"):
        read_annotations(tmp_path, "yolo")


@pytest.mark.parametrize("cut", [10, 60, -1])
def test_truncated_json_is_called_cut_off(tmp_path, cut):
    path = tmp_path / "cut.json"
    path.write_text(json.dumps(coco())[:cut])
    with pytest.raises(InputError, match=r"cut\.json is cut off"):
        read_annotations(path)


def test_what_is_not_json_is_said_with_its_place(tmp_path):
    path = tmp_path / "bad.json"
    path.write_text('{"images": [}], "annotations": []}')
    with pytest.raises(InputError, match="line 1, column 13"):
        recognise(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="UTF-8"):
        recognise(path)


def test_unknown_layouts_say_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match="looked for JSON of COCO"):
        recognise(saved(tmp_path, {"hello": 1}))
    with pytest.raises(InputError, match="no such file"):
        recognise(tmp_path / "nowhere.json")
    with pytest.raises(InputError, match="unknown format 'pascal'; there are coco"):
        read_annotations(tmp_path, "pascal")


@pytest.mark.parametrize("format", ["davis", "yolo", "sav", "labelme", "masklets"])
def test_an_empty_folder_is_said_to_be_empty(tmp_path, format):
    with pytest.raises(InputError, match=f"no .* in {tmp_path}"):
        read_annotations(tmp_path, format)


def test_masks_of_another_size_and_repeated_ids_are_refused():
    mask = ObjectMask(1, encode_rle(BLOCK))
    with pytest.raises(InputError, match="mask of object 1 is 12 x 10 pixels, its picture 12 x 11"):
        Frame("a.jpg", Size(11, 12), (mask,))
    with pytest.raises(InputError, match="object 1 appears twice"):
        Frame("a.jpg", SIZE, (mask, mask))
    with pytest.raises(InputError, match="unknown category 'object'"):
        Annotations((Frame("a.jpg", SIZE, (mask,)),), (Category(1, "cat"),))


def test_overlap_and_large_ids_are_named_when_davis_loses_them(tmp_path):
    inner = np.zeros(SIZE, bool)
    inner[3, 4] = True
    masks = (ObjectMask(0, encode_rle(inner)), ObjectMask(70000, encode_rle(BLOCK)))
    lost = write_annotations(Annotations((Frame("a.jpg", SIZE, masks),)), tmp_path, "davis")
    assert [sentence.split(":")[0] for sentence in lost] == ["overlap", "ids"]
    index = np.array(Image.open(tmp_path / "a.png"))
    assert index[3, 4] == 1 and (index == 2).sum() == BLOCK.sum() - 1

    masks = tuple(ObjectMask(number, encode_rle(BLOCK)) for number in (1, 2, 3))
    (told,) = write_annotations(Annotations((Frame("a.jpg", SIZE, masks),)), tmp_path, "davis")
    assert told == "overlap: 2 masks are hidden altogether by others in front, and left out"
    assert np.unique(Image.open(tmp_path / "a.png")).tolist() == [0, 3]


def test_a_score_that_varies_over_a_clip_is_named_when_ytvis_averages_it(tmp_path):
    frames = [
        Frame(f"{place:05d}.jpg", SIZE, (ObjectMask(1, encode_rle(BLOCK), score=score),), "clip")
        for place, score in enumerate((0.2, 0.6))
    ]
    lost = write_annotations(Annotations(tuple(frames)), tmp_path / "out.json", "ytvis")
    assert lost == ("scores: one score is kept for each of 1 objects where it varies between frames",)
    assert only_mask(Annotations(read_annotations(tmp_path / "out.json").frames[:1])).score == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("names", "numbers", "told"),
    [
        (["00004", "00008", "00016"], [4, 8, 16], ""),
        (["00000", "00040", "00080"], [0, 4, 8], "frame numbers: those of 1 clips are counted"),
        (["1000000", "1000004"], [0, 4], "frame numbers: those of 1 clips are counted"),
        (["00000", "00010", "00020"], [0, 4, 8], "frame numbers: those of 1 clips are counted"),
        (["frame_4", "frame_8"], [0, 4], "frame numbers: those of 1 clips are counted"),
    ],
)
def test_sav_places_frames_by_number_where_they_are_every_fourth(tmp_path, names, numbers, told):
    mask = encode_rle(np.ones((10, 12), bool))
    frames = tuple(Frame(f"{name}.jpg", Size(10, 12), (ObjectMask(1, mask),), "bear") for name in names)
    lost = write_annotations(Annotations(frames), tmp_path, "sav")
    found = [int(frame.name[:5]) for frame in read_annotations(tmp_path).frames if frame.masks]
    assert found == numbers
    assert told in "".join(lost) and bool(told) == any("counted" in sentence for sentence in lost)


def test_single_pictures_whose_names_are_numbers_are_no_frames_of_a_video(tmp_path):
    mask = encode_rle(np.ones((10, 12), bool))
    stills = tuple(Frame(f"{name}.jpg", Size(10, 12), (ObjectMask(1, mask),)) for name in ("000000000400", "139"))
    write_annotations(Annotations(stills), tmp_path, "sav")
    assert len(read_annotations(tmp_path).frames) == 2


def test_of_a_clip_numbered_frame_by_frame_sav_keeps_every_fourth_and_says_so(tmp_path):
    """A tracked clip, from its third frame on; SA-V's readers take annotation k for frame 4 k."""
    frames = []
    for number in range(2, 11):
        mask = np.zeros(SIZE, bool)
        mask[:, number] = True
        frames.append(Frame(f"{number:05d}.png", SIZE, (ObjectMask(1, encode_rle(mask)),), "clip"))
    lost = write_annotations(Annotations(tuple(frames)), tmp_path, "sav")
    assert [sentence for sentence in lost if sentence.startswith("frames")] == [
        "frames: 7 are not kept, for SA-V annotates every fourth"
    ]
    written = read_sav(tmp_path / "clip_manual.json")
    assert written.num_frames == 11
    assert [decode_rle(row[0]).any(0).nonzero()[0].tolist() for row in written.masks] == [[], [4], [8]]
    with pytest.raises(InputError, match="clip: none of the frames 0, 4, 8, ..., which SA-V annotates, has a mask"):
        write_annotations(Annotations(tuple(frames[3:6])), tmp_path, "sav")


def test_void_in_index_masks_is_no_object(tmp_path):
    """255 beside low numbers, as in PASCAL VOC; where it is alone, it is the object."""
    for clip, values in (("bear", [(1, 255), (255, 0)]), ("whole", [(255, 0), (255, 0)])):
        (tmp_path / clip).mkdir()
        for number, (left, right) in enumerate(values):
            index = np.zeros(SIZE, np.uint8)
            index[:, :4], index[:, 8:] = left, right
            write_index_png(tmp_path / f"{clip}/{number:05d}.png", index)
    annotations = read_annotations(tmp_path, "davis")
    found = {
        clip: [[m.object_id for m in frame.masks] for frame in frames] for clip, frames in annotations.clips.items()
    }
    assert found == {"bear": [[1], []], "whole": [[255], [255]]}
    assert any("void" in sentence for sentence in write_annotations(annotations, tmp_path / "out.json", "coco"))


@pytest.mark.parametrize("ids", [(1, 3), (2,), (5, 9)])
def test_ids_with_gaps_stay_what_they_are(tmp_path, ids):
    masks = tuple(ObjectMask(number, encode_rle(BLOCK & (np.arange(12) == 3 + k))) for k, number in enumerate(ids))
    assert write_annotations(Annotations((Frame("a.jpg", SIZE, masks),)), tmp_path, "davis") == ()
    (frame,) = read_annotations(tmp_path, "davis").frames
    assert tuple(mask.object_id for mask in frame.masks) == ids


def test_16_bit_masks_have_no_void(tmp_path):
    index = np.zeros(SIZE, np.uint16)
    index[:, :4], index[:, 8:] = 3, 255
    Image.fromarray(index).save(tmp_path / "a.png")
    (frame,) = read_annotations(tmp_path, "davis").frames
    assert [mask.object_id for mask in frame.masks] == [3, 255]


def test_an_object_that_would_pass_for_void_is_renumbered(tmp_path):
    left, right = BLOCK & (np.arange(12) < 5), BLOCK & (np.arange(12) >= 5)
    masks = (ObjectMask(1, encode_rle(left)), ObjectMask(255, encode_rle(right)))
    lost = write_annotations(Annotations((Frame("a.jpg", SIZE, masks),)), tmp_path, "davis")
    assert any(sentence.startswith("ids: objects of 1") for sentence in lost)
    (frame,) = read_annotations(tmp_path, "davis").frames
    assert [(mask.object_id, mask.mask.sum()) for mask in frame.masks] == [(1, left.sum()), (2, right.sum())]


def test_masklets_keep_scores_to_the_last_digit_and_frames_without_a_mask(tmp_path):
    mask = ObjectMask(1, encode_rle(BLOCK), score=0.98765432109)
    before = Annotations((Frame("a.jpg", SIZE, (mask,)), *(Frame(f"{n}.png", SIZE, (), "empty") for n in (3, 4))))
    assert write_annotations(before, tmp_path, "masklets") == ()
    after = read_annotations(tmp_path)
    assert {frame.path: [m.score for m in frame.masks] for frame in after.frames} == {
        "a.jpg": [0.98765432109],
        "empty/3.png": [],
        "empty/4.png": [],
    }


def test_scores_that_only_masklets_hold_are_told(tmp_path):
    with MaskletsWriter(tmp_path / "masklets.json", kind="picture", name="a.jpg", size=SIZE) as writer:
        writer.add(0, 1, BLOCK, iou=0.5, stability=0.9)
    annotations = read_annotations(tmp_path)
    assert only_mask(annotations).score == 0.5
    assert write_annotations(annotations, tmp_path / "coco.json", "coco") == ("scores: 1 of stability",)


@pytest.mark.parametrize("format", ["ytvis", "yolo", "davis", "sav", "masklets"])
def test_outlines_are_refused_where_there_is_no_choice(tmp_path, format):
    with pytest.raises(InputError, match=f"an option of coco and labelme; {format} has none"):
        write_annotations(Annotations(()), tmp_path / "out", format, polygons=True)


def test_clips_of_several_sizes_are_refused_where_one_is_held(tmp_path):
    frames = (Frame("00000.jpg", SIZE, (), "clip"), Frame("00001.jpg", Size(5, 5), (), "clip"))
    for format in ("ytvis", "sav", "masklets"):
        with pytest.raises(InputError, match="clip clip has frames of 2 sizes"):
            write_annotations(Annotations(frames), tmp_path / "out", format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_place_that_cannot_be_written_is_named(tmp_path, format):
    (tmp_path / "file").write_text("in the way")
    mask = ObjectMask(1, encode_rle(BLOCK))
    with pytest.raises(OutputError, match="file"):
        write_annotations(Annotations((Frame("00000.jpg", SIZE, (mask,), "clip"),)), tmp_path / "file/below", format)


@pytest.mark.parametrize("format", ["davis", "yolo", "labelme", "masklets", "sav"])
@pytest.mark.parametrize("name", ["{}/photos/1.png", "../photos/1.png", "..\\photos\\1.png", "C:\\photos\\1.png"])
def test_nothing_is_written_outside_the_target(tmp_path, format, name):
    """As an absolute `file_name` in a COCO file, which put a mask in place of the picture itself."""
    frame = Frame(name.format(tmp_path.as_posix()), SIZE, (ObjectMask(1, encode_rle(BLOCK)),))
    write_annotations(Annotations((frame,)), tmp_path / "deep" / "out", format)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert files and all(file.is_relative_to(tmp_path / "deep" / "out") for file in files)
    called = "1_manual" if format == "sav" else "1"
    assert any(file.stem == called and file.parent.name == "photos" for file in files)


@pytest.mark.parametrize("format", ["davis", "yolo", "labelme", "masklets", "sav"])
def test_two_pictures_never_share_a_file(tmp_path, format):
    frames = tuple(Frame(name, SIZE, (ObjectMask(1, encode_rle(BLOCK)),)) for name in ("b.jpg", "a.jpg", "a.png"))
    with pytest.raises(InputError, match=r"a\.jpg and a\.png would both be written to .*a[.\w]*; rename one"):
        write_annotations(Annotations(frames), tmp_path / "out", format)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"'\.\.' is no name for a file"):
        write_annotations(Annotations((Frame("..", SIZE),)), tmp_path / "out", format)


def test_names_that_only_differ_in_capitals_share_a_file_on_some_systems(tmp_path):
    frames = tuple(Frame(name, SIZE, (ObjectMask(1, encode_rle(BLOCK)),)) for name in ("Cat.jpg", "cat.jpg"))
    with pytest.raises(InputError, match=r"Cat\.jpg and cat\.jpg would both be written to"):
        write_annotations(Annotations(frames), tmp_path / "out", "davis")


def test_smoothed_masks_and_photographs_are_no_index_masks(tmp_path):
    smooth = cv2.GaussianBlur(np.pad(BLOCK, 30).astype(np.uint8) * 255, (0, 0), 3)
    Image.fromarray(smooth).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is no index mask.*save it with a threshold"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("place", [".", "00000.json"])
def test_a_clip_in_the_present_folder_is_called_as_that_is(tmp_path, monkeypatch, place):
    folder = tmp_path / "walk"
    folder.mkdir()
    monkeypatch.chdir(folder)
    if place == ".":
        write_index_png("00000.png", BLOCK.astype(np.uint8))
    else:
        saved(folder, labelme({"group_id": 1}), place)
    assert read_annotations(Path(place)).clips.keys() == {"walk"}


@pytest.mark.parametrize("values", ["[1e400]", "[NaN]", '["1"]', "[1.5]"])
def test_lists_of_other_than_whole_numbers_are_refused(values):
    with pytest.raises(InputError, match="'ids' must hold whole numbers"):
        numbers_in({"ids": json.loads(values)}, "ids", "a.json")


def test_a_category_that_nothing_takes_is_refused():
    frame = Frame("a.jpg", SIZE, (ObjectMask(1, encode_rle(BLOCK), "dog"), ObjectMask(2, encode_rle(BLOCK))))
    annotations = Annotations((frame,), (Category(1, "dog"), Category(2, UNNAMED_CATEGORY)))
    with pytest.raises(InputError, match="nothing is left to be called 'cat'"):
        categorised(annotations, {2: "bird"}, "cat")


def test_shapes_of_a_group_with_two_labels_are_two_objects_the_same_on_every_frame(tmp_path):
    contents = labelme({"label": "car", "group_id": 4})
    contents["shapes"] += [labelme({"label": "person", "group_id": group})["shapes"][0] for group in (4, 1)]
    saved(tmp_path, contents, "00000.json")
    contents["shapes"].pop(0)
    saved(tmp_path, contents, "00001.json")
    first, second = read_annotations(tmp_path).frames
    assert [(mask.category, mask.object_id) for mask in first.masks] == [("car", 4), ("person", 2), ("person", 1)]
    assert [(mask.category, mask.object_id) for mask in second.masks] == [("person", 2), ("person", 1)]


def test_videos_of_one_name_are_clips_of_their_own(tmp_path):
    contents = coco() | {"videos": [{"id": number, "name": name} for number, name in ((3, "cam"), (4, "cam"))]}
    contents["images"] = [
        contents["images"][0] | {"id": video, "video_id": video, "file_name": f"day{video}/0.jpg"} for video in (3, 4)
    ]
    contents["annotations"] = []
    assert list(read_annotations(saved(tmp_path, contents)).clips) == ["cam_3", "cam_4"]
    contents["videos"].append({"id": 5, "name": "cam_3"})
    contents["images"].append(contents["images"][0] | {"id": 5, "video_id": 5})
    assert list(read_annotations(saved(tmp_path, contents)).clips) == ["cam_3_3", "cam_4", "cam_3_5"]


def test_videos_of_youtube_vis_in_one_folder_are_clips_of_their_own(tmp_path):
    contents = ytvis()
    contents["videos"].append(contents["videos"][0] | {"id": 2, "file_names": ["v/a.jpg", "v/b.jpg"]})
    found = read_annotations(saved(tmp_path, contents))
    assert {name: [frame.name for frame in frames] for name, frames in found.clips.items()} == {
        "v_1": ["00000.jpg", "00001.jpg"],
        "v_2": ["a.jpg", "b.jpg"],
    }


@pytest.mark.parametrize("file_name", ["train/MOT/img1/000001.jpg", "MOT/img1/000001.jpg", "000001.jpg"])
def test_the_files_of_clips_are_called_as_they_were(tmp_path, file_name):
    """As MOT in COCO's layout has them, over YouTube-VIS and back."""
    contents = coco() | {"videos": [{"id": 3, "name": "MOT"}]}
    contents["images"][0] |= {"file_name": file_name, "video_id": 3}
    annotations = read_annotations(saved(tmp_path, contents))
    for format in ("ytvis", "coco"):
        write_annotations(annotations, tmp_path / "out.json", format)
        annotations = read_annotations(tmp_path / "out.json", format)
        written = json.loads((tmp_path / "out.json").read_text())
        files = written["videos"][0]["file_names"] if format == "ytvis" else [written["images"][0]["file_name"]]
        assert files == [file_name]
        assert list(annotations.clips) == ["MOT"]


def test_a_still_keeps_its_file_where_it_becomes_a_clip_of_youtube_vis(tmp_path):
    write_annotations(read_annotations(saved(tmp_path, coco())), tmp_path / "out.json", "ytvis")
    assert json.loads((tmp_path / "out.json").read_text())["videos"][0]["file_names"] == ["a.jpg"]
    assert list(read_annotations(tmp_path / "out.json").clips) == ["a"]


def test_what_labelme_files_hold_beside_masks_is_said_to_be_lost(tmp_path):
    contents = labelme({"description": "torn", "flags": {"difficult": True}}) | {"imageData": "iVBORw0KGgo="}
    found = read_annotations(saved(tmp_path, contents))
    assert write_annotations(found, tmp_path / "out", "labelme") == (
        "embedded pictures: those of 1 files are not kept",
        "flags: those of 1 files are not kept",
        "descriptions: those of 1 files are not kept",
        "pictures: they are not copied; LabelMe looks for each beside its JSON file",
    )


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_read_is_not_written_over(tmp_path, format):
    mask = ObjectMask(1, encode_rle(BLOCK))
    annotations = Annotations((Frame("00000.jpg", SIZE, (mask,), "clip"),))
    path = tmp_path / "in.json" if format in ("coco", "ytvis") else tmp_path
    write_annotations(annotations, path, format)
    if sys.platform != "win32":  # where links need a right of their own
        (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(OutputError, match=r"is what is read; name another|labels would be mixed"):
        write_annotations(annotations, path, format, source=tmp_path)
    with pytest.raises(OutputError, match=r"is what is read; name another|labels would be mixed"):
        write_annotations(annotations, path, format, source=next(file for file in before if file.suffix != ".yaml"))
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    write_annotations(annotations, tmp_path / "elsewhere", format, source=tmp_path)


def test_masks_replace_earlier_masks_but_no_pictures(tmp_path):
    """As of pictures that lie beside their COCO file, where the masks are sent to the same folder."""
    annotations = Annotations((Frame("a.png", SIZE, (ObjectMask(1, encode_rle(BLOCK)),)),))
    Image.new("RGB", (12, 10)).save(tmp_path / "a.png")
    with pytest.raises(OutputError, match=r"a\.png is a picture, which a mask would replace; name another folder"):
        write_annotations(annotations, tmp_path, "davis")
    (tmp_path / "a.png").unlink()
    write_annotations(annotations, tmp_path, "davis")
    write_annotations(annotations, tmp_path, "davis")


@pytest.mark.parametrize("ending", [".JPG", ".Jpeg", ".TIF"])
def test_pictures_are_found_whatever_the_case_of_their_ending(tmp_path, ending):
    for folder in ("labels", "images", "Annotations"):
        (tmp_path / folder).mkdir()
    (tmp_path / "labels/a.txt").write_text("0 0.1 0.1 0.5 0.5 0.9 0.1\n")
    write_index_png(tmp_path / "Annotations/a.png", BLOCK.astype(np.uint8))
    Image.new("L", (12, 10)).save(tmp_path / f"images/a{ending}")
    for format in ("yolo", "davis"):
        assert [frame.name for frame in read_annotations(tmp_path, format).frames] == [f"a{ending}"]


def test_of_two_pictures_beside_masks_that_of_another_ending_is_theirs(tmp_path):
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder).mkdir()
    write_index_png(tmp_path / "Annotations/a.png", BLOCK.astype(np.uint8))
    Image.new("L", (12, 10)).save(tmp_path / "JPEGImages/a.png")
    assert [frame.name for frame in read_annotations(tmp_path).frames] == ["a.png"]
    Image.new("L", (12, 10)).save(tmp_path / "JPEGImages/a.webp")
    assert [frame.name for frame in read_annotations(tmp_path).frames] == ["a.webp"]


@pytest.mark.parametrize("format", ["labelme", "yolo", "davis"])
def test_masks_without_a_pixel_are_said_to_be_left_out(tmp_path, format):
    masks = (ObjectMask(1, encode_rle(np.zeros(SIZE, bool))), ObjectMask(2, encode_rle(BLOCK)))
    lost = write_annotations(Annotations((Frame("a.jpg", SIZE, masks),)), tmp_path, format)
    assert lost[-1] == "empty masks: 1 are left out"
    assert read_annotations(tmp_path, format, images=picture_folder(tmp_path)).num_masks == 1


def picture_folder(folder: Path) -> Path:
    (folder / "pictures").mkdir()
    Image.new("L", (12, 10)).save(folder / "pictures/a.jpg")
    return folder / "pictures"


def test_points_and_lines_among_the_shapes_of_labelme_are_passed_over_with_a_word(tmp_path):
    contents = labelme({"group_id": 4})
    contents["shapes"] += [
        contents["shapes"][0] | {"shape_type": kind, "group_id": None} for kind in ("point", "line", "linestrip")
    ]
    with pytest.warns(UserWarning, match=r"file\.json: 3 points and lines enclose no area and are passed over"):
        assert only_mask(read_annotations(saved(tmp_path, contents))).object_id == 4


def test_pictures_of_lvis_are_called_as_their_address_ends(tmp_path):
    contents = coco()
    del contents["images"][0]["file_name"]
    contents["images"][0]["coco_url"] = "http://images.cocodataset.org/val2017/000000397133.jpg"
    assert read_annotations(saved(tmp_path, contents)).frames[0].name == "000000397133.jpg"


def test_blank_lines_behind_the_names_of_classes_are_no_classes(tmp_path):
    (tmp_path / "classes.txt").write_text("cat\ndog\n\n\n")
    (tmp_path / "a.txt").write_text("1 0.1 0.1 0.5 0.5 0.9 0.1\n")
    Image.new("L", (12, 10)).save(tmp_path / "a.jpg")
    assert [category.name for category in read_annotations(tmp_path).categories] == ["cat", "dog"]


@pytest.mark.parametrize("place", [".", "Annotations_6fps", "Annotations_6fps/sav_1"])
def test_the_folders_of_single_objects_in_sav_are_no_clips(tmp_path, place):
    for name in ("000", "001"):
        (tmp_path / "Annotations_6fps/sav_1" / name).mkdir(parents=True)
        write_index_png(tmp_path / f"Annotations_6fps/sav_1/{name}/00000.png", BLOCK.astype(np.uint8))
    with pytest.raises(InputError, match=r"SA-V's masks in Annotations_6fps, a folder for each object"):
        read_annotations(tmp_path / place)


def test_fields_of_coco_and_ytvis_without_a_place_are_said_to_be_lost(tmp_path):
    contents = coco()
    contents |= {"info": {"year": 2020}, "licenses": []}
    contents["images"][0] |= {"license": 3, "flickr_url": ""}
    contents["annotations"][0] |= {"keypoints": [1, 2, 2], "attributes": {}}
    lost = write_annotations(read_annotations(saved(tmp_path, contents)), tmp_path / "again.json", "coco")
    assert [*lost] == ["fields: info, license of images, keypoints of annotations"]
    assert not read_annotations(tmp_path / "again.json").unread

    contents = ytvis()
    contents["videos"][0]["date"] = "today"
    assert read_annotations(saved(tmp_path, contents)).unread == ("fields: date of videos",)


def test_what_sav_says_of_a_video_is_said_to_be_lost(tmp_path):
    sizes = Size(8, 8)
    frames = tuple(
        Frame(f"{n:05d}.jpg", sizes, (ObjectMask(1, encode_rle(np.eye(8, dtype=bool))),), "clip") for n in (0, 4)
    )
    write_annotations(Annotations(frames), tmp_path / "sav", "sav")
    file = tmp_path / "sav" / "clip_manual.json"
    assert not read_annotations(file).unread
    contents = json.loads(file.read_text())
    contents |= {"masklet_edited_frame_count": [3], "video_environment": "indoor", "video_split": "sav_val"}
    file.write_text(json.dumps(contents))
    fields = "masklet_edited_frame_count, video_environment, video_split"
    assert read_annotations(file).unread == (f"fields: {fields}",)


@pytest.mark.parametrize("format", ["davis", "labelme"])
@pytest.mark.parametrize(
    ("names", "kept"),
    [(("0.jpg", "1.jpg"), True), (("first.jpg", "second.jpg"), False), (("a/0.jpg", "b/1.jpg"), False)],
)
def test_clips_that_a_folder_makes_single_pictures_of_are_named(tmp_path, format, names, kept):
    mask = ObjectMask(1, encode_rle(np.eye(8, dtype=bool)))
    frames = tuple(Frame(name, Size(8, 8), (mask,), "birds") for name in names)
    lost = write_annotations(Annotations(frames), tmp_path / "out", format)
    assert any(
        sentence.startswith("clips: 1 are read as single pictures or several clips again, such as birds")
        for sentence in lost
    ) is (not kept)
    assert (len(read_annotations(tmp_path / "out").clips) == 1) is kept
