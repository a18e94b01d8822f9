"""LabelMe JSON: one file a picture, with polygons, rectangles and masks.

A mask is a small PNG in base64 for the box that it fills. Source: https://github.com/wkentaro/labelme (format 5).
"""

from __future__ import annotations

import base64
import binascii
import io
import os
import warnings
from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco

from masklet.errors import InputError, MaskletWarning
from masklet.io.annotations import Annotations, Capacity, Category, Frame, ObjectMask, empty_losses, losses
from masklet.io.documents import member, read_json, size_of, write_json
from masklet.io.files import files_below
from masklet.io.formats.folders import clip_losses, group_clips
from masklet.io.formats.targets import frame_files
from masklet.io.polygons import fill_polygons, outline_parts
from masklet.ops.boxes import mask_boxes
from masklet.ops.rle import encode_rle
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

CAPACITY = Capacity(polygons=True)
CIRCLE_CORNERS = 64
OPEN_SHAPES = ("point", "points", "line", "linestrip")
VERSION = "5.5.0"
"""The version of LabelMe whose files these are; it knows masks and group ids."""


def recognise(path: Path, contents: Any) -> bool:
    """Whether the file, or the first JSON file of the folder, has LabelMe's layout."""
    return isinstance(contents, dict) and {"shapes", "imageHeight", "imageWidth"} <= contents.keys()


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a LabelMe file, or a folder of them; numbered pictures are a clip where each shape has a group id.

    Points and lines, which enclose no area, are passed over. Raises `InputError` naming the file and shape.
    """
    root = path if path.is_dir() else path.parent
    files = files_below(path, ".json") if path.is_dir() else [path]
    if not files:
        raise InputError(f"no JSON files in {path} or the folders in it")
    pictures = [_read_picture(file, root) for file in files]
    _warn_of_open_shapes(path, pictures)
    ids = _divided_ids(pictures)
    frames = tuple(_frame(picture, ids) for picture in pictures)
    if all(len(picture.ids) == len(picture.groups) for picture in pictures):
        # Otherwise the same number on two frames means nothing.
        frames = group_clips(list(frames), os.path.basename(os.path.abspath(root)))
    names = sorted({mask.category for frame in frames for mask in frame.masks})
    unread = Counter(what for picture in pictures for what in picture.unread)
    return Annotations(
        frames,
        tuple(Category(n, name) for n, name in enumerate(names, 1)),
        tuple(f"{what}: those of {number} files are not kept" for what, number in unread.items()),
    )


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write a folder of LabelMe files; with `polygons`, masks as outlines. Returns what could not be kept."""
    used, num_empty = set(), 0
    for file, frame in zip(frame_files(path, annotations.frames, ".json"), annotations.frames, strict=True):
        held = [mask for mask in frame.masks if mask.polygons is not None or coco.area(mask.rle)]
        num_empty += len(frame.masks) - len(held)
        used |= {mask.category for mask in held}
        contents: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": [shape for mask in held for shape in _shapes(mask, polygons)],
            "imagePath": frame.name.rpartition("/")[2],
            "imageData": None,
            "imageHeight": frame.size.height,
            "imageWidth": frame.size.width,
        }
        write_json(file, contents)
    unused = [category.name for category in annotations.categories if category.name not in used]
    note = [f"categories: {len(unused)} that no mask uses are not kept ({', '.join(unused[:3])})"] if unused else []
    found = losses(annotations, CAPACITY) + note + clip_losses(annotations)
    found.append("pictures: they are not copied; LabelMe looks for each beside its JSON file")
    return found + empty_losses(num_empty)


@dataclass(frozen=True)
class _Picture:
    """What one file says. groups: for each object its label and group id, or its place where it has none, and its
    shapes, each with the words that an error about it begins with; num_open: how many shapes enclose no area; unread:
    what else there is."""

    name: str
    size: Size
    groups: dict[tuple[str, Any], list[tuple[str, Any]]]
    num_open: int
    unread: tuple[str, ...]

    @property
    def ids(self) -> list[tuple[str, int]]:
        """The label and id of each object whose group is a number."""
        return [(label, group) for label, group in self.groups if isinstance(group, int)]


def _read_picture(file: Path, root: Path) -> _Picture:
    contents = read_json(file)
    size = size_of(contents, str(file), "imageHeight", "imageWidth")
    groups: dict[tuple[str, Any], list[tuple[str, Any]]] = defaultdict(list)
    shapes = member(contents, "shapes", list, str(file))
    num_open = 0
    for place, shape in enumerate(shapes):
        where = f"{file}, shape {place}"
        if isinstance(shape, dict) and shape.get("shape_type") in OPEN_SHAPES:
            num_open += 1
            continue
        label = member(shape, "label", str, where)
        group = member(shape, "group_id", (int, str, type(None)), where) if "group_id" in shape else None
        groups[label, ("alone", place) if group is None else group].append((where, shape))
    suffix = Path(str(contents.get("imagePath") or "x.jpg")).suffix or ".jpg"
    name = file.relative_to(root).with_suffix(suffix).as_posix()
    return _Picture(name, size, groups, num_open, _unread(contents, shapes))


def _warn_of_open_shapes(path: Path, pictures: Sequence[_Picture]) -> None:
    num_open = sum(picture.num_open for picture in pictures)
    if num_open and not any(picture.groups for picture in pictures):
        raise InputError(
            f"{path} has points and lines only: none of its {num_open} shapes encloses an area; polygon, rectangle, "
            "circle and mask are read"
        )
    if num_open:
        warnings.warn(
            f"{path}: {num_open} points and lines enclose no area and are passed over", MaskletWarning, stacklevel=4
        )


def _unread(contents: Any, shapes: Any) -> tuple[str, ...]:
    kinds = {
        "embedded pictures": contents.get("imageData"),
        "flags": any(record.get("flags") for record in (contents, *shapes)),
        "descriptions": any(shape.get("description") for shape in shapes),
    }
    return tuple(kind for kind, there in kinds.items() if there)


def _divided_ids(pictures: Sequence[_Picture]) -> dict[tuple[str, int], int]:
    """The id of each object of a group that holds several labels in one picture: one of them keeps the group's.

    They are the same in all pictures, which may be frames of a clip.
    """
    taken = {group for picture in pictures for _, group in picture.ids}
    free = (number for number in count(1) if number not in taken)
    shared = {
        group
        for picture in pictures
        for group, labels in Counter(group for _, group in picture.ids).items()
        if labels > 1
    }
    ids: dict[tuple[str, int], int] = {}
    for label, group in dict.fromkeys(key for picture in pictures for key in picture.ids):
        if group in shared:
            ids[label, group] = next(free) if group in ids.values() else group
    return ids


def _frame(picture: _Picture, ids: dict[tuple[str, int], int]) -> Frame:
    """A picture with its masks; those without a number for a group get numbers that are free."""
    numbered = {key: ids.get(key, key[1]) for key in picture.ids}
    used = {*numbered.values()}
    free = (number for number in count(1) if number not in used)
    masks = [
        _merged(numbered[key] if key in numbered else next(free), key[0], shapes, picture.size)
        for key, shapes in picture.groups.items()
    ]
    return Frame(picture.name, picture.size, tuple(masks))


def _merged(object_id: int, category: str, shapes: list[tuple[str, Any]], size: Size) -> ObjectMask:
    """One object from the shapes that share its group."""
    if all(shape.get("shape_type") != "mask" for _, shape in shapes):
        polygons = tuple(_polygon(shape, where) for where, shape in shapes)
        return ObjectMask(object_id, fill_polygons(polygons, size, shapes[0][0]), category, polygons=polygons)
    whole = np.zeros(size, bool)
    for where, shape in shapes:
        whole |= _mask(shape, size, where)
    return ObjectMask(object_id, encode_rle(whole), category)


def _polygon(shape: Any, where: str) -> tuple[float, ...]:
    kind = shape.get("shape_type") or "polygon"
    corners = _corners(shape, where)
    if kind == "rectangle" and len(corners) == 2:
        (x0, y0), (x1, y1) = corners
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    elif kind == "circle":
        if len(corners) != 2:
            raise InputError(f"{where}: a circle has two points, its centre and one on it; got {len(corners)}")
        corners = _circle(*corners)
    elif kind != "polygon":
        raise InputError(f"{where}: its shape_type is {kind!r}; polygon, rectangle, circle and mask are read")
    return tuple(corners.ravel().tolist())


def _circle(centre: np.ndarray, edge: np.ndarray) -> np.ndarray:
    """A circle about `centre` through `edge` as a polygon of `CIRCLE_CORNERS` corners."""
    angles = np.linspace(0, 2 * np.pi, CIRCLE_CORNERS, endpoint=False)
    corners: np.ndarray = centre + np.hypot(*(edge - centre)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    return corners


def _corners(shape: Any, where: str) -> np.ndarray:
    """The points of a shape, [n, 2], n at least 1."""
    points = member(shape, "points", list, where)
    try:
        corners = np.asarray(points, float).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise InputError(f"{where}: points must be pairs of numbers; got {str(points)[:60]}") from error
    if not len(corners) or not np.isfinite(corners).all():
        raise InputError(f"{where}: points must be finite numbers, and at least one; got {str(points)[:60]}")
    return corners


def _mask(shape: Any, size: Size, where: str) -> np.ndarray:
    if shape.get("shape_type") != "mask":
        raise InputError(f"{where}: its group mixes masks and outlines; convert one into the other in LabelMe first")
    try:
        packed = base64.b64decode(member(shape, "mask", str, where), validate=True)
        crop = np.array(Image.open(io.BytesIO(packed))) > 0
    except (binascii.Error, OSError) as error:
        raise InputError(f"{where}: its mask is no PNG in base64: {error}") from error
    x, y = np.round(_corners(shape, where)[0]).astype(int).tolist()
    whole = np.zeros(size, bool)
    target = whole[max(y, 0) : y + crop.shape[0], max(x, 0) : x + crop.shape[1]]
    if target.shape != crop.shape:
        raise InputError(f"{where}: its mask reaches outside the picture of {size.width} x {size.height} pixels")
    target[...] = crop
    return whole


def _shapes(mask: ObjectMask, polygons: bool) -> list[dict[str, Any]]:
    shape = {"label": mask.category, "group_id": mask.object_id, "description": "", "flags": {}}
    outlines = mask.polygons
    if outlines is None and polygons:
        outlines = tuple(tuple(part) for part in outline_parts(mask.mask))
    if outlines is not None:
        return [
            shape | {"shape_type": "polygon", "points": np.reshape(outline, (-1, 2)).tolist(), "mask": None}
            for outline in outlines
        ]
    pixels = mask.mask
    x0, y0, x1, y1 = mask_boxes(pixels).astype(int).tolist()
    packed = io.BytesIO()
    Image.fromarray(pixels[y0:y1, x0:x1]).save(packed, "PNG")
    points = [[float(x0), float(y0)], [float(x1 - 1), float(y1 - 1)]]
    return [
        shape | {"shape_type": "mask", "points": points, "mask": base64.b64encode(packed.getvalue()).decode("ascii")}
    ]
