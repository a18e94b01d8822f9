"""`tools/render_models.py` and `render_scenery.py` on models made here: a box on two bones, of which one turns, and a
cart."""

import importlib
import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from masklet.data.layouts.artwork import ArtworkFolder
from masklet.data.layouts.clip_folders import ClipFolders
from masklet.errors import InputError

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tools():
    """The files of the tool, which is not part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        names = ("game_models", "render_models", "ac3d_models")
        yield tuple(importlib.import_module(name) for name in names)
    for name in names:
        del sys.modules[name]


@pytest.fixture(scope="module")
def models(tools):
    return tools[0]


@pytest.fixture(scope="module")
def painter(tools):
    return tools[1]


@pytest.fixture(scope="module")
def vehicles(tools):
    return tools[2]


@pytest.fixture(scope="module")
def scenery(tools):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        yield importlib.import_module("render_scenery")
    del sys.modules["render_scenery"]


STILL = (0, 0, 0, 0, 0, 0, 1)
"""A bone's place, and its turn as a quaternion: none."""


LEAN = "<variant><animations><animation name='Idle' file='lean.dae'/></animations></variant>"
ACTOR = (
    "<actor><group><variant file='lean.xml'><mesh>box.dae</mesh>"
    "<textures><texture name='baseTex' file='red.png'/></textures>{props}</variant></group></actor>"
)


def box_mesh():
    """A cube from 0 to 1 whose upper corners (y = 1) hang on bone 1, the others on bone 0; a point `top` above it."""
    corners = [(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)]
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [tri for a, b, c, d in sides for tri in ((a, b, c), (a, c, d))]
    body = struct.pack("<II", len(corners), 1)
    for x, y, z in corners:
        normal = np.array([x, y, z]) - 0.5
        body += struct.pack("<3f3f2f4B4f", x, y, z, *normal, x, y, y, 255, 255, 255, 1, 0, 0, 0)
    body += struct.pack("<I", len(triangles)) + b"".join(struct.pack("<3H", *tri) for tri in triangles)
    body += struct.pack("<I", 2) + struct.pack("<7f", *STILL) * 2
    body += struct.pack("<II", 1, 3) + b"top" + struct.pack("<7fB", 0, 1, 0, 0, 0, 0, 1, 1)
    return b"PSMD" + struct.pack("<II", 4, len(body)) + body


def leaning():
    """Two frames: as modelled, and with bone 1 moved by 1 along x."""
    states = [STILL, STILL, STILL, (1, *STILL[1:])]
    body = struct.pack("<I", 4) + b"lean" + struct.pack("<fII", 33.3, 2, 2)
    body += b"".join(struct.pack("<7f", *state) for state in states)
    return b"PSSA" + struct.pack("<II", 1, len(body)) + body


@pytest.fixture
def archive(tmp_path):
    texture = io.BytesIO()
    Image.fromarray(np.full((8, 8, 4), (200, 60, 30, 255), np.uint8)).save(texture, "DDS")
    with zipfile.ZipFile(tmp_path / "public.zip", "w") as file:
        file.writestr("art/meshes/box.dae.cached.pmd", box_mesh())
        file.writestr("art/animation/lean.dae.cached.psa", leaning())
        file.writestr("art/textures/skins/red.png.cached.dds", texture.getvalue())
        file.writestr("art/variants/lean.xml", LEAN)
        file.writestr("art/actors/fauna/box.xml", ACTOR.format(props=""))
        prop = "<props><prop attachpoint='top' actor='fauna/box.xml'/></props>"
        file.writestr("art/actors/fauna/tower.xml", ACTOR.format(props=prop))
    return tmp_path / "public.zip"


def place(models, archive, actor, phase):
    game = models.Game(archive)
    moment = models.Moment(("idle",), 0.0, phase)
    return list(models.build(game, actor, np.random.default_rng(0), moment, np.eye(4)))


def test_a_mesh_and_an_animation_are_read(models):
    mesh = models.read_mesh(box_mesh())
    assert mesh.vertices.shape == (8, 3) and mesh.triangles.shape == (12, 3) and mesh.rest.shape == (2, 4, 4)
    at, bone = mesh.points["top"]
    assert bone == 1 and at[:3, 3].tolist() == [0, 1, 0]
    frames = models.read_animation(leaning())
    assert frames.shape == (2, 2, 4, 4) and frames[1, 1, :3, 3].tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match="PMD version 3 or 4"):
        models.read_mesh(b"PSMD" + struct.pack("<III", 9, 0, 0))


def test_turns_are_rotations(models):
    half = np.sqrt(0.5)
    quarter = np.array([((0, 0, 0), (0, 0, half, half))], [("place", "<f4", 3), ("turn", "<f4", 4)])
    assert np.allclose(models.matrices(quarter)[0, :3, :3] @ [1, 0, 0], [0, 1, 0], atol=1e-6)


def test_bones_carry_their_vertices_and_attached_things_ride_on_them(models, archive):
    (before,), (after,) = (place(models, archive, "fauna/box.xml", phase) for phase in (0.0, 0.9))
    moved = after.vertices - before.vertices
    assert np.allclose(moved, [[y, 0, 0] for y in before.vertices[:, 1]])
    _, upper = place(models, archive, "fauna/tower.xml", 0.9)
    assert np.allclose(upper.vertices - after.vertices, [1, 1, 0])


def test_pictures_have_a_clear_ground_and_depend_on_the_seed_alone(models, painter, archive):
    game = models.Game(archive)
    actors = game.actors(("fauna/",))
    assert actors == ["fauna/box.xml", "fauna/tower.xml"]
    first = painter.picture(game, actors, 96, (0, 0, 1))
    again = painter.picture(models.Game(archive), actors, 96, (0, 0, 1))
    other = painter.picture(game, actors, 96, (0, 0, 2))
    assert np.array_equal(first, again)
    assert first.shape != other.shape or not np.array_equal(first, other)
    assert 90 <= max(first.shape[:2]) <= 104
    opaque = first[..., 3] > 127
    assert opaque.mean() > 0.3 and not opaque[:2].any() and not opaque[:, -2:].any()
    red, green, _ = first[opaque][:, :3].astype(float).mean(0)
    assert red > 2 * green


def write(painter, archive, folder, number):
    (folder / "animals").mkdir(exist_ok=True)
    painter.Writer(archive, (), folder, 96, 0)(painter.Job("animals", number))
    return folder / "animals" / f"{number:04}.png"


def test_all_that_is_drawn_counts_as_artwork(painter, archive, tmp_path):
    for number in range(8):
        write(painter, archive, tmp_path, number)
    artwork = ArtworkFolder(tmp_path)
    assert len(artwork) == 8
    assert all(artwork.clip(number, np.random.default_rng(0), 1).masks.any() for number in range(8))


@pytest.mark.parametrize(("height", "width", "filled"), [(100, 100, 0.17), (360, 50, 0.3), (43, 42, 1.0)])
def test_what_would_not_count_as_artwork_is_drawn_again(models, painter, archive, monkeypatch, height, width, filled):
    """Drawings emptier than a frame around them allows, or too small."""
    sparse, solid = (np.zeros((height, width, 4), np.uint8), np.full((60, 60, 4), 255, np.uint8))
    sparse[:, 0] = sparse[-1] = 255
    sparse[: round(filled * height)] = 255
    waiting = [sparse, solid]
    monkeypatch.setattr(painter, "draw", lambda *_: waiting.pop(0))
    kept = painter.picture(models.Game(archive), ["fauna/box.xml"], 96, (0,))
    assert kept.shape == (64, 64, 4) and not waiting


def test_a_drawing_that_is_killed_leaves_nothing_to_keep(painter, archive, tmp_path, monkeypatch):
    def half(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", half)
        with pytest.raises(KeyboardInterrupt):
            write(painter, archive, tmp_path, 0)
    assert not list(tmp_path.rglob("*.png"))
    with Image.open(write(painter, archive, tmp_path, 0)) as picture:
        assert np.array(picture)[..., 3].any()
    assert [path.name for path in (tmp_path / "animals").iterdir()] == ["0000.png"]


@pytest.mark.parametrize(("step", "drift"), [((0.3, 0.3), 0.0), ((0.0, 0.0), 40.0)])
def test_clips_show_one_thing_that_moves(painter, archive, tmp_path, monkeypatch, step, drift):
    """Either its bones move, or the eye goes round it."""
    monkeypatch.setattr(painter, "STEP", step)
    monkeypatch.setattr(painter, "DRIFT", drift)
    for _ in range(2):
        painter.Writer(archive, (), tmp_path, 96, 0)(painter.Job("animals", 3, moving=True))
    clips = ClipFolders(tmp_path / "moving")
    assert len(clips) == 1 and len(clips.clips[0]) == painter.POSES
    clip = clips.clip(0, np.random.default_rng(0), painter.POSES)
    assert clip.object_ids == (1,)
    assert all(mask.any() for mask in clip.masks)
    assert len({mask.tobytes() for mask in clip.masks}) > 1, "it moves"
    red, green, _ = clip.frames[clip.masks > 0].astype(float).mean(0)
    assert red > 2 * green


def test_clips_depend_on_the_seed_alone(models, painter, archive):
    game = models.Game(archive)
    first, other = (painter.moving(game, ["fauna/box.xml"], 64, (0, seed)) for seed in (1, 2))
    assert np.array_equal(first, painter.moving(models.Game(archive), ["fauna/box.xml"], 64, (0, 1)))
    assert first.shape != other.shape or not np.array_equal(first, other)


def test_what_falls_to_pieces_while_it_moves_is_drawn_again(models, painter, archive, monkeypatch):
    """The first drawing has two halves in its last frame."""
    whole = np.zeros((60, 90, 4), np.uint8)
    whole[5:55, 5:85] = 255
    broken = whole.copy()
    broken[:, 40:50] = 0
    waiting = [[whole] * (painter.POSES - 1) + [broken], [whole] * painter.POSES]
    monkeypatch.setattr(painter, "draw_poses", lambda *_: waiting.pop(0))
    clip = painter.moving(models.Game(archive), ["fauna/box.xml"], 96, (0,))
    assert clip.shape == (painter.POSES, 50 + 16, 80 + 16, 4) and not waiting


def test_one_frame_holds_all_poses(models, painter):
    pieces = [quad(models, 0.0, 1.0, 255, False)]
    larger = [quad(models, 0.0, 2.0, 255, False)]
    first, second = painter.draw_poses([pieces, larger], 64, np.random.default_rng(0))
    assert first.shape == second.shape
    assert (second[..., 3] > 127).sum() > 3.5 * (first[..., 3] > 127).sum()


def test_places_have_no_holes_and_depend_on_the_seed_alone(tools, scenery, archive, tmp_path):
    with pytest.raises(InputError, match=r"public\.zip lacks textures of ground, water or skies"):
        scenery.Textures(tools[0].Game(archive))
    with zipfile.ZipFile(archive, "a") as file:
        for name, colour in (
            ("terrain/types/grass.dds", (20, 160, 30)),
            ("animated/water/one/normal0001.png", (90, 160, 250)),
            ("skies/day/front.dds", (120, 170, 250)),
        ):
            grain = np.random.default_rng(0).integers(-15, 6, (32, 32, 1))
            texture = io.BytesIO()
            rgba = np.dstack((np.clip(colour + grain, 0, 255), np.full((32, 32), 255))).astype(np.uint8)
            Image.fromarray(rgba).save(texture, "DDS")
            file.writestr(f"art/textures/{name}.cached.dds", texture.getvalue())
    textures = scenery.Textures(tools[0].Game(archive))
    seen = [scenery.place(textures, 48, 64, np.random.default_rng(seed)) for seed in range(12)]
    assert all(picture.shape == (48, 64, 3) and picture.dtype == np.uint8 for picture in seen)
    assert min(picture.max(-1).min() for picture in seen) > 10, "no pixel is left black"
    greens = [np.mean(picture[..., 1] > picture[..., 2] + 20) for picture in seen]
    assert max(greens) > 0.8 and min(greens) < 0.3
    assert np.array_equal(seen[3], scenery.place(textures, 48, 64, np.random.default_rng(3)))


def quad(models, depth, half, alpha, see_through):
    """A square from -half to half, `depth` nearer than the origin to an eye far along z, of one opacity."""
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], float) * half
    vertices = np.concatenate((corners, np.full((4, 1), depth)), 1)
    texture = np.full((4, 4, 4), (90, 90, 90, alpha), np.uint8)
    normals, places = np.tile([0.0, 0, 1], (4, 1)), np.full((4, 2), 0.5)
    return models.Piece(vertices, normals, places, np.array([(0, 1, 2), (0, 2, 3)]), texture, see_through)


@pytest.mark.parametrize("alpha", [0, 255])
def test_nothing_is_missing_behind_what_is_clear(models, painter, monkeypatch, alpha):
    monkeypatch.setattr(painter, "_camera", lambda points, generator: (np.eye(3), np.zeros(3)))
    pieces = [quad(models, 0.0, 1.0, 255, False), quad(models, 0.2, 0.4, alpha, True)]
    drawn = painter.draw(pieces, 64, np.random.default_rng(0))
    assert (drawn[8:-8, 8:-8, 3] == 255).all()


def test_what_is_no_archive_is_named(models, tmp_path):
    (tmp_path / "notes.txt").write_text("not a zip")
    for name in ("notes.txt", "missing.zip"):
        with pytest.raises(InputError, match=rf"cannot open .*{name} as the game's public\.zip"):
            models.Game(tmp_path / name)


def test_an_archive_that_holds_nothing_to_draw_is_named(models, painter, archive):
    with pytest.raises(InputError, match=r"of 0 models in .*public\.zip none could be drawn"):
        painter.picture(models.Game(archive), [], 96, (0,))


CART = """AC3Db
MATERIAL "paint" rgb 0.2 0.4 0.8 amb 1 1 1 emis 0 0 0 spec 0 0 0 shi 1 trans 0
MATERIAL "odd"rgb 1 1 1 amb 1 1 1 emis 0 0 0 spec 0 0 0 shi 1 trans 0
OBJECT world
kids 3
OBJECT group
loc 0 1 0
data 9
two
lines
kids 2
OBJECT poly
name "bed"
numvert 4
-2 0 -1
2 0 -1
2 0 1
-2 0 1
numsurf 1
SURF 0x20
mat 0
refs 4
0 0 0
1 1 0
2 1 1
3 0 1
kids 0
OBJECT poly
name "flag"
texture "F:\\My FlightGear\\flag.png"
texrep 2 2
numvert 4
0 0 0 0 0 1
1 0 0 0 0 1
0 2 0 0 0 1
1 2 0 0 0 1
numsurf 2
SURF 0x34
mat 1
refs 4
0 0 0 9 9
1 1 0 9 9
2 0 1 9 9
3 1 1 9 9
SURF 0x2
mat 1
refs 2
0 0 0
1 1 0
kids 0
OBJECT poly
name "NavLight"
numvert 3
50 50 50
51 50 50
50 51 50
numsurf 1
SURF 0x20
mat 0
refs 3
0 0 0
1 0 0
2 0 0
kids 0
"""
"""A bed of 4 by 2 and a flag in a group 1 above the ground; a lamp far away; one child too few."""

SETTINGS = """<!DOCTYPE params SYSTEM "params.dtd"><params name="cart">{}</params>"""
AXLE = "<section name='{0} Axle'><attnum name='xpos' val='{1}'/></section>"
WHEEL = (
    "<section name='{0} Wheel'><attnum name='ypos' val='{1}'/><attnum name='rim diameter' val='20'/><attnum "
    "name='tire width' val='200'/><attnum name='tire height-width ratio' val='0.5'/><attnum name='ride height' "
    "val='300'/></section>"
)


@pytest.fixture
def cart(tmp_path, vehicles, monkeypatch):
    """The flag's colours lie in a folder nearby, as liveries do."""
    monkeypatch.setattr(vehicles, "LEAST_BYTES", 1)
    folder, liveries = tmp_path / "carts" / "models", tmp_path / "carts" / "textures" / "red"
    folder.mkdir(parents=True)
    liveries.mkdir(parents=True)
    Image.fromarray(np.full((4, 4, 4), (250, 20, 20, 255), np.uint8)).save(liveries / "flag.png")
    (folder / "cart.ac").write_text(CART)
    return folder / "cart.ac"


def test_vehicles_are_read_with_their_groups_and_textures(vehicles, cart):
    bed, flag = vehicles.read_model(cart)
    assert bed.vertices.min(0).tolist() == [-2, 1, -1] and bed.vertices.max(0).tolist() == [2, 1, 1]
    assert len(bed.triangles) == 2
    assert bed.texture[0, 0].tolist() == [51, 102, 204, 255]
    assert np.allclose(np.abs(bed.normals) / np.linalg.norm(bed.normals, axis=1, keepdims=True), [0, 1, 0])
    assert len(flag.triangles) == 2, "a strip of four corners; lines are not drawn"
    assert flag.vertices[:, 1].max() == 3 and flag.places.max() == 2
    assert flag.texture[0, 0].tolist() == [250, 20, 20, 255] and not flag.see_through


def test_cars_get_the_wheels_of_their_settings(vehicles, cart):
    settings = "".join(AXLE.format(*axle) for axle in (("Front", 1.5), ("Rear", -1.5)))
    corners = {f"{end} {side}": y for end in ("Front", "Rear") for side, y in (("Left", 1), ("Right", -1))}
    settings += "".join(WHEEL.format(*corner) for corner in corners.items())
    cart.with_suffix(".xml").write_text(SETTINGS.format(settings))
    car = cart.with_suffix(".acc")
    car.write_text(CART)
    _, _, *wheels = vehicles.read_model(car)
    corners = np.concatenate([piece.vertices for piece in wheels])
    radius = 10 * 0.0254 + 0.1
    assert corners[:, 1].min() == pytest.approx(1 - 0.3, abs=1e-6), "on the ground, 0.3 under the cart"
    assert corners[:, 1].max() == pytest.approx(0.7 + 2 * radius, abs=1e-6)
    assert np.abs(corners[:, 0]).max() == pytest.approx(1.5 + radius, abs=1e-6)
    assert np.abs(corners[:, 2]).max() == pytest.approx(1.1, abs=0.01)
    assert all(np.isclose(np.linalg.norm(piece.normals, axis=1), 1).all() for piece in wheels)


def test_vehicles_come_from_their_folders_in_turn_and_their_parts_from_none(vehicles, cart, tmp_path):
    other = tmp_path / "other"
    for name in ("Bombardier/plane.ac", "Flightdeck.acc", "lights/NavLight.ac", "wheel3.acc", "notes.act"):
        (other / name).parent.mkdir(parents=True, exist_ok=True)
        (other / name).write_text(CART)
    fleet = vehicles.Fleet((cart.parent, other))
    assert fleet.folder(0) == fleet.folder(2) == [str(cart)]
    assert fleet.folder(1) == [str(other / "Bombardier" / "plane.ac"), str(other / "Flightdeck.acc")]


def test_vehicles_are_often_painted_anew(vehicles, cart):
    fleet = vehicles.Fleet((cart.parent,))
    seen = [fleet.pieces(str(cart), np.random.default_rng(seed), None)[0].texture[0, 0].tolist() for seed in range(12)]
    plain = [51, 102, 204, 255]
    assert 2 <= seen.count(plain) <= 10 and len(set(map(tuple, seen))) > 2
    assert all(colour <= usual for paint in seen for colour, usual in zip(paint, plain, strict=True))


def test_vehicles_are_drawn_and_move_like_all_else(painter, archive, cart, tmp_path):
    writer = painter.Writer(archive, (cart.parent,), tmp_path, 96, 0)
    (tmp_path / "vehicles").mkdir()
    for number in range(2):
        writer(painter.Job("vehicles", number))
    writer(painter.Job("vehicles", 0, moving=True))
    assert len(ArtworkFolder(tmp_path / "vehicles")) == 2
    clip = ClipFolders(tmp_path / "moving").clip(0, np.random.default_rng(0), painter.POSES)
    assert all(mask.any() for mask in clip.masks) and len({mask.tobytes() for mask in clip.masks}) > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("solid cube", r"cart\.ac is not in AC3D's format"),
        (CART[: CART.index("mat 0")], r"cart\.ac, or what belongs to it, ends early or is damaged"),
        (CART.replace("rgb 0.2", "rgb red"), r"cart\.ac, .*damaged.*red"),
        (CART.replace("mat 0", "mat 7", 1), r"cart\.ac, .*damaged.*IndexError"),
        (CART.replace("texrep 2 2", "rot 1 0 0 0 1 0 0 0 1"), r"cart\.ac, .*turned by 'rot' are not read"),
    ],
)
def test_damaged_vehicles_are_named(vehicles, cart, text, message):
    cart.write_text(text)
    with pytest.raises(InputError, match=message):
        vehicles.read_model.__wrapped__(cart)


def test_damaged_textures_and_settings_are_told_with_their_model(vehicles, cart):
    (cart.parents[1] / "textures" / "red" / "flag.png").write_text("no picture")
    with pytest.raises(InputError, match=r"cart\.ac, or what belongs to it.*flag\.png"):
        vehicles.read_model.__wrapped__(cart)
    (cart.parents[1] / "textures" / "red" / "flag.png").unlink()
    _, flag = vehicles.read_model.__wrapped__(cart)
    assert flag.texture[0, 0].tolist() == [255, 255, 255, 255], "its material's colour"
    cart.with_suffix(".xml").write_text("<params>&default;</params>")
    with pytest.raises(InputError, match=r"cart\.ac, or what belongs to it.*undefined entity"):
        vehicles.read_model.__wrapped__(cart)


def test_a_folder_without_vehicles_is_named(painter, archive, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"no models of vehicles \(\.ac, \.acc\) lie in .*none"):
        painter.Writer(archive, (tmp_path / "none",), tmp_path, 96, 0)


def test_what_falls_to_pieces_is_not_kept(painter):
    drawn = np.zeros((40, 40, 4), np.uint8)
    drawn[5:30, 5:20] = 255
    assert painter.keep_largest(drawn).shape[:2] == (25 + 4, 15 + 4)
    drawn[5:30, 25:40] = 255
    assert painter.keep_largest(drawn) is None
