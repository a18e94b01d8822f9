"""A thing in a synthetic scene: a sprite with its path, and how it is painted over a frame and its mask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.data.synthetic.finish import motion_kernel
from masklet.data.synthetic.sprites import Sprite, continue_colours
from masklet.data.transforms import to_opencv

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELASTIC_ROOM = 0.12
"""Clear border around a soft body, as a share of its side, for what bulges out."""


@dataclass(frozen=True, eq=False)
class Shadow:
    """A soft dark copy of a thing: offset x, y and blur in pixels, darkness 0..1."""

    offset: tuple[float, float]
    blur: float
    darkness: float


@dataclass(frozen=True, eq=False)
class Layer:
    """One thing in a scene of t frames.

    poses: uint8 [p h w 4], one for each frame or a single one; paths: [t 3 3] from its pixels to the frame's, pixel
    centres at .5; object_id: its number in the index masks; elastic: [t g g 2] displacements as shares of its box, or
    None for a rigid thing; softness: blur of its edge in pixels; shutter: the part of the time between two frames over
    which motion smears it.
    """

    poses: NDArray[np.uint8]
    paths: NDArray[np.float64]
    object_id: int
    elastic: NDArray[np.float32] | None = None
    softness: float = 0.0
    shutter: float = 0.0
    shadow: Shadow | None = None

    def paint(self, frame: NDArray[np.uint8], mask: NDArray[Any], k: int) -> None:
        """Paint the thing as it is at frame `k` over `frame` [S S 3] and `mask` [S S], both changed in place.

        A pixel belongs to the thing where it is at least half opaque.
        """
        rgba = self.poses[k if len(self.poses) > 1 else 0]
        if self.elastic is not None:
            rgba = bend(rgba, self.elastic[k])
        if self.shadow is not None:
            _darken(frame, np.ascontiguousarray(rgba[..., 3]), self.paths[k], self.shadow)
        smear = self._smear(k)
        window = _window(rgba.shape[:2], self.paths[k], frame.shape[:2], margin=2 + int(np.abs(smear).max()))
        if window is None:
            return
        x0, y0, x1, y1 = window
        moved = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]]) @ to_opencv(self.paths[k])
        drawn = cv2.warpPerspective(
            rgba, moved, (x1 - x0, y1 - y0), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        if np.abs(smear).max() >= 1:
            drawn = cv2.filter2D(drawn, -1, motion_kernel(smear), borderType=cv2.BORDER_REPLICATE)
        opacity = drawn[..., 3]
        if self.softness > 0.2:
            opacity = cv2.GaussianBlur(opacity, (0, 0), self.softness)
        part = frame[y0:y1, x0:x1]
        weight = opacity.astype(np.float32)[..., None] / 255
        part[:] = np.rint(part + weight * (drawn[..., :3].astype(np.float32) - part))
        mask[y0:y1, x0:x1][opacity > 127] = self.object_id

    def _smear(self, k: int) -> NDArray[np.float64]:
        """Movement x, y of the thing's centre while the shutter is open, in pixels."""
        if not self.shutter or len(self.paths) == 1:
            return np.zeros(2)
        height, width = self.poses.shape[1:3]
        before, after = self.paths[max(k - 1, 0)], self.paths[min(k + 1, len(self.paths) - 1)]
        centre = np.array([[width / 2, height / 2]])
        step = (_place(after, centre) - _place(before, centre))[0] / (1 if k in (0, len(self.paths) - 1) else 2)
        return np.clip(step * self.shutter, -12, 12)


def prepare_rgba(sprite: Sprite, *, soft_body: bool) -> NDArray[np.uint8]:
    """The sprite as uint8 [h w 4] with its colours continued past its edge, and room to bulge for a soft body."""
    rgba = cv2.merge([continue_colours(sprite.colour, sprite.alpha), sprite.alpha])
    if not soft_body:
        return np.asarray(rgba, np.uint8)
    room = int(np.ceil(ELASTIC_ROOM * max(rgba.shape[:2])))
    return np.asarray(cv2.copyMakeBorder(rgba, room, room, room, room, cv2.BORDER_REPLICATE), np.uint8)


def bend(rgba: NDArray[np.uint8], grid: NDArray[np.float32]) -> NDArray[np.uint8]:
    """`rgba` [h w 4] displaced by `grid` [g g 2], shares of its box given on a coarse grid."""
    height, width = rgba.shape[:2]
    field = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * max(height, width)
    columns = np.arange(width, dtype=np.float32) + field[..., 0]
    rows = np.arange(height, dtype=np.float32)[:, None] + field[..., 1]
    return np.asarray(cv2.remap(rgba, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _place(path: NDArray[np.float64], points: NDArray[np.floating]) -> NDArray[np.float64]:
    moved = np.concatenate([points, np.ones((len(points), 1))], 1) @ path.T
    return moved[:, :2] / moved[:, 2:]


def _window(
    shape: tuple[int, ...], path: NDArray[np.float64], frame: tuple[int, ...], margin: int
) -> tuple[int, int, int, int] | None:
    """The part x0, y0, x1, y1 of the frame that the thing can touch, or None where it is out of sight."""
    height, width = shape
    corners = _place(path, np.array([[0, 0], [width, 0], [0, height], [width, height]]))
    low = np.floor(corners.min(0)).astype(int) - margin
    high = np.ceil(corners.max(0)).astype(int) + margin
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, (frame[1], frame[0]))
    return (int(x0), int(y0), int(x1), int(y1)) if x0 < x1 and y0 < y1 else None


def _darken(frame: NDArray[np.uint8], alpha: NDArray[np.uint8], path: NDArray[np.float64], shadow: Shadow) -> None:
    moved = np.array([[1, 0, shadow.offset[0]], [0, 1, shadow.offset[1]], [0, 0, 1]]) @ to_opencv(path)
    cast = cv2.warpPerspective(alpha, moved, frame.shape[1::-1], flags=cv2.INTER_LINEAR)
    cast = cv2.GaussianBlur(cast, (0, 0), shadow.blur)
    light = 1 - cast.astype(np.float32)[..., None] * (shadow.darkness / 255)
    frame[:] = frame * light
