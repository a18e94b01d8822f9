"""Ground truth of clips: which objects are on which frames, read from the PNGs as they are needed."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from masklet.errors import InputError
from masklet.io.palette import VOID, has_void, read_index_png

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

WHOLE = 255
"""DAVIS 2016's only object in its masks."""


@dataclass(frozen=True)
class AnnotatedClip(ABC):
    """A clip with masks on all or some of its frames.

    names: the stem of every frame's file name, in order; pictures: the files, empty where only masks are there.
    """

    name: str
    names: tuple[str, ...]
    pictures: tuple[Path, ...]

    @property
    @abstractmethod
    def object_ids(self) -> tuple[int, ...]:
        """The objects that are to be tracked, ascending."""

    @property
    @abstractmethod
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames with masks, ascending."""

    @property
    @abstractmethod
    def mask_files(self) -> list[Path]:
        """The files that the masks are read from."""

    @property
    def stamp(self) -> str:
        """The names, sizes and times of all files of the clip, as a digest: they may be mended between two runs."""
        return stamp_of((*self.pictures, *self.mask_files))

    @abstractmethod
    def mask(self, object_id: int, frame: int) -> NDArray[np.bool_]:
        """[H, W]: an object on an annotated frame, empty where it is not to be seen. Raises `InputError`."""

    @abstractmethod
    def annotated_for(self, object_id: int) -> tuple[int, ...]:
        """Numbers of the frames whose masks tell where this object is or that it is absent."""

    def first_frame(self, object_id: int) -> int:
        """The first frame on which the object is to be seen. Raises `InputError` where there is none."""
        frame = self._first_seen(object_id)
        if frame is None:
            raise InputError(f"clip {self.name}: object {object_id} has no mask on any frame")
        return frame

    def is_ever_seen(self, object_id: int) -> bool:
        """Whether any mask shows the object, for SA-V has folders that might hold none."""
        return self._first_seen(object_id) is not None

    def _first_seen(self, object_id: int) -> int | None:
        return next((frame for frame in self.annotated_for(object_id) if self.mask(object_id, frame).any()), None)

    @property
    @abstractmethod
    def has_truth(self) -> bool:
        """Whether there is more than the frames on which objects are first seen."""


@dataclass(frozen=True)
class IndexClip(AnnotatedClip):
    """One index PNG a frame, the layout of DAVIS, LVOS, MOSE and YouTube-VOS.

    masks: the file for each annotated frame; single: all that is not 0 is one object, with id 1 (DAVIS 2016).
    """

    masks: Mapping[int, Path]
    single: bool = False

    @property
    def object_ids(self) -> tuple[int, ...]:
        none = (0, VOID) if self._has_void else (0,)
        return tuple(value for value in self._values.tolist() if value not in none)

    @property
    def annotated(self) -> tuple[int, ...]:
        return tuple(sorted(self.masks))

    @property
    def mask_files(self) -> list[Path]:
        return [self.masks[frame] for frame in self.annotated]

    def annotated_for(self, object_id: int) -> tuple[int, ...]:
        return self.annotated

    @property
    def has_truth(self) -> bool:
        seen: set[int] = set()
        void_again = False
        for file in self.mask_files:  # most often the second tells
            here = set(np.unique(read_objects(file, self.single)).tolist()) - {0}
            if (here & seen) - {VOID}:
                return True
            void_again |= VOID in here & seen
            seen |= here
        return void_again and not self._has_void

    def index(self, frame: int) -> NDArray[np.integer]:
        """[H, W]: object ids on an annotated frame, 0 for none."""
        return read_objects(self.masks[frame], self.single, VOID if self._has_void else None)

    @property
    def _has_void(self) -> bool:
        """Whether 255 is no object, as it is one in masks of 0 and 255 alone."""
        return self._values.dtype == np.uint8 and has_void(self._values)

    @cached_property
    def _values(self) -> NDArray[np.integer]:
        """All values of the clip's masks, in order."""
        found = [np.unique(read_objects(file, self.single)) for file in self.mask_files]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.uint8)

    def mask(self, object_id: int, frame: int) -> NDArray[np.bool_]:
        return self.index(frame) == object_id


@dataclass(frozen=True)
class LayeredClip(AnnotatedClip):
    """A folder for each object, a binary PNG a frame, so that masks may overlap: the layout of SA-V val and test.

    masks: for each object, the file for each frame that is annotated for it.
    """

    masks: Mapping[int, Mapping[int, Path]]

    @property
    def object_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self.masks))

    @property
    def annotated(self) -> tuple[int, ...]:
        return tuple(sorted({frame for files in self.masks.values() for frame in files}))

    @property
    def mask_files(self) -> list[Path]:
        return [files[frame] for _, files in sorted(self.masks.items()) for frame in sorted(files)]

    def annotated_for(self, object_id: int) -> tuple[int, ...]:
        return tuple(sorted(self.masks[object_id]))

    @property
    def has_truth(self) -> bool:
        return any(len(files) > 1 for files in self.masks.values())

    def mask(self, object_id: int, frame: int) -> NDArray[np.bool_]:
        return read_objects(self.masks[object_id][frame], single=True) > 0


def stamp_of(files: Iterable[Path]) -> str:
    """The names, sizes and times of files, as a digest."""
    stamps = [(file.name, stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return hashlib.sha256(repr(stamps).encode()).hexdigest()[:16]


def read_objects(path: Path, single: bool, void: int | None = None) -> NDArray[np.integer]:
    """The object ids of an index PNG [H, W], 0 for none; as `single`, 1 for all that is not 0.

    void: the value of an 8-bit truth that is no object; a prediction has none, where it would be a mask that is lost.
    The last few are kept, read-only, for one is asked for once for each object. Raises `InputError`.
    """
    try:
        now = path.stat()
    except OSError as error:
        raise InputError(f"cannot read the mask {path}: {error.strerror}") from error
    return _read_version(path, single, void, now.st_mtime_ns, now.st_size)


@lru_cache(maxsize=4)
def _read_version(path: Path, single: bool, void: int | None, mtime_ns: int, size: int) -> NDArray[np.integer]:
    """A file as it was at a time, with a size: it may be written anew while this process runs."""
    index = read_index_png(path)
    if single:
        index = (index > 0).astype(np.uint8)
    elif void is not None and index.dtype == np.uint8:
        index = np.where(index == void, 0, index)
    index.flags.writeable = False
    return index
