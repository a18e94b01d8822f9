"""Carry out a script of prompts and passes with any predictor that has the official methods.

Knows neither package, so that the same lines drive the official one in its own environment (see `benchmarks/`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from parity import scenes

MASK_STEP = 8
"""Full-size masks are sampled every so many pixels in both directions."""


def carry_out(predictor: Any, state: Any, script: Sequence[dict[str, Any]], answers: dict[str, NDArray[Any]]) -> None:
    """Fill `answers`, keyed as in the goldens: `s{step}_ids`, `_masks`, `_order`, and `s{step}_f{frame}_...`."""

    def keep(key: str, ids: Any, masks: Any) -> None:
        answers[f"{key}_ids"] = np.array(ids)
        answers[f"{key}_masks"] = masks[:, 0, ::MASK_STEP, ::MASK_STEP].numpy().copy()

    for number, step in enumerate(script):
        if step["op"] == "propagate":
            order = []
            for frame, ids, masks in predictor.propagate_in_video(
                state, step.get("start"), step.get("max_frames"), step.get("reverse", False)
            ):
                order.append(frame)
                keep(f"s{number}_f{frame}", ids, masks)
            answers[f"s{number}_order"] = np.array(order)
        elif step["op"] == "remove":
            answers[f"s{number}_ids"] = np.array(predictor.remove_object(state, step["obj"])[0])
        elif step["op"] == "reset":
            predictor.reset_state(state)
        else:
            _, ids, masks = _prompt(predictor, state, step)
            keep(f"s{number}", ids, masks)


def _prompt(predictor: Any, state: Any, step: dict[str, Any]) -> tuple[int, Any, Any]:
    place = {"frame_idx": step["frame"], "obj_id": step["obj"]}
    if step["op"] == "clear":
        return predictor.clear_all_prompts_in_frame(state, **place)
    if step["op"] == "mask":
        mask = scenes.disc_mask(state["video_height"], state["video_width"], step["phase"])
        return predictor.add_new_mask(state, **place, mask=mask)
    prompt: dict[str, Any] = {
        key: np.array(step[key], np.float32) for key in ("points", "labels", "box") if key in step
    }
    if "clear_old_points" in step:
        prompt["clear_old_points"] = step["clear_old_points"]
    return predictor.add_new_points_or_box(state, **place, **prompt)
