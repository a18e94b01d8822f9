"""The worst results as pictures: the prediction tinted, the truth's outline in white."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from masklet.eval.scoring import ObjectScores, PredictedMasks
from masklet.io.draw import draw_masks
from masklet.io.images import read_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from masklet.eval.vos import MaskScores

NUM_EXAMPLES = 12
LONGEST_SIDE = 480
JPEG_QUALITY = 80
NO_PICTURE = 60
"""The grey of frames whose picture is not there."""


@dataclass(frozen=True)
class Example:
    """A picture [JPEG] of one result; score: 0 to 1, the lower the worse."""

    caption: str
    score: float
    jpeg: bytes


def worst_of(candidates: Iterable[tuple[float, Any]], limit: int = NUM_EXAMPLES) -> list[tuple[float, Any]]:
    """The `limit` lowest scores with what belongs to them, the lowest first."""
    return sorted(candidates, key=lambda candidate: candidate[0])[:limit]


def worst_frames(measure: MaskScores, results: Mapping[str, dict[str, Any]]) -> list[Example]:
    """Of each object the frame with the lowest J&F, the worst of these first."""
    candidates = []
    for name, result in results.items():
        for record in result["objects"]:
            scores = ObjectScores.from_json(record)
            values = (np.array(scores.j) + scores.f) / 2
            place = int(values.argmin())
            candidates.append((float(values[place]), (name, scores.object_id, scores.frames[place])))
    return [_frame_example(measure, score, *place) for score, place in worst_of(candidates)]


def render(
    picture: NDArray[np.uint8] | None, truth: NDArray[np.bool_], predicted: NDArray[np.bool_], object_id: int
) -> bytes:
    """A JPEG of a picture [H, W, 3], or of grey without one, with both masks [H, W], at most 480 pixels a side."""
    if picture is None:
        picture = np.full((*truth.shape, 3), NO_PICTURE, np.uint8)
    drawn = draw_masks(picture, predicted[None], [object_id])
    outlines = cv2.findContours(truth.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]
    width = max(2, max(truth.shape) // 200)
    cv2.drawContours(drawn, outlines, -1, (0, 0, 0), width + 2, cv2.LINE_AA)
    cv2.drawContours(drawn, outlines, -1, (255, 255, 255), width, cv2.LINE_AA)
    image = Image.fromarray(drawn)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def _frame_example(measure: MaskScores, score: float, name: str, object_id: int, frame: int) -> Example:
    clip = measure.truth.clip(name)
    truth = clip.mask(object_id, frame)
    predicted = PredictedMasks(clip, measure.folder(name), {object_id: {frame}}).mask(object_id, frame, truth)
    picture = read_image(clip.pictures[frame], measure.value_range) if clip.pictures else None
    caption = f"{name}, object {object_id}, frame {clip.names[frame]}"
    return Example(caption, score, render(picture, truth, predicted, object_id))
