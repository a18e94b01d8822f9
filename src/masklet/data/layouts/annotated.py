"""Pictures and clips whose masks are in annotation files: COCO, YouTube-VIS, YOLO, LabelMe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.data.clips import Clip, choose_shown_frames
from masklet.data.layouts.painting import Masklet, is_visible, paint_in_turn, paint_masklets
from masklet.data.reading import read_frames, turned
from masklet.errors import InputError
from masklet.io.annotations import Annotations, Frame, ObjectMask
from masklet.io.images import ValueRange

if TYPE_CHECKING:
    from numpy.typing import NDArray


class AnnotatedPictures:
    """The pictures and clips of `annotations`, those without any object left out.

    images: the folder that their file names start from; identity: whether an object id means the same object in all
    frames of a clip (else every frame is a still of its own); max_stride: see `choose_frames`; name: of the
    annotations; value_range: of the pictures, see `read_image`.
    Crowds, whose members are not told apart, are no objects. Raises `InputError` naming the first annotated picture
    that is not there, or where nothing is annotated.
    """

    def __init__(
        self,
        annotations: Annotations,
        images: str | Path,
        *,
        identity: bool = True,
        max_stride: int = 1,
        name: str = "",
        value_range: ValueRange | None = None,
    ) -> None:
        self.images = Path(images)
        self.identity = identity
        self.max_stride = max_stride
        self.value_range = value_range
        clips = list(annotations.clips.values()) if identity else []
        stills = annotations.stills if identity else annotations.frames
        entries = (tuple(map(_bare, entry)) for entry in (*clips, *((still,) for still in stills)))
        self.entries = [entry for entry in entries if any(frame.masks for frame in entry)]
        if not self.entries:
            raise InputError(f"the annotations {name or f'of {self.images}'} hold no objects")
        for entry in self.entries:
            for frame in entry:
                if find_picture(self.images, frame) is None:
                    raise InputError(f"{frame.path} is annotated, but there is no {self.images / frame.path}")

    def __len__(self) -> int:
        return len(self.entries)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Entry `index`: a picture, or a run of `num_frames` of a clip, if possible with an object on the first."""
        entry = self.entries[index]
        if num_frames > 1 and (entry[0].clip is None or not self.identity):
            raise InputError(f"{entry[0].path} is a still picture; ask for 1 frame, not {num_frames}")
        seen = [k for k, frame in enumerate(entry) if _objects(frame)] if num_frames == 1 else range(len(entry))
        numbers = choose_shown_frames(
            seen,
            num_frames,
            generator,
            lambda number: any(is_visible(rle) for rle in _objects(entry[number]).values()),
            max_stride=self.max_stride,
        )
        chosen = [entry[number] for number in numbers]
        frames = self._read(chosen)
        masks = paint_masklets(_masklets(chosen), num_frames, chosen[0].size, generator)
        return Clip(frames, masks, str(self._path(chosen[0])))

    @property
    def only_stills(self) -> bool:
        """Whether no entry is a clip."""
        return all(len(entry) == 1 for entry in self.entries)

    @property
    def follows_objects(self) -> bool:
        """Whether any object is on two frames of a clip, as none is where the annotations have no number for it."""
        return any(
            repeated > 1
            for entry in self.entries
            for repeated in Counter(mask.object_id for frame in entry for mask in frame.masks).values()
        )

    @property
    def still(self) -> str | None:
        """The first entry that is part of no clip, if there is one."""
        return next((entry[0].path for entry in self.entries if entry[0].clip is None or not self.identity), None)

    def paintings(self, index: int, generator: np.random.Generator, most: int) -> list[Clip]:
        """See `Overlapping`. Raises `InputError` for a clip."""
        entry = list(self.entries[index])
        if len(entry) > 1:
            raise InputError(f"{entry[0].path} belongs to a clip of {len(entry)} frames; only stills have paintings")
        frames, name = self._read(entry), str(self._path(entry[0]))
        painted = paint_in_turn(_masklets(entry), entry[0].size, generator, most)
        return [Clip(frames, masks, name) for masks in painted]

    def _read(self, chosen: list[Frame]) -> NDArray[np.uint8]:
        """The pictures [t H W 3] of annotated frames."""
        paths = [self._path(frame) for frame in chosen]
        frames = read_frames(paths, self.value_range)
        for path, frame in zip(paths, chosen, strict=True):
            if tuple(frame.size) != frames.shape[1:3]:
                raise InputError(
                    f"{path} is {frames.shape[2]} x {frames.shape[1]} pixels (width x height), "
                    f"its annotation {frame.size.width} x {frame.size.height}{turned(frame.size, frames.shape[1:3])}"
                )
        return frames

    def _path(self, frame: Frame) -> Path:
        return find_picture(self.images, frame) or self.images / frame.path


def find_picture(images: Path, frame: Frame) -> Path | None:
    """The file of an annotated picture, or None: below `images` as it was given, with its clip's name, or without.

    Files that were written on Windows part folders by backslashes.
    """
    given = (frame.file_name, frame.path, frame.name)
    names = dict.fromkeys((*given, *(PureWindowsPath(name).as_posix() for name in given)))
    return next((path for name in names if (path := images / name).is_file()), None)


def _bare(frame: Frame) -> Frame:
    """A frame with its objects' masks alone, as large sets fill the memory of every process that prepares batches."""
    return replace(frame, masks=tuple(ObjectMask(mask.object_id, mask.rle) for mask in frame.masks if not mask.crowd))


def _objects(frame: Frame) -> dict[int, Mapping[str, Any]]:
    """RLE by object id."""
    return {mask.object_id: mask.rle for mask in frame.masks}


def _masklets(frames: list[Frame]) -> list[Masklet]:
    objects = [_objects(frame) for frame in frames]
    ids = sorted({object_id for found in objects for object_id in found})
    return [[found.get(object_id) for found in objects] for object_id in ids]
