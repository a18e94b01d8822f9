"""Synthetic scenes: perfect masks, chance from the generator alone, and each kind of thing that is pasted."""

import pickle
from dataclasses import replace

import cv2
import numpy as np
import pytest

from masklet.data.clips import Clip, Joined
from masklet.data.colours import NO_JITTER
from masklet.data.synthetic import Actors, Assemblies, CutOuts, Disguises, Glyphs, SceneRange, Shapes, SyntheticClips
from masklet.data.synthetic.assemblies import RELATIVE_SIDE, put_together
from masklet.data.synthetic.finish import FinishRange, motion_kernel
from masklet.data.synthetic.layers import Layer, Shadow, prepare_rgba
from masklet.data.synthetic.motion import MotionRange, draw_camera, draw_elastic, draw_path
from masklet.data.synthetic.parts import draw_part, recolour_parts
from masklet.data.synthetic.scenes import film, renumber
from masklet.data.synthetic.shapes import draw_shape
from masklet.data.synthetic.sprites import MARGIN, Sprite, cut_out
from masklet.data.synthetic.textures import draw_texture
from masklet.errors import InputError

STILL = MotionRange(rest=1.0, leave=0.0, elastic=0.0)
CLEAN = FinishRange(0, 0, 0, 0, 0, 0)
PLAIN = SceneRange(
    objects=(1, 1),
    twin=0,
    squash=1,
    plain=0,
    soft_body=0,
    shadow=0,
    blend=0,
    colour=NO_JITTER,
    motion=STILL,
    finish=CLEAN,
)


class Stills:
    """Dark pictures with a red disc (object 3) and, cut off by the edge, a blue bar (object 9)."""

    def __len__(self):
        return 4

    def clip(self, index, generator, num_frames):
        frame, mask = np.full((96, 128, 3), 10 * index, np.uint8), np.zeros((96, 128), np.uint8)
        cv2.circle(mask, (40, 50), 20, 3, -1)
        mask[30:60, 118:] = 9
        frame[mask == 3] = (250, 20, 20)
        frame[mask == 9] = (20, 20, 250)
        return Clip(frame[None], mask[None], f"still {index}")


class Red:
    """A source of red squares."""

    def sprite(self, generator):
        alpha = np.zeros((40, 40), np.uint8)
        alpha[MARGIN:-MARGIN, MARGIN:-MARGIN] = 255
        return Sprite(np.full((40, 40, 3), (255, 0, 0), np.uint8), alpha)


class Black:
    """A dataset of one black picture without objects."""

    def __len__(self):
        return 1

    def clip(self, index, generator, num_frames):
        return Clip(np.zeros((1, 64, 64, 3), np.uint8), np.zeros((1, 64, 64), np.uint8), "black")


def full(size=64):
    sources = [(CutOuts(Stills()), 1.0), (Disguises(Stills()), 1.0), (Shapes(48, Stills()), 1.0)]
    return SyntheticClips(Stills(), sources, size)


@pytest.mark.parametrize("num_frames", [1, 8])
@pytest.mark.parametrize("soft_body", [0.0, 1.0])
def test_masks_are_what_is_seen(num_frames, soft_body):
    """Red squares over black: the mask is where red is brighter than half, on every frame, however they move."""
    scene = replace(PLAIN, motion=MotionRange(), view=(1.0, 1.0), soft_body=soft_body)
    clips = SyntheticClips(Black(), [(Red(), 1.0)], 64, scene)
    for seed in range(10):
        clip = clips.clip(0, np.random.default_rng(seed), num_frames)
        seen = clip.frames[..., 0] > 127
        differs = seen != (clip.masks > 0)
        assert differs.mean() < 0.002
        assert clip.num_frames == num_frames


def test_the_nearer_thing_hides_the_farther():
    rgba = prepare_rgba(Red().sprite(None), soft_body=False)  # a square of 36 pixels with a clear margin of 2
    frame, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), np.uint16)
    for number, x in ((1, 0), (2, 10)):
        path = np.array([[1.0, 0, x], [0, 1, 0], [0, 0, 1]])
        Layer(rgba[None], path[None], number).paint(frame, mask, 0)
    assert mask[20].tolist() == [0] * 2 + [1] * 10 + [2] * 36 + [0] * 16
    assert (frame[20, :, 0] == 255 * (mask[20] > 0)).all()


def test_one_seed_gives_one_clip():
    first, again, other = (full().clip(1, np.random.default_rng(seed), 3) for seed in (5, 5, 6))
    assert (first.frames == again.frames).all()
    assert (first.masks == again.masks).all()
    assert not (first.frames == other.frames).all()
    assert pickle.loads(pickle.dumps(full())).clip(1, np.random.default_rng(5), 3).object_ids == first.object_ids


def test_the_backgrounds_objects_stay_and_things_are_added():
    numbers = [full().clip(0, np.random.default_rng(seed), 2).object_ids for seed in range(15)]
    assert all(ids for ids in numbers)
    assert len({len(ids) for ids in numbers}) > 2
    clips = SyntheticClips(Stills(), [(Shapes(48), 1.0)], 64, replace(PLAIN, view=(1.0, 1.0), sides=(0.2, 0.3)))
    for seed in range(5):
        clip = clips.clip(0, np.random.default_rng(seed), 1)
        seen = {number: clip.frames[clip.masks == number].mean(0).round() for number in clip.object_ids}
        assert len(seen) == 3, "the disc, the bar, and a thing over them"
        assert seen[1][0] > 150 > seen[2][0], "the disc comes before the bar"


class Binary(Stills):
    """The same pictures with one object, in white of 16 bits."""

    def clip(self, index, generator, num_frames):
        clip = super().clip(index, generator, num_frames)
        return Clip(clip.frames, np.where(clip.masks == 3, 65535, 0).astype(np.uint16), clip.name)


def test_the_numbers_of_a_background_leave_room_for_things():
    clips = SyntheticClips(Binary(), [(Red(), 1.0)], 64, replace(PLAIN, view=(1.0, 1.0), sides=(0.1, 0.2)))
    assert clips.clip(0, np.random.default_rng(0), 2).object_ids == (1, 2)
    assert renumber(np.array([[0, 65535], [7, 7]], np.uint16)).tolist() == [[0, 2], [1, 1]]
    assert renumber(np.array([[5]], np.uint8)).tolist() == [[1]]


def test_things_leave_and_return():
    """With every thing sent on an excursion, some object is seen, then gone, then seen again."""
    motion = MotionRange(leave=1.0, rest=1.0)
    clips = SyntheticClips(Black(), [(Red(), 1.0)], 64, replace(PLAIN, sides=(0.2, 0.3), motion=motion))
    patterns = []
    for seed in range(40):
        clip = clips.clip(0, np.random.default_rng(seed), 8)
        patterns.append("".join("01"[bool(mask.any())] for mask in clip.masks).strip("0"))
    assert any("101" in pattern or "1001" in pattern or "10001" in pattern for pattern in patterns)


def test_a_twin_is_a_second_object_of_the_same_looks():
    scene = replace(PLAIN, objects=(2, 2), twin=1.0, sides=(0.3, 0.3))
    clip = SyntheticClips(Black(), [(Shapes(32), 1.0)], 96, scene).clip(0, np.random.default_rng(2), 1)
    assert len(clip.object_ids) == 2
    means = [clip.frames[0][clip.masks[0] == number].mean(0) for number in clip.object_ids]
    assert np.abs(means[0] - means[1]).max() < 25


def test_the_camera_never_looks_past_the_picture():
    camera = draw_camera(np.linspace(0, 1, 8), np.random.default_rng(0), MotionRange(camera=0.4, rest=0.0))
    white = Clip(np.full((1, 50, 80, 3), 255, np.uint8), np.ones((1, 50, 80), np.uint8), "white")
    for seed in range(10):
        frames, masks = film(white, camera, 48, PLAIN, np.random.default_rng(seed))
        assert frames[:, 2:-2, 2:-2].min() == 255
        assert (masks[:, 2:-2, 2:-2] == 1).all()


def test_motion_begins_where_it_is_told():
    times = np.linspace(0, 1, 5)
    for seed in range(5):
        generator = np.random.default_rng(seed)
        path = draw_path(times, generator, MotionRange(leave=0, rest=0), side=0.5, centre=np.array([0.3, 0.7]))
        np.testing.assert_allclose(path[0] @ (0, 0, 1), (0.3, 0.7, 1))
        assert np.sqrt(np.linalg.det(path[0, :2, :2])) == pytest.approx(0.5)
        np.testing.assert_allclose(draw_camera(times, generator, MotionRange())[0], np.eye(3), atol=1e-12)
    assert not draw_elastic(times, generator, 0.0).any()
    assert draw_elastic(times, generator, 0.1).any()


def test_cut_outs_are_whole_objects_and_show_no_old_background():
    clip = Stills().clip(3, np.random.default_rng(0), 1)
    sprite = cut_out(clip, 3)
    assert (sprite.alpha > 0).sum() == (clip.masks == 3).sum()
    assert not sprite.alpha[:MARGIN].any()
    assert (sprite.colour[sprite.alpha > 0] == (250, 20, 20)).all()
    drawn = [CutOuts(Stills()).sprite(np.random.default_rng(seed)).colour for seed in range(20)]
    reds = [colour[colour.shape[0] // 2, colour.shape[1] // 2, 0] > 200 for colour in drawn]
    assert np.mean(reds) > 0.9  # the bar that the edge cuts off is avoided


@pytest.mark.parametrize("soft_body", [False, True])
@pytest.mark.parametrize("side", [200, 130, 60, 25])
def test_what_was_shrunk_is_painted_within_its_outline(side, soft_body):
    """A square of 200 pixels on a green ground, cut out so closely that its edges are those of the sprite."""
    frame, mask = np.full((240, 240, 3), (0, 255, 0), np.uint8), np.zeros((240, 240), np.uint8)
    mask[20:220, 20:220] = 1
    frame[mask == 1] = (250, 20, 20)
    sprite = cut_out(Clip(frame[None], mask[None], "square"), 1).shrunk(side)
    poses = prepare_rgba(sprite, soft_body=soft_body)[None]
    height, width = poses.shape[1:3]
    to_middle = [[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]]
    turn = np.array([[0.9, -0.4, 128], [0.4, 0.9, 128], [0, 0, 1]]) @ to_middle
    elastic = np.zeros((1, 4, 4, 2), np.float32) if soft_body else None
    scene, painted = np.zeros((256, 256, 3), np.uint8), np.zeros((256, 256), np.uint8)
    Layer(poses, turn[None], 1, elastic).paint(scene, painted, 0)
    true_area = (min(side, 200) * np.sqrt(0.9**2 + 0.4**2)) ** 2
    assert painted.sum() == pytest.approx(true_area, rel=0.1)
    around = cv2.dilate(painted, np.ones((5, 5)))
    assert not scene[around == 0].any(), "nothing is painted that the mask does not hold"
    assert (scene[painted == 1][:, 1] < 40).all(), "and nothing of the old ground"


def test_pictures_without_objects_are_passed_over():
    """One picture in five has an object."""
    mostly_empty = Joined([Black()] * 16 + [Stills()])
    sizes = {CutOuts(mostly_empty).sprite(np.random.default_rng(seed)).alpha.shape for seed in range(15)}
    assert (64, 64) not in sizes


def test_disguises_are_filled_from_the_pictures_named():
    filled = [Disguises(Stills(), Black()).sprite(np.random.default_rng(seed)).colour.any() for seed in range(20)]
    assert 0 < sum(filled) < 20  # black pictures or procedural textures, never the stills' own red


class Growing:
    """A clip of a red bar that grows by 4 rows upwards and 4 downwards from frame to frame."""

    def __len__(self):
        return 1

    def clip(self, index, generator, num_frames):
        frames, masks = np.zeros((num_frames, 96, 64, 3), np.uint8), np.zeros((num_frames, 96, 64), np.uint8)
        for k in range(num_frames):
            masks[k, 48 - 4 * (k + 1) : 48 + 4 * (k + 1), 20:40] = 5
        frames[masks == 5] = (255, 0, 0)
        return Clip(frames, masks, "growing")


def test_actors_keep_their_own_movement():
    poses = Actors(Growing()).poses(np.random.default_rng(0), 4)
    assert [(pose.alpha > 127).sum() for pose in poses] == [20 * 8 * k for k in (1, 2, 3, 4)]
    assert len({pose.alpha.shape for pose in poses}) == 1
    scenes = SyntheticClips(Black(), [(Actors(Growing()), 1.0)], 64, replace(PLAIN, sides=(0.6, 0.6)))
    clip = scenes.clip(0, np.random.default_rng(1), 4)
    areas = (clip.masks == 1).sum((1, 2))
    assert np.allclose(areas / areas[-1], [0.25, 0.5, 0.75, 1], atol=0.05)
    assert ((clip.frames[..., 0] > 127) == (clip.masks > 0)).mean() > 0.99
    assert scenes.clip(0, np.random.default_rng(1), 1).masks.any()


class Crossing(Growing):
    """A disc that comes from outside, crosses the picture by 12 pixels a frame and swings up and down by 3; every pixel
    of it is as light as it lies to the right within the disc."""

    def clip(self, index, generator, num_frames):
        frames, masks = np.zeros((num_frames, 96, 64, 3), np.uint8), np.zeros((num_frames, 96, 64), np.uint8)
        for k in range(num_frames):
            centre = (12 * k - 4, 40 + 3 * (k % 2))
            cv2.circle(masks[k], centre, 10, 1, -1)
            frames[k] = 100 + 8 * np.clip(np.arange(64) - centre[0], -12, 12)[:, None]
        return Clip(frames, masks, "crossing")


def test_actors_leave_their_way_across_the_picture_behind():
    poses = Actors(Crossing()).poses(np.random.default_rng(0), 5)
    height, width = poses[0].alpha.shape
    assert width <= 21 + 2 * MARGIN + 8, "as wide as the disc, with a little for what the edge cut off"
    assert 21 + 3 <= height - 2 * MARGIN <= 21 + 6, "with room for the swing, which is its own"
    places = [np.argwhere(pose.alpha > 127).mean(0) for pose in poses[1:]]
    assert np.ptp([column for _, column in places]) < 6, "of 36, though the edge cuts the first off"
    assert 2 <= np.ptp([row for row, _ in places]) <= 4
    assert (poses[0].alpha > 127).sum() < 0.6 * (poses[2].alpha > 127).sum(), "what was beyond the edge stays unseen"


def test_actors_are_clear_while_they_are_out_of_sight():
    """The disc has left the picture by the seventh frame, and in the last ones its way would lead far beyond it."""
    poses = Actors(Crossing()).poses(np.random.default_rng(0), 20)
    assert len({pose.alpha.shape for pose in poses}) == 1
    assert [bool(pose.alpha.any()) for pose in poses] == [True] * 7 + [False] * 13


def test_paint_goes_along_with_what_moves():
    poses = Actors(Crossing()).poses(np.random.default_rng(0), 5)[2:]
    scene = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    changes = []
    for seed in range(20):
        painted = recolour_parts(poses, scene, np.random.default_rng(seed))
        by_place = []
        for before, after in zip(poses, painted):
            inside = before.alpha > 127
            assert np.array_equal(before.alpha, after.alpha)
            # The colour that each lightness of the disc, which is a place on it, was given.
            lightness = before.colour[inside][:, 0]
            colours = after.colour[inside].astype(float)
            by_place.append([colours[lightness == value].mean(0) for value in range(60, 140, 8)])
        assert np.ptp(by_place, 0).max() < 60
        changes.append(np.abs(by_place[0] - np.arange(60, 140, 8)[:, None]).max())
    assert np.median(changes) > 40


def test_actors_that_never_show_are_named():
    with pytest.raises(InputError, match="black shows no object on its first frame, like all of 20 draws"):
        Actors(Black()).poses(np.random.default_rng(0), 1)


def test_parts_take_other_colours_and_the_outline_stays():
    red = Red().sprite(None)
    blue = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    changed = []
    for seed in range(40):
        (done,) = recolour_parts([red], blue, np.random.default_rng(seed))
        assert np.array_equal(done.alpha, red.alpha)
        inside = done.colour[red.alpha > 127].astype(int)
        changed.append((np.abs(inside - (255, 0, 0)).sum(-1) > 30).mean())
        share = draw_part(red.colour, red.alpha, np.random.default_rng(seed))[red.alpha > 127].mean()
        assert share < 0.7
    assert 0.3 < np.mean(changed) < 0.7
    assert sum(share > 0.95 for share in changed) < 10, "some of nearly every thing stays as it was"
    assert sum(share < 0.05 for share in changed) < 10, "of one lightness, it has no lightest part"
    assert np.array_equal(red.colour, Red().sprite(None).colour), "the thing itself is not painted over"


def test_things_have_parts_as_often_as_asked():
    def colours(share):
        scene = replace(PLAIN, recolour=share, sides=(0.7, 0.7))
        clips = SyntheticClips(Black(), [(Red(), 1.0)], 64, scene)
        drawn = [clips.clip(0, np.random.default_rng(seed), 2) for seed in range(16)]
        return [clip.frames[clip.masks > 0].astype(float).std(0).max() > 25 for clip in drawn]

    assert not any(colours(0.0))
    assert 3 < sum(colours(0.5)) < 9 < sum(colours(1.0))


def test_scenery_takes_the_backgrounds_place_now_and_then():
    scene = replace(PLAIN, objects=(0, 0), scenic=0.5)
    clips = SyntheticClips(Stills(), [(Red(), 1.0)], 64, scene, Black())
    names = [clips.clip(0, np.random.default_rng(seed), 1).name for seed in range(60)]
    assert 15 < names.count("synthetic over black") < 45
    assert set(names) == {"synthetic over black", "synthetic over still 0"}


def test_a_picture_without_objects_is_pasted_whole():
    sprite = CutOuts(Black()).sprite(np.random.default_rng(0))
    assert sprite.alpha.shape == (64, 64)
    assert sprite.alpha.mean() > 200
    assert Disguises(Black()).sprite(np.random.default_rng(0)).alpha.any()


def test_shapes_and_textures_are_varied():
    generator = np.random.default_rng(0)
    shapes = [draw_shape(40, 50, generator) for _ in range(30)]
    shares = [(shape > 127).mean() for shape in shapes]
    assert min(shares) > 0.02
    assert max(shares) < 0.95
    assert np.std(shares) > 0.08
    textures = [draw_texture(32, 40, generator) for _ in range(20)]
    assert all(texture.shape == (32, 40, 3) and texture.std() > 2 for texture in textures)


def test_every_flaw_changes_the_frame():
    frame = np.random.default_rng(0).integers(0, 255, (160, 160, 3)).astype(np.uint8)
    for flaw in ("light", "defocus", "shake", "noise", "low_resolution", "compression"):
        generator = np.random.default_rng(3)
        finish = replace(CLEAN, **{flaw: 1.0}).draw(2, 160, generator)
        assert not (finish.apply(frame, 1, generator) == frame).all(), flaw
    nothing = CLEAN.draw(2, 160, np.random.default_rng(0))
    assert (nothing.apply(frame, 1, np.random.default_rng(0)) == frame).all()


@pytest.mark.parametrize("flaw", ["light", "defocus", "shake", "noise", "low_resolution", "compression"])
@pytest.mark.parametrize("seed", range(4))
def test_no_flaw_shifts_a_picture_off_its_mask(flaw, seed):
    mask = np.zeros((160, 160), bool)
    mask[50:120, 40:90] = True
    generator = np.random.default_rng(seed)
    finish = replace(CLEAN, **{flaw: 1.0}).draw(2, 160, generator)
    frame = finish.apply(np.repeat(mask[..., None], 3, 2) * np.uint8(200), 1, generator)
    seen = frame.mean(-1) > 100 * finish.gains[1]
    offset = np.argwhere(seen).mean(0) - np.argwhere(mask).mean(0)
    assert np.abs(offset).max() < 0.2
    assert (seen != mask).sum() < 0.05 * mask.sum()


def test_soft_bodies_bend_and_others_do_not():
    """The same seeds: a square with straight sides, or one whose sides are not."""
    filled = []
    for soft_body in (0.0, 1.0):
        scene = replace(PLAIN, motion=replace(MotionRange(), perspective=0.0), view=(1.0, 1.0), soft_body=soft_body)
        clips = SyntheticClips(Black(), [(Red(), 1.0)], 128, replace(scene, sides=(0.3, 0.4)))
        shares = []
        for seed in range(10):
            mask = clips.clip(0, np.random.default_rng(seed), 4).masks[-1]
            points = np.argwhere(mask)
            if len(points) == np.count_nonzero(mask[1:-1, 1:-1]) > 500:  # whole
                shares.append(len(points) / np.prod(cv2.minAreaRect(points.astype(np.float32))[1]))
        filled.append(np.mean(shares))
    assert filled[0] > 0.98 and filled[1] < 0.95


def test_shadows_and_soft_edges_are_painted_and_belong_to_nobody():
    rgba, path = (
        prepare_rgba(Red().sprite(None), soft_body=False)[None],
        np.array([[[1.0, 0, 12], [0, 1, 12], [0, 0, 1]]]),
    )
    seen = {}
    for name, more in (
        ("plain", {}),
        ("shadow", {"shadow": Shadow((9.0, 9.0), 1.0, 0.5)}),
        ("soft", {"softness": 0.9}),
    ):
        frame, mask = np.full((64, 64, 3), 100, np.uint8), np.zeros((64, 64), np.uint16)
        Layer(rgba, path, 1, **more).paint(frame, mask, 0)
        seen[name] = frame, mask
    plain, mask = seen["plain"]
    assert all((other == mask).all() for _, other in seen.values())
    assert seen["shadow"][0][mask == 0].min() == 50 and (seen["shadow"][0][mask == 1] == plain[mask == 1]).all()
    between = [((frame[..., 0] > 110) & (frame[..., 0] < 245)).sum() for frame in (plain, seen["soft"][0])]
    assert between[0] == 0 and between[1] > 100


def test_things_come_mirrored_and_in_the_pictures_colours():
    class Halves:
        """Red on the left, green on the right."""

        def sprite(self, generator):
            sprite = Red().sprite(generator)
            colour = sprite.colour.copy()
            colour[:, 20:] = (0, 255, 0)
            return Sprite(colour, sprite.alpha)

    def paint(blend):
        clips = SyntheticClips(Black(), [(Halves(), 1.0)], 64, replace(PLAIN, view=(1.0, 1.0), blend=blend))
        for seed in range(20):
            clip = clips.clip(0, np.random.default_rng(seed), 1)
            yield (
                clip.frames[0][clip.masks[0] > 0].max(),
                [
                    np.argwhere((clip.frames[0, ..., channel] > 60) & (clip.masks[0] > 0)).mean(0)[1]
                    for channel in (0, 1)
                ],
            )

    brightness, sides = zip(*paint(0.0), strict=True)
    assert 4 < sum(red < green for red, green in sides) < 16
    blended, _ = zip(*paint(1.0), strict=True)
    assert np.mean(brightness) - np.mean(blended) > 30


@pytest.mark.parametrize("movement", [(0.0, 0.0), (5.0, 0.0), (-3.0, 4.0), (0.4, -9.7)])
def test_motion_blur_does_not_shift_the_picture(movement):
    kernel = motion_kernel(np.array(movement))
    assert kernel.sum() == pytest.approx(1)
    reach = kernel.shape[0] // 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    assert abs((kernel * rows).sum()) < 1e-6
    assert abs((kernel * columns).sum()) < 1e-6


def square(colour, side=40):
    """A square of one colour with clear borders."""
    alpha = np.zeros((side, side), np.uint8)
    alpha[MARGIN:-MARGIN, MARGIN:-MARGIN] = 255
    return Sprite(np.full((side, side, 3), colour, np.uint8), alpha)


@pytest.mark.parametrize(("in_front", "colour"), [(True, (0, 0, 200)), (False, (255, 0, 0))])
def test_two_things_put_together_cover_what_each_covers(in_front, colour):
    first, second = square((255, 0, 0)), square((0, 0, 200), 20)
    both = put_together(first, second, np.array([-5, 30]), in_front=in_front)
    assert both.alpha.shape == (45, 50)
    expected = np.zeros((45, 50), bool)
    expected[7:43, 2:38] = expected[2:18, 32:48] = True
    np.testing.assert_array_equal(both.alpha > 127, expected)
    assert tuple(both.colour[12, 35]) == colour, "where both lie, the nearer one is seen"
    assert tuple(both.colour[30, 20]) == (255, 0, 0) and tuple(both.colour[5, 45]) == (0, 0, 200)


def test_half_clear_things_mix_with_what_is_behind_them_alone():
    veil = Sprite(np.full((9, 9, 3), 200, np.uint8), np.full((9, 9), 51, np.uint8))
    opaque = Sprite(np.full((9, 9, 3), 100, np.uint8), np.full((9, 9), 255, np.uint8))
    both = put_together(opaque, veil, np.array([0, 3]), in_front=True)
    assert (both.colour[4, 6], both.alpha[4, 6]) == (pytest.approx([120] * 3), 255)
    assert (both.colour[4, 9], both.alpha[4, 9]) == (pytest.approx([200] * 3), 51), "no black shows through"


def test_an_assembly_is_one_object_of_two_kinds():
    """Discs and bars cut out of stills over a black picture: some assemblies show both, under one number."""
    scenes = SyntheticClips(Black(), [(Assemblies([(CutOuts(Stills(), max_border=1.0), 1.0)]), 1.0)], 64, PLAIN)
    red_and_blue = 0
    for seed in range(20):
        clip = scenes.clip(0, np.random.default_rng(seed))
        assert set(np.unique(clip.masks)) <= {0, 1}
        seen = clip.frames[0][clip.masks[0] == 1].astype(int)
        red_and_blue += bool((seen[:, 0] > seen[:, 2] + 99).any() and (seen[:, 2] > seen[:, 0] + 99).any())
    assert red_and_blue >= 4


def test_assemblies_keep_clear_margins_and_proportions():
    source = Assemblies([(Red(), 1.0)])
    for seed in range(20):
        made = source.sprite(np.random.default_rng(seed))
        assert not made.alpha[:MARGIN].any() and not made.alpha[:, -MARGIN:].any()
        assert 40 <= made.longest_side <= 40 * (1 + RELATIVE_SIDE[1])
    with pytest.raises(InputError, match="at least one source"):
        Assemblies([])


def test_a_scene_without_sources_is_an_error():
    with pytest.raises(InputError, match="at least one source"):
        SyntheticClips(Stills(), [], 64)


def test_a_font_without_emoji_is_named(tmp_path):
    (tmp_path / "no.ttf").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"no\.ttf is not a font"):
        Glyphs(tmp_path / "no.ttf")


def test_glyphs_are_coloured_cut_outs():
    path = "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"
    try:
        glyphs = Glyphs(path)
    except InputError:
        pytest.skip(f"no {path}; install Debian's fonts-noto-color-emoji")
    sprites = [glyphs.sprite(np.random.default_rng(seed)) for seed in range(8)]
    assert all((sprite.alpha > 127).mean() > 0.1 for sprite in sprites)
    assert len({sprite.colour.tobytes() for sprite in sprites}) > 5
    for sprite in sprites:
        solid = (sprite.alpha > 250).astype(np.uint8)
        edge = (sprite.alpha > 127) & (sprite.alpha < 200) & (cv2.dilate(solid, np.ones((3, 3))) > 0)
        total, number = cv2.blur(sprite.colour * solid[..., None].astype(float), (3, 3)), cv2.blur(solid * 1.0, (3, 3))
        beside = total[edge] / number[edge, None]
        assert sprite.colour[edge].mean() > 0.8 * beside.mean(), "edges are as bright as what they border"
    again = pickle.loads(pickle.dumps(glyphs)).sprite(np.random.default_rng(3))
    assert (again.colour == sprites[3].colour).all()
