"""Pictures of three-dimensional models with a transparent ground, as artwork for synthetic scenes.

    python tools/render_models.py --game /usr/share/games/0ad/mods/public/public.zip --out renders

The models are those of the strategy game 0 A.D. (Wildfire Games, CC BY-SA 3.0; Debian: 0ad-data): animals, people on
foot and mounted, engines of war, buildings and rocks, each drawn in random poses of its animations, from random sides,
in random light. Picture number i of a kind depends on the seed and i alone. The package itself does not need this;
`masklet train nano --renders renders` does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from game_models import Array, Game, Moment, Piece, build
from masklet.data.layouts.artwork import SIDES, framed, object_mask
from masklet.errors import InputError

KINDS: dict[str, tuple[tuple[str, ...], int]] = {
    "animals": (("fauna/",), 1200),
    "people": (("units/",), 1000),
    "buildings": (("structures/",), 250),
    "things": (("props/structures/", "props/special/", "geology/", "flora/"), 350),
}
"""The folder written, the actors it is drawn from, and how many pictures it holds."""

MOVES = ("idle", "walk", "run", "attack_melee", "attack_ranged", "gather", "promotion")
"""Animations that show a thing alive."""

MIN_SIDE, MIN_WHOLE = SIDES[0], 0.93
"""Drawings smaller than this many pixels, or of which the largest piece is less than this share, are drawn again:
shoals of fish, and things whose parts the game brings together by other means."""

MOST_ATTEMPTS = 500
"""Drawings begun for one picture; a few are enough."""


@dataclass(frozen=True, eq=False)
class Light:
    """A sky, a sun [3] of a warm or a cold colour [3], and some gloss."""

    sun: Array
    colour: Array
    ambient: float
    strength: float
    gloss: float
    sharpness: float
    exposure: float

    @staticmethod
    def draw(generator: np.random.Generator) -> Light:
        """A light by chance, from above more often than not."""
        sun = generator.normal(0, 1, 3) + np.array([0, 0.8, 0.6])
        warm = generator.normal(0, 0.08)
        return Light(
            sun=sun / np.linalg.norm(sun),
            colour=np.array([1 + warm, 1, 1 - warm]),
            ambient=generator.uniform(0.35, 0.8),
            strength=generator.uniform(0.3, 1.0),
            gloss=generator.uniform(0, 0.6),
            sharpness=generator.uniform(4, 30),
            exposure=generator.uniform(0.8, 1.4),
        )

    def share(self, normals: Array) -> Array:
        """What share of each colour [n 3] comes back from surfaces with `normals` [n 3]."""
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        lit = np.clip(normals @ self.sun, 0, None)[:, None]
        sky = self.ambient * (1 + 0.25 * normals[:, 1:2])
        return (sky + self.strength * lit * self.colour + self.gloss * lit**self.sharpness) * self.exposure


def draw(pieces: list[Piece], side: int, generator: np.random.Generator) -> NDArray[np.uint8] | None:
    """uint8 RGBA [h w 4] with a longer side of `side`, None if nothing of it is to be seen.

    Triangles are painted from the farthest to the nearest at twice the size, as numbers; then every pixel finds its
    place on the texture and in the light.
    """
    eye, centre = _camera(np.concatenate([piece.vertices for piece in pieces]), generator)
    screen, depth = _project(pieces, eye, centre, 2 * side, generator)
    width, height = (int(np.ceil(length)) + 1 for length in screen.max(0))
    if min(width, height) < 8:
        return None
    light = Light.draw(generator)
    image = _layer(pieces, screen, depth, eye, light, (height, width))
    if any(piece.see_through for piece in pieces):
        # Behind the clear parts of a mane or a sail is what has no clear parts.
        solid = _layer(pieces, screen, depth, eye, light, (height, width), see_through=False)
        image = np.where(image[..., 3:] > 0, image, solid)
    return _shrink(image) if (image[..., 3] > 0).sum() >= 64 else None


def _layer(
    pieces: list[Piece],
    screen: Array,
    depth: Array,
    eye: Array,
    light: Light,
    size: tuple[int, int],
    see_through: bool = True,
) -> NDArray[np.float32]:
    """RGBA [h w 4], 0 to 255, alpha either: what is nearest, of all pieces or of those that are not see-through."""
    starts = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    shown = [see_through or not piece.see_through for piece in pieces]
    counts = [len(piece.triangles) if show else 0 for piece, show in zip(pieces, shown)]
    image = np.zeros((*size, 4), np.float32)
    if not sum(counts):
        return image
    triangles = np.concatenate([piece.triangles + start for piece, start, show in zip(pieces, starts, shown) if show])
    numbers = _paint(screen, depth, triangles, size)
    rows, columns = np.nonzero(numbers >= 0)
    seen = numbers[rows, columns]
    corners = triangles[seen]
    shares = _shares(screen[corners], np.stack((columns + 0.5, rows + 0.5), -1)) / depth[corners]
    shares /= shares.sum(1, keepdims=True)
    colours = _colours(pieces, np.repeat(np.arange(len(pieces)), counts)[seen], corners, shares)
    normals = np.concatenate([piece.normals for piece in pieces])[corners]
    colours[:, :3] *= light.share(np.einsum("nk,nki->ni", shares, normals) @ eye.T)
    image[rows, columns] = np.clip(colours, 0, 255)
    image[..., 3] = np.where(image[..., 3] > 127, 255, 0)
    return image


def _project(
    pieces: list[Piece], eye: Array, centre: Array, side: int, generator: np.random.Generator
) -> tuple[Array, Array]:
    """Places of all vertices on the picture [n 2], from 0 to `side` pixels, and how far they are from the eye [n]."""
    turned = (np.concatenate([piece.vertices for piece in pieces]) - centre) @ eye.T
    reach = np.abs(turned).max() + 1e-9
    depth = generator.uniform(3, 12) - turned[:, 2] / reach
    screen = turned[:, :2] / reach / depth[:, None] * np.array([1, -1])
    screen -= screen.min(0)
    return screen * (side / screen.max()), depth


def _colours(pieces: list[Piece], owners: NDArray[np.int64], corners: NDArray[np.int64], shares: Array) -> Array:
    """RGBA [n 4] of pixels that belong to pieces `owners`, at `shares` [n 3] of the vertices `corners` [n 3]."""
    places = np.einsum("nk,nki->ni", shares, np.concatenate([piece.places for piece in pieces])[corners])
    colours = np.zeros((len(owners), 4), np.float64)
    for number, piece in enumerate(pieces):
        mine = owners == number
        colours[mine] = _sample(piece.texture, places[mine])
        if not piece.see_through:
            colours[mine, 3] = 255
    return colours


def _camera(points: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """A random view: rows of the rotation from the world (y up) to the eye, and what it looks at."""
    around, up = generator.uniform(0, 2 * np.pi), np.radians(np.clip(generator.normal(8, 14), -15, 60))
    sine, cosine = np.sin(around), np.cos(around)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    tilt = np.array([[1, 0, 0], [0, np.cos(up), -np.sin(up)], [0, np.sin(up), np.cos(up)]])
    return tilt @ turn, (points.min(0) + points.max(0)) / 2


def _paint(screen: Array, depth: Array, triangles: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int32]:
    """The number of the nearest triangle at each pixel, -1 for none."""
    numbers = np.full(size, -1, np.int32)
    fixed = np.round(screen * 16).astype(np.int32)
    for number in np.argsort(-depth[triangles].mean(1)).tolist():
        cv2.fillConvexPoly(numbers, fixed[triangles[number]], number, shift=4)
    return numbers


def _shares(corners: Array, points: Array) -> Array:
    """Barycentric shares [n 3] of points in triangles [n 3 2], kept inside."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    to = points - corners[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = np.where(np.abs(area) < 1e-9, 1e-9, area)
    b = (to[:, 0] * second[:, 1] - to[:, 1] * second[:, 0]) / area
    c = (first[:, 0] * to[:, 1] - first[:, 1] * to[:, 0]) / area
    shares = np.clip(np.stack((1 - b - c, b, c), -1), 0, None)
    return shares / np.maximum(shares.sum(1, keepdims=True), 1e-9)


def _sample(texture: NDArray[np.uint8], places: Array) -> Array:
    """Colours [n 4] at places of a texture that repeats."""
    height, width = texture.shape[:2]
    if not len(places):
        return np.zeros((0, 4))
    x = (places[:, 0] % 1) * width
    y = ((1 - places[:, 1]) % 1) * height
    # OpenCV remaps no row of more than 32,767 pixels.
    count = len(places)
    padded = -count % 1024
    grid = [np.pad(axis, (0, padded)).reshape(-1, 1024).astype(np.float32) for axis in (x - 0.5, y - 0.5)]
    sampled = cv2.remap(texture, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sampled.reshape(-1, 4)[:count].astype(np.float64)


def _shrink(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Half the size, opaque pixels' colours alone mixed."""
    weighted = image.copy()
    weighted[..., :3] *= image[..., 3:] / 255
    size = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
    small = np.asarray(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA))
    small[..., :3] /= np.maximum(small[..., 3:] / 255, 1e-3)
    return np.clip(small, 0, 255).astype(np.uint8)


def picture(game: Game, actors: list[str], side: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """A random actor in a random pose; another where `ArtworkFolder` would see no object in the first.

    Raises `InputError` where none of many can be drawn, as in an archive without the game's converted files.
    """
    generator = np.random.default_rng(seed)
    for _ in range(MOST_ATTEMPTS if actors else 0):
        actor = actors[generator.integers(len(actors))]
        moment = Moment(tuple(generator.permutation(MOVES)), generator.random(), generator.random())
        pieces = list(build(game, actor, generator, moment, np.eye(4)))
        drawn = draw(pieces, side, generator) if pieces else None
        whole = None if drawn is None else keep_largest(drawn)
        if whole is not None and min(whole.shape[:2]) >= MIN_SIDE and object_mask(framed(whole)).any():
            return whole
    raise InputError(
        f"of {len(actors)} actors in {game.path} none could be drawn; it must hold the game's files as releases ship "
        "them, converted (.cached.pmd, .cached.dds)"
    )


def keep_largest(drawn: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The largest piece of a drawing by itself, None if it is too small a part of all."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((drawn[..., 3] > 127).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < MIN_WHOLE * areas.sum():
        return None
    label = 1 + int(areas.argmax())
    x, y, width, height = stats[label, : cv2.CC_STAT_AREA]
    # Its soft edge belongs to it too.
    near = cv2.dilate((labels == label).astype(np.uint8), np.ones((3, 3), np.uint8))
    kept = drawn * near[..., None]
    return np.pad(kept[y : y + height, x : x + width], ((2, 2), (2, 2), (0, 0)))


class Writer:
    """Draws pictures into a folder; picture by picture in processes of its own."""

    def __init__(self, game: Path, out: Path, side: int, seed: int) -> None:
        self.game_path, self.out, self.side, self.seed = game, out, side, seed
        self._game: Game | None = None

    def __call__(self, job: tuple[str, int]) -> None:
        """Draw picture number n of a kind, unless it is there."""
        kind, number = job
        path = self.out / kind / f"{number:04}.png"
        if path.exists():
            return
        if self._game is None:
            cv2.setNumThreads(1)
            self._game = Game(self.game_path)
        seed = (self.seed, list(KINDS).index(kind), number)
        drawn = picture(self._game, self._game.actors(KINDS[kind][0]), self.side, seed)
        # What is there is kept the next time, so it must be whole.
        partial_path = path.with_name(f"{path.name}.partial")
        partial_path.write_bytes(cv2.imencode(".png", drawn[..., [2, 1, 0, 3]])[1].tobytes())
        os.replace(partial_path, path)


_writers: list[Writer] = []
"""This process's own, once it is told what to write."""


def _start(game: Path, out: Path, side: int, seed: int) -> None:
    _writers.append(Writer(game, out, side, seed))


def _work(job: tuple[str, int]) -> None:
    _writers[0](job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", type=Path, required=True, help="the game's public.zip")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to; what is there is kept")
    parser.add_argument("--side", type=int, default=360, help="longer side of a picture in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    jobs = [(kind, number) for kind, (_, count) in KINDS.items() for number in range(count)]
    for kind in KINDS:
        (options.out / kind).mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    settings = (options.game, options.out, options.side, options.seed)
    with context.Pool(options.processes, initializer=_start, initargs=settings) as pool:
        for done, _ in enumerate(pool.imap_unordered(_work, jobs, chunksize=8), 1):
            if done % 100 == 0:
                print(f"{done}/{len(jobs)}", flush=True)


if __name__ == "__main__":
    main()
