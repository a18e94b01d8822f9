"""Procedural objects: blobs, polygons, ellipses, rods and rings, filled with textures or with pieces of photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from masklet.data.clips import ClipDataset
from masklet.data.synthetic.sprites import Sprite, clear_margin, cut_out, draw_still, large_objects
from masklet.data.synthetic.textures import draw_texture

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBPIXEL_BITS = 4


class Shapes:
    """Random shapes of about `side` pixels.

    photographs: what half of the fillings are cut from; without it every filling is a procedural texture.
    """

    def __init__(self, side: int, photographs: ClipDataset | None = None) -> None:
        self.side = side
        self.photographs = photographs

    def sprite(self, generator: np.random.Generator) -> Sprite:
        """One shape with its filling."""
        height, width = self.side, max(8, int(self.side * np.exp(generator.uniform(-1.2, 0))))
        if generator.random() < 0.5:
            height, width = width, height
        return Sprite(self._filling(height, width, generator), clear_margin(draw_shape(height, width, generator)))

    def _filling(self, height: int, width: int, generator: np.random.Generator) -> NDArray[np.uint8]:
        if self.photographs is None or generator.random() < 0.5:
            return draw_texture(height, width, generator)
        return cut_patch(draw_still(self.photographs, generator).frames[0], height, width, generator)


class Disguises:
    """The outline of one photographed object filled with a texture or with a piece of another photograph.

    Natural outlines without the colours that usually go with them: what is learned is to find edges, not kinds.
    stills: what outlines come from; fillings: pictures that pieces are taken of, `stills` if left out.
    """

    def __init__(self, stills: ClipDataset, fillings: ClipDataset | None = None) -> None:
        self.stills = stills
        self.fillings = fillings or stills

    def sprite(self, generator: np.random.Generator) -> Sprite:
        """One disguised object."""
        clip = draw_still(self.stills, generator)
        objects = large_objects(clip)
        if not len(objects):
            return Shapes(max(clip.size) // 2, self.fillings).sprite(generator)
        alpha = cut_out(clip, int(generator.choice(objects))).alpha
        height, width = alpha.shape
        if generator.random() < 0.4:
            return Sprite(draw_texture(height, width, generator), alpha)
        return Sprite(cut_patch(draw_still(self.fillings, generator).frames[0], height, width, generator), alpha)


def draw_shape(height: int, width: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A random filled outline with smooth edges that spans [height width]: uint8, 255 inside."""
    outline = _OUTLINES[generator.integers(len(_OUTLINES))](generator)
    low, high = outline.min(0), outline.max(0)
    corners = (outline - low) / np.maximum(high - low, 1e-6) * (width - 1, height - 1)
    alpha = np.zeros((height, width), np.uint8)
    points = np.round(corners * 2**SUBPIXEL_BITS).astype(np.int32)
    cv2.fillPoly(alpha, [points], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    if generator.random() < 0.15:
        _punch_hole(alpha, generator)
    return alpha


def cut_patch(picture: NDArray[np.uint8], height: int, width: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A random part of `picture` brought to [height width 3]."""
    share = generator.uniform(0.3, 0.9)
    rows, columns = (max(1, int(side * share)) for side in picture.shape[:2])
    top = int(generator.integers(picture.shape[0] - rows + 1))
    left = int(generator.integers(picture.shape[1] - columns + 1))
    patch = picture[top : top + rows, left : left + columns]
    return np.asarray(cv2.resize(patch, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _circle(radii: NDArray[np.floating]) -> NDArray[np.floating]:
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], -1) * radii[:, None]


def _ellipse(generator: np.random.Generator) -> NDArray[np.floating]:
    return _circle(np.ones(48))


def _blob(generator: np.random.Generator) -> NDArray[np.floating]:
    """A circle whose radius goes in and out in a few random waves."""
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radii = np.ones(96)
    for waves in range(1, 7):
        radii += generator.uniform(-0.5, 0.5) / np.sqrt(waves) * np.sin(waves * angles + generator.uniform(0, 6.3))
    return _circle(np.maximum(radii, 0.15))


def _polygon(generator: np.random.Generator) -> NDArray[np.floating]:
    return _circle(generator.uniform(0.6, 1, int(generator.integers(3, 9))))


def _star(generator: np.random.Generator) -> NDArray[np.floating]:
    tips = int(generator.integers(3, 9))
    return _circle(np.tile([1.0, generator.uniform(0.25, 0.8)], tips))


def _rod(generator: np.random.Generator) -> NDArray[np.floating]:
    """A bent band of even thickness."""
    along = np.linspace(-1, 1, 24)
    middle = generator.uniform(-0.8, 0.8) * along**2 + generator.uniform(-0.4, 0.4) * np.sin(3 * along)
    half = generator.uniform(0.06, 0.3)
    upper, lower = np.stack([along, middle + half], -1), np.stack([along, middle - half], -1)
    return np.concatenate([upper, lower[::-1]])


_OUTLINES = (_ellipse, _blob, _blob, _polygon, _star, _rod)


def _punch_hole(alpha: NDArray[np.uint8], generator: np.random.Generator) -> None:
    height, width = alpha.shape
    centre = (int(width * generator.uniform(0.4, 0.6)), int(height * generator.uniform(0.4, 0.6)))
    axes = (int(width * generator.uniform(0.1, 0.3)), int(height * generator.uniform(0.1, 0.3)))
    cv2.ellipse(alpha, centre, axes, 0, 0, 360, 0, -1, cv2.LINE_AA)
