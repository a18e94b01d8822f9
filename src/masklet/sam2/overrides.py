"""The official builders' options: what their Hydra overrides (`++model.key=value`) set, as one dataclass.

Source: official `build_sam.py`, `SAM2VideoPredictor.__init__`, `SAM2Base.__init__` and the scripts in `tools/`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from masklet.errors import InputError
from masklet.model.image_encoder import STRIDE
from masklet.model.mask_decoder import STABILITY_DELTA, STABILITY_THRESHOLD
from masklet.model.network import MASK_BIAS, MASK_SCALE, NUM_TEMPORAL_SLOTS
from masklet.tracking.memory import MAX_POINTERS
from masklet.tracking.step import MAX_AMBIGUOUS_POINTS

_OVERRIDE = re.compile(r"(?:\+\+|\+)?model\.(?P<key>[\w.]+)=(?P<value>.*)")
_DECODER = "sam_mask_decoder_extra_args.dynamic_multimask"


@dataclass(frozen=True)
class OfficialOptions:
    """What a script may vary, with the values of the released configuration files.

    image_size: side of the model's square picture, None for the model's own; fill_hole_area: holes of at most so many
    low-resolution pixels are filled; non_overlap_masks: each pixel goes to one object at most;
    add_all_frames_to_correct_as_cond: corrections on tracked frames condition later ones (and are not overwritten);
    binarize_mask_from_pts_for_mem_enc: prompted masks are remembered as certain; memory_temporal_stride_for_eval:
    distance between recalled frames; max_cond_frames_in_attn: so many of the nearest prompted frames are recalled,
    None (-1 in an override) for all; stability_fallback: an unstable single mask gives way to the best of
    three, None for what suits the model, which with the official ones is that it does.
    """

    image_size: int | None = None
    fill_hole_area: int = 0
    non_overlap_masks: bool = False
    add_all_frames_to_correct_as_cond: bool = False
    binarize_mask_from_pts_for_mem_enc: bool = False
    memory_temporal_stride_for_eval: int = 1
    max_cond_frames_in_attn: int | None = None
    stability_fallback: bool | None = False

    @staticmethod
    def from_overrides(overrides: Iterable[str], apply_postprocessing: bool) -> OfficialOptions:
        """The options a builder's arguments mean. Raises `InputError` for an override that is not understood.

        The last override of a key wins, and post-processing comes last: as in the official builder it has its way over
        a script's own `++model.fill_hole_area`.
        """
        options = OfficialOptions()
        for override in overrides:
            options = replace(options, **_parse(override))
        if apply_postprocessing:
            options = replace(
                options, stability_fallback=None, binarize_mask_from_pts_for_mem_enc=True, fill_hole_area=8
            )
        return options


def _parse(override: str) -> dict[str, Any]:
    found = _OVERRIDE.fullmatch(override.strip())
    if not found:
        raise InputError(f"override {override!r} is not of the form ++model.key=value")
    key, value = found["key"], found["value"].strip()
    if key in _FIXED:
        if _number(override, value) != _FIXED[key]:
            if key == "compile_image_encoder":
                raise InputError(f"override {override!r}: build the video predictor with vos_optimized=True instead")
            raise InputError(f"override {override!r}: {key} can only be {_FIXED[key]}, as in every release")
        return {}
    if key not in _OPTIONS:
        known = ", ".join(sorted([*_OPTIONS, *_FIXED]))
        raise InputError(f"override {override!r}: unknown key {key!r}; known are {known}")
    name, convert = _OPTIONS[key]
    return {name: convert(override, value)}


def _switch(override: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InputError(f"override {override!r}: {value!r} should be true or false")
    return value.lower() == "true"


def _count(override: str, value: str) -> int:
    if not value.isdecimal():
        raise InputError(f"override {override!r}: {value!r} should be a whole number of at least 0")
    return int(value)


def _stride(override: str, value: str) -> int:
    if not _count(override, value):
        raise InputError(f"override {override!r}: a stride of at least 1 is needed")
    return int(value)


def _limit(override: str, value: str) -> int | None:
    if value == "-1":
        return None
    if _count(override, value) < 2:
        raise InputError(f"override {override!r}: at least 2 frames, or -1 for all")
    return int(value)


def _number(override: str, value: str) -> float:
    if value.lower() in ("true", "false"):
        return float(value.lower() == "true")
    try:
        return float(value)
    except ValueError:
        raise InputError(f"override {override!r}: {value!r} is not a number") from None


_OPTIONS: dict[str, tuple[str, Callable[[str, str], Any]]] = {
    "image_size": ("image_size", _count),
    "fill_hole_area": ("fill_hole_area", _count),
    "non_overlap_masks": ("non_overlap_masks", _switch),
    "add_all_frames_to_correct_as_cond": ("add_all_frames_to_correct_as_cond", _switch),
    "binarize_mask_from_pts_for_mem_enc": ("binarize_mask_from_pts_for_mem_enc", _switch),
    "memory_temporal_stride_for_eval": ("memory_temporal_stride_for_eval", _stride),
    "max_cond_frames_in_attn": ("max_cond_frames_in_attn", _limit),
    f"{_DECODER}_via_stability": ("stability_fallback", _switch),
}
"""Official key -> our option and how its text is read."""

RELEASED: dict[str, float] = {
    "num_maskmem": NUM_TEMPORAL_SLOTS,
    "max_obj_ptrs_in_encoder": MAX_POINTERS,
    "only_obj_ptrs_in_the_past_for_eval": True,
    "non_overlap_masks_for_mem_enc": False,
    "multimask_output_in_sam": True,
    "multimask_output_for_tracking": True,
    "multimask_min_pt_num": 0,
    "multimask_max_pt_num": MAX_AMBIGUOUS_POINTS,
    "sigmoid_scale_for_mem_enc": MASK_SCALE,
    "sigmoid_bias_for_mem_enc": MASK_BIAS,
    "backbone_stride": STRIDE,
    "clear_non_cond_mem_around_input": False,  # with which the released code stops
}
"""What the official models have as attributes too, and which of their values can be had."""

_FIXED: dict[str, float] = {
    **RELEASED,
    f"{_DECODER}_stability_delta": STABILITY_DELTA,
    f"{_DECODER}_stability_thresh": STABILITY_THRESHOLD,
    # The compiled trunk of official configurations is `vos_optimized` here.
    "compile_image_encoder": 0.0,
}
"""Official keys that scripts write down but nobody varies, and the only value each may have."""
