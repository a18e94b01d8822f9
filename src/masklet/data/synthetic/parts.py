"""Things of several colours: parts of a cut-out tinted anew, filled with a texture or with what lies behind it.

A dog with white legs, a boat with a white hull and a jersey with a stripe are whole things, although each of their
parts looks more like its surroundings than like the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from masklet.data.colours import GREY_WEIGHTS
from masklet.data.synthetic.shapes import cut_patch
from masklet.data.synthetic.sprites import Sprite
from masklet.data.synthetic.textures import draw_texture, fractal_noise

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PARTS = 3


def recolour_parts(
    sprites: Sequence[Sprite], picture: NDArray[np.uint8], generator: np.random.Generator
) -> list[Sprite]:
    """The poses of one thing (or its only one) with one to three of its parts in other colours.

    picture: the scene behind it [H W 3], whose colours and pieces some parts take on. Paint must go along with what
    moves: parts of a thing in several poses are those of one lightness, and are tinted, not filled.
    """
    # All poses as one tall picture, so that one lightness is one part in each of them.
    colour = np.concatenate([sprite.colour for sprite in sprites])
    alpha = np.concatenate([sprite.alpha for sprite in sprites])
    moving = len(sprites) > 1
    for _ in range(int(generator.integers(1, MOST_PARTS + 1))):
        part = draw_part(colour, alpha, generator, by_lightness=moving)[..., None]
        fill = _tint if moving else _FILLINGS[generator.choice(len(_FILLINGS), p=_SHARES)]
        filling = fill(colour, alpha, picture, generator)
        colour = np.rint(colour + part * (filling.astype(np.float32) - colour)).astype(np.uint8)
    return [Sprite(part, sprite.alpha) for part, sprite in zip(np.split(colour, len(sprites)), sprites)]


def draw_part(
    colour: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    generator: np.random.Generator,
    *,
    by_lightness: bool = False,
) -> NDArray[np.float32]:
    """How much each pixel [h w] belongs to a random part, 0..1: a fifth to three fifths of the thing.

    The part is where the thing is lightest or darkest or, unless `by_lightness`, may lie to one side of a bent line or
    in a few large spots.
    """
    height, width = alpha.shape
    draw = generator.uniform(0.7 if by_lightness else 0.0, 1.0)
    if draw < 0.4:
        angle, bend = generator.uniform(0, 2 * np.pi), generator.uniform(0, 0.6)
        rows, columns = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
        field = columns * np.cos(angle) + rows * np.sin(angle)
        field = field + bend * fractal_noise(height, width, generator, cells=2)
    elif draw < 0.7:
        field = fractal_noise(height, width, generator, cells=int(generator.integers(1, 5)), octaves=2)
    else:
        smooth = cv2.GaussianBlur(colour, (0, 0), 1 + 0.02 * width)
        field = smooth.astype(np.float32) @ GREY_WEIGHTS * (1 if draw < 0.85 else -1)
    inside = field[alpha > 127]
    level = np.quantile(inside, generator.uniform(0.4, 0.8)) if inside.size else 0.5
    part = (field > level).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(part, (0, 0), float(generator.uniform(0.4, 2.0))), np.float32)


def _tint(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8], picture: NDArray[np.uint8], generator: np.random.Generator
) -> NDArray[np.float32]:
    """The thing's own light and shade in another colour: any, near white, near black, or one of the scene's."""
    draw = generator.random()
    if draw < 0.3:
        paint = generator.uniform(0, 255, 3)
    elif draw < 0.5:
        paint = generator.uniform(190, 255) + generator.normal(0, 8, 3)
    elif draw < 0.65:
        paint = generator.uniform(5, 60) + generator.normal(0, 8, 3)
    else:
        paint = picture[generator.integers(picture.shape[0]), generator.integers(picture.shape[1])].astype(np.float64)
    shade = colour.astype(np.float32).mean(-1)
    inside = shade[alpha > 127]
    shade = (shade - (inside.mean() if inside.size else 0)) * np.float32(generator.uniform(0.3, 1.2))
    return np.clip(paint.astype(np.float32) + shade[..., None], 0, 255)


def _texture(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8], picture: NDArray[np.uint8], generator: np.random.Generator
) -> NDArray[np.uint8]:
    height, width = alpha.shape
    return draw_texture(height, width, generator)


def _scene(
    colour: NDArray[np.uint8], alpha: NDArray[np.uint8], picture: NDArray[np.uint8], generator: np.random.Generator
) -> NDArray[np.uint8]:
    """A piece of the scene: the part can hardly be told from it but by the whole's outline."""
    height, width = alpha.shape
    return cut_patch(picture, height, width, generator)


_FILLINGS = (_tint, _texture, _scene)
_SHARES = (0.7, 0.15, 0.15)
