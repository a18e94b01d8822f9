"""The paper's interactive protocols: how good masks get as a person corrects more and more frames of a clip.

Offline, a person sees the whole result, clicks on the frame that is worst, and the clip is tracked again. Online, the
clip is tracked once, and a person clicks where tracking has gone wrong, what came before being settled. Every frame
gets three clicks, each where the mask just shown is most wrong. This goes through our own API, where a correction holds
when the clip is tracked again. All annotated frames from the object's first on count. Source: paper section 6.1 and its
appendix on the interactive settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from masklet.errors import InputError
from masklet.eval.examples import Example, render, worst_of
from masklet.eval.layouts import Dataset
from masklet.eval.metrics import boundary_f, region_j
from masklet.eval.prompting import click_object, correct
from masklet.eval.report import Curve, Report, Row
from masklet.eval.running import ModelChoice, ModelMeasure, model_settings
from masklet.io.frames import open_frames
from masklet.io.images import read_image
from masklet.ops.rle import decode_rle, encode_rle
from masklet.tracking.policy import DEFAULT, unusual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from masklet.eval.truth import AnnotatedClip
    from masklet.predict.video import VideoSession

Mode = Literal["offline", "online"]

NUM_ROUNDS = 8
"""Frames that are clicked on, the first included."""
NUM_CLICKS = 3
"""Clicks on each of them."""
PAUSE_BELOW = 0.75
"""Online, tracking pauses on a frame whose IoU is lower."""

POLICY = DEFAULT
"""Our own way, as people who click have it."""


@dataclass(frozen=True)
class InteractiveRun(ModelMeasure):
    """A model under one protocol. Every object is annotated on its own, from the first frame on which it is seen.

    rounds: frames clicked on; clicks: on each. Raises `InputError` for clips without truth or pictures.
    """

    data: Dataset
    model: ModelChoice
    mode: Mode = "offline"
    rounds: int = NUM_ROUNDS
    clicks: int = NUM_CLICKS

    def __post_init__(self) -> None:
        if self.mode not in ("offline", "online"):
            raise InputError(f"the mode is offline or online, not {self.mode!r}")
        if self.rounds < 1 or self.clicks < 1:
            raise InputError(f"rounds and clicks must be at least 1; got {self.rounds} and {self.clicks}")
        for clip in self.data.clips:
            if not clip.pictures or not clip.has_truth:
                missing = "pictures" if not clip.pictures else "truth after its first frame"
                raise InputError(f"clip {clip.name} has no {missing}, which the interactive protocols need")

    @property
    def items(self) -> list[str]:
        return [clip.name for clip in self.data.clips]

    @property
    def settings(self) -> dict[str, Any]:
        protocol = {"mode": self.mode, "rounds": self.rounds, "clicks": self.clicks, "policy": unusual(POLICY)}
        return self.data.settings | model_settings(self.model) | protocol

    def state(self, item: str) -> str:
        """What tells whether a clip's pictures or masks were changed."""
        return self.data.clip(item).stamp

    def __call__(self, item: str) -> dict[str, Any]:
        """For each object of a clip: its frames, and of each round the frame clicked on and J and F of all frames."""
        clip = self.data.clip(item)
        with self.model.loaded() as model:
            seen = [object_id for object_id in clip.object_ids if clip.is_ever_seen(object_id)]
            return {"objects": [self._annotate(model, clip, object_id) for object_id in seen]}

    def _annotate(self, model: Any, clip: AnnotatedClip, object_id: int) -> dict[str, Any]:
        from masklet.predict.video import VideoSession

        frames = open_frames(clip.pictures, value_range=self.model.value_range)
        annotator = SimulatedAnnotator(VideoSession(model, frames, policy=POLICY), clip, object_id, self.clicks)
        frame: int | None = annotator.frames[0]
        rounds: list[dict[str, Any]] = []
        while len(rounds) < self.rounds:
            if frame is not None:
                annotator.annotate(frame, from_start=self.mode == "offline")
                rounds.append({"frame": frame, **annotator.scores()})
                frame = annotator.worst() if self.mode == "offline" else annotator.next_below(PAUSE_BELOW, frame)
            else:
                rounds.append(rounds[-1])  # nothing is left to correct, so further rounds change nothing
        return {
            "object_id": object_id,
            "frames": annotator.frames,
            "rounds": rounds,
            "worst": annotator.example(),
        }


class SimulatedAnnotator:
    """A simulated person at work on one object of one clip, who knows the truth and sees the masks."""

    def __init__(self, session: VideoSession, clip: AnnotatedClip, object_id: int, num_clicks: int) -> None:
        first = clip.first_frame(object_id)
        self.session = session
        self.clip = clip
        self.object_id = object_id
        self.num_clicks = num_clicks
        self.frames = [frame for frame in clip.annotated_for(object_id) if frame >= first]
        self._clicked: set[int] = set()
        self._shown: dict[int, dict[str, Any]] = {}
        self._j: dict[int, float] = {}
        self._f: dict[int, float] = {}

    def annotate(self, frame: int, *, from_start: bool) -> None:
        """Click on a frame and track on: again from the object's first frame, or from this one."""
        truth = self.clip.mask(self.object_id, frame)
        if not self._clicked:
            click_object(self.session, self.object_id, frame, truth, self.num_clicks)
        else:
            shown = decode_rle(self._shown[frame])
            correct(self.session, self.object_id, frame, truth, shown, self.num_clicks)
        self._clicked.add(frame)
        for result in self.session.propagate(start=self.frames[0] if from_start else frame):
            if result.frame in self.frames:
                self._look(result.frame, result.mask(self.object_id))

    def worst(self) -> int | None:
        """The frame with the lowest IoU that was not clicked on yet, None where all are right or were."""
        left = [frame for frame in self.frames if frame not in self._clicked and self._j[frame] < 1]
        return min(left, key=lambda frame: self._j[frame], default=None)

    def next_below(self, threshold: float, after: int) -> int | None:
        """The next frame after one whose IoU is below the threshold."""
        return next((frame for frame in self.frames if frame > after and self._j[frame] < threshold), None)

    def scores(self) -> dict[str, list[float]]:
        """J and F on all frames as they stand."""
        return {"j": [self._j[frame] for frame in self.frames], "f": [self._f[frame] for frame in self.frames]}

    def example(self) -> dict[str, Any]:
        """The worst frame as it stands, with its mask."""
        frame = min(self.frames, key=lambda frame: self._j[frame] + self._f[frame])
        return {"frame": frame, "score": (self._j[frame] + self._f[frame]) / 2, "rle": self._shown[frame]}

    def _look(self, frame: int, mask: np.ndarray) -> None:
        truth = self.clip.mask(self.object_id, frame)
        self._shown[frame] = encode_rle(mask)
        self._j[frame], self._f[frame] = region_j(truth, mask), boundary_f(truth, mask)


def interactive_report(run: InteractiveRun, results: dict[str, dict[str, Any]], seconds: float) -> Report:
    """J&F after each round, over all objects, a row for each object, and the curve."""
    rows = tuple(
        Row(f"{clip}/{record['object_id']}", _figures(record["rounds"]))
        for clip, result in results.items()
        for record in result["objects"]
    )
    if not rows:
        raise InputError("no mask of these clips shows an object: there is nothing to click on")
    summary = {column: float(np.mean([row.values[column] for row in rows])) for column in rows[0].values}
    line = [(float(number), summary[_column(number)]) for number in range(1, run.rounds + 1)]
    title = f"Interactive segmentation, {run.mode}"
    curve = Curve("J&F by frames clicked on", f"frames with {run.clicks} clicks", "mean over objects", {"J&F": line})
    return Report(title, run.settings | {"objects": len(rows)}, summary, rows, (curve,), {"seconds": seconds})


def worst_interactive(run: InteractiveRun, results: dict[str, dict[str, Any]]) -> list[Example]:
    """Of each object the worst frame after the last round, the worst of these first."""
    candidates = [
        (record["worst"]["score"], (clip, record["object_id"], record["worst"]))
        for clip, result in results.items()
        for record in result["objects"]
    ]
    examples = []
    for score, (name, object_id, worst) in worst_of(candidates):
        clip = run.data.clip(name)
        picture = read_image(clip.pictures[worst["frame"]], run.model.value_range)
        jpeg = render(picture, clip.mask(object_id, worst["frame"]), decode_rle(worst["rle"]), object_id)
        examples.append(Example(f"{name}, object {object_id}, frame {clip.names[worst['frame']]}", score, jpeg))
    return examples


def _column(number: int) -> str:
    return f"J&F @{number}"


def _figures(rounds: Sequence[dict[str, Any]]) -> dict[str, float]:
    values = [float(np.mean(entry["j"]) + np.mean(entry["f"])) / 2 for entry in rounds]
    return {"J&F": float(np.mean(values))} | {_column(number): value for number, value in enumerate(values, 1)}
