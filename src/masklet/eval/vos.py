"""Semi-supervised video object segmentation: each object is given on its first frame, and tracked from there.

Predictions are written as PNGs in the benchmark's own layout and scored from these, so that a model of ours and
anybody's results go the same way. Source: paper section 6.2 and `tools/vos_inference.py` of the official repository.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from masklet import __version__
from masklet.errors import InputError, OutputError
from masklet.eval.layouts import Counting, Dataset, object_ranges
from masklet.eval.prompting import check_prompt, prompt_object
from masklet.eval.report import Curve, Report, Row
from masklet.eval.running import (
    PREDICTION_FOLDER,
    SUBMISSION_FILE,
    WRITTEN,
    Measure,
    ModelChoice,
    ModelMeasure,
    model_settings,
)
from masklet.eval.scoring import ObjectScores, counted_frames, counted_objects, score_clip
from masklet.eval.truth import WHOLE, IndexClip, stamp_of
from masklet.io.frames import open_frames
from masklet.io.output import make_folder
from masklet.io.palette import write_index_png
from masklet.tracking.policy import TrackingPolicy, unusual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from masklet.eval.truth import AnnotatedClip
    from masklet.io.frame_source import FrameSource
    from masklet.io.images import ValueRange
    from masklet.types import FrameMasks

NUM_STRETCHES = 20
"""Points of a curve along the clips."""
NUM_WORST_LINES = 6
"""Objects that have a curve of their own."""

LEFT_OUT: dict[Counting, str] = {
    "davis": "objects not on their clip's first frame, not counted",
    "first-seen": "objects seen on no frame that counts, not counted",
}
"""What a report says of objects that do not count; with LVOS, all do."""

POLICY = TrackingPolicy(fill_hole_area=0, binarise_prompted=False, stability_fallback=False)
"""As `tools/vos_inference.py` tracks: without the post-processing that helps people who click."""


@dataclass(frozen=True)
class MaskScores(Measure):
    """Masks that are there already against the truth. Measures one clip a call.

    predicted: a folder with one for each clip, in it PNGs as the truth has them, or what `masklet track` writes; of a
    single clip the PNGs may be directly in it; value_range: of the pictures, which are only shown.
    """

    truth: Dataset
    predicted: Path
    value_range: ValueRange | None = None

    def check(self) -> None:
        """Raise `InputError` where there is no folder of masks."""
        if not self.predicted.is_dir():
            raise InputError(f"no such folder of masks: {self.predicted}")

    @property
    def items(self) -> list[str]:
        return [clip.name for clip in self.truth.clips]

    @property
    def settings(self) -> dict[str, Any]:
        return self.truth.settings | {"predicted": str(self.predicted), "masklet": __version__}

    def state(self, item: str) -> str:
        """What tells whether an item's predictions were made anew, or its truth."""
        return stamp_of(sorted(self.folder(item).rglob("[!.]*.png"))) + self.truth.clip(item).stamp

    def folder(self, clip: str) -> Path:
        """Where the predictions for a clip are."""
        direct = len(self.truth.clips) == 1 and any(self.predicted.glob("[!.]*.png"))
        if direct:
            return self.predicted
        tracked = self.predicted / clip / "masks"  # as `masklet track --out PREDICTED/CLIP` writes them
        return tracked if (self.predicted / clip / "masklets.json").is_file() else self.predicted / clip

    def __call__(self, item: str) -> dict[str, Any]:
        """The J and F of each object on each frame that counts. Raises `InputError` where masks do not fit."""
        clip, counting, ranges = self.truth.clip(item), self.truth.counting, self.ranges(item)
        counted = counted_frames(clip, counting, ranges)
        scores = score_clip(clip, self.folder(item), counting, counted)
        left_out = sorted(set(clip.object_ids) - set(counted))
        return {"objects": [found.to_json() for found in scores], "left_out": left_out}

    def ranges(self, item: str) -> dict[int, tuple[int, int]] | None:
        """Of each object of a clip of LVOS, the numbers of the first and last frame on which it counts."""
        return object_ranges(self.truth.root).get(item) if self.truth.counting == "lvos" else None


@dataclass(frozen=True)
class VosRun(ModelMeasure):
    """A model on a benchmark: tracks each clip, writes its masks below `out`, and scores them if there is truth.

    prompt: what is given on an object's first frame, a name from `masklet.eval.prompting.PROMPTS`.
    """

    data: Dataset
    model: ModelChoice
    out: Path
    prompt: str = "mask"

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        for clip in self.data.clips:
            if not clip.pictures:
                raise InputError(
                    f"clip {clip.name} has masks but no pictures; a model needs JPEGImages in {self.data.root}"
                )

    @property
    def items(self) -> list[str]:
        return [clip.name for clip in self.data.clips]

    @property
    def settings(self) -> dict[str, Any]:
        return self.data.settings | model_settings(self.model) | {"prompt": self.prompt, "policy": unusual(POLICY)}

    def state(self, item: str) -> str:
        """What tells whether a clip's pictures or masks were changed."""
        return self.data.clip(item).stamp

    @property
    def written(self) -> tuple[str, ...]:
        return (*WRITTEN, PREDICTION_FOLDER, SUBMISSION_FILE)

    def is_kept(self, item: str) -> bool:
        """Whether the masks are there, which are shown or sent."""
        return self.scores.folder(item).is_dir()

    @property
    def scores(self) -> MaskScores:
        """The measure of the masks that this run writes."""
        return MaskScores(self.data, self.out / PREDICTION_FOLDER, self.model.value_range)

    def __call__(self, item: str) -> dict[str, Any]:
        """Track one clip and score it."""
        clip = self.data.clip(item)
        objects = counted_objects(clip, self.data.counting) if clip.has_truth else clip.object_ids
        if clip.has_truth:  # before the long work, for it may find that something is missing
            counted_frames(clip, self.data.counting, self.scores.ranges(item))
        folder = self.scores.folder(item)
        partial = folder.with_name(f".{item}.part")
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was broken off
        make_folder(partial)
        with self.model.loaded() as model:
            seen = [object_id for object_id in objects if clip.is_ever_seen(object_id)]
            frames = open_frames(clip.pictures, value_range=self.model.value_range)
            track_clip(model, frames, clip, seen, self.prompt, partial, layered=self.data.layout == "sav")
        try:
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
        except OSError as error:  # Windows keeps what another program has open
            raise OutputError(
                f"cannot replace {folder}: {error.strerror or error}; the masks are in {partial}"
            ) from error
        return self.scores(item) if clip.has_truth else {"objects": [], "left_out": []}


def track_clip(
    model: Any,
    pictures: FrameSource,
    clip: AnnotatedClip,
    object_ids: Sequence[int],
    prompt: str,
    folder: Path,
    *,
    layered: bool,
) -> None:
    """Track objects of a clip, each from its first frame on, and write the masks.

    object_ids: those that count, for others would compete with them for pixels. With `layered` each object has a folder
    of binary PNGs and may overlap others; else a frame has one index PNG, each pixel going to the object with the
    highest logit. Of clips with truth on some frames only these are written.
    """
    from masklet.predict.video import VideoSession

    session = VideoSession(model, pictures, keep="window", policy=POLICY)
    frames = set(range(len(clip.names)))
    for object_id in object_ids:
        first = clip.first_frame(object_id)
        prompt_object(session, object_id, first, clip.mask(object_id, first), prompt)
    wanted = set(clip.annotated) if clip.has_truth else frames
    write = _write_layers if layered else _write_index
    begun = min((clip.first_frame(object_id) for object_id in object_ids), default=len(frames))
    empty = np.zeros(session.size, np.uint8)
    for frame in sorted(wanted & set(range(begun))):
        for path in _paths(folder, clip, frame, layered):
            write_index_png(path, empty)
    for result in session.propagate() if object_ids else ():
        if result.frame in wanted:
            write(folder, clip, result)


def vos_report(title: str, settings: dict[str, Any], results: dict[str, dict[str, Any]], seconds: float) -> Report:
    """The means over all objects, a row for each object, and the curve of J&F along the clips. Raises `InputError`
    where no object counts."""
    scores = {
        f"{clip}/{found.object_id}": found
        for clip, result in results.items()
        for found in (ObjectScores.from_json(record) for record in result["objects"])
    }
    rows = tuple(Row(name, _figures(found)) for name, found in scores.items())
    if not rows:
        raise InputError(
            f"no object to score in {len(results)} clips, of layout {settings['layout']}: objects have numbers other "
            "than 0, and more than their first frame's mask"
        )
    columns = rows[0].values
    summary = {column: float(np.mean([row.values[column] for row in rows])) for column in columns}
    counts: dict[str, Any] = {
        "objects": len(rows),
        "clips": sum(bool(result["objects"]) for result in results.values()),
    }
    unscored = [clip for clip, result in results.items() if not result["objects"]]
    if unscored:
        counts["clips without truth to score"] = ", ".join(unscored)
    left_out = [f"{clip}/{object_id}" for clip, result in results.items() for object_id in result["left_out"]]
    if left_out:
        counts[LEFT_OUT[settings["counting"]]] = ", ".join(left_out)
    return Report(title, settings | counts, summary, rows, _curves(scores), {"seconds": seconds})


def _figures(scores: ObjectScores) -> dict[str, float]:
    region, boundary = scores.region, scores.boundary
    figures = {"J&F": scores.jf}
    for letter, found in (("J", region), ("F", boundary)):
        figures |= {f"{letter} mean": found.mean, f"{letter} recall": found.recall, f"{letter} decay": found.decay}
    return figures


def _curves(scores: dict[str, ObjectScores]) -> tuple[Curve, ...]:
    """J, F and J&F along the clips in the mean, and J&F of the objects that fare worst."""
    worst = sorted(scores, key=lambda name: scores[name].jf)[:NUM_WORST_LINES]
    means = {"J&F": _along(scores, ("j", "f")), "J": _along(scores, ("j",)), "F": _along(scores, ("f",))}
    single = {name: _along({name: scores[name]}, ("j", "f")) for name in worst}
    axis = "part of the clip"
    return Curve("Along the clips", axis, "mean over objects", means), Curve("Worst objects", axis, "J&F", single)


def _along(scores: dict[str, ObjectScores], measures: tuple[str, ...]) -> list[tuple[float, float]]:
    """Mean over objects and measures at evenly spaced places, each object's frames being stretched over 0 to 1."""
    places = np.linspace(0, 1, NUM_STRETCHES + 1)
    stretched = [
        np.interp(places, np.linspace(0, 1, len(found.frames)), getattr(found, measure))
        for found in scores.values()
        for measure in measures
    ]
    return [(float(x), float(y)) for x, y in zip(places, np.mean(stretched, 0), strict=True)]


def _paths(folder: Path, clip: AnnotatedClip, frame: int, layered: bool) -> list[Path]:
    name = f"{clip.names[frame]}.png"
    if not layered:
        return [folder / name]
    return [make_folder(folder / f"{object_id:03d}") / name for object_id in clip.object_ids]


def _write_index(folder: Path, clip: AnnotatedClip, result: FrameMasks) -> None:
    index = np.zeros(result.logits.shape[1:], np.uint16)
    if len(result.logits):
        highest, rows = result.logits.max(0)
        winners = np.array(result.object_ids, np.uint16)[rows.to(torch.int16).cpu().numpy()]
        index = np.where((highest > 0).cpu().numpy(), winners, index)
    if isinstance(clip, IndexClip) and clip.single:
        index = np.where(index > 0, WHOLE, index)
    write_index_png(folder / f"{clip.names[result.frame]}.png", index)


def _write_layers(folder: Path, clip: AnnotatedClip, result: FrameMasks) -> None:
    for object_id, path in zip(clip.object_ids, _paths(folder, clip, result.frame, layered=True), strict=True):
        known = object_id in result.object_ids
        mask = result.mask(object_id) if known else np.zeros(result.logits.shape[1:], bool)
        write_index_png(path, mask.astype(np.uint8))
