"""The models of 0 A.D. as vertices in space: the game's archive, its meshes and animations, its actors put together.

Source: the game's public documentation of its PMD and PSA formats and of its actors.
"""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masklet.errors import InputError

Array = NDArray[np.float64]

MAX_DEPTH = 4
"""Levels of things attached to things: a rider on a horse, a helmet on the rider, a plume on the helmet."""


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
    """The game's archive. Raises `InputError` where it cannot be opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.archive = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"cannot open {path} as the game's public.zip: {error}") from error
        self.names = frozenset(self.archive.namelist())

    def actors(self, prefixes: tuple[str, ...]) -> list[str]:
        """The actors in some folders, by name."""
        whole = tuple(f"art/actors/{prefix}" for prefix in prefixes)
        return sorted(
            name.removeprefix("art/actors/") for name in self.names if name.startswith(whole) and name.endswith(".xml")
        )

    def pieces(self, name: str, generator: np.random.Generator, moment: Moment) -> list[Piece]:
        """An actor in one of its looks, at one moment."""
        return list(build(self, name, generator, moment, np.eye(4)))

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
        return self.picture(path) if path in self.names else None

    def picture(self, path: str) -> NDArray[np.uint8]:
        """A picture by its place in the archive, uint8 RGBA [h w 4]."""
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
