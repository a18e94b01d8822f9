"""What may differ between ways of tracking, in one frozen place."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from masklet.errors import InputError
from masklet.tracking.memory import NUM_RECENT


@dataclass(frozen=True)
class TrackingPolicy:
    """How a clip is tracked.

    corrections_condition: a prompt on a frame already tracked makes it a conditioning frame, so that the correction
    holds (officially `add_all_frames_to_correct_as_cond`, off by default there).
    start_at_own_prompt: each object is tracked from its own first prompt on, so that it never depends on its company;
    off, all start at the earliest prompt of any.
    cleared_stay_tracked: a frame whose prompts are taken back stays remembered as a tracked one; off, it is forgotten
    with all that was tracked since it was prompted, which may have been another thing.
    fill_hole_area, remove_speck_area: pixels, at a quarter of the model's size, up to which holes are filled and specks
    removed; 0 for neither.
    binarise_prompted: the mask of a prompted frame is remembered as certain.
    stability_fallback: an unstable single mask is replaced by the best of three; None for what suits the model.
    close_look: the answer to points or a box is decoded again on the part of the frame around it; None for what suits
    the model.
    guided_edges: masks are brought to the frame's size along its own edges; None for what suits the model.
    recent_memories: of how many frames before the present one the whole memory is recalled, 1 to 6; None for what suits
    the model.
    memory_stride: frames between the recalled memories but for the nearest.
    max_conditioning: of an object's prompted frames, only so many of the nearest are recalled, at least 2; a window or
    a stream keeps no more of them, so that memory stays bounded however often an object is corrected. None for all.
    non_overlapping: where masks of a frame overlap, the highest logit takes the pixel. On a frame on which one of the
    objects is prompted, its logits may be lower than those of the others: much of what overlaps is then theirs.
    offload: keep what is remembered in main memory rather than on the model's device.
    """

    corrections_condition: bool = True
    start_at_own_prompt: bool = True
    cleared_stay_tracked: bool = False
    fill_hole_area: int = 8
    remove_speck_area: int = 0
    binarise_prompted: bool = True
    stability_fallback: bool | None = None
    close_look: bool | None = None
    guided_edges: bool | None = None
    recent_memories: int | None = None
    memory_stride: int = 1
    max_conditioning: int | None = None
    non_overlapping: bool = False
    offload: bool = False

    def __post_init__(self) -> None:
        if self.memory_stride < 1:
            raise InputError(f"memory_stride must be at least 1, not {self.memory_stride}")
        if self.recent_memories is not None and not 1 <= self.recent_memories <= NUM_RECENT:
            raise InputError(f"recent_memories lies in 1 to {NUM_RECENT}, not {self.recent_memories}")
        if self.max_conditioning is not None and self.max_conditioning < 2:
            raise InputError(
                f"max_conditioning must be at least 2, one frame before and one after, not {self.max_conditioning}"
            )
        if self.fill_hole_area < 0 or self.remove_speck_area < 0:
            raise InputError("fill_hole_area and remove_speck_area must be 0 or more pixels")


DEFAULT = TrackingPolicy()
"""Our own way."""

OFFICIAL = TrackingPolicy(corrections_condition=False, start_at_own_prompt=False, cleared_stay_tracked=True)
"""What `sam2.build_sam.build_sam2_video_predictor` does by default."""


def expect_policy(policy: object) -> None:
    """Raise `InputError` for anything else than a policy."""
    if not isinstance(policy, TrackingPolicy):
        raise InputError(f"policy is a masklet.TrackingPolicy, not {policy!r}")


def unusual(policy: TrackingPolicy) -> dict[str, Any]:
    """What of a policy differs from `DEFAULT`, by name."""
    return {name: value for name, value in asdict(policy).items() if value != getattr(DEFAULT, name)}
