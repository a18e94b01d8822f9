"""YouTube-VIS JSON: clips, with each object's masks over all frames in one record, as RLE.

Source: https://youtube-vos.org/dataset/vis/ (COCO's layout, with `videos` in place of `images`).
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

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
    unread_fields,
)
from masklet.io.documents import member, read_json, size_of, strange_fields, write_json
from masklet.io.formats.coco import KNOWN_OF_CATEGORIES, category_records, read_categories, told_apart, unique_ids

CAPACITY = Capacity(stills=False, scores=True, crowds=True)

KNOWN = {
    "videos": ("id", "name", "height", "width", "length", "file_names"),
    "annotations": (
        *("id", "video_id", "category_id", "height", "width", "length", "segmentations", "areas", "bboxes"),
        *("iscrowd", "score", "track_id"),
    ),
    "categories": KNOWN_OF_CATEGORIES,
}
"""The fields that are read, or follow from what is."""


def recognise(path: Path, contents: Any) -> bool:
    """Whether a file's JSON `contents` have YouTube-VIS's layout."""
    if not path.is_file() or not isinstance(contents, dict) or "images" in contents:
        return False
    return {"videos", "annotations"} <= contents.keys()


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a YouTube-VIS JSON file. Raises `InputError` naming the annotation where ids or masks do not fit."""
    contents = read_json(path)
    categories = read_categories(contents, path)
    names = {category.number: category.name for category in categories}
    videos = {}
    for video in member(contents, "videos", list, str(path)):
        videos[member(video, "id", int, f"{path}, videos")] = video
    masks: dict[int, dict[int, list[ObjectMask]]] = {number: defaultdict(list) for number in videos}
    for annotation in member(contents, "annotations", list, str(path)):
        where = f"{path}, annotation {annotation.get('id') if isinstance(annotation, dict) else annotation}"
        number = member(annotation, "video_id", int, where)
        if number not in videos:
            raise InputError(f"{where}: there is no video {number}; the ids of annotations and videos must match")
        category = member(annotation, "category_id", int, where)
        if category not in names:
            raise InputError(f"{where}: there is no category {category}; there are {sorted(names)}")
        for frame, mask in _read_masks(annotation, videos[number], names, where):
            masks[number][frame].append(mask)
    clips = told_apart({number: _clip_name(video, f"{path}, video {number}") for number, video in videos.items()})
    frames = [
        frame
        for number, video in videos.items()
        for frame in _read_frames(video, masks[number], clips[number], f"{path}, video {number}")
    ]
    return Annotations(tuple(frames), categories, unread_fields(strange_fields(contents, KNOWN)))


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write a YouTube-VIS JSON file. Returns what is lost. Raises `InputError` for a clip of many sizes."""
    category_ids = {category.name: category.number for category in annotations.categories}
    videos, tracks = [], []
    for number, (_, frames) in enumerate(annotations.groups, 1):
        name = frames[0].clip or frames[0].stem
        size = single_size(name, frames)
        files = [frame.file_name for frame in frames]
        video = {"id": number, "height": size.height, "width": size.width, "length": len(frames), "file_names": files}
        videos.append(video if name == _folder(files) else video | {"name": name})
        tracks += [(number, size, object_id, track) for object_id, track in object_tracks(frames).items()]
    ids = unique_ids([object_id for _, _, object_id, _ in tracks])
    records = []
    for record_id, (number, size, object_id, track) in zip(ids, tracks, strict=True):
        first = next(mask for mask in track if mask is not None)
        record = {"id": record_id, "video_id": number, "category_id": category_ids[first.category]}
        record |= {"height": size.height, "width": size.width, "length": len(track)} | _track_record(track)
        records.append(record if record_id == object_id else record | {"track_id": object_id})
    write_json(path, {"videos": videos, "annotations": records, "categories": category_records(annotations)})
    return losses(annotations, CAPACITY) + _track_losses([track for *_, track in tracks])


def _read_masks(annotation: Any, video: Any, names: dict[int, str], where: str) -> list[tuple[int, ObjectMask]]:
    size = size_of(video, where)
    segmentations = member(annotation, "segmentations", list, where)
    files = member(video, "file_names", list, where)
    if len(segmentations) != len(files):
        raise InputError(f"{where}: {len(segmentations)} masks for the {len(files)} frames of its video")
    return [
        (
            index,
            ObjectMask(
                object_id=annotation.get("track_id", annotation.get("id", 0)),
                rle=checked_rle(rle, size, f"{where}, frame {index}"),
                category=names[annotation["category_id"]],
                score=annotation.get("score"),
                crowd=bool(annotation.get("iscrowd", 0)),
            ),
        )
        for index, rle in enumerate(segmentations)
        if rle is not None
    ]


def _clip_name(video: Any, where: str) -> str:
    """What a video is called: its name, as we write it where the folder of its frames is called otherwise, or that."""
    files = member(video, "file_names", list, where)
    if not files or not all(isinstance(file, str) for file in files):
        raise InputError(f"{where}: file_names must list at least one frame, as text; got {str(files)[:60]}")
    return str(video.get("name") or _folder(files) or f"video_{video['id']}")


def _folder(files: list[str]) -> str:
    """The folder of a video's first frame."""
    return files[0].rpartition("/")[0]


def _read_frames(video: Any, masks: dict[int, list[ObjectMask]], clip: str, where: str) -> list[Frame]:
    size, files = size_of(video, where), video["file_names"]
    frames = []
    for index, file in enumerate(files):
        name = file.removeprefix(f"{clip}/")
        given = file if name == file else None
        if given:
            name = file.removeprefix(f"{_folder(files)}/")
        frames.append(Frame(name, size, tuple(masks[index]), clip, given=given))
    return frames


def _track_record(track: list[ObjectMask | None]) -> dict[str, Any]:
    visible = [mask for mask in track if mask is not None]
    scores = [mask.score for mask in visible if mask.score is not None]
    record = {
        "segmentations": [None if mask is None else dict(mask.rle) for mask in track],
        "areas": [None if mask is None else int(coco.area(mask.rle)) for mask in track],
        "bboxes": [None if mask is None else [float(value) for value in coco.toBbox(mask.rle)] for mask in track],
        "iscrowd": int(any(mask.crowd for mask in visible)),
    }
    return record | {"score": sum(scores) / len(scores)} if scores else record


def _track_losses(tracks: list[list[ObjectMask | None]]) -> list[str]:
    visible = [[mask for mask in track if mask is not None] for track in tracks]
    found = []
    for what, values in (
        ("scores: one score is kept", [{mask.score for mask in track} for track in visible]),
        ("categories: one category is kept", [{mask.category for mask in track} for track in visible]),
        ("crowds: one mark is kept", [{mask.crowd for mask in track} for track in visible]),
    ):
        varying = sum(len(kinds) > 1 for kinds in values)
        if varying:
            found.append(f"{what} for each of {varying} objects where it varies between frames")
    return found
