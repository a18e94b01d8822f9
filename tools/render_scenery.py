"""Pictures of places without anything in them, as backgrounds of synthetic scenes: ground, water and sky.

    python tools/render_scenery.py --game /usr/share/games/0ad/mods/public/public.zip --out renders/places

The textures are those of the strategy game 0 A.D. (Wildfire Games, CC BY-SA 3.0; Debian: 0ad-data): grass, rock, sand,
snow, paving and skies from photographs, and water as the slopes of its waves. Strips of them lie one behind the other
under a sky, seen from random heights. Picture number i depends on the seed and i alone. The package itself does not
need this; `masklet train nano --renders renders` does.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from game_models import Game
from masklet.data.synthetic.textures import fractal_noise
from masklet.errors import InputError

GROUND, WAVES, SKIES = "art/textures/terrain/types/", "art/textures/animated/water/", "art/textures/skies/"

WATER, SKY = 0.3, 0.7
"""How often a strip is water, and how often there is a sky; otherwise the eye looks down."""

SIZE = (576, 768)
"""Height and width of a picture."""

MOST_STRIPS = 3

NEAREST, FARTHEST = 0.15, 12.0
"""Distances on the ground, in sides of a texture."""


class Textures:
    """The textures of a game that places are made of. Raises `InputError` where there are none."""

    def __init__(self, game: Game) -> None:
        self.game = game
        names = sorted(name for name in game.names if name.endswith(".cached.dds"))
        self.ground = [n for n in names if n.startswith(GROUND) and "norm" not in n and "spec" not in n]
        self.waves = [n for n in names if n.startswith(WAVES) and "normal" in n]
        self.skies = [n for n in names if n.startswith(SKIES) and not n.endswith("top.dds.cached.dds")]
        if not (self.ground and self.waves and self.skies):
            raise InputError(
                f"{game.path} lacks textures of ground, water or skies; it must hold the game's files as releases ship "
                "them, converted (.cached.dds)"
            )

    def draw(self, names: Sequence[str], generator: np.random.Generator) -> NDArray[np.float32]:
        """One of some textures, RGB [h w 3] from 0 to 255."""
        return self.game.picture(names[generator.integers(len(names))])[..., :3].astype(np.float32)


def place(textures: Textures, height: int, width: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A random place: uint8 RGB [height width 3]."""
    horizon = generator.uniform(0.0, 0.55) * height if generator.random() < SKY else -generator.uniform(0.1, 2) * height
    sky = _sky(textures, height, width, generator)
    picture = sky.copy()
    far = np.sort(generator.uniform(0, 0.8, int(generator.integers(1, MOST_STRIPS + 1)) - 1))
    for start in (0.0, *far):
        # A strip begins at a ragged line and reaches to the nearer end of the picture.
        line = horizon + start * (height - horizon) + _ragged(width, generator) * generator.uniform(0, 0.12) * height
        strip = _lie(_surface(textures, sky, generator), height, width, horizon, generator)
        rows = np.arange(height, dtype=np.float32)[:, None]
        weight = np.clip((rows - line) / generator.uniform(0.7, 4), 0, 1)[..., None]
        picture += weight * (strip - picture)
    light = 1 + (fractal_noise(height, width, generator, cells=2) - 0.5) * generator.uniform(0, 0.6)
    return np.clip(picture * light[..., None] * generator.uniform(0.75, 1.2), 0, 255).astype(np.uint8)


def _surface(textures: Textures, sky: NDArray[np.float32], generator: np.random.Generator) -> NDArray[np.float32]:
    """What a strip is covered with, a picture that repeats."""
    if generator.random() >= WATER:
        return textures.draw(textures.ground, generator)
    slopes = textures.draw(textures.waves, generator)[..., :2] / 127.5 - 1
    # Waves that lean one way mirror the sky, the others show the deep.
    turn = generator.uniform(0, 2 * np.pi)
    leaning = slopes @ np.array([np.cos(turn), np.sin(turn)], np.float32)
    share = 1 / (1 + np.exp(-(leaning / (leaning.std() + 1e-6)) * generator.uniform(0.6, 2) + generator.normal(0.5, 1)))
    deep = np.array([generator.uniform(5, 70), generator.uniform(30, 110), generator.uniform(30, 130)], np.float32)
    mirrored = sky.mean((0, 1)) * np.float32(generator.uniform(0.6, 1.1))
    return np.asarray(deep + share[..., None] * (mirrored - deep), np.float32)


def _lie(
    surface: NDArray[np.float32], height: int, width: int, horizon: float, generator: np.random.Generator
) -> NDArray[np.float32]:
    """A surface that lies below the horizon in perspective, [height width 3], far parts without flicker."""
    rows = np.maximum(np.arange(height, dtype=np.float32) + 0.5 - horizon, 1)
    nearest = generator.uniform(NEAREST, 1.0)
    distance = np.minimum(nearest * (height - horizon) / rows, FARTHEST)
    # What rises above the horizon stands upright.
    along = distance + np.maximum(horizon - np.arange(height, dtype=np.float32), 0) * FARTHEST / width
    across = (np.arange(width, dtype=np.float32) / width - 0.5)[None] * distance[:, None] * generator.uniform(0.6, 1.5)
    turn, offset = generator.uniform(0, 2 * np.pi), generator.random(2)
    side = max(surface.shape[:2])
    x = (across * np.cos(turn) - along[:, None] * np.sin(turn) + offset[0]) * side
    y = (across * np.sin(turn) + along[:, None] * np.cos(turn) + offset[1]) * side
    # The texture is taken ever smaller where more of it falls on one pixel.
    down, aside = (np.hypot(np.gradient(x, axis=axis), np.gradient(y, axis=axis)) for axis in (0, 1))
    level = np.log2(np.maximum(np.maximum(down, aside), 1))
    result, small = np.zeros((height, width, 3), np.float32), surface
    for number in range(7):
        scale = small.shape[1] / side
        drawn = cv2.remap(
            small,
            (x * scale).astype(np.float32) % small.shape[1],
            (y * scale).astype(np.float32) % small.shape[0],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_WRAP,
        )
        weight = np.clip(1 - np.abs(level - number), 0, 1) if number < 6 else np.clip(level - 5, 0, 1)
        result += drawn * weight[..., None].astype(np.float32)
        small = np.asarray(
            cv2.resize(small, (max(1, small.shape[1] // 2), max(1, small.shape[0] // 2)), interpolation=cv2.INTER_AREA)
        )
    return result


def _sky(textures: Textures, height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """A piece of a sky, [height width 3]."""
    sky = textures.draw(textures.skies, generator)
    rows, columns = (int(length * generator.uniform(0.4, 1.0)) for length in sky.shape[:2])
    left = int(generator.integers(sky.shape[1] - columns + 1))
    return np.asarray(cv2.resize(sky[:rows, left : left + columns], (width, height)), np.float32)


def _ragged(width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """A rough line of heights around 0, [width]."""
    cells = int(generator.integers(2, 12))
    return fractal_noise(1, width, generator, cells=cells, octaves=4)[0] - 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", type=Path, required=True, help="the game's public.zip")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to; what is there is kept")
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    textures = Textures(Game(options.game))
    options.out.mkdir(parents=True, exist_ok=True)
    for number in range(options.count):
        path = options.out / f"{number:04}.jpg"
        if path.exists():
            continue
        picture = place(textures, *SIZE, np.random.default_rng((options.seed, number)))
        # What is there is kept the next time, so it must be whole.
        partial_path = path.with_name(f"{path.name}.partial")
        partial_path.write_bytes(cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes())
        os.replace(partial_path, path)
        if (number + 1) % 100 == 0:
            print(f"{number + 1}/{options.count}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
