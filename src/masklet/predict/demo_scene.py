"""A clip with known masks from photographs that scikit-image ships: three things adrift in front of the deep sky.

The objects are real, cut out of photographs along outlines traced by hand; the ground is a photograph too, and moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import cv2
import numpy as np

from masklet.errors import DeviceError
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCENE_SIZE = Size(480, 640)
NUM_FRAMES = 60

# Outlines as x, y in the pixels of the photograph, clockwise.
_CUP_ON_SAUCER = (
    "280,18 320,22 355,37 382,56 397,72 404,67 416,69 424,77 420,92 416,105 432,118 450,136 465,160 475,186 479,215 "
    "479,240 475,268 466,294 452,318 432,340 405,360 370,376 330,386 285,389 240,385 200,374 165,357 135,335 110,308 "
    "92,278 81,245 77,212 79,185 86,160 98,137 116,113 138,92 160,77 181,70 190,58 205,43 225,30 250,21"
)
_ASTRONAUT = (
    "235,16 262,21 283,35 295,55 300,78 300,92 294,110 283,124 270,136 266,145 262,160 256,172 270,181 285,196 297,214 "
    "304,232 316,238 334,252 344,270 351,288 358,312 363,332 365,345 368,352 345,355 325,366 308,380 296,396 287,415 "
    "280,440 277,465 279,490 286,511 40,511 35,500 27,480 24,460 23,440 21,420 20,405 22,388 26,370 25,355 28,340 "
    "32,325 36,310 40,295 44,280 52,262 63,246 78,236 93,224 106,212 115,206 113,196 114,188 120,186 122,174 130,163 "
    "142,155 158,150 172,148 182,149 182,135 175,130 168,117 160,103 155,90 154,72 157,58 168,46 185,36 193,28 210,20"
)
_SHUTTLE = (
    "404,0 424,0 430,12 435,25 437,40 436,53 439,48 441,42 444,40 448,42 451,52 454,62 454,120 454,200 455,210 456,228 "
    "454,250 457,260 434,262 438,252 437,238 419,238 412,236 409,249 404,248 402,243 390,242 388,232 378,231 372,228 "
    "355,222 356,213 362,203 370,192 378,184 379,150 379,110 382,104 384,90 381,82 381,62 384,50 387,42 390,44 393,52 "
    "396,60 397,40 400,18"
)


class _Pose(NamedTuple):
    """Where an object's middle is in the frame, how it is turned (degrees, counter-clockwise) and scaled."""

    x: float
    y: float
    angle: float
    scale: float


@dataclass(frozen=True)
class _CutOut:
    """An object's colours [h, w, 3], how much of each pixel is object [h, w], 0 to 1, and its pose at time 0..1."""

    colours: NDArray[np.float32]
    cover: NDArray[np.float32]
    pose: Callable[[float], _Pose]


@dataclass(frozen=True)
class DemoScene:
    """frames: uint8 RGB [t, H, W, 3]; truth: object numbers [t, H, W], 0 for the ground; names of objects 1, 2, ..."""

    frames: NDArray[np.uint8]
    truth: NDArray[np.uint8]
    names: tuple[str, ...]


def demo_picture(name: str) -> NDArray[np.uint8]:
    """A photograph that scikit-image ships, by its name there. Raises `DeviceError` where that package is missing."""
    try:
        from skimage import data
    except ImportError as error:
        raise DeviceError("the demo needs scikit-image's photographs: pip install 'masklet[demo]'") from error
    return np.asarray(getattr(data, name)(), np.uint8)[..., :3]


def demo_scene(num_frames: int = NUM_FRAMES) -> DemoScene:
    """Make the clip: an astronaut drifts by, a shuttle climbs, and a cup on its saucer flies across both."""
    astronaut, coffee = demo_picture("astronaut"), demo_picture("coffee")
    sky = demo_picture("hubble_deep_field")
    objects = {
        "astronaut": _cut_out(astronaut, _ASTRONAUT, _astronaut_pose),
        "shuttle": _cut_out(astronaut, _SHUTTLE, _shuttle_pose),
        "saucer": _cut_out(coffee, _CUP_ON_SAUCER, _saucer_pose),
    }
    frames = np.zeros((num_frames, *SCENE_SIZE, 3), np.uint8)
    truth = np.zeros((num_frames, *SCENE_SIZE), np.uint8)
    for number in range(num_frames):
        time = number / max(num_frames - 1, 1)
        picture = _sky_at(sky, time)
        for object_id, item in enumerate(objects.values(), start=1):
            picture, inside = _paste(picture, item, item.pose(time))
            truth[number][inside] = object_id
        frames[number] = np.rint(picture).astype(np.uint8)
    return DemoScene(frames, truth, tuple(objects))


def _shuttle_pose(time: float) -> _Pose:
    return _Pose(520 - 90 * time, 330 - 190 * time, 8 + 14 * time, 0.95 - 0.15 * time)


def _astronaut_pose(time: float) -> _Pose:
    return _Pose(170 + 150 * time, 315 + 12 * math.sin(5 * time), 4 * math.sin(6 * time), 0.78)


def _saucer_pose(time: float) -> _Pose:
    return _Pose(90 + 470 * time, 100 + 150 * math.sin(math.pi * time), 20 * math.sin(7 * time), 0.4 + 0.08 * time)


def _cut_out(photograph: NDArray[np.uint8], outline: str, pose: Callable[[float], _Pose]) -> _CutOut:
    corners = np.array([[int(number) for number in corner.split(",")] for corner in outline.split()])
    cover = np.zeros(photograph.shape[:2], np.uint8)
    cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA)
    x, y, width, height = cv2.boundingRect(corners)
    window = slice(y, y + height), slice(x, x + width)
    return _CutOut(photograph[window].astype(np.float32), np.divide(cover[window], 255, dtype=np.float32), pose)


def _sky_at(sky: NDArray[np.uint8], time: float) -> NDArray[np.float32]:
    """The part of the sky in view: the camera pans slowly and turns a little."""
    height, width = SCENE_SIZE
    shift = cv2.getRotationMatrix2D((width / 2, height / 2), 3 * time, 1.0 + 0.05 * time)
    shift[:, 2] -= np.array((60 + 200 * time, 120 + 120 * time))
    return cv2.warpAffine(sky, shift, (width, height), flags=cv2.INTER_LINEAR).astype(np.float32)


def _paste(picture: NDArray[np.float32], item: _CutOut, pose: _Pose) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The picture with an object on it, and the pixels that are mostly the object's."""
    height, width = item.cover.shape
    move = cv2.getRotationMatrix2D((width / 2, height / 2), pose.angle, pose.scale)
    move[:, 2] += np.array((pose.x - width / 2, pose.y - height / 2))
    target = (picture.shape[1], picture.shape[0])
    cover = cv2.warpAffine(item.cover, move, target, flags=cv2.INTER_AREA)
    colours = cv2.warpAffine(item.colours, move, target, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    return picture + cover[..., None] * (colours - picture), cover > 0.5
