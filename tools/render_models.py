"""Pictures of three-dimensional models with a transparent ground, as artwork for synthetic scenes.

    python tools/render_models.py --game /usr/share/games/0ad/mods/public/public.zip --out renders

The models are those of the strategy game 0 A.D. (Wildfire Games, CC BY-SA 3.0; Debian: 0ad-data): animals, people on
foot and mounted, ships, engines of war, buildings and rocks, each drawn in random poses of its animations, from random
sides, in random light. Layout of the files: the game's public documentation of its PMD and PSA formats. Picture number
i of a kind depends on the seed and i alone. Nothing of the package needs this; `masklet train nano --renders DIR` does.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.float64]

KINDS: dict[str, tuple[tuple[str, ...], int]] = {
    "animals": (("fauna/",), 1200),
    "people": (("units/",), 1000),
    "buildings": (("structures/",), 250),
    "things": (("props/structures/", "props/special/", "geology/", "flora/"), 350),
}
"""The folder written, the actors it is drawn from, and how many pictures it holds."""

MOVES = ("idle", "walk", "run", "attack_melee", "attack_ranged", "gather", "promotion")
"""Animations that show a thing alive."""

MAX_DEPTH = 4
"""Levels of things attached to things: a rider on a horse, a helmet on the rider, a plume on the helmet."""

MIN_SIDE, MIN_COVER, MIN_WHOLE = 40, 0.08, 0.93
"""Drawings smaller than this many pixels, emptier than this share of their box, or of which the largest piece is less
than this share, are drawn again: shoals of fish, and things whose parts the game brings together by other means."""


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices [n 3] with normals, texture places [n 2], up to four bones with weights [n 4]; triangles [m 3].

    rest: [bones 4 4] where the bones are as modelled; points: attachment points as (place relative to the bone, bone).
    """

    vertices: Array
    normals: Array
    places: Array
    bones: NDArray[np.uint8]
    weights: Array
    triangles: NDArray[np.int64]
    rest: Array
    points: dict[str, tuple[Array, int]]


@dataclass
class Look:
    """What an actor's randomly chosen variants add up to."""

    mesh: str = ""
    textures: dict[str, str] = field(default_factory=dict)
    animations: dict[str, list[str]] = field(default_factory=dict)
    props: dict[str, list[str]] = field(default_factory=dict)
    material: str = ""


@dataclass(frozen=True)
class Moment:
    """What all parts of a thing are doing: the first of `moves` that a part knows, which recording of it, and when.

    recording, phase: 0 to 1, exclusive.
    """

    moves: tuple[str, ...]
    recording: float
    phase: float


@dataclass(frozen=True, eq=False)
class Piece:
    """One mesh placed in the world: what the painter paints."""

    vertices: Array
    normals: Array
    places: Array
    triangles: NDArray[np.int64]
    texture: NDArray[np.uint8]
    see_through: bool


class Game:
    """The game's archive."""

    def __init__(self, path: Path) -> None:
        self.archive = zipfile.ZipFile(path)
        self.names = frozenset(self.archive.namelist())

    def actors(self, prefixes: tuple[str, ...]) -> list[str]:
        """The actors in some folders, by name."""
        whole = tuple(f"art/actors/{prefix}" for prefix in prefixes)
        return sorted(
            name.removeprefix("art/actors/") for name in self.names if name.startswith(whole) and name.endswith(".xml")
        )

    def tree(self, name: str) -> ElementTree.Element | None:
        """An XML file, None if it is not there."""
        return ElementTree.fromstring(self.archive.read(name)) if name in self.names else None

    @lru_cache(maxsize=64)  # noqa: B019 - one archive lives as long as its process
    def mesh(self, name: str) -> Mesh | None:
        path = f"art/meshes/{name}.cached.pmd"
        return read_mesh(self.archive.read(path)) if path in self.names else None

    @lru_cache(maxsize=64)  # noqa: B019
    def animation(self, name: str) -> Array | None:
        path = f"art/animation/{name}.cached.psa"
        return read_animation(self.archive.read(path)) if path in self.names else None

    @lru_cache(maxsize=64)  # noqa: B019
    def texture(self, name: str) -> NDArray[np.uint8] | None:
        """uint8 RGBA [h w 4]."""
        path = f"art/textures/skins/{name}.cached.dds"
        if path not in self.names:
            return None
        with Image.open(io.BytesIO(self.archive.read(path))) as picture:
            return np.asarray(picture.convert("RGBA"))


class Reader:
    """Little-endian numbers one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def integer(self) -> int:
        (value,) = struct.unpack_from("<I", self.data, self.at)
        self.at += 4
        return int(value)

    def text(self) -> str:
        length = self.integer()
        self.at += length
        return self.data[self.at - length : self.at].decode("latin-1")

    def array(self, kind: Any, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, np.dtype(kind), count, self.at)
        self.at += values.nbytes
        return values


_STATE = [("place", "<f4", 3), ("turn", "<f4", 4)]


def read_mesh(data: bytes) -> Mesh:
    """A mesh of version 3 or 4 of the PMD format. Raises `ValueError` for another."""
    reader = Reader(data[4:])
    version, _, count = reader.integer(), reader.integer(), reader.integer()
    if data[:4] != b"PSMD" or version not in (3, 4):
        raise ValueError(f"not a mesh of PMD version 3 or 4: {data[:8]!r}")
    layers = reader.integer() if version == 4 else 1
    vertex = [
        ("place", "<f4", 3),
        ("normal", "<f4", 3),
        ("uv", "<f4", (layers, 2)),
        ("bones", "u1", 4),
        ("weights", "<f4", 4),
    ]
    vertices = reader.array(vertex, count)
    triangles = reader.array("<u2", 3 * reader.integer()).reshape(-1, 3)
    rest = matrices(reader.array(_STATE, reader.integer()))
    points = {}
    for _ in range(reader.integer()):
        name = reader.text()
        (place,) = matrices(reader.array(_STATE, 1))
        points[name] = place, int(reader.array("u1", 1)[0])
    return Mesh(
        vertices["place"].astype(np.float64),
        vertices["normal"].astype(np.float64),
        vertices["uv"][:, 0].astype(np.float64),
        vertices["bones"],
        vertices["weights"].astype(np.float64),
        triangles.astype(np.int64),
        rest,
        points,
    )


def read_animation(data: bytes) -> Array:
    """Where every bone is at every moment, [frames bones 4 4], from a PSA file."""
    reader = Reader(data[12:])
    reader.text()
    reader.array("<f4", 1)
    bones, frames = reader.integer(), reader.integer()
    return matrices(reader.array(_STATE, frames * bones)).reshape(frames, bones, 4, 4)


def matrices(states: NDArray[Any]) -> Array:
    """[n 4 4] from places and quaternions (x y z w)."""
    x, y, z, w = states["turn"].astype(np.float64).T
    result = np.tile(np.eye(4), (len(states), 1, 1))
    result[:, :3, :3] = np.moveaxis(
        np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        ),
        -1,
        0,
    )
    result[:, :3, 3] = states["place"]
    return result


def choose_look(game: Game, actor: str, generator: np.random.Generator) -> Look:
    """One variant of each group of an actor, later ones over earlier ones."""
    look = Look()
    tree = game.tree(f"art/actors/{actor}")
    if tree is None:
        return look
    look.material = tree.findtext("material") or ""
    for group in tree.iter("group"):
        variants = group.findall("variant")
        if variants:
            odds = np.array([float(variant.get("frequency", 0)) for variant in variants])
            odds = odds / odds.sum() if odds.sum() > 0 else np.full(len(variants), 1 / len(variants))
            _add_variant(game, look, variants[generator.choice(len(variants), p=odds)])
    return look


def _add_variant(game: Game, look: Look, variant: ElementTree.Element) -> None:
    if base := variant.get("file"):
        tree = game.tree(f"art/variants/{base}")
        if tree is not None:
            _add_variant(game, look, tree)
    look.mesh = (variant.findtext("mesh") or look.mesh).strip()
    for texture in variant.iter("texture"):
        look.textures[texture.get("name", "")] = texture.get("file", "")
    moves: dict[str, list[str]] = {}
    for animation in variant.iter("animation"):
        if animation.get("file"):
            moves.setdefault(animation.get("name", "").lower(), []).append(animation.get("file", ""))
    look.animations |= moves
    props: dict[str, list[str]] = {}
    for prop in variant.iter("prop"):
        props.setdefault(prop.get("attachpoint", "root"), []).append(prop.get("actor") or "")
    look.props |= props


def build(
    game: Game, actor: str, generator: np.random.Generator, moment: Moment, place: Array, depth: int = 0
) -> Iterator[Piece]:
    """The pieces of an actor at `place` [4 4], with what is attached to it."""
    look = choose_look(game, actor, generator)
    mesh = game.mesh(look.mesh) if look.mesh else None
    if mesh is None:
        return
    bones = _pose(game, look, mesh, moment)
    texture = game.texture(look.textures.get("baseTex", ""))
    if texture is not None:
        vertices, normals = _bend(mesh, bones)
        yield Piece(
            vertices @ place[:3, :3].T + place[:3, 3],
            normals @ place[:3, :3].T,
            mesh.places,
            mesh.triangles,
            _painted(texture, look.material, generator),
            see_through=_see_through(look.material),
        )
    if depth == MAX_DEPTH:
        return
    for point, actors in look.props.items():
        name = point.removeprefix("prop-").removeprefix("prop_")
        if name != "root" and name not in mesh.points:
            continue
        local, bone = mesh.points.get(name, (np.eye(4), 255))
        if bone < len(bones):
            local = bones[bone] @ local
        for prop in filter(None, actors):
            yield from build(game, prop, generator, moment, place @ local, depth + 1)


def _pose(game: Game, look: Look, mesh: Mesh, moment: Moment) -> Array:
    """Where the bones are, [bones 4 4]: at a moment of an animation, or as modelled if there is none that fits."""
    move = next((name for name in moment.moves if name in look.animations), None)
    if move is not None and len(mesh.rest):
        files = look.animations[move]
        frames = game.animation(files[int(moment.recording * len(files))])
        if frames is not None and frames.shape[1] == len(mesh.rest):
            return frames[int(moment.phase * len(frames))]
    return mesh.rest


def _bend(mesh: Mesh, bones: Array) -> tuple[Array, Array]:
    """Vertices and normals where the bones carry them; what no bone holds stays."""
    if not len(mesh.rest):
        return mesh.vertices, mesh.normals
    moved = np.concatenate((bones @ np.linalg.inv(mesh.rest), np.eye(4)[None]))
    weights = np.where(mesh.bones < len(mesh.rest), mesh.weights, 0)
    free = np.maximum(1 - weights.sum(1), 0)
    blend = np.einsum("nk,nkij->nij", weights, moved[np.minimum(mesh.bones, len(mesh.rest))])
    blend += free[:, None, None] * np.eye(4)
    vertices = np.einsum("nij,nj->ni", blend[:, :3, :3], mesh.vertices) + blend[:, :3, 3]
    return vertices, np.einsum("nij,nj->ni", blend[:, :3, :3], mesh.normals)


def _see_through(material: str) -> bool:
    return material.startswith(("basic_trans", "trans_wind", "blend"))


def _painted(texture: NDArray[np.uint8], material: str, generator: np.random.Generator) -> NDArray[np.uint8]:
    """The texture with a player's colour where it is transparent, if the material says so."""
    if not material.startswith(("player", "objectcolor")):
        return texture
    colour = generator.integers(0, 256, 3)
    alpha = texture[..., 3:] / 255.0
    mixed = texture[..., :3] * (alpha + (1 - alpha) * colour / 255.0)
    return np.concatenate((mixed.astype(np.uint8), np.full_like(texture[..., 3:], 255)), -1)


def draw(pieces: list[Piece], side: int, generator: np.random.Generator) -> NDArray[np.uint8] | None:
    """uint8 RGBA [h w 4] with a longer side of `side`, None if nothing of it is to be seen.

    Triangles are painted from the farthest to the nearest at twice the size, as numbers; then every pixel finds its
    place on the texture and in the light.
    """
    points = np.concatenate([piece.vertices for piece in pieces])
    eye, centre = _camera(points, generator)
    turned = (points - centre) @ eye.T
    reach = np.abs(turned).max() + 1e-9
    depth = generator.uniform(3, 12) - turned[:, 2] / reach
    screen = turned[:, :2] / reach / depth[:, None] * np.array([1, -1])
    low, high = screen.min(0), screen.max(0)
    scale = 2 * side / max(high - low)
    screen = (screen - low) * scale
    width, height = (int(np.ceil(length)) + 1 for length in (high - low) * scale)
    if min(width, height) < 8:
        return None
    offsets = np.cumsum([0] + [len(piece.vertices) for piece in pieces])
    triangles = np.concatenate([piece.triangles + start for piece, start in zip(pieces, offsets)])
    owners = np.repeat(np.arange(len(pieces)), [len(piece.triangles) for piece in pieces])
    numbers = _paint(screen, depth, triangles, width, height)
    rows, columns = np.nonzero(numbers >= 0)
    if len(rows) < 64:
        return None
    chosen = numbers[rows, columns]
    corners = triangles[chosen]
    shares = _shares(screen[corners], np.stack((columns + 0.5, rows + 0.5), -1))
    shares = shares / depth[corners]
    shares /= shares.sum(1, keepdims=True)
    normals = np.concatenate([piece.normals for piece in pieces])[corners]
    places = np.concatenate([piece.places for piece in pieces])[corners]
    normal = np.einsum("nk,nki->ni", shares, normals) @ eye.T
    place = np.einsum("nk,nki->ni", shares, places)
    colours = np.zeros((len(rows), 4), np.float64)
    for number, piece in enumerate(pieces):
        mine = owners[chosen] == number
        colours[mine] = _sample(piece.texture, place[mine])
        if not piece.see_through:
            colours[mine, 3] = 255
    colours[:, :3] *= _light(normal, generator)
    image = np.zeros((height, width, 4), np.float32)
    image[rows, columns] = np.clip(colours, 0, 255)
    image[..., 3] = np.where(image[..., 3] > 127, 255, 0)
    return _shrink(image)


def _camera(points: Array, generator: np.random.Generator) -> tuple[Array, Array]:
    """A random view: rows of the rotation from the world (y up) to the eye, and what it looks at."""
    around, up = generator.uniform(0, 2 * np.pi), np.radians(np.clip(generator.normal(8, 14), -15, 60))
    sine, cosine = np.sin(around), np.cos(around)
    turn = np.array([[cosine, 0, -sine], [0, 1, 0], [sine, 0, cosine]])
    tilt = np.array([[1, 0, 0], [0, np.cos(up), -np.sin(up)], [0, np.sin(up), np.cos(up)]])
    return tilt @ turn, (points.min(0) + points.max(0)) / 2


def _paint(screen: Array, depth: Array, triangles: NDArray[np.int64], width: int, height: int) -> NDArray[np.int32]:
    """The number of the nearest triangle at each pixel, -1 for none."""
    numbers = np.full((height, width), -1, np.int32)
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
    # Rows of at most 32,000 pixels, which is what the library's remapping takes.
    count = len(places)
    padded = -count % 1024
    grid = [np.pad(axis, (0, padded)).reshape(-1, 1024).astype(np.float32) for axis in (x - 0.5, y - 0.5)]
    sampled = cv2.remap(texture, grid[0], grid[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    return sampled.reshape(-1, 4)[:count].astype(np.float64)


def _light(normals: Array, generator: np.random.Generator) -> Array:
    """What share of each colour [n 3] comes back: a sky, a sun of a warm or a cold colour, and some gloss."""
    normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    sun = generator.normal(0, 1, 3) + np.array([0, 0.8, 0.6])
    sun /= np.linalg.norm(sun)
    warm = generator.normal(0, 0.08)
    colour = np.array([1 + warm, 1, 1 - warm])
    ambient = generator.uniform(0.35, 0.8)
    sky = 1 + 0.25 * normals[:, 1:2]
    strength = generator.uniform(0.3, 1.0)
    lit = np.clip(normals @ sun, 0, None)[:, None]
    gloss = generator.uniform(0, 0.6) * lit ** generator.uniform(4, 30)
    return (ambient * sky + strength * lit * colour + gloss) * generator.uniform(0.8, 1.4)


def _shrink(image: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Half the size, opaque pixels' colours alone mixed."""
    weighted = image.copy()
    weighted[..., :3] *= image[..., 3:] / 255
    size = (max(1, image.shape[1] // 2), max(1, image.shape[0] // 2))
    small = np.asarray(cv2.resize(weighted, size, interpolation=cv2.INTER_AREA))
    small[..., :3] /= np.maximum(small[..., 3:] / 255, 1e-3)
    return np.clip(small, 0, 255).astype(np.uint8)


def picture(game: Game, actors: list[str], side: int, seed: tuple[int, ...]) -> NDArray[np.uint8]:
    """A random actor in a random pose; another where the first shows next to nothing."""
    generator = np.random.default_rng(seed)
    while True:
        actor = actors[generator.integers(len(actors))]
        moment = Moment(tuple(generator.permutation(MOVES)), generator.random(), generator.random())
        pieces = list(build(game, actor, generator, moment, np.eye(4)))
        drawn = draw(pieces, side, generator) if pieces else None
        whole = None if drawn is None else keep_largest(drawn)
        if whole is not None and min(whole.shape[:2]) >= MIN_SIDE and (whole[..., 3] > 127).mean() >= MIN_COVER:
            return whole


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


def _write(job: tuple[str, list[str], int], game_path: Path, out: Path, side: int, seed: int) -> None:
    kind, actors, number = job
    if not hasattr(_write, "game"):
        cv2.setNumThreads(1)
        _write.game = Game(game_path)  # type: ignore[attr-defined]
    path = out / kind / f"{number:04}.png"
    if not path.exists():
        drawn = picture(_write.game, actors, side, (seed, list(KINDS).index(kind), number))  # type: ignore[attr-defined]
        cv2.imwrite(str(path), drawn[..., [2, 1, 0, 3]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--game", type=Path, required=True, help="the game's public.zip")
    parser.add_argument("--out", type=Path, required=True, help="the folder to write to; what is there is kept")
    parser.add_argument("--side", type=int, default=360, help="longer side of a picture in pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    game = Game(options.game)
    jobs = []
    for kind, (prefixes, count) in KINDS.items():
        (options.out / kind).mkdir(parents=True, exist_ok=True)
        actors = game.actors(prefixes)
        jobs += [(kind, actors, number) for number in range(count)]
    work = partial(_write, game_path=options.game, out=options.out, side=options.side, seed=options.seed)
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for done, _ in enumerate(pool.imap_unordered(work, jobs, chunksize=8), 1):
            if done % 100 == 0:
                print(f"{done}/{len(jobs)}", flush=True)


if __name__ == "__main__":
    main()
