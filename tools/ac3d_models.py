"""Models in AC3D's format as vertices in space: the vehicles of FlightGear and TORCS.

Source: the public description of the AC3D file format (version b), and TORCS's additions to it: vertices with normals,
triangle strips, several places on textures.
"""

from __future__ import annotations

import glob
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import product
from pathlib import Path, PureWindowsPath
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from game_models import Array, Moment, Piece
from masklet.errors import InputError

NOT_VEHICLES = re.compile(
    r"(?<!f)light|lod\d|flare|cone|flash|toggle|effect|shadow|wake|strobe|beacon|rembrandt|parks|propeller|wheel|driver"
    r"|steer|crater|bomb(?!ardier)|towrope|banner|crew|pier|hull|pont|datum|flols|superstructure|refuel|tank\.|ssme|oms",
    re.IGNORECASE,
)
"""Paths, within a folder of models, of what is no vehicle: lights, parts, coarse copies."""

NOT_SEEN = re.compile(r"(?<!f)light|wake|flare|shadow", re.IGNORECASE)
"""Names of objects and textures that are not of the thing itself."""

LEAST_BYTES, MOST_BYTES = 8_000, 2_500_000
"""Of a file; smaller ones are signs and parts, larger ones take minutes and are hardly seen better."""

SURFACE, STRIP = 0, 4
"""Kinds of surface that are drawn: polygons, and TORCS's strips of triangles; lines are not."""

SMOOTH = 0x10

SEE_THROUGH = 0.02
"""A texture of which so much is clear is one of railings or rotors, not of a body."""

TYRE, RIM = (24, 24, 26), (150, 152, 156)
"""Colours of wheels."""


@dataclass
class Part:
    """What is drawn with one texture and one material, as triangles with corners of their own."""

    vertices: list[Array] = field(default_factory=list)
    normals: list[Array] = field(default_factory=list)
    places: list[Array] = field(default_factory=list)


class Fleet:
    """The models in some folders, which may be no folders at all. Raises `InputError` for one without models."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        self.path = ", ".join(map(str, folders))
        self.folders = [
            sorted(str(path) for path in folder.rglob("*.ac*") if _is_vehicle(path, folder)) for folder in folders
        ]
        for folder, names in zip(folders, self.folders):
            if not names:
                raise InputError(f"no models of vehicles (.ac, .acc) lie in {folder}")

    def folder(self, number: int) -> list[str]:
        """The models of one folder, picked in turn."""
        return self.folders[number % len(self.folders)]

    def pieces(self, name: str, generator: np.random.Generator, moment: Moment) -> list[Piece]:
        """A vehicle, often painted anew; it has one pose only."""
        pieces = read_model(Path(name))
        if generator.random() < 0.5:
            return pieces
        tint = generator.uniform(0.35, 1.0, 3)
        return [replace(piece, texture=_tinted(piece.texture, tint)) for piece in pieces]


def _is_vehicle(path: Path, folder: Path) -> bool:
    if path.suffix not in (".ac", ".acc") or NOT_VEHICLES.search(path.relative_to(folder).as_posix()):
        return False
    return LEAST_BYTES <= path.stat().st_size <= MOST_BYTES


def _tinted(texture: NDArray[np.uint8], tint: Array) -> NDArray[np.uint8]:
    return np.concatenate(((texture[..., :3] * tint).astype(np.uint8), texture[..., 3:]), -1)


@lru_cache(maxsize=16)
def read_model(path: Path) -> list[Piece]:
    """The pieces of a file, each with one texture or colour. Raises `InputError` for one that cannot be read."""
    lines = iter(path.read_text("latin-1").splitlines())
    if not next(lines, "").startswith("AC3D"):
        raise InputError(f"{path} is not in AC3D's format")
    reader = Reader(lines)
    textures: dict[str, NDArray[np.uint8] | None] = {}
    try:
        reader.read()
        body = []
        for (name, material), part in reader.parts.items():
            if name not in textures:
                textures[name] = _texture(path, name)
            texture = textures[name]
            body.append(_piece(part, _plain_texture(reader.colours[material] * 255) if texture is None else texture))
        return [*body, *_wheels(path.with_suffix(".xml"), body)]
    except (StopIteration, ValueError, IndexError, KeyError, OSError, ElementTree.ParseError) as error:
        raise InputError(f"{path}, or what belongs to it, ends early or is damaged: {error!r}") from error


class Reader:
    """The objects of a file, one within the other."""

    def __init__(self, lines: Iterator[str]) -> None:
        self.lines = lines
        self.colours: list[Array] = []
        self.parts: dict[tuple[str, int], Part] = defaultdict(Part)

    def read(self) -> None:
        """Materials, then the world with all that is in it."""
        for line in self.lines:
            if line.startswith("MATERIAL"):
                self.colours.append(np.array(line.rpartition("rgb ")[2].split()[:3], float))
            elif line.startswith("OBJECT"):
                self._read_object(np.zeros(3))

    def _read_object(self, origin: Array) -> None:
        """One object and its children; `origin` is its parent's place."""
        texture, name = "", ""
        repeat, offset = np.ones(2), np.zeros(2)
        points, normals = np.zeros((0, 3)), None
        for line in self.lines:
            words = shlex.split(line)
            key = words[0] if words else ""
            if key == "name":
                name = words[1]
            elif key == "data":
                self._skip(int(words[1]))
            elif key == "texture" and not texture:
                texture = words[1]
            elif key == "texrep":
                repeat = np.array(words[1:3], float)
            elif key == "texoff":
                offset = np.array(words[1:3], float)
            elif key == "rot":
                raise ValueError("objects turned by 'rot' are not read")
            elif key == "loc":
                origin = origin + np.array(words[1:4], float)
            elif key == "numvert" and int(words[1]):
                rows = np.array([next(self.lines).split() for _ in range(int(words[1]))], float)
                points = rows[:, :3] + origin
                normals = rows[:, 3:6] if rows.shape[1] == 6 else None
            elif key == "numsurf":
                hidden = NOT_SEEN.search(name) or NOT_SEEN.search(PureWindowsPath(texture).name)
                surfaces = [self._read_surface() for _ in range(int(words[1]))]
                if not hidden:
                    self._add(texture, points, normals, surfaces, repeat, offset)
            elif key == "kids":
                for _ in range(int(words[1])):
                    if next(self.lines, "").startswith("OBJECT"):  # some files promise more children than they hold
                        self._read_object(origin)
                return

    def _skip(self, characters: int) -> None:
        while characters > 0:
            characters -= len(next(self.lines)) + 1

    def _read_surface(self) -> tuple[int, int, Array]:
        """Flags, material and corners [n 3]: a vertex's number and its place on the texture."""
        flags, material = int(next(self.lines).split()[1], 16), 0
        for line in self.lines:
            words = line.split()
            if words[0] == "mat":
                material = int(words[1])
            elif words[0] == "refs":
                rows = [next(self.lines).split()[:3] for _ in range(int(words[1]))]
                return flags, material, np.array(rows, float).reshape(-1, 3)
        raise ValueError("a surface has no corners")

    def _add(
        self,
        texture: str,
        points: Array,
        normals: Array | None,
        surfaces: list[tuple[int, int, Array]],
        repeat: Array,
        offset: Array,
    ) -> None:
        triangles = [
            (flags, material, corners[tri]) for flags, material, corners in surfaces for tri in _split(flags, corners)
        ]
        if not triangles:
            return
        corners = np.stack([triangle for _, _, triangle in triangles])
        numbers = corners[..., 0].astype(int)
        across = np.cross(points[numbers[:, 1]] - points[numbers[:, 0]], points[numbers[:, 2]] - points[numbers[:, 0]])
        if normals is None:
            normals = np.zeros_like(points)
            np.add.at(normals, numbers.ravel(), across.repeat(3, 0))
        for number, (flags, material, _) in enumerate(triangles):
            part = self.parts[texture, material]
            smooth = flags & SMOOTH
            part.vertices.append(points[numbers[number]])
            part.normals.append(normals[numbers[number]] if smooth else across[number][None].repeat(3, 0))
            part.places.append(corners[number, :, 1:] * repeat + offset)


def _split(flags: int, corners: Array) -> list[list[int]]:
    """Which corners make triangles: the fan of a polygon, or a strip."""
    count = len(corners)
    if flags & 0xF == SURFACE:
        return [[0, k, k + 1] for k in range(1, count - 1)]
    if flags & 0xF == STRIP:
        return [[k, k + 1, k + 2] if k % 2 == 0 else [k + 1, k, k + 2] for k in range(count - 2)]
    return []


def _texture(model: Path, name: str) -> NDArray[np.uint8] | None:
    """uint8 RGBA [h w 4], beside a model or in a folder nearby, as liveries are; None where it has or finds none."""
    base = PureWindowsPath(name).name  # stored with slashes of either kind
    if not base:
        return None
    nearby = sorted(model.parents[1].rglob(glob.escape(base)))
    path = next((path for path in (model.parent / base, *nearby) if path.is_file()), None)
    if path is None:
        return None
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGBA"))


def _plain_texture(colour: Array) -> NDArray[np.uint8]:
    """One colour [3], 0 to 255, of which black would show no light."""
    return np.tile(np.append(np.clip(colour, 13, 255), 255).astype(np.uint8), (2, 2, 1))


def _piece(part: Part, texture: NDArray[np.uint8]) -> Piece:
    vertices, normals, places = (np.concatenate(rows) for rows in (part.vertices, part.normals, part.places))
    triangles = np.arange(len(vertices)).reshape(-1, 3)
    return Piece(vertices, normals, places, triangles, texture, bool((texture[..., 3] < 64).mean() > SEE_THROUGH))


def _wheels(path: Path, body: list[Piece]) -> list[Piece]:
    """The wheels that TORCS puts under a car by the settings beside it; none for other models."""
    if not body or not path.is_file():
        return []
    sections = {section.get("name"): section for section in ElementTree.parse(path).iter("section")}
    ground = min(piece.vertices[:, 1].min() for piece in body)
    wheels = []
    for axle, side in product(("Front", "Rear"), ("Left", "Right")):
        name = f"{axle} {side} Wheel"
        if name not in sections:
            return []
        values = {entry.get("name"): float(entry.get("val", "nan")) for entry in sections[name].iter("attnum")}
        along = {entry.get("name"): entry.get("val", "nan") for entry in sections[f"{axle} Axle"].iter("attnum")}
        rim, width = values["rim diameter"] * 0.0254 / 2, values["tire width"] / 1000
        radius = rim + width * values["tire height-width ratio"]
        height = ground - values["ride height"] / 1000 + radius
        wheels += _wheel(np.array([float(along["xpos"]), height, values["ypos"]]), radius, rim, width)
    return wheels


def _wheel(centre: Array, radius: float, rim: float, width: float) -> list[Piece]:
    """A tyre and the discs in it, about an axle along z."""
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack((np.cos(angles), np.sin(angles), np.zeros_like(angles)), -1)
    across = np.array([0, 0, width / 2])
    tread = np.stack((radius * ring - across, radius * ring + across), 1)
    later = np.roll(tread, -1, 0)
    strips = np.stack((tread[:, 0], tread[:, 1], later[:, 1], tread[:, 0], later[:, 1], later[:, 0]), 1)
    pieces = [_plain(strips.reshape(-1, 3) + centre, np.repeat(ring, 6, 0), TYRE)]
    for side in (-1, 1):
        for outer, colour, out in ((radius, TYRE, 1.0), (rim, RIM, 1.02)):
            edge = outer * ring
            fan = np.stack((np.zeros_like(edge), edge, np.roll(edge, -1, 0)), 1).reshape(-1, 3)
            normals = np.tile([0.0, 0.0, side], (len(fan), 1))
            pieces.append(_plain(fan + centre + side * out * across, normals, colour))
    return pieces


def _plain(vertices: Array, normals: Array, colour: tuple[int, int, int]) -> Piece:
    """Triangles of one colour, three vertices each."""
    triangles = np.arange(len(vertices)).reshape(-1, 3)
    texture = _plain_texture(np.array(colour))
    return Piece(vertices, normals, np.zeros((len(vertices), 2)), triangles, texture, see_through=False)
