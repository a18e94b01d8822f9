"""Predicted masks in a folder against ground truth: J and F of each object on the frames that count."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.eval.layouts import LVOS_META, Counting
from masklet.eval.metrics import Statistics, boundary_f, region_j, statistics
from masklet.eval.truth import AnnotatedClip, IndexClip, read_objects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


@dataclass(frozen=True)
class ObjectScores:
    """J and F of one object on each frame that counts, all lists of one length; frames: their numbers in the clip."""

    object_id: int
    frames: tuple[int, ...]
    j: tuple[float, ...]
    f: tuple[float, ...]

    @property
    def region(self) -> Statistics:
        return statistics(self.j)

    @property
    def boundary(self) -> Statistics:
        return statistics(self.f)

    @property
    def jf(self) -> float:
        """The mean of the means of J and F."""
        return (self.region.mean + self.boundary.mean) / 2

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(record: dict[str, Any]) -> ObjectScores:
        return ObjectScores(record["object_id"], *(tuple(record[name]) for name in ("frames", "j", "f")))


class PredictedMasks:
    """The predictions for one clip: PNGs named as the truth's, in a folder or in one for each object.

    counted: for each object that is asked for, on which frames. Raises `InputError` naming the first of these that is
    missing, or an object that the truth does not have.
    """

    def __init__(self, clip: AnnotatedClip, folder: Path, counted: Mapping[int, set[int]]) -> None:
        if not folder.is_dir():
            raise InputError(f"clip {clip.name} has no predictions: there is no folder {folder}")
        self.clip = clip
        self.folder = folder
        self._objects = {int(path.name): path for path in folder.iterdir() if path.is_dir() and path.name.isdigit()}
        self._single = bool(self._objects) or (isinstance(clip, IndexClip) and clip.single)
        self._check_objects(counted)
        self._check_frames(counted)

    def mask(self, object_id: int, frame: int, like: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """[H, W] of an object on a frame, the size of `like` being asked for. Raises `InputError` for another size."""
        path = self._path(object_id, frame)
        index = read_objects(path, self._single)
        if index.shape != like.shape:
            raise InputError(
                f"{path} is {index.shape[1]} x {index.shape[0]} pixels (width x height), "
                f"the truth {like.shape[1]} x {like.shape[0]}; write masks at the video's size"
            )
        if self._single:
            return index > 0
        strange = sorted({int(value) for value in np.unique(index)} - {0, *self.clip.object_ids})
        if strange:
            raise InputError(f"{path} has object {strange[0]}, the truth only {list(self.clip.object_ids)}")
        return index == object_id

    def _path(self, object_id: int, frame: int) -> Path:
        name = f"{self.clip.names[frame]}.png"
        return self._objects.get(object_id, self.folder) / name

    def _check_objects(self, counted: Mapping[int, set[int]]) -> None:
        missing = [object_id for object_id, frames in counted.items() if frames and object_id not in self._objects]
        if self._objects and missing:
            there = sorted(self._objects)
            raise InputError(f"{self.folder} has no predictions for object {missing[0]}; there are {there}")
        if not self._objects and counted.get(0):
            raise InputError(
                f"object 0 of clip {self.clip.name} cannot be told from the background in index PNGs; {self.folder} "
                "needs a folder 000, 001, ... for each object, as the truth has them"
            )

    def _check_frames(self, counted: Mapping[int, set[int]]) -> None:
        for object_id, frames in counted.items():
            for frame in sorted(frames):
                if not self._path(object_id, frame).is_file():
                    raise InputError(
                        f"frame {self.clip.names[frame]} of clip {self.clip.name} has no prediction: "
                        f"there is no {self._path(object_id, frame)}"
                    )
        if not self._objects and len(self.clip.annotated) == len(self.clip.names):
            extra = sorted({path.stem for path in self.folder.glob("[!.]*.png")} - set(self.clip.names))
            if extra:
                raise InputError(f"{self.folder / extra[0]}.png is of a frame that the truth does not have")


def score_clip(
    clip: AnnotatedClip, folder: Path, counting: Counting, counted: Mapping[int, set[int]]
) -> list[ObjectScores]:
    """J and F of every object of a clip that counts, for the predictions in `folder`.

    counted: what `counted_frames` says. Raises `InputError` as `PredictedMasks` does.
    """
    predicted = PredictedMasks(clip, folder, counted)
    values: dict[int, list[tuple[int, float, float]]] = {object_id: [] for object_id in counted}
    for frame in clip.annotated:
        for object_id in (number for number, frames in counted.items() if frame in frames):
            truth = clip.mask(object_id, frame)
            mask = predicted.mask(object_id, frame, truth)
            if values[object_id] or counting != "first-seen" or truth.any() or mask.any():
                values[object_id].append((frame, region_j(truth, mask), boundary_f(truth, mask)))
    return [ObjectScores(object_id, *zip(*rows, strict=True)) for object_id, rows in values.items() if rows]


def counted_objects(clip: AnnotatedClip, counting: Counting) -> tuple[int, ...]:
    """The objects that count: with DAVIS those of the first frame, which are given; else all."""
    if counting != "davis" or not clip.annotated:
        return clip.object_ids
    first = clip.annotated[0]
    return tuple(object_id for object_id in clip.object_ids if clip.mask(object_id, first).any())


def counted_frames(
    clip: AnnotatedClip, counting: Counting, ranges: dict[int, tuple[int, int]] | None = None
) -> dict[int, set[int]]:
    """For each object that counts, the frames on which it may.

    "davis": all annotated ones but the first and the last. "first-seen": the same, and of these only those from the
    first on which the object is in the truth or in the prediction, as `score_clip` finds on its way; an object that the
    truth shows on none of these does not count, whatever is predicted (the official
    `sav_dataset/utils/sav_benchmark.py`). "lvos": from the first frame of the object's range up to and without the last
    (the official `lvos-evaluation`). ranges: of each object, the numbers of its range's first and last frame. Raises
    `InputError` where LVOS's are missing.
    """
    objects = counted_objects(clip, counting)
    if counting == "lvos":
        return {object_id: _frames_in_range(clip, object_id, (ranges or {}).get(object_id)) for object_id in objects}
    between = {object_id: clip.annotated_for(object_id)[1:-1] for object_id in objects}
    return {
        object_id: set(frames)
        for object_id, frames in between.items()
        if counting == "davis" or any(clip.mask(object_id, frame).any() for frame in frames)
    }


def _frames_in_range(clip: AnnotatedClip, object_id: int, span: tuple[int, int] | None) -> set[int]:
    if span is None:
        raise InputError(
            f"object {object_id} of clip {clip.name} has no range of frames: there is no {LVOS_META} that tells it; "
            "that file is part of LVOS's download, lay it beside the folder Annotations"
        )
    first, last = span
    return {frame for frame in clip.annotated_for(object_id) if first <= int(clip.names[frame]) < last}
