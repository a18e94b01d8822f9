"""However an annotation file is damaged, reading it works or says what is wrong: never a traceback."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import MaskletError
from masklet.io.annotations import Annotations, Category, Frame, ObjectMask
from masklet.io.formats import read_annotations, write_annotations
from masklet.ops.rle import encode_rle
from masklet.types import Size

SIZE = Size(6, 8)
JUNK = st.sampled_from([None, True, -1, 0, 7, 10**9, 1.5, "", "x", [], {}, [[]], [None], [-1.0, "a"], {"size": [1]}])


def valid_documents() -> dict[str, object]:
    """A small valid file of each JSON format."""
    mask = np.zeros(SIZE, bool)
    mask[1:4, 2:6] = True
    outline = ((2.0, 1.0, 6.0, 1.0, 6.0, 4.0, 2.0, 4.0),)
    both = (ObjectMask(1, encode_rle(mask), "cat", 0.5), ObjectMask(2, encode_rle(mask), "cat", 0.5, polygons=outline))
    frames = tuple(Frame(f"{number:05d}.jpg", SIZE, both, "clip") for number in (0, 4))
    annotations = Annotations(frames, (Category(1, "cat"),))
    documents = {}
    with tempfile.TemporaryDirectory() as folder:
        for format in ("coco", "ytvis", "sav", "labelme", "masklets"):
            path = Path(folder) / (f"{format}.json" if format in ("coco", "ytvis") else format)
            write_annotations(annotations, path, format)
            file = path if path.is_file() else min(path.rglob("*.json"))
            documents[format] = json.loads(file.read_text())
    return documents


DOCUMENTS = valid_documents()


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The path of keys and places to everything in a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, member in inside for found in places(member, (*path, key)))]


def damaged(document: object, path: tuple, junk: object, drop: bool) -> object:
    """A copy with one thing replaced by junk, or left out."""
    if not path:
        return junk
    document = copy.deepcopy(document)
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    if drop and isinstance(holder, dict):
        del holder[path[-1]]
    else:
        holder[path[-1]] = junk
    return document


@pytest.mark.filterwarnings("ignore::masklet.errors.MaskletWarning")
@pytest.mark.parametrize("format", DOCUMENTS)
@settings(max_examples=150)
@given(data=st.data())
def test_damage_is_an_error_of_ours(format, data):
    document = DOCUMENTS[format]
    path = data.draw(st.sampled_from(places(document)))
    broken = damaged(document, path, data.draw(JUNK), data.draw(st.booleans()))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file.json"
        file.write_text(json.dumps(broken))
        try:
            found = read_annotations(file, format)
        except MaskletError:
            return
        assert all(mask.mask.shape == tuple(frame.size) for frame, mask in found.all_masks())
