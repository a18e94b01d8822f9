"""Pictures of three-dimensional models with a transparent ground, as artwork for synthetic scenes.

    python tools/render_models.py --game /usr/share/games/0ad/mods/public/public.zip --out renders \\
        --vehicles /usr/share/games/torcs/cars /usr/share/games/flightgear/Models/{Maritime,Transport,Aircraft} \\
        /usr/share/games/flightgear/AI/Aircraft /usr/share/games/flightgear/Models/Geometry

The models are those of the strategy game 0 A.D. (Wildfire Games, CC BY-SA 3.0; Debian: 0ad-data): animals, people on
foot and mounted, engines of war, buildings and rocks, each drawn in random poses of its animations, from random sides,
in random light; and clips of animals and people on the move, in the folders of DAVIS. With `--vehicles`, also those of
folders of models in AC3D's format, such as the race cars of TORCS and the ships, trains and aircraft of FlightGear
(GPL-2 or later; Debian: torcs-data, flightgear-data-models, flightgear-data-ai), as many of each folder. Number i of a
kind depends on the seed and i alone (and vehicles on the folders). The package itself does not need this; `masklet
train nano --renders renders` does.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ac3d_models import Fleet
from game_models import Array, Game, Moment, Piece
from masklet.data.layouts.artwork import SIDES, framed, object_mask
from masklet.errors import InputError
from masklet.io.davis import FRAME_FOLDER, MASK_FOLDER
from masklet.io.palette import write_index_png

KINDS: dict[str, tuple[tuple[str, ...], int]] = {
    "animals": (("fauna/",), 1200),
    "people": (("units/",), 1000),
    "buildings": (("structures/",), 250),
    "things": (("props/structures/", "props/special/", "geology/", "flora/"), 350),
}
"""The folder written, the actors of 0 A.D. it is drawn from, and how many pictures it holds."""

VEHICLES, NUM_VEHICLES = "vehicles", 800
"""The folder of pictures drawn from models in AC3D's format, from each of their folders as many."""

CLIPS = {"animals": 160, "people": 120, VEHICLES: 120}
"""How many clips are drawn of each of these kinds, under `moving`."""

POSES = 10
"""Frames of a clip."""

STEP, DRIFT = (0.03, 0.12), 25.0
"""Part of an animation from frame to frame; degrees that the eye goes round in a clip, typically."""

MOVES = ("idle", "walk", "run", "attack_melee", "attack_ranged", "gather", "promotion")
"""Animations that show a thing alive."""

MIN_SIDE, MIN_WHOLE = SIDES[0], 0.93
"""Drawings smaller than this many pixels, or of which the largest piece is less than this share, are drawn again:
shoals of fish, and things whose parts the game brings together by other means."""

MOST_ATTEMPTS = 500
"""Drawings begun for one picture; a few are enough."""


class Models(Protocol):
    """Where models come from."""

    @property
    def path(self) -> object:
        """Named in errors."""

    def pieces(self, name: str, generator: np.random.Generator, moment: Moment) -> list[Piece]:
        """What the model `name` looks like at a moment; none if there is nothing of it to draw."""


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
    """uint8 RGBA [h w 4] with a longer side of `side`, None if nothing of it is to be seen."""
    drawn = draw_poses([pieces], side, generator)
    return None if drawn is None else drawn[0]


def draw_poses(
    poses: list[list[Piece]], side: int, generator: np.random.Generator, drift: float = 0.0
) -> list[NDArray[np.uint8]] | None:
    """A thing in several poses: uint8 RGBA [h w 4] each, in one frame with a longer side of `side`.

    drift: radians that the eye goes round from the first to the last. None if nothing is to be seen in one of them.
    Triangles are painted from the farthest to the nearest at twice the size, as numbers; then every pixel finds its
    place on the texture and in the light.
    """
    eye, centre = _camera(np.concatenate([piece.vertices for pieces in poses for piece in pieces]), generator)
    eyes = [eye @ _turn(angle) for angle in np.linspace(0, drift, len(poses))]
    places = _project(poses, eyes, centre, 2 * side, generator)
    width, height = (int(np.ceil(length)) + 1 for length in np.max([screen.max(0) for screen, _ in places], 0))
    if min(width, height) < 8:
        return None
    light = Light.draw(generator)
    images = []
    for pieces, eye, (screen, depth) in zip(poses, eyes, places):
        image = _layer(pieces, screen, depth, eye, light, (height, width))
        if any(piece.see_through for piece in pieces):
            # Behind the clear parts of a mane or a sail is what has no clear parts.
            solid = _layer(pieces, screen, depth, eye, light, (height, width), see_through=False)
            image = np.where(image[..., 3:] > 0, image, solid)
        if (image[..., 3] > 0).sum() < 64:
            return None
        images.append(_shrink(image))
    return images


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
    poses: list[list[Piece]], eyes: list[Array], centre: Array, side: int, generator: np.random.Generator
) -> list[tuple[Array, Array]]:
    """For each pose, the places of all vertices on the picture [n 2], over all poses from 0 to `side` pixels, and how
    far they are from the eye [n].
    """
    turned = [
        (np.concatenate([piece.vertices for piece in pieces]) - centre) @ eye.T for pieces, eye in zip(poses, eyes)
    ]
    reach = max(np.abs(points).max() for points in turned) + 1e-9
    distance = generator.uniform(3, 12)
    depths = [distance - points[:, 2] / reach for points in turned]
    screens = [points[:, :2] / reach / depth[:, None] * np.array([1, -1]) for points, depth in zip(turned, depths)]
    corner = np.min([screen.min(0) for screen in screens], 0)
    scale = side / max((screen - corner).max() for screen in screens)
    return [((screen - corner) * scale, depth) for screen, depth in zip(screens, depths)]


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
    tilt = np.array([[1, 0, 0], [0, np.cos(up), -np.sin(up)], [0, np.sin(up), np.cos(up)]])
    return tilt @ _turn(around), (points.min(0) + points.max(0)) / 2


def _turn(angle: float) -> Array:
    """The rotation about the upright axis."""
    sine, cosine = np.sin(angle), np.cos(angle)
    return np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])


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


def picture(models: Models, names: list[str], side: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """A random model in a random pose; another where `ArtworkFolder` would see no object in the first.

    Raises `InputError` where none of many can be drawn, as in an archive without the game's converted files.
    """
    generator = np.random.default_rng(seed)
    for _ in range(MOST_ATTEMPTS if names else 0):
        name = names[generator.integers(len(names))]
        moment = Moment(tuple(generator.permutation(MOVES)), generator.random(), generator.random())
        pieces = models.pieces(name, generator, moment)
        drawn = draw(pieces, side, generator) if pieces else None
        whole = None if drawn is None else keep_largest(drawn)
        if whole is not None and min(whole.shape[:2]) >= MIN_SIDE and object_mask(framed(whole)).any():
            return whole
    raise _nothing_drawn(models, names)


def _nothing_drawn(models: Models, names: list[str]) -> InputError:
    return InputError(
        f"of {len(names)} models in {models.path} none could be drawn; files are wanted as games ship them, those of "
        "0 A.D. converted (.cached.pmd, .cached.dds)"
    )


def moving(models: Models, names: list[str], side: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """A random model that moves while the eye goes round it: uint8 RGBA [`POSES` h w 4].

    Raises `InputError` where none of many can be drawn.
    """
    generator = np.random.default_rng(seed)
    for _ in range(MOST_ATTEMPTS if names else 0):
        name = names[generator.integers(len(names))]
        looks = int(generator.integers(2**32))
        moves = (*generator.permutation([move for move in MOVES if move != "idle"]), "idle")
        recording, start, step = generator.random(), generator.random(), generator.uniform(*STEP)
        moments = [Moment(moves, recording, (start + k * step) % 1) for k in range(POSES)]
        poses = [models.pieces(name, np.random.default_rng(looks), moment) for moment in moments]
        drift = np.radians(generator.normal(0, DRIFT))
        drawn = draw_poses(poses, side, generator, drift) if all(poses) else None
        kept = [largest_piece(frame) for frame in drawn or ()]
        whole = [frame for frame in kept if frame is not None]
        if len(whole) == POSES:
            clip = np.stack(whole)
            rows, columns = (np.flatnonzero((clip[..., 3] > 127).any(axes)) for axes in ((0, 2), (0, 1)))
            clip = clip[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            if min(clip.shape[1:3]) >= MIN_SIDE:
                return np.pad(clip, ((0, 0), (8, 8), (8, 8), (0, 0)))
    raise _nothing_drawn(models, names)


def largest_piece(drawn: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """A drawing without all but its largest piece, None if that is too small a part of all."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats((drawn[..., 3] > 127).astype(np.uint8))
    areas = stats[1:, cv2.CC_STAT_AREA]
    if not len(areas) or areas.max() < MIN_WHOLE * areas.sum():
        return None
    # Its soft edge belongs to it too.
    near = cv2.dilate((labels == 1 + areas.argmax()).astype(np.uint8), np.ones((3, 3), np.uint8))
    return drawn * near[..., None]


def keep_largest(drawn: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The largest piece of a drawing by itself, None if it is too small a part of all."""
    kept = largest_piece(drawn)
    if kept is None:
        return None
    x, y, width, height = cv2.boundingRect((kept[..., 3] > 127).astype(np.uint8))
    return np.pad(kept[y : y + height, x : x + width], ((2, 2), (2, 2), (0, 0)))


@dataclass(frozen=True)
class Job:
    """Picture number n of a kind, or a clip."""

    kind: str
    number: int
    moving: bool = False


class Writer:
    """Draws pictures and clips into a folder; one by one in processes of its own.

    vehicles: folders of models in AC3D's format, may be none. Raises `InputError` for models that cannot be opened.
    """

    def __init__(self, game: Path, vehicles: tuple[Path, ...], out: Path, side: int, seed: int) -> None:
        self.game, self.fleet = Game(game), Fleet(vehicles)
        self.out, self.side, self.seed = out, side, seed

    def __call__(self, job: Job) -> None:
        """Draw a picture or a clip, unless it is there."""
        kinds = [*KINDS, VEHICLES]
        seed = (self.seed, kinds.index(job.kind), job.number)
        if job.kind == VEHICLES:
            models: Models = self.fleet
            names = self.fleet.folder(job.number)
        else:
            models, names = self.game, self.game.actors(KINDS[job.kind][0])
        if job.moving:
            self._write_clip(models, names, job, (*seed, 1))
        else:
            self._write_picture(models, names, job, seed)

    def _write_picture(self, models: Models, names: list[str], job: Job, seed: tuple[int, ...]) -> None:
        path = self.out / job.kind / f"{job.number:04}.png"
        if path.exists():
            return
        drawn = picture(models, names, self.side, seed)
        # What is there is kept the next time, so it must be whole.
        partial_path = path.with_name(f"{path.name}.partial")
        partial_path.write_bytes(cv2.imencode(".png", drawn[..., [2, 1, 0, 3]])[1].tobytes())
        os.replace(partial_path, path)

    def _write_clip(self, models: Models, names: list[str], job: Job, seed: tuple[int, ...]) -> None:
        name = f"{job.kind}-{job.number:04}"
        frames, masks = (self.out / "moving" / folder / name for folder in (FRAME_FOLDER, MASK_FOLDER))
        if frames.exists():
            return
        partial_path = frames.parents[1] / f"{name}.partial"
        for folder in (frames.parent, masks, partial_path):
            folder.mkdir(parents=True, exist_ok=True)
        for k, rgba in enumerate(moving(models, names, self.side, seed)):
            opaque = rgba[..., 3] > 127
            colour = rgba[..., :3].copy()
            # The ground is of the thing's own colour: what a JPEG smears over the edge does not show.
            colour[~opaque] = colour[opaque].mean(0)
            Image.fromarray(colour).save(partial_path / f"{k:05}.jpg", quality=95, subsampling=0)
            write_index_png(masks / f"{k:05}.png", opaque.astype(np.uint8))
        os.replace(partial_path, frames)


_writers: list[Writer] = []
"""This process's own, once it is told what to write."""


def _start(game: Path, vehicles: tuple[Path, ...], out: Path, side: int, seed: int) -> None:
    cv2.setNumThreads(1)
    _writers.append(Writer(game, vehicles, out, side, seed))


def _work(job: Job) -> None:
    _writers[0](job)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", type=Path, required=True, help="the game's public.zip")
    parser.add_argument("--vehicles", type=Path, nargs="+", default=[], help="folders of models, .ac or .acc")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to; what is there is kept")
    parser.add_argument("--side", type=int, default=360, help="longer side of a picture in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    settings = (options.game, tuple(options.vehicles), options.out, options.side, options.seed)
    Writer(*settings)  # what cannot be opened is said before anything is written
    counts = {kind: count for kind, (_, count) in KINDS.items()}
    if options.vehicles:
        counts[VEHICLES] = NUM_VEHICLES
    jobs = [Job(kind, number) for kind, count in counts.items() for number in range(count)]
    clips = {kind: count for kind, count in CLIPS.items() if kind in counts}
    jobs += [Job(kind, number, moving=True) for kind, count in clips.items() for number in range(count)]
    for kind in counts:
        (options.out / kind).mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context("spawn")
    with context.Pool(options.processes, initializer=_start, initargs=settings) as pool:
        for done, _ in enumerate(pool.imap_unordered(_work, jobs, chunksize=8), 1):
            if done % 100 == 0:
                print(f"{done}/{len(jobs)}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(str(error)) from None
