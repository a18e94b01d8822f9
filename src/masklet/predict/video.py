"""Tracking through a clip: prompts on any frame at any time, propagation either way.

Read `VideoSession.advance` to follow one frame; it conditions, decodes and commits through `masklet.tracking.step`.
Source: SAM 2 paper, section 4; official `sam2_video_predictor.py`.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from masklet.errors import InputError, MaskletWarning, PromptError
from masklet.io.frames import open_frames
from masklet.model.image_encoder import ImageFeatures
from masklet.model.network import ABSENT_LOGIT, Decoded, Network, expect_model
from masklet.ops.components import OFFICIAL_FILL, fill_holes_and_specks
from masklet.ops.coordinates import to_model_mask, to_model_points
from masklet.ops.overlap import non_overlapping
from masklet.predict.close_look import look_closer
from masklet.predict.image import HOLE_FILL
from masklet.predict.pixels import at_full_size, encode_to_predict, frame_pixels
from masklet.predict.track import Track, in_step
from masklet.tracking.memory import FrameResult, RecallPlan
from masklet.tracking.policy import DEFAULT, TrackingPolicy, expect_policy
from masklet.tracking.step import NO_CUE, Cue, commit, condition_frame, decode_frame, draft
from masklet.types import FrameMasks, Prompt, whole_number

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

Direction = Literal["forward", "backward", "both"]
Keep = Literal["all", "window"]

MAX_CACHED_FEATURES = 4


class VideoSession:
    """Objects in one clip.

    model: from `masklet.load`; source: whatever `masklet.io.frames.open_frames` takes (a video file, a folder or glob
    of pictures, an array, any iterable); keep: "all" lets any frame be revisited, "window" lets go what one pass in one
    direction no longer needs, for constant memory with exactly the same results; policy: what else may differ.

    Raises `InputError` for a source that cannot be read.
    """

    def __init__(self, model: Network, source: Any, *, keep: Keep = "all", policy: TrackingPolicy = DEFAULT) -> None:
        if keep not in ("all", "window"):
            raise InputError(f"keep is 'all' or 'window', not {keep!r}")
        expect_model(model)
        expect_policy(policy)
        self.model = model
        self.frames = open_frames(source, revisit=keep == "all")
        self.size = self.frames.size
        self.keep = keep
        self.policy = policy
        self.tracks: dict[int, Track] = {}
        self.features: OrderedDict[int, ImageFeatures] = OrderedDict()
        self._length = self.num_frames  # what is recalled must not change once an iterable's end has been reached
        self._last: tuple[int, bool] | None = None  # the frame tracked last and its direction

    @property
    def num_frames(self) -> int | None:
        """Frames in the clip; None where its end is not known."""
        try:
            return len(self.frames)
        except TypeError:
            return None

    @property
    def object_ids(self) -> tuple[int, ...]:
        """All objects, in the order they were first prompted."""
        return tuple(self.tracks)

    @property
    def history_bytes(self) -> int:
        """Bytes held to remember all objects, exactly."""
        results = (result for track in self.tracks.values() for result in track.history.values())
        return sum(result.num_bytes for result in results)

    def add(
        self,
        object_id: int,
        frame: int = 0,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        replace: bool = False,
    ) -> FrameMasks:
        """Prompt an object, new or known, on a frame; earlier points there are kept unless `replace`.

        points: (n, 2) x, y in video pixels; labels: (n,) 1 object, 0 not the object, all 1 where left out; box: (4,)
        x0, y0, x1, y1; mask: (H, W) bool, alone, of the video's proportions. Returns the masks on that frame, which
        `propagate` carries through the clip. Further prompts on a frame refine its mask: they start from it, even with
        `replace`, but not after `clear`. Raises `PromptError`.
        """
        prompt = Prompt.of(points, labels, box, mask)
        prompt.check_within(self.size)
        return self.prompt(
            whole_number("an object's id", object_id), whole_number("a frame", frame), prompt, replace=replace
        )

    def prompt(self, object_id: int, frame: int, prompt: Prompt, *, replace: bool = False) -> FrameMasks:
        """`add` with a prompt already made, whose points may lie outside the picture."""
        self.place(object_id, frame, prompt, replace=replace)
        return self.preview(frame)

    @torch.no_grad()
    def place(self, object_id: int, frame: int, prompt: Prompt, *, replace: bool = False) -> None:
        """`prompt` for those who give many: the frame's masks are not brought to full size each time."""
        self._check_window(frame)
        self.check_frame(frame)
        prompt.check_proportions(self.size)
        track = self.tracks.get(object_id, Track())
        earlier = track.prompts.get(frame)
        if earlier is not None and not replace:
            prompt = earlier.followed_by(prompt)
        track.drafts[frame] = self._answer(track, frame, prompt, track.latest(frame))
        track.prompts[frame] = prompt
        self.tracks[object_id] = track

    @torch.no_grad()
    def preview(self, frame: int) -> FrameMasks:
        """The masks known on a frame, of all objects that have one there."""
        found = ((object_id, track.latest(frame)) for object_id, track in self.tracks.items())
        return self._frame_masks(frame, {i: result for i, result in found if result and result.logits is not None})

    def clear(self, object_id: int, frame: int) -> FrameMasks:
        """Take back an object's prompts on a frame, which becomes an ordinary frame. Raises `PromptError`.

        What was tracked since they were given is forgotten, as it may have been another thing; `propagate` tracks those
        frames again.
        """
        track, frame = self._track(object_id), whole_number("a frame", frame)
        if frame in track.prompts and frame not in track.drafts and frame not in track.conditioning:
            self._check_window(frame)  # which has let it go, but not what was made of it
        track.prompts.pop(frame, None)
        track.drafts.pop(frame, None)
        if frame in track.conditioning:
            if self.policy.cleared_stay_tracked:
                track.demote(frame)
            else:
                track.forget_since(frame)
                self._answer_again(track)
        return self.preview(frame)

    def remove(self, object_id: int) -> None:
        """Forget an object; the others are not touched. Raises `PromptError` for an unknown one."""
        self._track(object_id)
        del self.tracks[object_id]

    def reset(self) -> None:
        """Forget all objects."""
        self.tracks.clear()
        self._last = None

    def propagate(
        self, start: int | None = None, num_frames: int | None = None, direction: Direction = "forward"
    ) -> Iterator[FrameMasks]:
        """Track all prompted objects through the clip, yielding each frame's masks as it is done.

        start: first frame, None for the first (backward: the last) prompt's, or for where a window that has begun goes
        on; num_frames: how many frames in each direction, None for all there are; direction: "both" goes forward first,
        from `start`, and then, wherever that is, backward from the frame before the latest of all first prompts, each
        object being tracked before its own, so that a frame may come twice, with other objects; it needs keep="all".
        Prompts may be added and objects removed between frames. Raises `PromptError` where nothing is prompted, and
        where a window that has gone through the clip is asked for all that is left; `BrokenVideo` where the file breaks
        off, all frames before having been yielded.
        """
        if direction not in ("forward", "backward", "both"):
            raise InputError(f"direction is 'forward', 'backward' or 'both', not {direction!r}")
        if num_frames is not None and whole_number("num_frames", num_frames) < 0:
            raise InputError(f"num_frames must be 0 or more, not {num_frames}")
        if direction == "both" and self.keep == "window":
            raise PromptError("a window goes in one direction; direction='both' needs keep='all'")
        if start is not None:
            start = whole_number("a frame", start)
            self.check_frame(start)
        return self._propagate(start, num_frames, direction)

    def _propagate(self, start: int | None, num_frames: int | None, direction: Direction) -> Iterator[FrameMasks]:
        if start is None and self.keep == "window" and self._last is not None:
            start = self._next_in_window()
            if num_frames is None and not (start >= 0 and self._exists(start)):
                raise PromptError("this window has gone through the clip; begin another session, or take keep='all'")
        self.settle()
        first, last = self._prompted_range()
        if direction == "backward":
            yield from self._pass(last if start is None else start, num_frames, reverse=True)
            return
        yield from self._pass(first if start is None else start, num_frames, reverse=False)
        if direction == "both":
            self.settle()  # objects may have come during the first pass, and gone
            firsts = [track.conditioning[0] for track in self.tracks.values() if track.conditioning]
            yield from self._pass(max(firsts, default=0) - 1, num_frames, reverse=True, second=True)

    @torch.no_grad()
    def settle(self) -> None:
        """Commit what was prompted since the last frame, so that further frames recall it."""
        drafts = [(frame, track) for track in self.tracks.values() for frame in track.drafts]
        # Frame by frame, so that each is encoded once for all objects.
        for frame, track in sorted(drafts, key=lambda draft: draft[0]):
            result = track.drafts[frame]
            if frame in track.conditioning and not result.conditioning:
                continue  # without `corrections_condition` a correction of a first prompt is lost, as officially
            features = self._features(frame)
            committed = commit(self.model, features, result, binarise=self.policy.binarise_prompted)
            track.store(committed.to(self._storage).row(0))
        for track in self.tracks.values():
            track.drafts.clear()

    def _pass(self, start: int, num_frames: int | None, *, reverse: bool, second: bool = False) -> Iterator[FrameMasks]:
        """One direction. On the second pass of "both" an object is tracked before its first prompt only."""
        step = -1 if reverse else 1
        frame, left = start, num_frames
        while frame >= 0 and (left is None or left > 0) and self._exists(frame):
            self.settle()
            yield self.advance(frame, reverse=reverse, before_first_prompt=second)
            frame += step
            left = None if left is None else left - 1

    @torch.no_grad()
    def advance(self, frame: int, *, reverse: bool = False, before_first_prompt: bool = False) -> FrameMasks:
        """Track one frame: condition it on each object's memories, decode, commit, and return the masks.

        Frames come one after the other, in either direction; `propagate` and `Stream` see to that. Where anything is
        raised, the frame can be tracked again.
        """
        self._check_order(frame, reverse)
        active = {
            object_id: track
            for object_id, track in self.tracks.items()
            if self._is_active(track, frame, reverse, before_first_prompt)
        }
        tracked = [track for track in active.values() if frame not in track.conditioning]
        situation = (frame, self._length, reverse, self.policy, self._recent)
        for group in in_step(tracked, situation, self.model.device):
            self._track_group(group, frame)
        masks = self._frame_masks(frame, {object_id: track.history[frame] for object_id, track in active.items()})
        for track in active.values():
            track.visited[frame] = reverse
            if self.keep == "window":
                track.let_go(frame, reverse, self.policy, self._recent)
        self._last = (frame, reverse)
        return masks

    def _track_group(self, group: Sequence[tuple[Track, RecallPlan]], frame: int) -> None:
        """Objects whose recall has one shape, together along the batch."""
        features = self._features(frame)
        conditioned = condition_frame(self.model, features, [(track.history, plan) for track, plan in group])
        decoded = decode_frame(self.model, features, conditioned, NO_CUE)
        # A tracked frame is remembered as decoded, and shown with its holes filled.
        result = commit(self.model, features, draft(frame, decoded), binarise=False)
        shown = replace(result, logits=self._cleaned(decoded.logits)).to(self._storage)
        for row, (track, _) in enumerate(group):
            track.store(shown.row(row))

    def _answer(self, track: Track, frame: int, prompt: Prompt, earlier: FrameResult | None) -> FrameResult:
        """Decode a prompt, from the earlier answer; a given mask is adopted, whatever is remembered."""
        features, seen = self._features(frame), frame in track.visited
        cue = self._cue(prompt, earlier)
        decoded = decode_frame(
            self.model,
            features,
            features.stride16 if prompt.mask is not None else self._conditioned(track, frame, features),
            cue,
            stability_fallback=self.policy.stability_fallback,
        )
        result = draft(frame, decoded, conditioning=not seen or self.policy.corrections_condition)
        logits = self._cleaned(self._closer(frame, cue, decoded))
        if prompt.mask is not None and prompt.mask.any() and not (logits > 0).any():
            warnings.warn(
                f"the mask given on frame {frame} is lost: its {int(prompt.mask.sum())} pixels are too few for a model "
                f"that sees {self.size.width} x {self.size.height} at {self.model.config.image_size}; load it with a "
                "larger image_size, prompt with a box, or cut out the part of the picture around it",
                MaskletWarning,
                stacklevel=6,  # whoever called `add`
            )
        return replace(result, logits=logits)

    @torch.no_grad()
    def _answer_again(self, track: Track) -> None:
        """Decode what waits to be committed once more: the answers may owe something to what was just forgotten."""
        for frame in sorted(track.drafts):
            track.drafts[frame] = self._answer(track, frame, track.prompts[frame], track.history.get(frame))

    def _closer(self, frame: int, cue: Cue, decoded: Decoded) -> Tensor:
        """The answer to a prompt, logits [1 1 4h 4w], as it is seen from close by where that is wanted."""
        policy, model = self.policy, self.model
        wanted = model.config.close_look if policy.close_look is None else policy.close_look
        if not wanted or cue.mask is not None or decoded.presence <= 0:
            return decoded.logits
        answer, fallback = (decoded.logits, decoded.iou), policy.stability_fallback
        near = look_closer(model, self.frames[frame], cue.points, *answer, stability_fallback=fallback)
        return near.low_res(decoded.logits, near.on_picture(near.logits, self.size, self._guide(frame)))

    @property
    def _recent(self) -> int:
        return self.policy.recent_memories or self.model.config.recent_memories

    def _conditioned(self, track: Track, frame: int, features: ImageFeatures) -> Tensor:
        """A frame that no pass has been over recalls nothing, even where memories exist."""
        if frame not in track.visited or not track.history:
            return condition_frame(self.model, features)
        plan = track.recall_plan(frame, self._length, track.visited[frame], self.policy, self._recent)
        if not plan.maps:
            return condition_frame(self.model, features)
        if track.conditioned is None or track.conditioned[:2] != (frame, plan):
            track.conditioned = (frame, plan, condition_frame(self.model, features, [(track.history, plan)]))
        return track.conditioned[2]

    def _cue(self, prompt: Prompt, earlier: FrameResult | None) -> Cue:
        image_size, device = self.model.config.image_size, self.model.device
        if prompt.mask is not None:
            return Cue(mask=to_model_mask(prompt.mask, image_size, device))
        points = to_model_points(prompt.points, prompt.labels, prompt.box, self.size, image_size, device)
        logits = None if earlier is None or earlier.logits is None else earlier.logits.to(device)
        return Cue(points=points, earlier_logits=logits)

    def _cleaned(self, logits: Tensor) -> Tensor:
        holes, specks = self.policy.fill_hole_area, self.policy.remove_speck_area
        fill = HOLE_FILL if self._has_guided_edges else OFFICIAL_FILL  # guided edges open again what is faintly filled
        return fill_holes_and_specks(logits, hole_area=holes, speck_area=specks, fill=fill)

    def _frame_masks(self, frame: int, results: dict[int, FrameResult]) -> FrameMasks:
        device = self.model.device
        if not results:
            return FrameMasks(frame, (), torch.zeros(0, *self.size, device=device), torch.zeros(0, device=device))
        low_res = torch.cat([_mask_of(result).to(device) for result in results.values()])
        presence = torch.cat([result.presence.to(device) for result in results.values()])[:, 0]
        guide = self._guide(frame)
        logits = at_full_size(low_res, self.size, guide)[:, 0]
        if guide is not None:
            logits.masked_fill_((presence <= 0)[:, None, None], ABSENT_LOGIT)  # which no guide knows of
        if self.policy.non_overlapping:
            logits = non_overlapping(logits)
        return FrameMasks(frame, tuple(results), logits, presence.float())

    def _guide(self, frame: int) -> NDArray[np.uint8] | None:
        """The frame, where edges are to follow it."""
        return self.frames[frame] if self._has_guided_edges else None

    @property
    def _has_guided_edges(self) -> bool:
        return self.model.config.guided_edges if self.policy.guided_edges is None else self.policy.guided_edges

    def _features(self, frame: int) -> ImageFeatures:
        """The frame as the network sees it, encoded once while it is in the cache."""
        if frame not in self.features:
            pixels = frame_pixels(self.frames[frame], self.model.config.image_size, self.model.device)
            self.features[frame] = encode_to_predict(self.model, pixels)
            if len(self.features) > MAX_CACHED_FEATURES:
                self.features.popitem(last=False)
        self.features.move_to_end(frame)
        return self.features[frame]

    def _is_active(self, track: Track, frame: int, reverse: bool, before_first_prompt: bool) -> bool:
        conditioning = track.conditioning
        if not conditioning:
            return False
        if before_first_prompt:
            return frame < conditioning[0]
        if not self.policy.start_at_own_prompt:
            return True
        return frame <= conditioning[-1] if reverse else frame >= conditioning[0]

    def _prompted_range(self) -> tuple[int, int]:
        """The first and the last conditioning frame of any object."""
        frames = [frame for track in self.tracks.values() for frame in track.conditioning]
        if not frames:
            raise PromptError("nothing to propagate: add a point, box or mask to some frame first")
        return min(frames), max(frames)

    @property
    def _storage(self) -> torch.device:
        return torch.device("cpu") if self.policy.offload else self.model.device

    def _track(self, object_id: int) -> Track:
        if object_id not in self.tracks:
            raise PromptError(f"no object {object_id}; there are {list(self.tracks) or 'none yet'}")
        return self.tracks[object_id]

    def _exists(self, frame: int) -> bool:
        """Whether the clip has this frame; decodes it where only trying tells."""
        count = self.num_frames
        if count is not None:
            return frame < count
        try:
            self.frames[frame]
        except IndexError:
            return False
        return True

    def check_frame(self, frame: int) -> None:
        """Raise `PromptError` where the clip has no such frame."""
        if frame < 0 or not self._exists(frame):
            there_are = "" if self.num_frames is None else f": the clip has frames 0 to {self.num_frames - 1}"
            raise PromptError(f"no frame {frame}{there_are}")

    def _check_window(self, frame: int) -> None:
        """A window holds what the frames to come need; it cannot go back, nor far ahead in what passes but once."""
        if self.keep == "window" and self._last is not None:
            last, reverse = self._last
            if frame > last if reverse else frame < last:
                raise PromptError(f"frame {frame} has passed (frame {last} was tracked); open the clip with keep='all'")
        if self.frames.held is None:
            return
        prompted = (number for track in self.tracks.values() for number in track.prompts)
        waiting = min(prompted, default=frame) if self._last is None else self._last[0]
        if frame - waiting >= self.frames.held:
            raise PromptError(
                f"frame {frame} is too far ahead of frame {waiting}, where tracking is: of frames that pass but once "
                f"{self.frames.held} of this size are held; prompt it later, or keep all (keep='all' for an iterable "
                "itself, revisit=True where it is opened)"
            )

    def _next_in_window(self) -> int:
        """Where a window goes on: on the frame it stopped at if that was prompted since, otherwise on the next."""
        assert self._last is not None, "a window that has not begun starts anywhere"
        last, reverse = self._last
        if any(last in track.drafts for track in self.tracks.values()):
            return last
        return last - 1 if reverse else last + 1

    def _check_order(self, frame: int, reverse: bool) -> None:
        if self.keep == "window" and self._last is not None:
            last, way = self._last
            if way != reverse or frame not in (last, last + (-1 if reverse else 1)):
                raise PromptError(
                    f"a window goes on from where it stopped, in one direction; after frame {last}, "
                    f"frame {frame} needs keep='all'"
                )


def _mask_of(result: FrameResult) -> Tensor:
    assert result.logits is not None, f"the mask of frame {result.frame} was let go"
    return result.logits
