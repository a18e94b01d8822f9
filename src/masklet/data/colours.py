"""Colour variation of uint8 RGB pictures, drawn once and then applied to as many frames as wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.data.ranges import check_counts, check_not_negative, check_probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

GREY_WEIGHTS = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class ColourJitter:
    """How far colours may vary: factors for brightness, contrast and saturation from 1 - x to 1 + x, hue in turns.

    grey: probability of a picture without colour; gamma: up to this factor both ways (1 leaves it out).
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    gamma: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative(self, "brightness", "contrast", "saturation", "hue")
        check_probabilities(self, "grey")
        check_counts(self, "gamma")

    @property
    def active(self) -> bool:
        """Whether anything varies at all."""
        return self != NO_JITTER

    def draw(self, generator: np.random.Generator) -> ColourChange:
        """One change of colour out of the range."""
        brightness, contrast, saturation, hue, gamma = generator.uniform(-1, 1, 5)
        grey = generator.random() < self.grey
        return ColourChange(
            brightness=1 + self.brightness * brightness,
            contrast=1 + self.contrast * contrast,
            saturation=0.0 if grey else 1 + self.saturation * saturation,
            hue=0.0 if grey else self.hue * hue,
            gamma=float(self.gamma**gamma),
        )


NO_JITTER = ColourJitter()


@dataclass(frozen=True)
class ColourChange:
    """One drawn change: factors (1 leaves it), hue in turns (0 leaves it)."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    hue: float = 0.0
    gamma: float = 1.0

    def apply(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`pictures` [... H W 3] changed; contrast is about the mean grey of them all."""
        if self == ColourChange():
            return pictures
        if self.hue:
            pictures = _turn_hue(pictures, self.hue)
        if self.saturation != 1:
            pictures = _saturate(pictures, self.saturation)
        return _as_rows(cv2.LUT, pictures, self._curve(pictures))

    def _curve(self, pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Gamma, brightness and contrast as one table of 256 values."""
        values = np.linspace(0, 1, 256, dtype=np.float32) ** self.gamma * self.brightness * 255
        middle = float(values[int(np.array(cv2.mean(pictures.reshape(-1, *pictures.shape[-2:]))[:3]) @ GREY_WEIGHTS)])
        return np.clip((values - middle) * self.contrast + middle, 0, 255).round().astype(np.uint8)


def _saturate(pictures: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    """Blend with grey: one 3 x 3 matrix on the channels."""
    matrix = np.eye(3, dtype=np.float32) * factor + (1 - factor) * np.tile(GREY_WEIGHTS, (3, 1))
    return _as_rows(cv2.transform, pictures, matrix)


def _turn_hue(pictures: NDArray[np.uint8], turns: float) -> NDArray[np.uint8]:
    hsv = _as_rows(cv2.cvtColor, pictures, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(round(turns * 256) % 256)
    return _as_rows(cv2.cvtColor, hsv, cv2.COLOR_HSV2RGB_FULL)


def _as_rows(operation: Callable[..., Any], pictures: NDArray[np.uint8], argument: Any) -> NDArray[np.uint8]:
    """A per-pixel operation of OpenCV, which knows one picture only: the frames of a clip become one tall picture."""
    tall = pictures.reshape(-1, *pictures.shape[-2:])
    return np.asarray(operation(tall, argument), np.uint8).reshape(pictures.shape)
