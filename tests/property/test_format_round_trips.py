"""Whatever a format can hold comes back as it was, and what it cannot is named."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools.coco import COCO

from masklet.errors import InputError
from masklet.io.annotations import Annotations, Category, Frame, ObjectMask
from masklet.io.formats import read_annotations, recognise, write_annotations
from masklet.io.palette import has_void
from masklet.io.polygons import fill_polygons, outline_parts, outline_whole
from masklet.ops.rle import decode_rle, encode_rle
from masklet.types import Size

NAMES = ("cat", "dog", "a wolf, grey", "lö'we")


@st.composite
def masks(draw, size: Size) -> np.ndarray:
    """Random pixels, or a block with a hole: never empty."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = generator.random(size) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    mask[int(generator.integers(size.height)), int(generator.integers(size.width))] = True
    return mask


@st.composite
def frames(draw, name: str, clip: str | None, size: Size, rich: bool) -> Frame:
    ids = draw(st.lists(st.integers(1, 300), unique=True, max_size=3))
    made = []
    for object_id in ids:
        mask = draw(masks(size))
        category = NAMES[object_id % len(NAMES)] if rich else "object"
        score = draw(st.none() | st.floats(0, 1)) if rich else None
        made.append(ObjectMask(object_id, encode_rle(mask), category, score, crowd=rich and draw(st.booleans())))
    return Frame(name, size, tuple(made), clip)


@st.composite
def annotations(draw, stills: bool = True, clips: bool = True, rich: bool = True) -> Annotations:
    """Stills and clips of differing sizes; `rich` ones have categories, scores and crowds."""
    made = []
    for place in range(draw(st.integers(0, 2)) if clips else 0):
        size = Size(draw(st.integers(1, 12)), draw(st.integers(1, 12)))
        made += [
            draw(frames(f"{number * 4:05d}.jpg", f"clip{place}", size, rich))
            for number in range(draw(st.integers(1, 3)))
        ]
    for place in range(draw(st.integers(0, 2)) if stills else 0):
        size = Size(draw(st.integers(1, 12)), draw(st.integers(1, 12)))
        made.append(draw(frames(f"picture{place}.jpg", None, size, rich)))
    if not made:
        made.append(
            draw(frames("alone.jpg", None, Size(5, 7), rich)) if stills else Frame("00000.jpg", Size(5, 7), (), "c")
        )
    categories = tuple(Category(3 * place + 1, name, "animal") for place, name in enumerate(NAMES))
    return Annotations(tuple(made), categories) if rich else Annotations(tuple(made))


def there_and_back(before: Annotations, format: str, *, polygons: bool = False) -> tuple[Annotations, tuple[str, ...]]:
    """Written, recognised without being told the format, and read again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ("out.json" if format in ("coco", "ytvis") else "out")
        lost = write_annotations(before, path, format, polygons=polygons)
        if format == "yolo":
            for frame in before.frames:
                picture = path / "images" / frame.path
                picture.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (frame.size.width, frame.size.height)).save(picture)
        assert recognise(path) == format
        return read_annotations(path), lost


def pixels(given: Annotations) -> dict[tuple[str, int], tuple]:
    """The masks by place and object, and their categories."""
    return {
        (frame.path, mask.object_id): (mask.category, mask.mask.tobytes(), mask.mask.shape)
        for frame, mask in given.all_masks()
    }


@settings(max_examples=40)
@given(annotations())
def test_coco_holds_everything(before):
    after, lost = there_and_back(before, "coco")
    assert lost == ()
    assert after.categories == before.categories
    assert tuple(replace(frame, number=None) for frame in after.frames) == before.frames


@settings(max_examples=40)
@given(annotations())
def test_coco_polygons_fill_the_same_pixels(before):
    after, lost = there_and_back(before, "coco", polygons=True)
    assert lost == ()
    assert pixels(after) == pixels(before)


@settings(max_examples=30)
@given(annotations())
def test_pycocotools_reads_what_we_write_and_agrees_on_areas(before):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coco.json"
        for polygons in (False, True):
            write_annotations(before, path, "coco", polygons=polygons)
            reader = COCO(path)
            areas = [record["area"] for record in reader.loadAnns(reader.getAnnIds())]
            decoded = [int(reader.annToMask(record).sum()) for record in reader.loadAnns(reader.getAnnIds())]
            assert areas == decoded == [int(mask.mask.sum()) for _, mask in before.all_masks()]
            assert len(reader.getImgIds()) == len(before.frames)


@settings(max_examples=40)
@given(annotations(stills=False, rich=False))
def test_ytvis_holds_clips(before):
    after, lost = there_and_back(before, "ytvis")
    assert lost == ()
    assert pixels(after) == pixels(before)
    assert list(after.clips) == list(before.clips)


@settings(max_examples=40)
@given(annotations(clips=False))
def test_ytvis_makes_clips_of_stills_and_says_so(before):
    after, lost = there_and_back(before, "ytvis")
    assert lost == (f"pictures: {len(before.frames)} single pictures become clips of one frame",)
    scores = [[mask.score for _, mask in given.all_masks()] for given in (before, after)]
    assert [mask.mask.tolist() for _, mask in sorted_masks(after)] == [m.mask.tolist() for _, m in sorted_masks(before)]
    assert sorted(map(str, scores[0])) == sorted(map(str, scores[1]))


def sorted_masks(given: Annotations) -> list[tuple[str, ObjectMask]]:
    found = [(frame.name.rpartition("/")[2], mask) for frame, mask in given.all_masks()]
    return sorted(found, key=lambda item: (item[0], item[1].object_id))


@settings(max_examples=40)
@given(annotations())
def test_davis_holds_disjoint_masks_and_object_ids(before):
    disjoint = replace(before, frames=tuple(without_overlap(frame) for frame in before.frames))
    for _, frames in disjoint.groups:  # objects with the number of void are renumbered
        assume(not has_void(np.array([mask.object_id for frame in frames for mask in frame.masks])))
    after, lost = there_and_back(disjoint, "davis")
    kinds = [sentence.split(":")[0] for sentence in lost]
    expected = ["categories"]
    expected += ["scores"] if any(mask.score is not None for _, mask in disjoint.all_masks()) else []
    expected += ["crowds"] if any(mask.crowd for _, mask in disjoint.all_masks()) else []
    assert kinds == expected
    unnamed = {key: value[1:] for key, value in pixels(disjoint).items()}
    assert {key: value[1:] for key, value in pixels(after).items()} == unnamed
    assert {frame.path: frame.size for frame in after.frames} == {frame.path: frame.size for frame in before.frames}
    assert sorted(after.clips) == sorted(before.clips)


def without_overlap(frame: Frame) -> Frame:
    taken, kept = np.zeros(frame.size, bool), []
    for mask in frame.masks:
        own = mask.mask & ~taken
        taken |= own
        if own.any():
            kept.append(replace(mask, rle=encode_rle(own)))
    return replace(frame, masks=tuple(kept))


@settings(max_examples=40)
@given(annotations(stills=False, rich=False))
def test_sav_holds_clips_with_overlaps(before):
    after, lost = there_and_back(before, "sav")
    assert lost == ()
    assert pixels(after) == pixels(before)
    assert {frame.path for frame in after.frames} == {frame.path for frame in before.frames}


@settings(max_examples=40)
@given(annotations(), st.booleans())
def test_labelme_holds_pixels_ids_and_names(before, polygons):
    after, lost = there_and_back(before, "labelme", polygons=polygons)
    assert pixels(after) == pixels(before)
    assert {sentence.split(":")[0] for sentence in lost} <= {"scores", "crowds", "categories", "pictures"}
    assert {frame.path for frame in after.frames} == {frame.path for frame in before.frames}


@settings(max_examples=40)
@given(annotations())
def test_yolo_holds_pixels_and_names(before):
    after, lost = there_and_back(before, "yolo")
    assert {sentence.split(":")[0] for sentence in lost} <= {
        "scores",
        "crowds",
        "identity",
        "clips",
        "splits",
        "pictures",
    }
    assert not after.clips, "a line's number says nothing of the same line of another file"
    found, expected = (
        sorted((frame.path, mask.category, mask.mask.tobytes()) for frame, mask in given.all_masks())
        for given in (after, before)
    )
    assert found == expected
    assert [category.name for category in after.categories] == [category.name for category in before.categories]


@settings(max_examples=150)
@given(st.data())
def test_outlines_fill_exactly_their_mask(data):
    size = Size(data.draw(st.integers(1, 16)), data.draw(st.integers(1, 16)))
    mask = data.draw(masks(size))
    assert (decode_rle(fill_polygons(outline_parts(mask), size, "parts")) == mask).all()
    assert (decode_rle(fill_polygons([outline_whole(mask)], size, "whole")) == mask).all()
    left_behind = [[1.0, 1.0], [0.0, 0.0, 2.0, 1.0]]
    assert (decode_rle(fill_polygons([*outline_parts(mask), *left_behind], size, "parts")) == mask).all()
    with pytest.raises(InputError, match="at least 3 corners"):
        fill_polygons(left_behind, size, "lines")


@pytest.mark.parametrize("holes", [True, False])
def test_outlines_of_a_sieve_take_seconds(holes):
    """40,000 holes, or as many parts: joined one by one, they never came to an end."""
    mask = np.full((401, 401), holes)
    mask[1::2, 1::2] = not holes
    size, began = Size(*mask.shape), time.process_time()
    whole = outline_whole(mask)
    assert time.process_time() - began < 20
    assert (decode_rle(fill_polygons([whole], size, "whole")) == mask).all()


def test_parts_with_nothing_above_them_are_joined_to_the_nearest_before():
    mask = np.zeros((9, 60), bool)
    mask[1:6, 2:6] = mask[3:7, 9:12] = mask[4:9, 50:60] = True
    corners = np.array(outline_whole(mask)).reshape(-1, 2)
    steps = np.abs(np.diff(corners, axis=0))
    assert sorted(map(tuple, steps[steps.all(1)].tolist())) == [(3, 2), (3, 2), (38, 1), (38, 1)]
    assert (decode_rle(fill_polygons([corners.ravel().tolist()], Size(9, 60), "whole")) == mask).all()


@pytest.mark.parametrize("format", ["labelme", "yolo", "coco"])
def test_fractional_polygons_survive(format):
    outline = (1.25, 1.5, 8.75, 2.0, 6.125, 7.5)
    size = Size(10, 12)
    mask = ObjectMask(4, fill_polygons([outline], size, "here"), "cat", polygons=(outline,))
    after, lost = there_and_back(Annotations((Frame("a.jpg", size, (mask,)),), (Category(1, "cat"),)), format)
    assert {sentence.split(":")[0] for sentence in lost} <= {"splits", "pictures"}
    assert np.allclose(after.frames[0].masks[0].polygons, [outline], atol=1e-6)


@settings(max_examples=30)
@given(annotations(rich=False))
def test_masklets_hold_pixels_and_ids(before):
    after, lost = there_and_back(before, "masklets")
    assert lost == ()
    found, expected = (
        {(frame.path, mask.object_id): mask.mask.tolist() for frame, mask in given.all_masks()}
        for given in (after, before)
    )
    assert found == expected
