"""The official video predictor's methods over a `VideoSession`.

Differences from masklet's own API are the official package's: corrections on tracked frames are overwritten by the next
pass unless `add_all_frames_to_correct_as_cond` is set, and every object is tracked over every frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from masklet.errors import InputError, PromptError, TooEarly
from masklet.model.compiled import compile_model
from masklet.model.network import ABSENT_LOGIT, Network
from masklet.ops.coordinates import BOTTOM_RIGHT, PAD, TOP_LEFT
from masklet.ops.overlap import non_overlapping
from masklet.ops.resize import resize_bilinear
from masklet.predict.video import VideoSession
from masklet.sam2.build_sam import SAM2Base, build_sam2_video_predictor_hf, load_network
from masklet.sam2.clips import official_clip
from masklet.sam2.overrides import OfficialOptions
from masklet.tracking.policy import OFFICIAL, TrackingPolicy
from masklet.types import FrameMasks, Prompt, Size, off_device, prompt_numbers

Answer = tuple[int, list[int], Tensor]
"""Frame number, ids of all objects, and their logits [n 1 H W] at the video's size."""


class InferenceState(Mapping[str, Any]):
    """What `init_state` returns: a session, which answers to the official names that scripts read."""

    def __init__(self, session: VideoSession, device: torch.device, offload_state_to_cpu: bool) -> None:
        self.session = session
        self.device = device
        self.storage_device = torch.device("cpu") if offload_state_to_cpu else device

    @property
    def object_ids(self) -> list[int]:
        """All objects, in the order they were first prompted."""
        return list(self.session.object_ids)

    def __getitem__(self, key: str) -> Any:
        if key not in _STATE_ITEMS:
            raise KeyError(f"{key!r}: an inference state has {', '.join(_STATE_ITEMS)}; all else is in its `session`")
        return _STATE_ITEMS[key](self)

    def __iter__(self) -> Iterator[str]:
        return iter(_STATE_ITEMS)

    def __len__(self) -> int:
        return len(_STATE_ITEMS)


_STATE_ITEMS: dict[str, Callable[[InferenceState], Any]] = {
    "num_frames": lambda state: state.session.num_frames,
    "video_height": lambda state: state.session.size.height,
    "video_width": lambda state: state.session.size.width,
    "obj_ids": lambda state: state.object_ids,
    "device": lambda state: state.device,
    "storage_device": lambda state: state.storage_device,
}


class SAM2VideoPredictor(SAM2Base):
    """Prompts and propagation by the official names.

    sam_model: a network from `masklet.load`, or a name it takes; options: what the official builder's overrides set,
    as attributes that may be changed at any time (`predictor.fill_hole_area = 0`).
    """

    def __init__(self, sam_model: Network | str, options: OfficialOptions | None = None) -> None:
        options = options or OfficialOptions.from_overrides((), apply_postprocessing=True)
        super().__init__(load_network(sam_model), options)
        self.fill_hole_area = options.fill_hole_area
        self.non_overlap_masks = options.non_overlap_masks
        self.add_all_frames_to_correct_as_cond = options.add_all_frames_to_correct_as_cond
        self.binarize_mask_from_pts_for_mem_enc = options.binarize_mask_from_pts_for_mem_enc
        self.memory_temporal_stride_for_eval = options.memory_temporal_stride_for_eval
        self.max_cond_frames_in_attn = options.max_cond_frames_in_attn

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2VideoPredictor:
        """The predictor of a hub repository such as "facebook/sam2.1-hiera-tiny", or of one of our model names."""
        return build_sam2_video_predictor_hf(model_id, **kwargs)

    def init_state(
        self,
        video_path: str | PathLike[str] | bytes | Sequence[Any] | NDArray[np.uint8],
        offload_video_to_cpu: bool = False,
        offload_state_to_cpu: bool = False,
        async_loading_frames: bool = False,
    ) -> InferenceState:
        """Open a clip: a folder, of whose pictures only the JPEG files count if there are any; a video file or the
        bytes of one; or anything else `masklet.VideoSession` opens.

        Frames are decoded when they are needed and never all held, so that `offload_video_to_cpu` and
        `async_loading_frames` have nothing left to do; `offload_state_to_cpu` keeps memories in main memory.
        """
        session = VideoSession(self, official_clip(video_path), policy=self._policy(offload_state_to_cpu))
        return InferenceState(session, self.device, offload_state_to_cpu)

    def add_new_points_or_box(
        self,
        inference_state: InferenceState,
        frame_idx: int,
        obj_id: int,
        points: ArrayLike | Tensor | None = None,
        labels: ArrayLike | Tensor | None = None,
        clear_old_points: bool = True,
        normalize_coords: bool = True,
        box: ArrayLike | Tensor | None = None,
    ) -> Answer:
        """Prompt an object on a frame and return the masks there.

        points: [n 2] or [1 n 2] x, y; labels: [n] or [1 n]; box: x0, y0, x1, y1; all in video pixels, or as fractions
        of the video's size where `normalize_coords` is off. `clear_old_points` forgets the frame's earlier points, but
        not their mask, which is fed back either way.
        """
        session = self._session(inference_state)
        if (points is None) != (labels is None):
            raise PromptError("points and labels come together")
        if box is not None and not clear_old_points:
            raise PromptError("a box comes before any point: give it with clear_old_points=True")
        prompt = _point_prompt(points, labels, box)
        if not normalize_coords:
            prompt = _scaled(prompt, *session.size)
        masks = session.prompt(obj_id, frame_idx, prompt, replace=clear_old_points)
        return self._answer(inference_state, masks)

    def add_new_points(self, *args: Any, **kwargs: Any) -> Answer:
        """The older name of `add_new_points_or_box`."""
        return self.add_new_points_or_box(*args, **kwargs)

    def add_new_mask(
        self, inference_state: InferenceState, frame_idx: int, obj_id: int, mask: ArrayLike | Tensor
    ) -> Answer:
        """Give an object's mask on a frame, [h w] of any size, and return the masks there.

        Of an array all that is not 0 belongs to the object, of a tensor what is 0.5 or more. A mask without the video's
        proportions, such as a square one from the model, is stretched over it.
        """
        session = self._session(inference_state)
        masks = session.prompt(obj_id, frame_idx, _mask_prompt(mask, session.size), replace=True)
        return self._answer(inference_state, masks)

    def propagate_in_video_preflight(self, inference_state: InferenceState) -> None:
        """Settle the prompts given so far. Raises `TooEarly` where an object, or all, have none."""
        session = self._session(inference_state)
        session.settle()
        bare = [object_id for object_id, track in session.tracks.items() if not track.conditioning]
        if bare or not session.tracks:
            whom = f"object {bare[0]}" if bare else "any object"
            raise TooEarly(f"nothing to propagate for {whom}: add a point, box or mask to some frame first")

    def propagate_in_video(
        self,
        inference_state: InferenceState,
        start_frame_idx: int | None = None,
        max_frame_num_to_track: int | None = None,
        reverse: bool = False,
    ) -> Iterator[Answer]:
        """Track all objects from a frame on, yielding each frame's masks as they are done.

        start_frame_idx: None for the earliest prompt's, past the end for nothing; max_frame_num_to_track: frames
        *after* the first, so that n yields n + 1; reverse: towards frame 0 (from frame 0 nothing is yielded).
        """
        self.propagate_in_video_preflight(inference_state)
        session = self._session(inference_state)
        start = start_frame_idx
        if start is None:
            start = min(frame for track in session.tracks.values() for frame in track.conditioning)
        length = session.num_frames
        if (reverse and start == 0) or (length is not None and start >= length):
            return
        count = None if max_frame_num_to_track is None else max_frame_num_to_track + 1
        for masks in session.propagate(start, count, direction="backward" if reverse else "forward"):
            yield self._answer(inference_state, masks)

    def clear_all_prompts_in_frame(
        self, inference_state: InferenceState, frame_idx: int, obj_id: int, need_output: bool = True
    ) -> Answer | None:
        """Take back an object's prompts on a frame, which becomes an ordinary frame; return the masks left there. Of an
        object that was never prompted there are none."""
        session = self._session(inference_state)
        known = obj_id in session.tracks
        masks = session.clear(obj_id, frame_idx) if known else session.preview(frame_idx)
        return self._answer(inference_state, masks) if need_output else None

    def remove_object(
        self, inference_state: InferenceState, obj_id: int, strict: bool = False, need_output: bool = True
    ) -> tuple[list[int], list[tuple[int, Tensor]]]:
        """Forget an object. Returns the ids left, and the masks left on the frames where it had been prompted.

        Raises `TooEarly` for an unknown object where `strict`.
        """
        session = self._session(inference_state)
        if obj_id not in session.tracks:
            if strict:
                raise TooEarly(f"there is no object {obj_id!r} to remove; there are {inference_state.object_ids}")
            return inference_state.object_ids, []
        frames = list(session.tracks[obj_id].prompts)
        session.remove(obj_id)
        updated = []
        if need_output and session.tracks:
            updated = [(frame, self._answer(inference_state, session.preview(frame))[2]) for frame in frames]
        return inference_state.object_ids, updated

    def reset_state(self, inference_state: InferenceState) -> None:
        """Forget all objects."""
        inference_state.session.reset()

    def _apply_non_overlapping_constraints(self, pred_masks: Tensor) -> Tensor:
        """Leave each pixel to the object with the highest logit, [n 1 H W]; official tools call it by this name."""
        return non_overlapping(pred_masks)

    def _session(self, inference_state: InferenceState) -> VideoSession:
        """The state's session, following the options as they are now. Raises `InputError` for another predictor's."""
        if not isinstance(inference_state, InferenceState):
            raise InputError(f"an inference state is what init_state gives, not {type(inference_state).__name__}")
        if inference_state.session.model is not self:
            raise InputError("this inference state is another predictor's; make one with this predictor's init_state")
        inference_state.session.policy = self._policy(inference_state.session.policy.offload)
        return inference_state.session

    def _policy(self, offload: bool) -> TrackingPolicy:
        return replace(
            OFFICIAL,
            corrections_condition=self.add_all_frames_to_correct_as_cond,
            fill_hole_area=int(self.fill_hole_area),
            binarise_prompted=self.binarize_mask_from_pts_for_mem_enc,
            stability_fallback=self.stability_fallback,
            memory_stride=self.memory_temporal_stride_for_eval,
            max_conditioning=None if self.max_cond_frames_in_attn == -1 else self.max_cond_frames_in_attn,
            non_overlapping=self.non_overlap_masks,
            offload=offload,
        )

    def _answer(self, inference_state: InferenceState, masks: FrameMasks) -> Answer:
        """Masks of all objects, those without any on the frame absent all over, as the official code returns them."""
        object_ids = inference_state.object_ids
        logits = masks.logits.new_full((len(object_ids), 1, *masks.logits.shape[-2:]), ABSENT_LOGIT)
        for object_id, mask in zip(masks.object_ids, masks.logits, strict=True):
            logits[object_ids.index(object_id), 0] = mask
        return masks.frame, object_ids, logits


class SAM2VideoPredictorVOS(SAM2VideoPredictor):
    """What `vos_optimized` builds: a predictor whose per-frame path is compiled. Raises `DeviceError` where there is no
    C++ compiler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        compile_model(self)


def _point_prompt(points: Any, labels: Any, box: Any) -> Prompt:
    """A prompt from official arguments: with or without a batch of one, a box perhaps hidden among the labels."""
    xy = np.zeros((0, 2), np.float32) if points is None else prompt_numbers("points", points)
    signs = np.zeros(0, np.int32) if labels is None else np.asarray(off_device(labels))
    if xy.ndim == 3 and len(xy) == 1:
        xy = xy[0]
    if signs.ndim == 2 and len(signs) == 1:
        signs = signs[0]
    if box is not None:
        box = prompt_numbers("box", box).reshape(-1)
    corners = [np.flatnonzero(signs == corner) for corner in (TOP_LEFT, BOTTOM_RIGHT)]
    if box is None and len(xy) == len(signs) and all(len(found) == 1 for found in corners):
        box = np.concatenate([xy[found[0]] for found in corners])
        inside = np.isin(signs, (TOP_LEFT, BOTTOM_RIGHT), invert=True)
        xy, signs = xy[inside], signs[inside]
    if len(xy) == len(signs):
        xy, signs = xy[signs != PAD], signs[signs != PAD]
    return Prompt.of(xy, signs, box)


def _mask_prompt(mask: Any, size: Size) -> Prompt:
    """A prompt from an official mask, stretched over a video of `size` if it has other proportions."""
    prompt = Prompt.of(mask=mask >= 0.5 if isinstance(mask, Tensor) else np.asarray(mask) != 0)
    if prompt.has_proportions(size):
        return prompt
    maps = torch.from_numpy(prompt.mask)[None, None].float()
    stretched = resize_bilinear(maps, *size, antialias=True)
    return Prompt.of(mask=stretched[0, 0] >= 0.5)


def _scaled(prompt: Prompt, height: int, width: int) -> Prompt:
    """A prompt in fractions of the picture as one in pixels."""
    scale = np.array([width, height], np.float32)
    box = None if prompt.box is None else prompt.box * np.tile(scale, 2)
    return Prompt(prompt.points * scale, prompt.labels, box)
