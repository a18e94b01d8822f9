"""Masks of pictures and clips in no particular file format: what every format is read into and written from."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.ops.rle import decode_rle, rle_counts
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

UNNAMED_CATEGORY = "object"
"""The category of masks from formats that have none."""


@dataclass(frozen=True)
class Category:
    """A kind of thing. `number` is what files call its id."""

    number: int
    name: str
    supercategory: str = ""


@dataclass(frozen=True)
class ObjectMask:
    """One object on one picture or frame.

    rle: COCO's compressed RLE with counts as text; polygons: the outline as the file gave it, each x0, y0, x1, y1, ...
    in pixels, or None where the file holds a mask; crowd: a group that is not told apart, as COCO marks it. Raises
    `InputError` for an id or score that is no number, or a score that is not finite.
    """

    object_id: int
    rle: Mapping[str, Any]
    category: str = UNNAMED_CATEGORY
    score: float | None = None
    polygons: tuple[tuple[float, ...], ...] | None = None
    crowd: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.object_id, int):
            raise InputError(f"an object's id must be a whole number; got {self.object_id!r}")
        if not isinstance(self.score, int | float | None) or not abs(self.score or 0) < math.inf:
            raise InputError(f"the score of object {self.object_id} must be a finite number; got {self.score!r}")

    @property
    def mask(self) -> NDArray[np.bool_]:
        """[H, W] bool."""
        return decode_rle(self.rle)


@dataclass(frozen=True)
class Frame:
    """A picture, or one frame of the clip named `clip`, with its masks.

    name: its file name, without the clip's folder; number: what files call its id, where it had one; given: the path
    by which the annotations call its file, where that is another than `path`. Raises `InputError` where a mask is of
    another size or an object appears twice.
    """

    name: str
    size: Size
    masks: tuple[ObjectMask, ...] = ()
    clip: str | None = None
    number: int | None = None
    given: str | None = None

    def __post_init__(self) -> None:
        seen = set()
        for mask in self.masks:
            if tuple(mask.rle["size"]) != tuple(self.size):
                raise InputError(
                    f"{self.path}: the mask of object {mask.object_id} is {_width_x_height(mask.rle['size'])} pixels, "
                    f"its picture {_width_x_height(self.size)}"
                )
            if mask.object_id in seen:
                raise InputError(
                    f"{self.path}: object {mask.object_id} appears twice; ids must differ within a picture"
                )
            seen.add(mask.object_id)

    @property
    def path(self) -> str:
        """The name with the clip's folder before it."""
        return self.name if self.clip is None else f"{self.clip}/{self.name}"

    @property
    def file_name(self) -> str:
        """The path of its file as the annotations gave it: a clip need not be called by the folder it is in."""
        return self.given or self.path

    @property
    def stem(self) -> str:
        """The path without the ending of the file name."""
        folder, slash, name = self.path.rpartition("/")
        return folder + slash + (name.rpartition(".")[0] or name)


@dataclass(frozen=True)
class Annotations:
    """Pictures and frames with masks, and the categories that they may use.

    Frames of one clip are in order. An object id means the same object within one clip, or within one picture. unread:
    what the files they were read from hold that has no place here, one sentence each. Raises `InputError` where a mask
    names a category that is not listed, or two categories share a name or a number.
    """

    frames: tuple[Frame, ...]
    categories: tuple[Category, ...] = field(default=(Category(1, UNNAMED_CATEGORY),))
    unread: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = {category.name for category in self.categories}
        if len(names) < len(self.categories) or len({c.number for c in self.categories}) < len(self.categories):
            raise InputError(f"categories must differ in name and number; got {list(self.categories)}")
        for frame in self.frames:
            for mask in frame.masks:
                if mask.category not in names:
                    raise InputError(f"{frame.path}: unknown category {mask.category!r}; there are {sorted(names)}")

    @property
    def num_masks(self) -> int:
        return sum(len(frame.masks) for frame in self.frames)

    @property
    def stills(self) -> tuple[Frame, ...]:
        """The pictures that belong to no clip."""
        return tuple(frame for frame in self.frames if frame.clip is None)

    @property
    def clips(self) -> dict[str, tuple[Frame, ...]]:
        """The frames of each clip, in order, by the clip's name."""
        grouped: dict[str, list[Frame]] = {}
        for frame in self.frames:
            if frame.clip is not None:
                grouped.setdefault(frame.clip, []).append(frame)
        return {name: tuple(frames) for name, frames in grouped.items()}

    @property
    def groups(self) -> list[tuple[str, tuple[Frame, ...]]]:
        """What object ids are good for: each clip's name and frames, then each single picture's path and itself."""
        return [*self.clips.items(), *((still.path, (still,)) for still in self.stills)]

    def all_masks(self) -> Iterator[tuple[Frame, ObjectMask]]:
        """Every mask with its frame, in order."""
        for frame in self.frames:
            for mask in frame.masks:
                yield frame, mask


def categorised(annotations: Annotations, names: Mapping[int, str], others: str | None = None) -> Annotations:
    """The same with a category for masks that have none: by object id, and one for all others that `names` leaves.

    Raises `InputError` for an id that no mask without a category has, and where nothing takes the one for the others.
    """
    bare = {mask.object_id for _, mask in annotations.all_masks() if mask.category == UNNAMED_CATEGORY}
    if unknown := sorted(set(names) - bare):
        raise InputError(f"no object {unknown[0]} without a category; there are {sorted(bare)}")
    if others is not None and annotations.num_masks and not bare - set(names):
        raise InputError(f"nothing is left to be called {others!r}: every mask has a category, or is named by its id")

    def named(mask: ObjectMask) -> ObjectMask:
        if mask.category != UNNAMED_CATEGORY:
            return mask
        return replace(mask, category=names.get(mask.object_id, others or UNNAMED_CATEGORY))

    frames = tuple(replace(frame, masks=tuple(map(named, frame.masks))) for frame in annotations.frames)
    used = {mask.category for frame in frames for mask in frame.masks}
    kept = [
        category for category in annotations.categories if category.name in used or category.name != UNNAMED_CATEGORY
    ]
    taken = {category.number for category in kept}
    free = (number for number in count(1) if number not in taken)
    kept += [Category(next(free), name) for name in sorted(used - {category.name for category in kept})]
    return replace(annotations, frames=frames, categories=tuple(kept))


@dataclass(frozen=True)
class Capacity:
    """What a file format can hold. (Every one holds pictures with masks.)"""

    clips: bool = True
    stills: bool = True
    identity: bool = True
    categories: bool = True
    scores: bool = False
    overlap: bool = True
    polygons: bool = False
    crowds: bool = False
    names: bool = True


def losses(annotations: Annotations, capacity: Capacity) -> list[str]:
    """What `annotations` hold that a format of this `capacity` does not, one sentence each."""
    masks = [mask for _, mask in annotations.all_masks()]
    clips, stills = annotations.clips, annotations.stills
    found = [*annotations.unread]
    if clips and not capacity.clips:
        found.append(f"clips: the frames of {len(clips)} clips become single pictures")
    if clips and not capacity.identity:
        found.append("identity: which masks of different frames are the same object is not kept")
    if stills and not capacity.stills:
        found.append(f"pictures: {len(stills)} single pictures become clips of one frame")
    if not capacity.names and annotations.frames:
        found.append("file names: frames are known by their number only")
    if not capacity.categories and {category.name for category in annotations.categories} != {UNNAMED_CATEGORY}:
        found.append(f"categories: the names of {len(annotations.categories)} categories are not kept")
    scored = sum(mask.score is not None for mask in masks)
    if scored and not capacity.scores:
        found.append(f"scores: those of {scored} masks are not kept")
    outlined = sum(mask.polygons is not None for mask in masks)
    if outlined and not capacity.polygons:
        found.append(f"outlines: the polygons of {outlined} masks become pixels")
    crowds = sum(mask.crowd for mask in masks)
    if crowds and not capacity.crowds:
        found.append(f"crowds: {crowds} masks are no longer marked as a crowd")
    return found


def unread_fields(names: Sequence[str]) -> tuple[str, ...]:
    """The sentence for fields of a file that have no place in annotations, if there are any."""
    return (f"fields: {', '.join(names)}",) if names else ()


def object_tracks(frames: tuple[Frame, ...]) -> dict[int, list[ObjectMask | None]]:
    """Each object's mask on every one of `frames`, None where it has none, by object id in ascending order."""
    found = [{mask.object_id: mask for mask in frame.masks} for frame in frames]
    ids = sorted({object_id for masks in found for object_id in masks})
    return {object_id: [masks.get(object_id) for masks in found] for object_id in ids}


def single_size(clip: str, frames: tuple[Frame, ...]) -> Size:
    """The one size of a clip's frames. Raises `InputError` where they differ."""
    sizes = {frame.size for frame in frames}
    if len(sizes) > 1:
        raise InputError(f"clip {clip} has frames of {len(sizes)} sizes, {sorted(sizes)[:3]}; this format holds one")
    return sizes.pop()


def empty_losses(num_empty: int) -> list[str]:
    """The sentence for masks without a pixel where a format has no way to hold them, if there are any."""
    return [f"empty masks: {num_empty} are left out"] if num_empty else []


def checked_rle(rle: Mapping[str, Any], size: Size, where: str) -> dict[str, Any]:
    """COCO RLE from a file, its counts text or a list, as compressed text for a picture of `size`.

    Raises `InputError`, beginning with `where`, for a malformed RLE, another size, or counts that do not add up.
    """
    if not isinstance(rle, dict) or "counts" not in rle:
        raise InputError(f"{where}: a mask must be RLE with size and counts; got {str(rle)[:60]!r}")
    given = rle.get("size")
    if not isinstance(given, (list, tuple)) or [*given] != [*size]:
        raise InputError(f"{where}: the RLE's size [height, width] is {given}, the picture's {[*size]}")
    if isinstance(rle["counts"], str) and not rle["counts"].isascii():
        raise InputError(f"{where}: RLE counts {rle['counts'][:40]!r} are damaged")
    try:
        counts = rle_counts(rle)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if (counts < 0).any() or counts.sum() != size.height * size.width:
        raise InputError(
            f"{where}: RLE counts add up to {int(counts.sum())} pixels, the picture has {size.height * size.width}; "
            "the annotation is damaged or belongs to another picture"
        )
    if isinstance(rle["counts"], str):
        return {"size": [*size], "counts": rle["counts"]}
    packed = coco.frPyObjects({"size": [*size], "counts": counts.tolist()}, *size)
    return {"size": [*size], "counts": packed["counts"].decode("ascii")}


def _width_x_height(size: Any) -> str:
    return f"{size[1]} x {size[0]}"
