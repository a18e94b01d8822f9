"""DAVIS index pictures: one palette PNG a frame, 0 for background and n for object n; a folder for each clip."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pycocotools import mask as coco

from masklet.errors import InputError, OutputError
from masklet.io.annotations import Annotations, Capacity, Frame, ObjectMask, empty_losses, losses
from masklet.io.files import files_below, walk_files
from masklet.io.formats.folders import PictureFinder, clip_losses, group_clips
from masklet.io.formats.targets import frame_files
from masklet.io.output import make_folder
from masklet.io.palette import VOID, has_void, is_shaded, read_index_png, read_object_numbers, write_index_png
from masklet.io.sav_folder import MASK_FOLDER
from masklet.ops.index_masks import MAX_OBJECT_ID
from masklet.ops.rle import encode_rle
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CAPACITY = Capacity(categories=False, overlap=False)


def recognise(path: Path, contents: Any) -> bool:
    """Whether the folder holds PNG files and no other kind of annotation, or is the root of a data set."""
    if (path / "Annotations").is_dir():  # which has lists and other files beside its masks
        return any(walk_files(path / "Annotations", ".png"))
    return path.is_dir() and contents is None and any(walk_files(path, ".png")) and not any(walk_files(path, ".txt"))


def read(path: Path, images: Path | None = None) -> Annotations:
    """Read a folder of index PNGs, or a data set's root with `Annotations` in it.

    Pictures are looked for beside, only for the endings of their names. Void, 255 beside objects that are numbered from
    the bottom, is no object; 16-bit masks have none. Raises `InputError` for an empty folder, for photographs and
    smoothed masks, or the masks of SA-V's validation and test sets, which have a folder for each object.
    """
    root = path / "Annotations" if (path / "Annotations").is_dir() else path
    files = files_below(root, ".png")
    if any(MASK_FOLDER in file.absolute().parts for file in files):
        raise InputError(
            f"{path} has SA-V's masks in {MASK_FOLDER}, a folder for each object, which are no index PNGs; "
            "`masklet eval` and `masklet train` read them, and SA-V's JSON files can be converted"
        )
    pictures = PictureFinder(root, images)
    frames, has_wide = [], False
    for file in files:
        index = read_object_numbers(file)
        has_wide |= index.dtype != np.uint8
        picture = pictures.find(file)
        name = file.relative_to(root).with_suffix(picture.suffix if picture else ".jpg").as_posix()
        frames.append(Frame(name, Size(*index.shape), _index_masks(index)))
    if not frames:
        raise InputError(f"no PNG files in {root} or the folders in it")
    annotations = Annotations(group_clips(frames, os.path.basename(os.path.abspath(path))))
    if has_wide:
        return annotations
    kept = [frame for _, group in annotations.groups for frame in _without_void(group)]
    num_void = annotations.num_masks - sum(len(frame.masks) for frame in kept)
    unread = (f"void: pixels of the value {VOID}, which count for nothing, on {num_void} frames",) if num_void else ()
    return Annotations(tuple(kept), unread=unread)


def write(annotations: Annotations, path: Path, polygons: bool = False) -> list[str]:
    """Write a folder of index PNGs, the smaller object in front where two overlap. Returns what could not be kept.

    Raises `OutputError` where a picture, and no mask, is in the place of one.
    """
    covered = hidden = renumbered = 0
    groups = [frames for _, frames in annotations.groups]
    targets = frame_files(path, (frame for frames in groups for frame in frames), ".png")
    for file in targets:
        if file.exists() and not _is_mask(file):
            raise OutputError(f"{file} is a picture, which a mask would replace; name another folder")
    files = iter(targets)
    for frames in groups:
        ids = _storable_ids({mask.object_id for frame in frames for mask in frame.masks})
        renumbered += any(number != object_id for object_id, number in ids.items())
        for frame in frames:
            index, partly, wholly = _flatten(frame, ids)
            covered += partly
            hidden += wholly
            file = next(files)
            make_folder(file.parent)
            write_index_png(file, index)
    found = losses(annotations, CAPACITY) + clip_losses(annotations)
    if covered:
        found.append(f"overlap: {covered} masks lose a part to a smaller one in front")
    if hidden:
        found.append(f"overlap: {hidden} masks are hidden altogether by others in front, and left out")
    if renumbered:
        found.append(
            f"ids: objects of {renumbered} clips or pictures are renumbered, to fit 1..{MAX_OBJECT_ID} and not to pass "
            f"for void, which is {VOID}"
        )
    return found + empty_losses(sum(not coco.area(mask.rle) for _, mask in annotations.all_masks()))


def _is_mask(file: Path) -> bool:
    try:
        return not is_shaded(read_index_png(file))
    except InputError:
        return False


def _storable_ids(object_ids: set[int]) -> dict[int, int]:
    """The pixel value for each object: its id where all fit and none would pass for void, else 1, 2, ..."""
    fit = all(1 <= object_id <= MAX_OBJECT_ID for object_id in object_ids)
    if fit and not has_void(np.array(sorted(object_ids))):
        return {object_id: object_id for object_id in object_ids}
    return {object_id: place for place, object_id in enumerate(sorted(object_ids), 1)}


def _flatten(frame: Frame, ids: dict[int, int]) -> tuple[NDArray[np.uint16], int, int]:
    """All masks in one index picture [H, W], the smaller in front, and how many lost a part, and how many all."""
    masks = {mask.object_id: mask.mask for mask in frame.masks}
    index = np.zeros(frame.size, np.uint16)
    for object_id, mask in sorted(masks.items(), key=lambda item: -np.count_nonzero(item[1])):
        index[mask] = ids[object_id]
    left = [(index[mask] == ids[object_id]) for object_id, mask in masks.items() if mask.any()]
    hidden = sum(not seen.any() for seen in left)
    return index, sum(not seen.all() for seen in left) - hidden, hidden


def _without_void(frames: Sequence[Frame]) -> Sequence[Frame]:
    """The frames of one clip, or a picture, without the mask of pixels that are no object's."""
    if not has_void(np.array([mask.object_id for frame in frames for mask in frame.masks])):
        return frames
    return [replace(frame, masks=tuple(mask for mask in frame.masks if mask.object_id != VOID)) for frame in frames]


def _index_masks(index: NDArray[Any]) -> tuple[ObjectMask, ...]:
    return tuple(ObjectMask(int(value), encode_rle(index == value)) for value in np.unique(index) if value)
