"""One object in a clip: what it was told, what it is remembered by, and where passes have been."""

from __future__ import annotations

from bisect import insort
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby

import torch
from torch import Tensor

from masklet.tracking.memory import FrameResult, RecallPlan, let_go, plan_recall
from masklet.tracking.policy import TrackingPolicy
from masklet.tracking.step import objects_in_step
from masklet.types import Prompt


@dataclass(eq=False)
class Track:
    """One object: its prompts, the results not yet committed, those that are (in the order in which they began to be
    recalled), and which frames a pass has been over (with its direction), each keyed by frame; the numbers of the
    conditioning frames, ascending; and, while a frame is being prompted, what it was decoded from."""

    prompts: dict[int, Prompt] = field(default_factory=dict)
    drafts: dict[int, FrameResult] = field(default_factory=dict)
    history: dict[int, FrameResult] = field(default_factory=dict)
    visited: dict[int, bool] = field(default_factory=dict)
    conditioning: list[int] = field(default_factory=list)
    conditioned: tuple[int, RecallPlan, Tensor] | None = None

    def store(self, result: FrameResult) -> None:
        """Put a committed result into the history, in the place of an earlier one on its frame."""
        self.conditioned = None
        known = result.frame in self.conditioning
        if not known:
            self.history.pop(result.frame, None)  # it takes its place at the end
        self.history[result.frame] = result
        if result.conditioning and not known:
            insort(self.conditioning, result.frame)
        elif known and not result.conditioning:
            self.conditioning.remove(result.frame)

    def demote(self, frame: int) -> None:
        """Remember a conditioning frame as a tracked one from now on."""
        self.visited.pop(frame, None)
        self.store(replace(self.history[frame], conditioning=False))

    def forget_since(self, frame: int) -> None:
        """Forget a conditioning frame, and all that was tracked since it was first recalled: with it in view.

        After the first conditioning frame of all, that is everything but other conditioning frames.
        """
        order = list(self.history)
        for number in order[order.index(frame) :]:
            if number == frame or number not in self.conditioning:
                del self.history[number]
                self.visited.pop(number, None)
        self.conditioning.remove(frame)
        self.conditioned = None

    def latest(self, frame: int) -> FrameResult | None:
        """The newest result on a frame, committed or not."""
        return self.drafts.get(frame) or self.history.get(frame)

    def recall_plan(
        self, frame: int, num_frames: int | None, reverse: bool, policy: TrackingPolicy, recent: int
    ) -> RecallPlan:
        """What `frame` of this object may look back at; recent: see `plan_recall`."""
        return plan_recall(
            frame,
            conditioning=self.conditioning,
            tracked=TrackedFrames(self),
            num_frames=num_frames,
            reverse=reverse,
            stride=policy.memory_stride,
            max_conditioning=policy.max_conditioning,
            recent=recent,
        )

    def let_go(self, frame: int, reverse: bool, policy: TrackingPolicy, recent: int) -> None:
        """Forget what no frame after `frame` in this direction will need."""
        self.conditioned = None
        let_go(
            self.history,
            frame,
            reverse=reverse,
            stride=policy.memory_stride,
            max_conditioning=policy.max_conditioning,
            recent=recent,
        )
        self.conditioning = [number for number in self.conditioning if self._conditions(number)]
        self.visited = {number: way for number, way in self.visited.items() if number in self.history}
        self.prompts = {number: prompt for number, prompt in self.prompts.items() if self.latest(number)}

    def _conditions(self, frame: int) -> bool:
        return frame in self.history and self.history[frame].conditioning


class TrackedFrames(Container[int]):
    """The frames of a history that do not condition; a plan asks for few of them, so that long ones are not listed."""

    def __init__(self, track: Track) -> None:
        self._track = track

    def __contains__(self, frame: object) -> bool:
        return frame in self._track.history and frame not in self._track.conditioning


def in_step(
    tracks: Sequence[Track], situation: tuple[int, int | None, bool, TrackingPolicy, int], device: torch.device
) -> Iterator[list[tuple[Track, RecallPlan]]]:
    """Tracks with their plans, in batches whose plans have the same shape; situation: as `recall_plan` takes it."""
    planned = [(track, track.recall_plan(*situation)) for track in tracks]

    def shape(item: tuple[Track, RecallPlan]) -> tuple[int, int]:
        return len(item[1].maps), len(item[1].pointers)

    for _, alike in groupby(sorted(planned, key=shape), key=shape):
        members = list(alike)
        step = objects_in_step(len(members[0][1].maps), device)
        for begin in range(0, len(members), step):
            yield members[begin : begin + step]
