"""COCO JSON: pictures, categories, and masks as polygons or RLE.

Clips are kept with the fields that video data sets in COCO's layout use: `videos`, `video_id` and `frame_id` of a
picture, and `track_id` (or, as in CocoVID, `instance_id`) of an annotation. Source: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pycocotools import mask as coco

from masklet.errors import InputError, MaskletWarning
from masklet.io.annotations import (
    Annotations,
    Capacity,
    Category,
    Frame,
    ObjectMask,
    checked_rle,
    losses,
    unread_fields,
)
from masklet.io.documents import member, read_json, size_of, strange_fields, write_json
from masklet.io.polygons import fill_polygons, outline_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from masklet.types import Size

CAPACITY = Capacity(scores=True, polygons=True, crowds=True)

KNOWN_OF_CATEGORIES = ("id", "name", "supercategory")
KNOWN = {
    "images": ("id", "file_name", "height", "width", "video_id", "frame_id"),
    "annotations": (
        *("id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd", "score"),
        *("track_id", "instance_id"),
    ),
    "categories": KNOWN_OF_CATEGORIES,
    "videos": ("id", "name"),
}
"""The fields that are read, or follow from what is."""


def recognise(path: Path, contents: Any) -> bool:
    """Whether a file's JSON `contents` have COCO's layout."""
    return path.is_file() and isinstance(contents, dict) and {"images", "annotations"} <= contents.keys()


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a COCO JSON file; the pictures themselves are not needed. Annotations without a mask are passed over.

    Raises `InputError` naming the annotation where ids do not match or a mask is malformed.
    """
    contents = read_json(path)
    categories = read_categories(contents, path)
    names = {category.number: category.name for category in categories}
    videos = member(contents, "videos", list, str(path)) if "videos" in contents else []
    clips = told_apart(
        {member(video, "id", int, f"{path}, videos"): member(video, "name", str, f"{path}, videos") for video in videos}
    )
    pictures = {}
    for picture in member(contents, "images", list, str(path)):
        number = member(picture, "id", int, f"{path}, images")
        if number in pictures:
            raise InputError(f"{path}: two images have the id {number}")
        pictures[number] = picture
    masks: dict[int, list[ObjectMask]] = defaultdict(list)
    boxes = 0
    for annotation in member(contents, "annotations", list, str(path)):
        if isinstance(annotation, dict) and not annotation.get("segmentation"):
            boxes += 1  # as many tools write one among masks
            continue
        where = f"{path}, annotation {annotation.get('id') if isinstance(annotation, dict) else annotation}"
        number = member(annotation, "image_id", int, where)
        if number not in pictures:
            raise InputError(f"{where}: there is no image {number}; the ids of annotations and images must match")
        size = size_of(pictures[number], f"{path}, image {number}")
        object_id = _object_id(annotation, in_clip=_in_clip(pictures[number], clips), place=len(masks[number]) + 1)
        masks[number].append(_read_mask(annotation, object_id, names, size, where))
    if boxes and not any(masks.values()):
        raise InputError(f"{path} has boxes only: none of its {boxes} annotations has a segmentation")
    if boxes:
        warnings.warn(
            f"{path}: {boxes} annotations have no segmentation and are passed over", MaskletWarning, stacklevel=3
        )
    ordered = _in_order(list(pictures.values()), clips)
    frames = [_read_frame(picture, tuple(masks[picture["id"]]), clips, path) for picture in ordered]
    return Annotations(tuple(frames), categories, unread_fields(strange_fields(contents, KNOWN)))


def read_categories(contents: Any, path: Path) -> tuple[Category, ...]:
    """The categories of a JSON file in COCO's layout, as Youtube-VIS has them too."""
    where = f"{path}, categories"
    categories = [
        Category(
            member(entry, "id", int, where), member(entry, "name", str, where), str(entry.get("supercategory", ""))
        )
        for entry in member(contents, "categories", list, str(path))
    ]
    # Some tools list the name of the data set, which may be that of its only class, as a category without objects.
    shared = {name for name, number in Counter(category.name for category in categories).items() if number > 1}
    records = member(contents, "annotations", list, str(path)) if shared else []
    used = {record.get("category_id") for record in records if isinstance(record, dict)}
    kept = tuple(category for category in categories if category.name not in shared or category.number in used)
    for name in sorted(shared):
        numbers = [category.number for category in kept if category.name == name]
        if len(numbers) > 1:
            raise InputError(f"{where}: {' and '.join(map(str, numbers))} are both called {name!r}; rename one")
    return kept


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write a COCO JSON file; with `polygons`, masks as outlines instead of RLE. Returns what could not be kept."""
    clips = {name: number for number, name in enumerate(annotations.clips, 1)}
    category_ids = {category.name: category.number for category in annotations.categories}
    ids = unique_ids([mask.object_id for _, mask in annotations.all_masks()])
    images: list[dict[str, Any]] = []
    records: list[dict[str, Any]] = []
    positions: dict[str, int] = defaultdict(int)
    for number, frame in zip(_picture_ids(annotations.frames), annotations.frames, strict=True):
        image = {"id": number, "file_name": frame.file_name, "height": frame.size.height, "width": frame.size.width}
        if frame.clip is not None:
            image |= {"video_id": clips[frame.clip], "frame_id": positions[frame.clip]}
            positions[frame.clip] += 1
        images.append(image)
        for mask in frame.masks:
            record = {"id": ids[len(records)], "image_id": number, "category_id": category_ids[mask.category]}
            records.append(record | _mask_record(mask, frame.size, polygons))
            if record["id"] != mask.object_id:
                records[-1]["track_id"] = mask.object_id
    contents = {"images": images, "annotations": records, "categories": category_records(annotations)}
    if clips:
        contents["videos"] = [{"id": number, "name": name} for name, number in clips.items()]
    write_json(path, contents)
    return losses(annotations, CAPACITY)


def category_records(annotations: Annotations) -> list[dict[str, Any]]:
    """The `categories` of a JSON file in COCO's layout."""
    return [
        {"id": category.number, "name": category.name, "supercategory": category.supercategory}
        for category in annotations.categories
    ]


def told_apart(names: dict[int, str]) -> dict[int, str]:
    """Names of clips by their videos' ids, with the id behind those that several have, such as two cameras' `cam`."""
    while shared := {name for name, number in Counter(names.values()).items() if number > 1}:
        names = {number: f"{name}_{number}" if name in shared else name for number, name in names.items()}
    return names


def unique_ids(object_ids: Sequence[int]) -> list[int]:
    """Annotation ids for these objects: their own where no two are the same, else 1, 2, ...

    COCO wants an annotation's id unique in the file, our object ids are unique in a picture or clip.
    """
    if len(set(object_ids)) == len(object_ids) and 0 not in object_ids:
        return list(object_ids)
    return list(range(1, len(object_ids) + 1))


def _picture_ids(frames: Sequence[Frame]) -> list[int]:
    numbers = [frame.number for frame in frames if frame.number is not None]
    if len(set(numbers)) == len(frames):
        return numbers
    return list(range(1, len(frames) + 1))


def _in_clip(picture: Any, clips: dict[int, str]) -> bool:
    return "video_id" in picture and bool(clips)


def _in_order(pictures: list[Any], clips: dict[int, str]) -> list[Any]:
    """The pictures with the frames of a clip by `frame_id`, where all of them have one."""
    frames: dict[Any, list[int]] = defaultdict(list)
    for place, picture in enumerate(pictures):
        if isinstance(picture.get("video_id"), int) and clips:
            frames[picture["video_id"]].append(place)
    ordered = [*pictures]
    for places in frames.values():
        if all(isinstance(pictures[place].get("frame_id"), int) for place in places):
            by_number = sorted(places, key=lambda place: pictures[place]["frame_id"])
            for place, source in zip(places, by_number, strict=True):
                ordered[place] = pictures[source]
    return ordered


def _object_id(annotation: dict[str, Any], *, in_clip: bool, place: int) -> Any:
    """What tells an object from others of its picture or clip; its `place` in the picture where nothing does."""
    keys = ("track_id", "instance_id", "id") if in_clip else ("track_id", "id")
    return next((annotation[key] for key in keys if annotation.get(key) is not None), place)


def _read_frame(picture: Any, masks: tuple[ObjectMask, ...], clips: dict[int, str], path: Path) -> Frame:
    where = f"{path}, image {picture['id']}"
    if "file_name" not in picture and "coco_url" in picture:  # as LVIS has it
        picture = picture | {"file_name": member(picture, "coco_url", str, where).rpartition("/")[2]}
    file_name = member(picture, "file_name", str, where)
    name, clip, given = file_name, None, None
    if _in_clip(picture, clips):
        video = member(picture, "video_id", int, where)
        if video not in clips:
            raise InputError(f"{where}: there is no video {video}")
        clip = clips[video]
        name = file_name.removeprefix(f"{clip}/")
        given = file_name if name == file_name else None
    try:
        return Frame(name, size_of(picture, where), masks, clip, picture["id"], given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _read_mask(annotation: Any, object_id: Any, names: dict[int, str], size: Size, where: str) -> ObjectMask:
    category = member(annotation, "category_id", int, where)
    if category not in names:
        raise InputError(f"{where}: there is no category {category}; there are {sorted(names)}")
    segmentation: Any = member(annotation, "segmentation", (list, dict), where)
    polygons = None
    if isinstance(segmentation, list):
        rle = fill_polygons(segmentation, size, where)
        polygons = tuple(tuple(float(value) for value in polygon) for polygon in segmentation)
    else:
        rle = checked_rle(segmentation, size, where)
    try:
        return ObjectMask(
            object_id=object_id,
            rle=rle,
            category=names[category],
            score=annotation.get("score"),
            polygons=polygons,
            crowd=bool(annotation.get("iscrowd", 0)),
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _mask_record(mask: ObjectMask, size: Size, polygons: bool) -> dict[str, Any]:
    segmentation: Any = dict(mask.rle)
    # pycocotools takes a crowd's segmentation for RLE whatever it is.
    if mask.polygons is not None and not mask.crowd:
        segmentation = [list(polygon) for polygon in mask.polygons]
    elif polygons and not mask.crowd and coco.area(mask.rle):
        segmentation = outline_parts(mask.mask)
    record = {
        "segmentation": segmentation,
        "area": int(coco.area(mask.rle)),
        "bbox": [float(value) for value in coco.toBbox(mask.rle)],
        "iscrowd": int(mask.crowd),
    }
    return record if mask.score is None else record | {"score": mask.score}
