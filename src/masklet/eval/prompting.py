"""The prompts that the benchmarks give an object on one frame, as a simulated annotator would."""

from __future__ import annotations

from typing import TYPE_CHECKING

from masklet.data.prompts import deeper_error_click, deepest_point, tight_box
from masklet.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from masklet.predict.video import VideoSession

PROMPTS = {"mask": 0, "box": 0, "1-click": 1, "3-click": 3, "5-click": 5}
"""The prompts of the paper's semi-supervised table, with how many clicks each has."""


def check_prompt(prompt: str) -> None:
    """Raise `InputError` for a prompt that is not among `PROMPTS`."""
    if prompt not in PROMPTS:
        raise InputError(f"unknown prompt {prompt!r}; there are {', '.join(PROMPTS)}")


def prompt_object(session: VideoSession, object_id: int, frame: int, truth: NDArray[np.bool_], prompt: str) -> None:
    """Prompt an object on a frame from its true mask [H, W] there: the mask, its box, or clicks one after the other."""
    if prompt == "mask":
        session.add(object_id, frame, mask=truth)
    elif prompt == "box":
        session.add(object_id, frame, box=tight_box(truth))
    else:
        click_object(session, object_id, frame, truth, PROMPTS[prompt])


def click_object(session: VideoSession, object_id: int, frame: int, truth: NDArray[np.bool_], num_clicks: int) -> None:
    """Click an object for the first time: where it is deepest, then where the error of the mask shown is deepest."""
    shown = session.add(object_id, frame, points=[deepest_point(truth)], labels=[1])
    correct(session, object_id, frame, truth, shown.mask(object_id), num_clicks - 1)


def correct(
    session: VideoSession,
    object_id: int,
    frame: int,
    truth: NDArray[np.bool_],
    shown: NDArray[np.bool_],
    num_clicks: int,
) -> None:
    """Click `num_clicks` times where the error of the mask shown [H, W] is deepest, each time seeing the new one.

    Stops earlier where nothing is wrong.
    """
    for _ in range(num_clicks):
        if (shown == truth).all():
            break
        click = deeper_error_click(truth, shown)
        answer = session.add(object_id, frame, points=[(click.x, click.y)], labels=[click.label])
        shown = answer.mask(object_id)
