"""Cut-outs to put into synthetic scenes: colour with an opacity, from photographs with masks or from drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import cv2
import numpy as np

from masklet.data.clips import Clip, ClipDataset
from masklet.data.prompts import tight_box
from masklet.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST_SHARE = 0.01
"""Objects below this share of their picture are too coarse to enlarge."""

MARGIN = 2
"""Clear pixels around a cut-out, so that warping it never smears its edge over the scene."""


ENOUGH_DRAWS, MAX_DRAWS = 3, 20
"""Pictures looked at before an object that is cut off will do, and before a picture without objects will."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """colour: uint8 RGB [h w 3]; alpha: uint8 [h w], 255 inside, clear for `MARGIN` pixels all around."""

    colour: NDArray[np.uint8]
    alpha: NDArray[np.uint8]

    @property
    def longest_side(self) -> int:
        return max(self.alpha.shape)

    def shrunk(self, side: float) -> Sprite:
        """The sprite at no more than `side` pixels, if that is clearly smaller than it is."""
        scale = side / self.longest_side
        if scale > 0.8:
            return self
        height, width = (max(3, round(length * scale)) for length in self.alpha.shape)
        inside = (self.alpha > 127).astype(np.uint8) * 255
        alone = cv2.bitwise_and(self.colour, cv2.merge([inside] * 3))
        colour, alone, alpha, share = (
            np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
            for part in (self.colour, alone, self.alpha, inside)
        )
        # The edge is a mean of the object's pixels, not of those around it as well.
        seen = share > 0
        colour[seen] = np.minimum(alone[seen] * (255 / share[seen, None]), 255).astype(np.uint8)
        return _with_margin(colour, alpha, (MARGIN,) * 4)  # the one it had shrank as well


class SpriteSource(Protocol):
    """Anything that draws sprites at random. Must be picklable."""

    def sprite(self, generator: np.random.Generator) -> Sprite:
        """One sprite; all chance comes from `generator`."""
        ...


@runtime_checkable
class MovingSource(Protocol):
    """Anything that draws things with a movement of their own at random. Must be picklable."""

    def poses(self, generator: np.random.Generator, num_frames: int) -> list[Sprite]:
        """One thing in `num_frames` poses of one size; all chance comes from `generator`."""
        ...


class CutOuts:
    """Objects cut out of still pictures with masks.

    max_border: of an object's outline box, the share that may lie on the picture's edge, where the object is cut off.
    """

    def __init__(self, stills: ClipDataset, *, max_border: float = 0.35) -> None:
        self.stills = stills
        self.max_border = max_border

    def sprite(self, generator: np.random.Generator) -> Sprite:
        """A random object of a random picture; one that is cut off where a few pictures hold no other.

        Where no picture seems to hold any object, a picture is taken whole.
        """
        cut_off: Sprite | None = None
        for attempt in range(MAX_DRAWS):
            clip = draw_still(self.stills, generator)
            for object_id in generator.permutation(large_objects(clip))[:2]:
                sprite = cut_out(clip, int(object_id))
                if _border_share(clip.masks[0] == object_id) <= self.max_border:
                    return sprite
                cut_off = sprite
            if cut_off is not None and attempt + 1 >= ENOUGH_DRAWS:
                return cut_off
        return Sprite(clip.frames[0].copy(), clear_margin(np.full(clip.size, 255, np.uint8)))


class Actors:
    """Objects cut out of annotated clips with their own movement: legs that walk, a wheel that turns, a body that turns
    its side."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def poses(self, generator: np.random.Generator, num_frames: int) -> list[Sprite]:
        """A random object of a random clip in `num_frames` successive frames; clear where it is out of sight.

        Raises `InputError` where many draws show no object on the first frame.
        """
        for _ in range(MAX_DRAWS):
            clip = self.clips.clip(int(generator.integers(len(self.clips))), generator, num_frames)
            objects = large_objects(clip)
            if len(objects):
                return cut_out_poses(clip, int(generator.choice(objects)))
        raise InputError(
            f"{clip.name} shows no object on its first frame, like all of {MAX_DRAWS} draws from this data set"
        )


def large_objects(clip: Clip) -> NDArray[np.intp]:
    """The objects that are large enough in a still to be enlarged, or else the largest one, if there is any."""
    areas = np.bincount(clip.masks[0].ravel())
    areas[0] = 0
    return np.flatnonzero(areas >= max(1, min(LEAST_SHARE * clip.masks[0].size, areas.max())))


def cut_out(clip: Clip, object_id: int) -> Sprite:
    """Object `object_id` of a still, with its surroundings of a few pixels in clear."""
    return cut_out_poses(clip, object_id)[0]


def cut_out_poses(clip: Clip, object_id: int) -> list[Sprite]:
    """Object `object_id` on every frame of a clip, by a box of one size; clear on frames that do not show it.

    The box follows the object's steady movement across the picture, which is the scene's to give it, and no other.
    """
    masks = clip.masks == object_id
    steps = _steady_movement(masks)
    boxes = np.stack([tight_box(mask) - np.tile(step, 2) for mask, step in zip(masks, steps) if mask.any()]).astype(int)
    corner, size = boxes[:, :2].min(0), boxes[:, 2:].max(0) - boxes[:, :2].min(0)
    return [_cut(frame, mask, corner + step, size) for frame, mask, step in zip(clip.frames, masks, steps)]


def _cut(
    frame: NDArray[np.uint8], mask: NDArray[np.bool_], corner: NDArray[np.int64], size: NDArray[np.int64]
) -> Sprite:
    """What `mask` [H W] shows in a box with its upper left `corner` x, y, part of which may lie beyond the picture."""
    limits = np.array(mask.shape[::-1])
    low, high = np.maximum(corner, 0), np.minimum(corner + size, limits)
    window = (slice(low[1], high[1]), slice(low[0], high[0]))
    left, top = (int(length) for length in MARGIN + low - corner)
    right, bottom = (int(length) for length in MARGIN + corner + size - high)
    return _with_margin(frame[window], mask[window].astype(np.uint8) * 255, (top, bottom, left, right))


def _with_margin(colour: NDArray[Any], alpha: NDArray[Any], sides: tuple[int, int, int, int]) -> Sprite:
    """A sprite of colours and opacities with so many clear pixels around them."""
    return Sprite(
        np.asarray(cv2.copyMakeBorder(colour, *sides, cv2.BORDER_REPLICATE), np.uint8),
        np.asarray(cv2.copyMakeBorder(alpha, *sides, cv2.BORDER_CONSTANT, value=0), np.uint8),
    )


def _steady_movement(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """How far x, y the object of `masks` [t H W] has come if it went evenly: [t 2] whole pixels, 0 while unseen."""
    steps = np.zeros((len(masks), 2), np.int64)
    shown = np.flatnonzero(masks.any((1, 2)))
    if len(shown) > 1:
        centres = np.stack([tight_box(masks[k]).reshape(2, 2).mean(0) for k in shown])
        steps[shown] = np.rint((shown - shown[0])[:, None] * np.polyfit(shown, centres, 1)[0])
    return steps


def clear_margin(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`alpha` [h w] with its outermost pixels cleared in place, so that warping never smears them over the scene."""
    alpha[:MARGIN] = alpha[-MARGIN:] = 0
    alpha[:, :MARGIN] = alpha[:, -MARGIN:] = 0
    return alpha


def continue_colours(colour: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Outside the object (`alpha` low) colours become a blur of those inside: no old background shows at the edge.

    Farther than the blur reaches they stay as they are.
    """
    inside = (alpha > 127).astype(np.uint8) * 255
    spread = cv2.GaussianBlur(cv2.bitwise_and(colour, cv2.merge([inside] * 3)), (9, 9), 2)
    total = cv2.GaussianBlur(inside, (9, 9), 2)
    reached = (total > 8) & (inside == 0)
    result = colour.copy()
    result[reached] = np.minimum(spread[reached] * (255 / total[reached, None]), 255).astype(np.uint8)
    return result


def shares_of(weights: Sequence[float], whose: str) -> NDArray[np.float64]:
    """The weights of sources as probabilities. Raises `InputError` where none is above 0."""
    total = sum(weights)
    if not total:
        raise InputError(f"{whose} need at least one source of sprites with a weight above 0")
    return np.array(weights, np.float64) / total


def draw_still(stills: ClipDataset, generator: np.random.Generator) -> Clip:
    """A random picture of a dataset."""
    return stills.clip(int(generator.integers(len(stills))), generator, 1)


def _border_share(mask: NDArray[np.bool_]) -> float:
    x0, y0, x1, y1 = tight_box(mask)
    on_edge = float(mask[0].sum() + mask[-1].sum() + mask[:, 0].sum() + mask[:, -1].sum())
    return on_edge / float(2 * (x1 - x0 + y1 - y0))
