"""Every layout on tiny folders: what is read, and which file an error names."""

import errno
import json
import os
import re
import sys

import cv2
import numpy as np
import pytest
from PIL import ExifTags, Image

from masklet.data.clips import holds_stills
from masklet.data.layouts import open_dataset
from masklet.data.layouts.annotated import AnnotatedPictures
from masklet.data.layouts.artwork import ArtworkFolder
from masklet.data.layouts.clip_folders import ClipFolders
from masklet.data.layouts.opening import is_parted
from masklet.data.layouts.painting import is_visible, paint_in_turn, paint_masklets
from masklet.data.layouts.pairs import PairFolder
from masklet.data.layouts.sa1b import Sa1bFolder
from masklet.data.layouts.sav import SavFolder
from masklet.errors import InputError
from masklet.io.davis import read_clip_list
from masklet.io.files import walk_files
from masklet.io.formats.folders import picture_size
from masklet.io.palette import write_index_png
from masklet.io.sav import SavMasklets, write_sav
from masklet.io.video_writer import VideoWriter
from masklet.ops.rle import encode_rle
from masklet.types import Size

HEIGHT, WIDTH = 24, 32
DOG_BEAR = ("dog", "bear")
DOG_BEAR_FRAMES = ("dog/00000", "dog/00001", "bear/00000", "bear/00001")


@pytest.fixture
def generator():
    return np.random.default_rng(0)


def rectangle(x0, y0, x1, y1):
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def write_picture(path, shade=100, size=(HEIGHT, WIDTH)):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size, 3), shade, np.uint8))


def write_mask(path, index):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_index_png(path, np.asarray(index, np.uint16))


def write_clip(root, name, numbers, masked):
    """Pictures `numbers` of a clip, shaded 10 x number; object 1 with a column for each number, on frames `masked`."""
    for number in numbers:
        write_picture(root / "JPEGImages" / name / f"{number:05d}.jpg", 10 * number)
    for number in masked:
        write_mask(root / "Annotations" / name / f"{number:05d}.png", rectangle(0, 0, number + 1, 4))


# plain pairs


def test_pairs_are_read_with_their_indices(tmp_path, generator):
    for name in ("a", "b"):
        write_picture(tmp_path / f"{name}.jpg")
        write_mask(tmp_path / f"{name}.png", 300 * rectangle(0, 0, 4, 4) + 2 * rectangle(8, 8, 9, 9))
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, PairFolder)
    assert len(dataset) == 2
    clip = dataset.clip(1, generator, 1)
    assert clip.object_ids == (2, 300)
    assert clip.name.endswith("b.jpg")
    assert np.abs(clip.frames.astype(int) - 100).max() < 4


def test_pictures_and_masks_may_lie_in_two_folders(tmp_path, generator):
    write_picture(tmp_path / "images" / "a.png")
    write_mask(tmp_path / "masks" / "a.png", rectangle(0, 0, 4, 4))
    assert open_dataset(tmp_path).clip(0, generator, 1).object_ids == (1,)


def test_two_pictures_of_one_name_are_told(tmp_path):
    for name in ("a.jpeg", "a.jpg"):
        write_picture(tmp_path / "images" / name)
    write_mask(tmp_path / "masks" / "a.png", rectangle(0, 0, 4, 4))
    with pytest.raises(InputError, match=r"a\.jpeg and .*a\.jpg have one name"):
        open_dataset(tmp_path)


def test_names_in_capitals_count(tmp_path, generator):
    write_picture(tmp_path / "pairs" / "A.JPG")
    write_mask(tmp_path / "pairs" / "mask.png", rectangle(0, 0, 4, 4))
    (tmp_path / "pairs" / "mask.png").rename(tmp_path / "pairs" / "A.PNG")
    write_clip(tmp_path / "clips", "bear", range(3), masked=range(3))
    for path in (tmp_path / "clips" / "Annotations" / "bear").iterdir():
        path.rename(path.with_suffix(".PNG"))
    pairs, clips = open_dataset(tmp_path / "pairs"), open_dataset(tmp_path / "clips")
    assert pairs.clip(0, generator, 1).object_ids == (1,)
    assert clips.clip(0, generator, 3).object_ids == (1,)
    assert holds_stills(pairs) and not holds_stills(clips)


def test_bad_pairs_name_the_file(tmp_path, generator):
    write_picture(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"a\.jpg has no mask .*a\.png"):
        PairFolder(tmp_path)
    for name in ("images/b.jpg", "masks/b.jpg"):
        write_picture(tmp_path / "apart" / name)
    with pytest.raises(InputError, match=r"b\.jpg has no mask .*: b\.jpg is none, as masks are PNG or TIFF files"):
        PairFolder(tmp_path / "apart")
    write_mask(tmp_path / "a.png", rectangle(0, 0, 4, 4))
    write_mask(tmp_path / "lonely.png", rectangle(0, 0, 4, 4))
    with pytest.raises(InputError, match=r"lonely\.png has no picture"):
        PairFolder(tmp_path)
    (tmp_path / "lonely.png").unlink()
    dataset = PairFolder(tmp_path)
    with pytest.raises(InputError, match="ask for 1 frame"):
        dataset.clip(0, generator, 4)
    write_mask(tmp_path / "a.png", np.zeros((5, 7)))
    with pytest.raises(InputError, match=r"a\.png: the mask is 7 x 5 .* 32 x 24"):
        dataset.clip(0, generator, 1)
    write_mask(tmp_path / "a.png", np.zeros((32, 24)))
    with pytest.raises(InputError, match=r"a\.png: the mask is 24 x 32 .*, the other way round, as where EXIF"):
        dataset.clip(0, generator, 1)
    write_picture(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is a RGB picture, not an index mask"):
        dataset.clip(0, generator, 1)
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"a\.jpg"):
        dataset.clip(0, generator, 1)


def test_empty_and_unknown_folders_say_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"(?s)looked for.*DAVIS.*SA-V.*SA-1B.*COCO.*YOLO.*NAME\.png"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"holds no pictures: looked for pictures NAME\.jpg .* beside them"):
        PairFolder(tmp_path)
    for name in ("images/day 1/a.jpg", "masks/day 1/a.jpg"):
        write_picture(tmp_path / "apart" / name)
    with pytest.raises(InputError, match=r"images holds no pictures: .* in .*masks \(in folders below nobody looks"):
        PairFolder(tmp_path / "apart")
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset(tmp_path / "nowhere")


def test_artwork_is_what_is_opaque(tmp_path, generator):
    (tmp_path / "deep").mkdir()
    drawing = np.zeros((60, 100, 4), np.uint8)
    drawing[10:40, 20:70] = (200, 30, 30, 255)
    drawing[10, 20:70, 3] = 140
    Image.fromarray(drawing).save(tmp_path / "deep" / "a.png")
    lines = np.zeros((60, 100, 4), np.uint8)
    lines[:, ::20] = lines[::20] = 255
    Image.fromarray(lines).save(tmp_path / "lines.png")
    Image.fromarray(drawing[..., :3]).save(tmp_path / "opaque.png")
    (tmp_path / "lines.txt").write_text("Lines, described in words.\n")  # not YOLO's labels
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, ArtworkFolder)
    assert len(dataset) == 2
    clip, strokes = (dataset.clip(number, generator, 1) for number in (0, 1))
    assert (clip.masks == 1).sum() == 30 * 50
    assert (clip.frames[clip.masks == 1] == (200, 30, 30)).all(), "soft edges hold nothing of the ground"
    assert not clip.masks[0, [0, -1]].any()
    assert (clip.frames[clip.masks > 0] == (200, 30, 30)).all()
    assert strokes.object_ids == ()
    with pytest.raises(InputError, match="no PNG pictures with transparency"):
        ArtworkFolder(tmp_path.parent / "nowhere")


# clips as folders


@pytest.mark.parametrize("between", ["", "480p"])
def test_clip_folders_give_runs_of_annotated_frames(tmp_path, generator, between):
    write_clip(tmp_path, "bear", range(10), masked=(0, 5, 9))
    write_clip(tmp_path, "ant", range(4), masked=range(4))
    if between:
        for folder in ("JPEGImages", "Annotations"):
            (tmp_path / folder).rename(tmp_path / "moving")
            (tmp_path / folder).mkdir()
            (tmp_path / "moving").rename(tmp_path / folder / between)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, ClipFolders)
    assert len(dataset) == 2
    seen = set()
    for _ in range(20):
        clip = dataset.clip(1, generator, 3)
        assert clip.name.endswith("bear")
        numbers = [int(mask.any(0).sum()) - 1 for mask in clip.masks]
        assert numbers in ([0, 5, 9], [9, 5, 0])
        assert [round(frame.mean() / 10) for frame in clip.frames] == numbers
        seen.add(tuple(numbers))
    assert len(seen) == 2  # now and then backwards
    assert dataset.clip(0, generator, 1).num_frames == 1
    assert dataset.clip(0, generator, 8).num_frames == 8


def test_a_run_begins_where_an_object_is_seen(tmp_path, generator):
    write_clip(tmp_path, "late", range(4), masked=range(4))
    for number in (0, 1):
        write_mask(tmp_path / "Annotations" / "late" / f"{number:05d}.png", np.zeros((HEIGHT, WIDTH)))
    dataset = ClipFolders(tmp_path)
    visible = [dataset.clip(0, generator, 1).masks.any() for _ in range(40)]
    assert np.mean(visible) > 0.85  # a plain draw would see it half of the time


def test_bad_clip_folders_name_the_file(tmp_path, generator):
    write_clip(tmp_path, "bear", range(3), masked=range(4))
    with pytest.raises(InputError, match=r"Annotations/bear/00003\.png has no picture .*JPEGImages/bear/00003\.jpg"):
        open_dataset(tmp_path)
    write_picture(tmp_path / "JPEGImages" / "bear" / "00003.jpg", size=(10, 10))
    with pytest.raises(InputError, match=r"0000\d\.(jpg|png)"):
        ClipFolders(tmp_path).clip(0, generator, 4)
    write_picture(tmp_path / "JPEGImages" / "cat" / "00000.jpg")
    with pytest.raises(InputError, match=r"cat has no masks: looked for PNG and TIFF files in .*Annotations/cat"):
        open_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("2017/train.txt", "bear\r\n\r\ndog\r\n"),
        ("480p/train.txt", "".join(f"/JPEGImages/480p/{name}.jpg /A/{name}.png 1\n" for name in DOG_BEAR_FRAMES)),
        ("train.txt", "dog\nbear\ndog"),
    ],
)
def test_only_the_clips_to_train_on_are_opened(tmp_path, name, lines):
    for clip in ("ant", "bear", "dog"):
        write_clip(tmp_path, clip, range(2), masked=range(2) if clip in DOG_BEAR else ())
    file = tmp_path / "ImageSets" / name
    file.parent.mkdir(parents=True)
    file.write_text(lines)
    dataset = open_dataset(tmp_path)
    assert [clip[0][0].parent.name for clip in dataset.clips] == ["bear", "dog"]
    file.write_text(lines.replace("dog", "cat"))
    wrong = [line.count("dog") > 0 for line in lines.splitlines()].index(True) + 1
    with pytest.raises(InputError, match=rf"train\.txt, line {wrong}, names the clip 'cat', but .*JPEGImages/cat; add"):
        open_dataset(tmp_path)
    file.write_text("\n")
    with pytest.raises(InputError, match=r"train\.txt names no clip; delete it"):
        open_dataset(tmp_path)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot read the list of clips .*train\.txt"):
        open_dataset(tmp_path)


def test_lists_of_clips_are_read_however_they_were_written(tmp_path):
    path = tmp_path / "val.txt"
    frame = b"/JPEGImages/480p/ant/00000.jpg /Annotations/ant/00000.png"
    path.write_bytes(b"\xef\xbb\xbfbear\r\n\r\ndog/\n" + frame + b"\nbear\na cat")
    assert read_clip_list(path) == {"bear": 1, "dog": 3, "ant": 4, "a cat": 6}
    path.write_text("bear\n/00000.jpg\n")
    with pytest.raises(InputError, match=r"val\.txt, line 2, names no clip: '/00000\.jpg'; write CLIP"):
        read_clip_list(path)


def test_the_list_of_2017_goes_before_that_of_2016(tmp_path):
    for clip in DOG_BEAR:
        write_clip(tmp_path, clip, range(2), masked=range(2))
    for year, clip in (("2016", "bear"), ("2017", "dog")):
        (tmp_path / "ImageSets" / year).mkdir(parents=True)
        (tmp_path / "ImageSets" / year / "train.txt").write_text(clip)
    assert ClipFolders(tmp_path).clips[0][0][0].parent.name == "dog"
    assert not is_parted(tmp_path) and len(ClipFolders(tmp_path, split="val")) == 2
    (tmp_path / "ImageSets" / "2017" / "val.txt").write_text("bear")
    assert is_parted(tmp_path) and ClipFolders(tmp_path, split="val").clips[0][0][0].parent.name == "bear"
    write_clip(tmp_path / "ImageSets", "unlisted", range(2), masked=range(2))
    assert len(ClipFolders(tmp_path)) == 1


# SA-V


def write_sav_video(root, video_id="sav_000001", num_frames=17):
    """Frames shaded 10 x number; masklet 0 has a column for each annotated frame, masklet 1 is absent at first."""
    with VideoWriter(root / f"{video_id}.mp4", Size(64, 64), 24) as writer:
        for number in range(num_frames):
            writer.write(np.full((64, 64, 3), 10 * number, np.uint8))
    masks = []
    for place in range((num_frames + 3) // 4):
        first, second = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
        first[:8, : place + 1] = True
        second[30:40, 30:40] = place > 0
        masks.append((encode_rle(first), encode_rle(second)))
    masklets = SavMasklets(video_id, "manual", Size(64, 64), num_frames, (0, 1), tuple(masks))
    write_sav(masklets, root / f"{video_id}_manual.json")


def test_sav_pairs_every_fourth_frame_with_its_masks(tmp_path, generator):
    write_sav_video(tmp_path)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, SavFolder)
    for _ in range(5):
        clip = dataset.clip(0, generator, 4)
        places = [int((mask == 1).any(0).sum()) - 1 for mask in clip.masks]
        assert sorted(places) in ([0, 1, 2, 3], [1, 2, 3, 4])
        assert [round(frame.mean() / 40) for frame in clip.frames] == places
        assert [bool((mask == 2).any()) for mask in clip.masks] == [place > 0 for place in places]


def test_a_sav_file_without_objects_takes_nothing_from_the_other(tmp_path, generator):
    write_sav_video(tmp_path)
    empty = SavMasklets("sav_000001", "auto", Size(64, 64), 17, (), (), stability=())
    write_sav(empty, tmp_path / "sav_000001_auto.json")
    assert open_dataset(tmp_path).clip(0, generator, 4).object_ids[0] == 1


def test_sav_of_the_validation_kind(tmp_path, generator):
    for number in range(5):
        write_picture(tmp_path / "JPEGImages_24fps" / "v1" / f"{4 * number:05d}.jpg", 10 * number)
        write_mask(tmp_path / "Annotations_6fps" / "v1" / "000" / f"{4 * number:05d}.png", rectangle(0, 0, 4, 4))
        if number > 2:
            write_mask(tmp_path / "Annotations_6fps" / "v1" / "001" / f"{4 * number:05d}.png", rectangle(9, 9, 14, 14))
    # What other programs leave behind is no video, no object and no frame.
    (tmp_path / "Annotations_6fps" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "Annotations_6fps" / "v1" / ".trash").mkdir()
    (tmp_path / "Annotations_6fps" / "v1" / "000" / "._00000.png").write_bytes(b"of a file system")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 1
    clip = dataset.clip(0, generator, 5)
    assert clip.object_ids == (1, 2)
    assert [(mask == 2).any() for mask in clip.masks].count(True) == 2


def test_runs_of_sav_begin_where_an_object_is_seen(tmp_path, generator):
    """Both kinds: an object on the later half of the frames."""
    masks = [encode_rle(rectangle(0, 0, 8, 8) * (place >= 10)) for place in range(20)]
    trained, extracted = tmp_path / "trained", tmp_path / "extracted"
    trained.mkdir()
    with VideoWriter(trained / "sav_000001.mp4", Size(HEIGHT, WIDTH), 24) as writer:
        for _ in range(77):
            writer.write(np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    masklets = SavMasklets("sav_000001", "manual", Size(HEIGHT, WIDTH), 77, (0,), tuple((mask,) for mask in masks))
    write_sav(masklets, trained / "sav_000001_manual.json")
    for place in range(20):
        write_picture(extracted / "JPEGImages_24fps" / "v1" / f"{4 * place:05d}.jpg")
        if place >= 5:
            seen = rectangle(0, 0, 8, 8) * (place >= 10)
            write_mask(extracted / "Annotations_6fps" / "v1" / "000" / f"{4 * place:05d}.png", seen)
    for root, share in ((trained, 1 / 2), (extracted, 2 / 3)):
        dataset = open_dataset(root)
        assert not holds_stills(dataset)
        visible = np.mean([dataset.clip(0, generator, 2).masks[0].any() for _ in range(40)])
        assert visible > (share + 1) / 2, root.name  # a plain draw would see it in `share` of the runs


def test_bad_sav_names_the_file(tmp_path, generator):
    write_sav_video(tmp_path)
    (tmp_path / "sav_000001.mp4").rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"sav_000001_manual\.json has no video sav_000001"):
        open_dataset(tmp_path)
    with VideoWriter(tmp_path / "sav_000001.mp4", Size(32, 32), 24) as writer:
        for _ in range(17):
            writer.write(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(InputError, match=r"sav_000001\.mp4 is 32 x 32 .* 64 x 64"):
        open_dataset(tmp_path).clip(0, generator, 2)
    with VideoWriter(tmp_path / "sav_000001.mp4", Size(64, 64), 24) as writer:
        for _ in range(9):
            writer.write(np.zeros((64, 64, 3), np.uint8))
    with pytest.raises(InputError, match=r"sav_000001\.mp4 ends after 9 frames, .*_manual\.json has 5 of every 4th"):
        open_dataset(tmp_path).clip(0, generator, 2)
    empty = SavMasklets("sav_000001", "manual", Size(64, 64), 0, (), ())
    write_sav(empty, tmp_path / "sav_000001_manual.json")
    with pytest.raises(InputError, match=r"sav_000001_manual\.json annotates no frame"):
        open_dataset(tmp_path).clip(0, generator, 2)
    with pytest.raises(InputError, match="no video in .* has annotations"):
        SavFolder(tmp_path, kinds=("auto",))


# annotation files of pictures


def write_sa1b(root):
    write_picture(root / "sa_1.jpg")
    whole, part, other = rectangle(0, 0, 20, 20), rectangle(4, 4, 12, 12), rectangle(22, 0, 30, 8)
    record = {"image": {"image_id": 1}, "annotations": [{"segmentation": encode_rle(m)} for m in (whole, part, other)]}
    (root / "sa_1.json").write_text(json.dumps(record))


def test_sa1b_draws_masks_that_do_not_overlap(tmp_path, generator):
    write_sa1b(tmp_path)
    dataset = open_dataset(tmp_path)
    assert isinstance(dataset, Sa1bFolder)
    drawn = {dataset.clip(0, generator, 1).object_ids for _ in range(30)}
    assert drawn == {(1, 3), (2, 3)}
    whole = next(clip for _ in range(30) if 1 in (clip := dataset.clip(0, generator, 1)).object_ids)
    assert (whole.masks[0] == 1).sum() == 400


def test_pictures_that_are_called_like_those_of_sa1b_may_be_of_another_layout(tmp_path, generator):
    write_picture(tmp_path / "sa_lamp.jpg")
    shape = {"label": "lamp", "points": [[0, 0], [9, 0], [9, 9]], "shape_type": "polygon"}
    record = {"imagePath": "sa_lamp.jpg", "imageWidth": 32, "imageHeight": 24, "shapes": [shape]}
    (tmp_path / "sa_lamp.json").write_text(json.dumps(record))
    assert open_dataset(tmp_path).clip(0, generator, 1).object_ids == (1,)


def test_what_lies_beside_sa1b_is_none_of_its_pictures(tmp_path):
    write_sa1b(tmp_path)
    (tmp_path / "info.json").write_text("{}")
    assert len(open_dataset(tmp_path)) == 1


def test_bad_sa1b_names_the_file(tmp_path, generator):
    write_sa1b(tmp_path)
    write_picture(tmp_path / "sa_1.jpg", size=(10, 10))
    with pytest.raises(InputError, match=r"sa_1\.json, annotation 0"):
        open_dataset(tmp_path).clip(0, generator, 1)
    (tmp_path / "sa_1.jpg").unlink()
    with pytest.raises(InputError, match=r"sa_1\.json has no picture sa_1\.jpg"):
        open_dataset(tmp_path)


def write_coco(root, images="images", name="coco.json"):
    """Two pictures, one of them with a polygon, an RLE and a crowd; the other with nothing."""
    for stem in ("a", "b"):
        write_picture(root / images / f"{stem}.jpg")
    common = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1}
    contents = {
        "images": [
            {"id": number, "file_name": f"{stem}.jpg", "height": HEIGHT, "width": WIDTH}
            for number, stem in ((1, "a"), (2, "b"))
        ],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            common | {"id": 1, "segmentation": [[0, 0, 8, 0, 8, 8, 0, 8]]},
            common | {"id": 2, "segmentation": encode_rle(rectangle(10, 10, 20, 14))},
            common | {"id": 3, "segmentation": encode_rle(rectangle(20, 20, 24, 24)), "iscrowd": 1},
        ],
    }
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(json.dumps(contents))
    return root / name


@pytest.mark.parametrize(
    ("images", "name"),
    [
        ("images", "coco.json"),
        (".", "_annotations.coco.json"),
        ("val2017", "annotations/instances_val2017.json"),
        ("images", "annotations/all.json"),
    ],
)
def test_coco_is_found_by_its_folder_and_its_file(tmp_path, generator, images, name):
    file = write_coco(tmp_path, images, name)
    for path in (tmp_path, file):
        dataset = open_dataset(path)
        assert isinstance(dataset, AnnotatedPictures)
        assert len(dataset) == 1  # the picture without objects is left out
        clip = dataset.clip(0, generator, 1)
        assert clip.object_ids == (1, 2)
        assert ((clip.masks[0] == 1) == rectangle(0, 0, 8, 8)).all()
        assert ((clip.masks[0] == 2) == rectangle(10, 10, 20, 14)).all()


def test_coco_with_pictures_elsewhere(tmp_path, generator):
    file = write_coco(tmp_path / "annotated", "../far/away")
    with pytest.raises(InputError, match=r"(?s)the picture a\.jpg .* is not in .*images=\.\.\."):
        open_dataset(file)
    assert len(open_dataset(file, images=tmp_path / "far" / "away")) == 1


def test_pictures_named_on_windows_are_found(tmp_path, generator):
    file = write_coco(tmp_path)
    file.write_text(file.read_text().replace("a.jpg", "day 1\\\\a.jpg"))
    (tmp_path / "images" / "day 1").mkdir()
    (tmp_path / "images" / "a.jpg").rename(tmp_path / "images" / "day 1" / "a.jpg")
    assert len(open_dataset(file)) == 1


@pytest.mark.skipif(os.name == "nt", reason="modes of folders are POSIX")
def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    write_picture(tmp_path / "shut" / "a.jpg")

    def refuse(folder):
        raise PermissionError(errno.EACCES, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)  # as root, nothing is forbidden
    with pytest.raises(InputError, match="cannot look into the folder .*: Permission denied"):
        list(walk_files(tmp_path, ".jpg"))


def test_pictures_elsewhere_are_for_annotation_files(tmp_path):
    write_picture(tmp_path / "pairs" / "a.jpg")
    write_mask(tmp_path / "pairs" / "a.png", rectangle(0, 0, 4, 4))
    with pytest.raises(InputError, match=r"pairs is no annotation file.* leave images \(--images\) out"):
        open_dataset(tmp_path / "pairs", images=tmp_path)


def test_bad_coco_names_the_file(tmp_path, generator):
    file = write_coco(tmp_path)
    contents = json.loads(file.read_text())
    for annotation in contents["annotations"]:
        annotation["image_id"] = 2
    file.write_text(json.dumps(contents))
    (tmp_path / "images" / "b.jpg").unlink()
    with pytest.raises(InputError, match=r"b\.jpg is annotated, but there is no .*images/b\.jpg"):
        open_dataset(tmp_path)
    write_picture(tmp_path / "images" / "b.jpg", size=(HEIGHT + 1, WIDTH))
    with pytest.raises(InputError, match=r"b\.jpg is 32 x 25 .* 32 x 24"):
        open_dataset(tmp_path).clip(0, generator, 1)
    write_coco(tmp_path, name="other.json")
    with pytest.raises(InputError, match="several annotation files"):
        open_dataset(tmp_path)


def write_coco_clip(root, masks):
    """A clip of one object, shaded 10 x number, with a mask for each frame or None."""
    images, annotations = [], []
    for number, mask in enumerate(masks):
        write_picture(root / "images" / "bear" / f"{number}.jpg", 10 * number)
        size = {"height": HEIGHT, "width": WIDTH}
        images.append({"id": number + 1, "file_name": f"bear/{number}.jpg", "video_id": 1, "frame_id": number, **size})
        record = {"id": number + 1, "track_id": 5, "image_id": number + 1, "category_id": 1, "iscrowd": 0}
        if mask is not None:
            annotations.append(record | {"segmentation": encode_rle(mask), "bbox": [0, 0, 1, 1], "area": 1})
    contents = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (root / "clips.json").write_text(json.dumps(contents | {"videos": [{"id": 1, "name": "bear"}]}))


def test_clips_in_cocos_layout_give_runs(tmp_path, generator):
    write_coco_clip(tmp_path, [rectangle(0, 0, number + 1, 4) for number in range(6)])
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 1
    assert not holds_stills(dataset)
    with pytest.raises(InputError, match=r"bear/0\.jpg belongs to a clip of 6 frames; only stills have paintings"):
        dataset.paintings(0, generator, 4)
    clip = dataset.clip(0, generator, 4)
    assert clip.object_ids == (1,)
    numbers = [int(mask.any(0).sum()) - 1 for mask in clip.masks]
    assert abs(numbers[0] - numbers[-1]) == 3
    assert [round(frame.mean() / 10) for frame in clip.frames] == numbers


def test_runs_in_cocos_layout_begin_where_an_object_is_seen(tmp_path, generator):
    """The object is left out of the first frames and empty on some more."""
    write_coco_clip(tmp_path, [None] * 5 + [rectangle(0, 0, 8, 8) * (number >= 10) for number in range(5, 20)])
    dataset = open_dataset(tmp_path)
    assert np.mean([dataset.clip(0, generator, 2).masks[0].any() for _ in range(40)]) > 0.8


def test_stills_whose_objects_overlap_have_several_paintings(tmp_path, generator):
    file = write_coco(tmp_path)
    contents = json.loads(file.read_text())
    contents["annotations"][1]["segmentation"] = encode_rle(rectangle(2, 2, 6, 6))
    file.write_text(json.dumps(contents))
    dataset = open_dataset(tmp_path)
    assert holds_stills(dataset)
    paintings = dataset.paintings(0, generator, 4)
    assert sorted(clip.object_ids for clip in paintings) == [(1,), (2,)]
    assert all(clip.name.endswith("a.jpg") and clip.frames is paintings[0].frames for clip in paintings)


def test_yolo_lines_are_objects_of_their_own_picture(tmp_path, generator):
    """Names that are numbers look like a clip, but line 1 is not the same object in every picture."""
    for number in range(3):
        write_picture(tmp_path / "images" / f"{number:05d}.jpg")
        label = tmp_path / "labels" / f"{number:05d}.txt"
        label.parent.mkdir(exist_ok=True)
        label.write_text("0 0 0 0.25 0 0.25 0.5 0 0.5\n0 0.5 0.5 1 0.5 1 1 0.5 1\n")
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 3
    clip = dataset.clip(2, generator, 1)
    assert ((clip.masks[0] == 1) == rectangle(0, 0, 8, 12)).all()
    assert ((clip.masks[0] == 2) == rectangle(16, 12, 32, 24)).all()
    with pytest.raises(InputError, match="still picture"):
        dataset.clip(0, generator, 2)


@pytest.mark.parametrize("named", ["data.yaml", "images", "images/train", "labels/train"])
def test_yolo_data_may_be_named_by_any_part(tmp_path, generator, named):
    write_picture(tmp_path / "images" / "train" / "a.jpg")
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("0 0 0 0.25 0 0.25 0.5 0 0.5\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: [thing]\n")
    clip = open_dataset(tmp_path / named).clip(0, generator, 1)
    assert ((clip.masks[0] == 1) == rectangle(0, 0, 8, 12)).all()


def test_of_coco_files_in_several_folders_the_one_to_be_trained_on_is_opened(tmp_path):
    for split in ("train", "valid"):
        write_coco(tmp_path / split, images=".", name="_annotations.coco.json")
    assert open_dataset(tmp_path).images == tmp_path / "train"
    assert open_dataset(tmp_path, split="val").images == tmp_path / "valid" and is_parted(tmp_path)
    with pytest.raises(InputError, match="cannot tell the layout"):
        open_dataset(tmp_path, split=None)


def test_of_what_has_no_layout_it_is_told_what_is_there(tmp_path):
    with pytest.raises(
        InputError, match=rf"cannot tell the layout of {re.escape(str(tmp_path))}, which holds no files;"
    ):
        open_dataset(tmp_path)
    for name in ("train/a.jpg", "train/b.JPG", "val/a.jpg", "val/a.txt"):
        write_picture(tmp_path / name) if name.lower().endswith("jpg") else (tmp_path / name).write_text("a cat")
    with pytest.raises(InputError, match=r"which holds 3 \.jpg, 1 \.txt and the folders train, val; looked for JPEG"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"train, which holds 2 \.jpg; looked for"):
        open_dataset(tmp_path / "train")
    with pytest.raises(InputError, match=r"a\.jpg is a picture: name the folder that holds it and its mask"):
        open_dataset(tmp_path / "train" / "a.jpg")


@pytest.mark.parametrize("part", ["JPEGImages", "Annotations", "JPEGImages/clip"])
def test_parts_of_clips_are_told_to_be_that(tmp_path, part):
    write_clip(tmp_path, "clip", range(2), range(2))
    whole = re.escape(str(tmp_path))
    with pytest.raises(InputError, match=rf"is a part of {whole}, which is laid out as clips: name that folder"):
        open_dataset(tmp_path / part)


@pytest.mark.parametrize("splits", [("train", "val", "test"), ("train2017", "val2017")], ids=["plain", "with years"])
@pytest.mark.parametrize("place", ["{kind}/{split}", "{split}/{kind}"], ids=["ultralytics", "roboflow"])
def test_of_yolo_only_what_is_to_be_trained_on_is_opened(tmp_path, generator, place, splits):
    for number, split in enumerate(splits):
        write_picture(tmp_path / place.format(kind="images", split=split) / f"{split}.jpg", 10 * number)
        label = tmp_path / place.format(kind="labels", split=split) / f"{split}.txt"
        label.parent.mkdir(parents=True)
        label.write_text("\ufeff\n0 0 0 0.25 0 0.25 0.5 0 0.5\r\n", encoding="utf-8")
    (tmp_path / "README.roboflow.txt").write_text("Exported for everybody.")
    assert [len(open_dataset(tmp_path, split=split)) for split in ("train", "val", None)] == [1, 1, len(splits)]
    assert open_dataset(tmp_path, split="val").clip(0, generator, 1).name.endswith(f"{splits[1]}.jpg")
    assert is_parted(tmp_path)
    for path in (tmp_path, tmp_path / place.format(kind="labels", split=splits[0])):
        clip = open_dataset(path).clip(0, generator, 1)
        assert clip.name.endswith(f"{splits[0]}.jpg")
        assert ((clip.masks[0] == 1) == rectangle(0, 0, 8, 12)).all()


def test_yolo_pictures_are_as_large_as_they_are_shown(tmp_path, generator):
    """EXIF data turns a photograph that was taken upright."""
    write_picture(tmp_path / "a.jpg", size=(WIDTH, HEIGHT))
    with Image.open(tmp_path / "a.jpg") as picture:
        exif = picture.getexif()
        exif[ExifTags.Base.Orientation] = 6
        picture.save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.txt").write_text("0 0 0 0.25 0 0.25 0.5 0 0.5\n")
    assert ((open_dataset(tmp_path).clip(0, generator, 1).masks[0] == 1) == rectangle(0, 0, 8, 12)).all()


@pytest.mark.parametrize("behind", [False, True])
def test_png_pictures_are_measured_as_they_are_shown_too(tmp_path, behind):
    """Their EXIF data may stand before the pixels or behind."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png", exif=exif)
    if behind:
        data = (tmp_path / "a.png").read_bytes()
        start = data.index(b"eXIf") - 4
        stop = start + 12 + int.from_bytes(data[start : start + 4], "big")
        end = data.index(b"IEND") - 4
        (tmp_path / "a.png").write_bytes(data[:start] + data[stop:end] + data[start:stop] + data[end:])
    assert picture_size(tmp_path / "a.png") == Size(WIDTH, HEIGHT)


def test_png_pictures_are_measured_without_decoding_them(tmp_path):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"IDAT") + 4 :] = b""
    (tmp_path / "a.png").write_bytes(data)
    assert picture_size(tmp_path / "a.png") == Size(HEIGHT, WIDTH)


def test_what_systems_hide_in_folders_is_not_data(tmp_path, generator):
    write_clip(tmp_path / "clips", "bear", range(3), range(3))
    (tmp_path / "clips" / "JPEGImages" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "clips" / "Annotations" / "bear" / "._00001.png").write_bytes(b"\0")
    assert len(open_dataset(tmp_path / "clips")) == 1
    for folder in (tmp_path / "pairs", tmp_path / ".hidden" / "pairs"):  # what lies above counts for nothing
        write_picture(folder / "a.jpg")
        write_mask(folder / "a.png", rectangle(0, 0, 8, 8))
        (folder / "._a.jpg").write_bytes(b"\0")
        (folder / ".DS_Store").write_bytes(b"\0")
        assert open_dataset(folder).clip(0, generator, 1).object_ids == (1,)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a right of their own on Windows")
def test_folders_that_are_linked_belong_to_a_data_set(tmp_path):
    write_sa1b(tmp_path / "disk")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "000").symlink_to(tmp_path / "disk")
    (tmp_path / "set" / "000" / "round").symlink_to(tmp_path / "set")
    assert len(open_dataset(tmp_path / "set")) == len(open_dataset(tmp_path / "disk")) > 0


def test_annotation_files_are_known_by_what_they_hold(tmp_path):
    """Whatever they are called, and whatever else lies there."""
    for name in ("annotations/instances_manual.json", "annotations/sa_train.json", "all.json"):
        root = tmp_path / name.replace("/", "-")
        write_coco(root, name=name)
        write_picture(root / "plot.png")
        write_picture(root / "cover.jpg")
        assert isinstance(open_dataset(root), AnnotatedPictures)


def test_clips_of_one_annotated_frame_are_stills(tmp_path, generator):
    write_clip(tmp_path, "dog", range(4), [0])
    assert holds_stills(open_dataset(tmp_path))
    write_clip(tmp_path, "bear", range(4), range(4))
    assert not holds_stills(open_dataset(tmp_path))
    write_coco_clip(tmp_path / "coco", [rectangle(0, 0, 4, 4)])
    assert len(open_dataset(tmp_path / "coco").clip(0, generator, 3).frames) == 3, "as in folders of clips"


def test_labelme_files_beside_their_pictures(tmp_path, generator):
    for stem in ("a", "b"):
        write_picture(tmp_path / f"{stem}.jpg")
        shape = {"label": "thing", "shape_type": "polygon", "points": [[0, 0], [8, 0], [8, 8], [0, 8]]}
        record = {"version": "5.5.0", "flags": {}, "shapes": [shape], "imagePath": f"{stem}.jpg", "imageData": None}
        (tmp_path / f"{stem}.json").write_text(json.dumps(record | {"imageHeight": HEIGHT, "imageWidth": WIDTH}))
    dataset = open_dataset(tmp_path)
    assert len(dataset) == 2
    assert ((dataset.clip(0, generator, 1).masks[0] > 0) == rectangle(0, 0, 8, 8)).all()


def test_painting_leaves_out_what_is_covered_on_any_frame(generator):
    moving = [encode_rle(rectangle(0, 0, 8, 8)), encode_rle(rectangle(8, 0, 16, 8))]
    resting = [encode_rle(rectangle(8, 0, 16, 8)), None]
    meeting = [encode_rle(rectangle(20, 0, 28, 8)), encode_rle(rectangle(8, 0, 16, 8))]
    seen = set()
    for _ in range(30):
        index = paint_masklets([moving, resting, meeting], 2, Size(HEIGHT, WIDTH), generator)
        numbers = tuple(np.unique(index[index > 0]).tolist())
        assert all((index == number).sum() == (64 if number == 2 else 128) for number in numbers)
        seen.add(numbers)
    assert seen == {(1, 2), (2, 3)}


def test_painting_leaves_out_what_is_covered_on_one_frame_though_it_is_large_on_others(generator):
    large = [encode_rle(rectangle(0, 0, 20, 20)), encode_rle(rectangle(24, 0, 26, 2))]
    other = [None, encode_rle(rectangle(24, 0, 28, 8))]
    for _ in range(10):
        index = paint_masklets([large, other], 2, Size(HEIGHT, WIDTH), generator)
        assert len(np.unique(index[index > 0])) == 1


def test_paintings_show_what_those_before_left_out(generator):
    size = Size(HEIGHT, WIDTH)
    nested = [[encode_rle(rectangle(0, 0, 4 * side, 4 * side))] for side in (1, 2, 3)]
    apart = [[encode_rle(rectangle(20, 0, 28, 8))], [encode_rle(rectangle(0, 0, 0, 0))], [None]]
    for most, expected in ((9, 3), (2, 2)):
        paintings = paint_in_turn(nested + apart, size, generator, most)
        shown = [tuple(np.unique(index[index > 0]).tolist()) for index in paintings]
        assert len(paintings) == len({numbers[0] for numbers in shown}) == expected
        assert all(numbers[0] in (1, 2, 3) and numbers[1:] == (4,) for numbers in shown)
    assert len(paint_in_turn(apart, size, generator, 4)) == 1
    assert [index.any() for index in paint_in_turn(apart[1:], size, generator, 4)] == [False]
    assert [is_visible(rle) for (rle,) in apart] == [True, False, False]


def test_dark_pictures_are_read_in_a_range_of_values(tmp_path, generator):
    dark = np.full((HEIGHT, WIDTH), 1020, np.uint16)
    write_coco(tmp_path / "coco")
    for folder in (tmp_path / "coco" / "images", tmp_path / "pairs" / "images", tmp_path / "JPEGImages" / "bear"):
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(dark).save(folder / "a.tif")
    contents = json.loads((tmp_path / "coco" / "coco.json").read_text().replace("a.jpg", "a.tif"))
    (tmp_path / "coco" / "coco.json").write_text(json.dumps(contents))
    for folder in (tmp_path / "pairs" / "masks", tmp_path / "Annotations" / "bear"):
        folder.mkdir(parents=True)
        Image.fromarray(rectangle(0, 0, 8, 8).astype(np.uint16) * 300).save(folder / "a.tif")
    for path in (tmp_path / "coco", tmp_path / "pairs", tmp_path):
        clip = open_dataset(path, value_range=(0, 2040)).clip(0, generator, 1)
        assert (clip.frames == 128).all()
    assert clip.object_ids == (300,), "masks in a folder of their own may be TIFF files"


def test_a_range_of_values_is_refused_where_pictures_have_8_bits(tmp_path):
    write_sa1b(tmp_path)
    with pytest.raises(InputError, match="holds 8-bit pictures or videos; leave out the range"):
        open_dataset(tmp_path, value_range=(0, 4095))
