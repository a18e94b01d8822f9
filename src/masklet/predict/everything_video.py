"""Masklets of everything in a clip, without a prompt: found on the first frame, tracked, and what comes later as well.

Follow `MaskletSearch.run`. Source: SAM 2 paper, section 5.2 and appendix E.1 (auto masklets); looking again on later
frames, letting go and the bound on memory are our own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from masklet.checkpoints import DEFAULT_MODEL, load
from masklet.errors import InputError
from masklet.model.network import Network
from masklet.predict.everything_options import choose_options
from masklet.predict.mask_finder import MaskFinder, best_first, stability_scores
from masklet.predict.video import VideoSession
from masklet.tracking.policy import DEFAULT, TrackingPolicy
from masklet.types import FrameMasks, Prompt

GAP = 0.01
"""Neighbouring masks seldom meet exactly. Strips between them narrower than twice this part of the picture's shorter
side are nobody's, and no point is put there."""
SAMPLES_PER_SIDE = 256
"""Masks are compared with each other on at most about so many pixels in each direction."""


@dataclass(frozen=True)
class MaskletRules:
    """Which masklets a search takes up and which it lets go.

    max_objects: tracked at one time; look_every: frames from one look for new objects to the next; max_covered: part of
    a new mask, 0 to 1, that known ones may cover already; min_part: of the picture that the smallest new mask covers;
    min_stability: 0 to 1, least stability of a tracked mask (see `EverythingOptions`); duplicate_iou: of two masklets
    that come to overlap by more, the later is let go; patience: looks in a row at which a masklet may be absent or
    unstable before it is let go. Raises `InputError` for a value out of range.
    """

    max_objects: int = 32
    look_every: int = 12
    max_covered: float = 0.5
    min_part: float = 0.0005
    min_stability: float = 0.25
    duplicate_iou: float = 0.7
    patience: int = 2

    def __post_init__(self) -> None:
        for name in ("max_objects", "look_every", "patience"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be 1 or more; got {getattr(self, name)}")
        for name in ("max_covered", "min_part", "min_stability", "duplicate_iou"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} must be between 0 and 1; got {getattr(self, name)}")


def everything_video(
    source: Any,
    model: Network | str = DEFAULT_MODEL,
    *,
    preset: str = "fast",
    rules: MaskletRules | None = None,
    policy: TrackingPolicy = DEFAULT,
    **changes: Any,
) -> Iterator[FrameMasks]:
    """Find everything in a clip and track it, yielding each frame's masks as it is done.

    source: whatever `masklet.io.frames.open_frames` takes, an endless iterable too; model: from `masklet.load`, or a
    name or file for it; preset, changes: how to look for masks on a frame, as of `masklet.everything`; rules: which
    masklets to take up and to let go; policy: how to track. Objects are numbered from 1 as they are found, and a number
    is never given again. What is done with a frame never depends on later ones, and memory is bounded by
    `rules.max_objects`, however long the clip.

    Raises `InputError` for a source that cannot be read, an unknown preset or option, or a value out of range; while
    iterating `BrokenVideo` where the file breaks off, all frames before having been yielded.
    """
    network = model if isinstance(model, Network) else load(model)
    options = choose_options(preset, changes, network.config)
    session = VideoSession(network, source, keep="window", policy=policy)
    return MaskletSearch(session, MaskFinder(network, options), rules or MaskletRules()).run()


class MaskletSearch:
    """One pass over a clip. session: its objects so far, with keep="window"; finder: of masks on a single frame."""

    def __init__(self, session: VideoSession, finder: MaskFinder, rules: MaskletRules) -> None:
        self.session = session
        self.finder = finder
        self.rules = rules
        self._num_found = 0
        self._missed: Counter[int] = Counter()  # looks in a row at which an object was absent or unstable

    def run(self) -> Iterator[FrameMasks]:
        """Every frame's masks: those tracked, and on every `look_every`-th frame those found anew."""
        for number, image in enumerate(self.session.frames):
            self.session.settle()
            tracked = self.session.advance(number)
            if number % self.rules.look_every:
                yield tracked
                continue
            self._let_go(tracked)
            self._take_up(number, image)
            yield self.session.preview(number)

    def _let_go(self, tracked: FrameMasks) -> None:
        """Drop objects that have been absent or unstable for too long, and those that have become another one."""
        for object_id, presence in zip(tracked.object_ids, tracked.presence.tolist(), strict=True):
            is_sound = presence > 0 and self._stability(object_id, tracked.frame) >= self.rules.min_stability
            self._missed[object_id] = 0 if is_sound else self._missed[object_id] + 1
        lost = {object_id for object_id, looks in self._missed.items() if looks >= self.rules.patience}
        # What goes anyway must not take along another that it has drifted onto.
        staying = [place for place, object_id in enumerate(tracked.object_ids) if object_id not in lost]
        double = later_doubles(tracked.masks[staying], self.rules.duplicate_iou)
        for object_id in lost.union(tracked.object_ids[staying[place]] for place in double):
            self.session.remove(object_id)
            del self._missed[object_id]

    def _stability(self, object_id: int, frame: int) -> float:
        """Of the mask as it was decoded: where its edges are guided, they are always sharp."""
        result = self.session.tracks[object_id].latest(frame)
        assert result is not None and result.logits is not None, "the frame has just been tracked"
        return float(stability_scores(result.logits[0], 0.0, self.finder.options.stability_score_offset))

    def _take_up(self, frame: int, image: NDArray[np.uint8]) -> None:
        """Look for objects where no known one is, and prompt the tracker with their masks, the best first."""
        room = self.rules.max_objects - len(self.session.object_ids)
        if room <= 0:
            return
        covered: NDArray[np.bool_] = np.any(self.session.preview(frame).masks, axis=0)
        least_area = self.rules.min_part * covered.size
        for found in best_first(self.finder.find(image, where=~widened(covered))):
            mask = found.mask
            if found.area < least_area or (mask & covered).sum() > self.rules.max_covered * found.area:
                continue
            self._num_found += 1
            self.session.place(self._num_found, frame, Prompt.of(mask=mask))
            covered |= mask
            room -= 1
            if not room:
                return


def later_doubles(masks: NDArray[np.bool_], max_iou: float) -> list[int]:
    """Places of those of masks [n H W] that overlap an earlier, kept one by an IoU of more than `max_iou`."""
    if len(masks) < 2:
        return []
    step = max(1, max(masks.shape[-2:]) // SAMPLES_PER_SIDE)
    sampled = masks[:, ::step, ::step].reshape(len(masks), -1).astype(np.float32)
    shared = sampled @ sampled.T
    areas = np.diagonal(shared)
    iou = shared / np.maximum(areas[:, None] + areas - shared, 1)
    doubles: list[int] = []
    for place in range(1, len(masks)):
        earlier = [other for other in range(place) if other not in doubles]
        if iou[place, earlier].max() > max_iou:
            doubles.append(place)
    return doubles


def widened(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask [H W] with a margin of `GAP` round it."""
    margin = round(GAP * min(mask.shape))
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)
