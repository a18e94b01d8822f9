"""What a camera does to a scene: changing light, defocus, shake, noise, low resolution and compression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class FinishRange:
    """How often each flaw appears in a clip (probabilities)."""

    light: float = 0.4
    defocus: float = 0.15
    shake: float = 0.15
    noise: float = 0.25
    low_resolution: float = 0.1
    compression: float = 0.4

    def draw(self, num_frames: int, size: int, generator: np.random.Generator) -> Finish:
        """The flaws of one clip of `num_frames` of `size` x `size` pixels; blur grows with the size."""
        times = np.linspace(0, 1, num_frames)
        chances = generator.random(6) < (
            self.light,
            self.defocus,
            self.shake,
            self.noise,
            self.low_resolution,
            self.compression,
        )
        waves = np.sin(2 * np.pi * (generator.uniform(0.3, 1.5) * times + generator.random()))
        direction = generator.normal(0, 1, 2)
        return Finish(
            gains=1 + chances[0] * generator.uniform(0.05, 0.35) * waves,
            defocus=float(chances[1] * generator.uniform(0.4, 1.3) * size / 160),
            shake=chances[2] * generator.uniform(1, 4) * size / 160 * direction / np.linalg.norm(direction),
            noise=float(chances[3] * generator.uniform(1, 10)),
            low_resolution=float(generator.uniform(0.4, 0.8)) if chances[4] else 1.0,
            jpeg_quality=int(generator.integers(25, 90)) if chances[5] else None,
        )


@dataclass(frozen=True, eq=False)
class Finish:
    """The flaws of one clip: gains [t], blur in pixels, shake x, y in pixels, noise in grey levels, JPEG quality."""

    gains: NDArray[np.floating]
    defocus: float
    shake: NDArray[np.floating]
    noise: float
    low_resolution: float
    jpeg_quality: int | None

    def apply(self, frame: NDArray[np.uint8], k: int, generator: np.random.Generator) -> NDArray[np.uint8]:
        """Frame `k` [S S 3] with its flaws; `generator` for the noise."""
        height, width = frame.shape[:2]
        if self.low_resolution < 1:
            small = (max(1, round(width * self.low_resolution)), max(1, round(height * self.low_resolution)))
            coarse = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
            frame = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        if self.defocus:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), self.defocus), np.uint8)
        if self.shake.any():
            frame = np.asarray(cv2.filter2D(frame, -1, motion_kernel(self.shake)), np.uint8)
        if self.noise or self.gains[k] != 1:
            values = frame * np.float32(self.gains[k])
            if self.noise:
                values += generator.standard_normal(frame.shape, np.float32) * np.float32(self.noise)
            frame = np.clip(values, 0, 255).astype(np.uint8)
        return frame if self.jpeg_quality is None else _compressed(frame, self.jpeg_quality)


def motion_kernel(movement: NDArray[np.floating]) -> NDArray[np.float32]:
    """A blur along a line: movement x, y in pixels. Odd sides, centred, sums to one."""
    reach = max(1, int(np.ceil(np.abs(movement).max() / 2)))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    half = np.round(np.asarray(movement) / 2 * 16).astype(int)
    centre = reach * 16
    ends = [(int(centre + sign * half[0]), int(centre + sign * half[1])) for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 4)
    kernel += kernel[::-1, ::-1]  # a line's pixels are rounded to one side, which would shift the picture off its mask
    return kernel / kernel.sum()


def _compressed(frame: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert decoded is not None, "OpenCV reads what it has just written"
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)
