"""`masklets.json`, what `masklet segment` and `masklet track` write: one clip or picture a file."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.io.annotations import (
    Annotations,
    Capacity,
    Frame,
    ObjectMask,
    checked_rle,
    losses,
    object_tracks,
    single_size,
)
from masklet.io.documents import member, numbers_in, read_json
from masklet.io.files import files_below
from masklet.io.formats.targets import clip_files
from masklet.io.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from masklet.io.masklets import Kind, MaskletsWriter
from masklet.io.output import make_folder
from masklet.types import Size

CAPACITY = Capacity(categories=False, scores=True)
FILE_NAME = "masklets.json"
SCORES = ("score", "iou", "presence", "stability")
"""The scores a file may have, the one that is read first."""


def recognise(path: Path, contents: Any) -> bool:
    """Whether the file, or the first JSON file of the folder, is of this kind."""
    return isinstance(contents, dict) and contents.get("format") == "masklets"


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a file, or a folder of them. A clip is called by its file's or folder's name, without what ends a video's.

    Where several are named alike, such as two cameras' `cam.mp4`, the folders they are in become part of the name.
    Raises `InputError` naming the object and frame that are malformed.
    """
    files = files_below(path, ".json") if path.is_dir() else [path]
    if not files:
        raise InputError(f"no JSON files in {path} or the folders in it")
    read = [(file, *_read_frames(file)) for file in files]
    names = Counter(_name(found) for _, found, _ in read if found)
    frames: list[Frame] = []
    for file, found, _ in read:
        if found and names[_name(found)] > 1:
            found = [_in_place(frame, file.relative_to(path)) for frame in found]
        frames += found
    others: Counter[str] = sum((left_out for *_, left_out in read), Counter())
    unread = tuple(f"scores: {number} of {kind}" for kind, number in sorted(others.items()))
    return Annotations(tuple(frames), unread=unread)


def _name(frames: list[Frame]) -> str:
    """What the only clip or picture of a file is called."""
    return frames[0].clip or frames[0].name


def _in_place(frame: Frame, file: Path) -> Frame:
    """A frame whose clip or picture is called after its `file`, or the folder of one that is called as we call it."""
    place = (file.parent if file.name == FILE_NAME else file.with_suffix("")).as_posix()
    if frame.clip is None:
        return replace(frame, name=f"{place}/{frame.name}")
    return replace(frame, clip=f"{place}/{frame.clip}")


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write a folder with `CLIP.json` for each clip, `NAME.json` for each picture. Returns what could not be kept."""
    groups = annotations.groups
    for file, (name, frames) in zip(clip_files(path, groups, ".json"), groups, strict=True):
        size = single_size(name, frames)
        make_folder(file.parent)
        kind: Kind = "picture" if frames[0].clip is None else "clip"
        with MaskletsWriter(file, kind=kind, name=name, size=size) as writer:
            numbers = _numbers(frames)
            if kind == "clip":
                writer.files = {number: frame.name for number, frame in zip(numbers, frames, strict=True)}
            for object_id, track in object_tracks(frames).items():
                for number, mask in zip(numbers, track, strict=True):
                    scores = {} if mask is None or mask.score is None else {"score": mask.score}
                    pixels = np.zeros(size, bool) if mask is None else mask.mask
                    writer.add(number, object_id, pixels, **scores)
    return losses(annotations, CAPACITY)


def _numbers(frames: Sequence[Frame]) -> list[int]:
    """The numbers of a clip's frames in its video: those they are named by or, where names are none, their places."""
    stems = [Path(frame.name).stem for frame in frames]
    if frames[0].clip is not None and all(stem.isdecimal() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(len(frames)))


def _read_frames(file: Path) -> tuple[list[Frame], Counter[str]]:
    """The frames of a file, and how many scores of which kind its masks have beside the one that is kept."""
    contents = read_json(file)
    name = member(contents, "name", str, str(file))
    given = numbers_in(contents, "size", str(file))
    if len(given) != 2:
        raise InputError(f"{file}: size must be [height, width]; got {list(given)}")
    size = Size(*given)
    files = _files(contents, file)
    # A frame on which nothing is to be seen is a frame all the same.
    masks: dict[int, list[ObjectMask]] = defaultdict(list, {number: [] for number in files})
    others: Counter[str] = Counter()
    for entry in member(contents, "objects", list, str(file)):
        object_id = member(entry, "id", int, f"{file}, objects")
        for record in member(entry, "frames", list, f"{file}, object {object_id}"):
            number = member(record, "frame", int, f"{file}, object {object_id}")
            where = f"{file}, object {object_id}, frame {number}"
            rle = checked_rle(member(record, "segmentation", dict, where), size, where)
            kinds = [kind for kind in SCORES if kind in record]
            others.update(kinds[1:])
            visible = masks[number]
            if coco.area(rle):
                visible.append(ObjectMask(object_id, rle, score=record[kinds[0]] if kinds else None))
    if contents.get("kind", _kind_by_name(name, masks)) == "picture":
        return [Frame(name, size, tuple(masks[0]))], others
    clip = Path(name).stem if Path(name).suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES else name
    frames = [
        Frame(files.get(number, f"{number:05d}.jpg"), size, tuple(found), clip)
        for number, found in sorted(masks.items())
    ]
    return frames, others


def _files(contents: Any, file: Path) -> dict[int, str]:
    """The names of frames' files by the frames' numbers, where a file tells them."""
    files = member(contents, "files", dict, str(file)) if "files" in contents else {}
    for number, name in files.items():
        if not (number.isdecimal() and isinstance(name, str)):
            raise InputError(
                f'{file}: files must name each frame\'s file, as in {{"0": "a.jpg"}}; got {number}: {name!r}'
            )
    return {int(number): name for number, name in files.items()}


def _kind_by_name(name: str, frames: Collection[int]) -> Kind:
    """What a file is of that does not say."""
    return "picture" if Path(name).suffix.lower() in IMAGE_SUFFIXES and set(frames) <= {0} else "clip"
