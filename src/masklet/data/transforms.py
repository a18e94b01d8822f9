"""Augmentation: one geometry and one colour for a whole clip, with a little colour of its own on each frame.

Pictures and masks go through the same matrix, so they stay aligned to the pixel. All chance comes from the generator
handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.data.clips import Clip, objects_to_prompt
from masklet.data.colours import NO_JITTER, ColourJitter
from masklet.data.ranges import check_counts, check_not_negative, check_probabilities
from masklet.errors import InputError
from masklet.ops.boxes import mask_boxes
from masklet.ops.crops import Crop, crop_between
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

PADDING = (124, 116, 104)
"""Colour outside the picture: ImageNet's mean, which the model sees as zero."""

CLOSE_MARGIN, CLOSE_SHIFT, CLOSE_SIDE = (1.2, 2.2), 0.2, 48
"""A close window's side and its shift off the object's middle, as multiples of the object's longer side; its least
side in pixels."""
CLOSE_CROP = (0.9, 1.1)
"""What takes the place of `crop` on such a window."""

BEYOND_WINDOW = 0.5
"""What is kept around a window while it is varied, as a share of its sides: more than the recipes turn and lean."""

WORTH_AVERAGING = 1.25
"""A picture that shrinks by less is sampled bilinearly as it is, which aliases little."""

GEOMETRY_ATTEMPTS = 4
"""Draws of a crop that shows an object, before the whole picture is taken."""


@dataclass(frozen=True)
class Augmentation:
    """How training clips are varied; calling it gives a clip of square frames.

    size: side of the result in pixels; flip: probability of a mirror image; degrees, shear: the affine map, each up
    to this angle both ways; crop: least and largest share of the picture's sides that is shown (above 1 shows
    padding around it); close: probability that of a still only the surroundings of one object are shown instead, as
    a close look has them; stretch: a crop's aspect may change by up to this factor both ways; clip_colour: one draw
    for all frames; frame_colour: one draw for each; min_area: pixels that some object must show in the first frame,
    or else the geometry is drawn again and in the end left out.
    """

    size: int
    flip: float = 0.5
    degrees: float = 0.0
    shear: float = 0.0
    crop: tuple[float, float] = (1.0, 1.0)
    close: float = 0.0
    stretch: float = 1.0
    clip_colour: ColourJitter = NO_JITTER
    frame_colour: ColourJitter = NO_JITTER
    min_area: int = 16

    def __post_init__(self) -> None:
        check_counts(self, "size")
        if not 0 < self.crop[0] <= self.crop[1]:
            raise InputError(f"crop is a range of shares of the picture, such as (0.5, 1.0); got {self.crop}")
        check_probabilities(self, "flip", "close")
        check_not_negative(self, "degrees", "shear", "min_area")
        if self.stretch < 1:
            raise InputError(f"stretch is a factor of at least 1, not {self.stretch}")

    def __call__(self, clip: Clip, generator: np.random.Generator) -> Clip:
        """`clip` varied, at `size` x `size`. Objects cropped away keep their number and simply do not appear."""
        if self.close and len(clip.frames) == 1 and generator.random() < self.close:
            window = window_on_object(clip, generator)
            warped = replace(self, crop=CLOSE_CROP)._vary_geometry(clip, generator, window)
        else:
            warped = self._vary_geometry(clip, generator)
        frames = self.clip_colour.draw(generator).apply(warped.frames)
        if self.frame_colour.active:
            frames = np.stack([self.frame_colour.draw(generator).apply(frame) for frame in frames])
        return Clip(frames, warped.masks, clip.name)

    def _vary_geometry(self, clip: Clip, generator: np.random.Generator, window: Crop | None = None) -> Clip:
        """Where a turned or shrunk window shows what is beyond it, that is the picture, as far as it goes."""
        seen, size, shift = clip, clip.size, np.eye(3)
        if window is not None:
            size = Size(*window.size)
            low, high = np.array(window[:4]).reshape(2, 2)
            around = crop_between(low - BEYOND_WINDOW * (high - low), high + BEYOND_WINDOW * (high - low), clip.size)
            seen, shift[:2, 2] = _cut(clip, around), low - around[:2]
        for _ in range(GEOMETRY_ATTEMPTS):
            warped = warp_clip(seen, shift @ self.draw_matrix(size, generator), self.size)
            if len(objects_to_prompt(warped, self.min_area)) or not clip.masks[0].any():
                return warped
        return squash(clip if window is None else _cut(clip, window), self.size)

    def draw_matrix(self, size: Size, generator: np.random.Generator) -> NDArray[np.float64]:
        """A random affine map [3 3] from the square result to a picture of `size`, in pixels whose centres are .5.

        The square is the whole picture squashed, as the model sees it. Cropping happens there, turning and leaning in
        the picture's own proportions, as a camera does it.
        """
        share = np.exp(generator.uniform(*np.log(self.crop)))
        aspect = np.exp(generator.uniform(-0.5, 0.5) * np.log(self.stretch))
        sides = np.array([share * aspect, share / aspect])
        slack = 1 - sides
        centre = 0.5 + generator.uniform(-0.5, 0.5, 2) * np.abs(slack)
        angle, lean = np.radians(generator.uniform(-1, 1, 2) * (self.degrees, self.shear))
        if generator.random() < self.flip:
            sides[0] = -sides[0]
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        proportions = np.diag([size.width, size.height])
        tilt = turn @ np.array([[1.0, np.tan(lean)], [0.0, 1.0]])
        linear = np.linalg.inv(proportions) @ tilt @ proportions @ np.diag(sides)
        to_picture = np.diag([size.width, size.height, 1.0])
        in_square = np.eye(3)
        in_square[:2, :2] = linear
        in_square[:2, 2] = centre - linear @ (0.5, 0.5)
        return to_picture @ in_square @ np.diag([1 / self.size, 1 / self.size, 1.0])


def window_on_object(clip: Clip, generator: np.random.Generator) -> Crop | None:
    """A square window around one object of the first frame, cut off at the picture's edge; None if that shows none."""
    areas = np.bincount(clip.masks[0].ravel())[1:]
    numbers = np.flatnonzero(areas) + 1
    if not len(numbers):
        return None
    x0, y0, x1, y1 = mask_boxes(clip.masks[0] == generator.choice(numbers))
    longer = max(x1 - x0, y1 - y0)
    half = max(generator.uniform(*CLOSE_MARGIN) * longer, CLOSE_SIDE) / 2
    middle = np.array([x0 + x1, y0 + y1]) / 2 + generator.uniform(-CLOSE_SHIFT, CLOSE_SHIFT, 2) * longer
    return crop_between(middle - half, middle + half, clip.size)


def _cut(clip: Clip, crop: Crop) -> Clip:
    rows, columns = crop.window
    return Clip(clip.frames[:, rows, columns], clip.masks[:, rows, columns], clip.name)


def warp_clip(clip: Clip, matrix: NDArray[np.float64], size: int) -> Clip:
    """Every frame and mask seen through `matrix`, a map [3 3] from the square result of side `size` to the clip."""
    frames = np.stack([warp_picture(frame, matrix, size) for frame in clip.frames])
    masks = np.stack([warp_mask(mask, matrix, size) for mask in clip.masks])
    return Clip(frames, masks, clip.name)


def squash(clip: Clip, size: int) -> Clip:
    """The whole clip brought to `size` x `size`, its aspect ratio given up, as the model sees it."""
    height, width = clip.size
    return warp_clip(clip, np.diag([width / size, height / size, 1.0]), size)


def warp_picture(picture: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """A picture [H W 3] seen through `matrix` as [size size 3]; `PADDING` outside.

    Across and down by itself it is averaged where it shrinks, as is done for inference: a wide picture shrinks more in
    the one than in the other.
    """
    across, down = (factor if factor > WORTH_AVERAGING else 1.0 for factor in np.hypot(*matrix[:2, :2].T))
    if max(across, down) > 1:
        height, width = picture.shape[:2]
        smaller = Size(max(1, round(height / down)), max(1, round(width / across)))
        picture = np.asarray(
            cv2.resize(picture, (smaller.width, smaller.height), interpolation=cv2.INTER_AREA), np.uint8
        )
        matrix = np.diag([smaller.width / width, smaller.height / height, 1.0]) @ matrix
    return _warp(picture, matrix, size, cv2.INTER_LINEAR, PADDING)


def warp_mask(mask: NDArray[Any], matrix: NDArray[np.float64], size: int) -> NDArray[Any]:
    """An index mask [H W] seen through `matrix` as [size size], nearest pixel; 0 outside."""
    return _warp(mask, matrix, size, cv2.INTER_NEAREST, 0)


def to_opencv(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map [... 3 3] between pixel places whose centres are at .5, as OpenCV has it: centres at whole numbers."""
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    return np.linalg.inv(half) @ matrix @ half


def _warp(array: NDArray[Any], matrix: NDArray[np.float64], size: int, interpolation: int, fill: Any) -> NDArray[Any]:
    flags = interpolation | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(array, to_opencv(matrix)[:2], (size, size), flags=flags, borderValue=fill)
