"""Augmentation: pictures and masks move together, clips as one, and chance comes from the generator alone."""

import cv2
import numpy as np
import pytest
import torch

from masklet.data.clips import Clip
from masklet.data.colours import ColourChange, ColourJitter
from masklet.data.transforms import Augmentation, squash, window_on_object
from masklet.errors import InputError
from masklet.ops.pixels import PIXEL_MEAN, PIXEL_STD
from masklet.predict.pixels import picture_pixels
from masklet.types import Size

STRONG = Augmentation(
    64,
    degrees=40,
    shear=20,
    crop=(0.4, 1.3),
    stretch=2.0,
    clip_colour=ColourJitter(0.4, 0.4, 0.4, 0.1, 0.2, 1.5),
    frame_colour=ColourJitter(0.2, 0.2, 0.2),
)
GEOMETRY = Augmentation(64, degrees=40, shear=20, crop=(0.4, 1.3), stretch=2.0)


def discs(height, width, num_frames=1):
    """Two discs whose picture is white where the mask is 1 and red where it is 2."""
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (width // 3, height // 2), min(height, width) // 4, 1, -1)
    cv2.circle(mask, (3 * width // 4, height // 3), min(height, width) // 6, 2, -1)
    picture = np.zeros((height, width, 3), np.uint8)
    picture[mask == 1] = 255
    picture[mask == 2] = (255, 0, 0)
    return Clip(np.stack([picture] * num_frames), np.stack([mask] * num_frames), "discs")


@pytest.mark.parametrize("size", [(64, 64), (90, 160), (300, 200), (33, 47)])
def test_pictures_and_masks_stay_aligned(size):
    """The picture of a disc, warped and thresholded at half its brightness, is the warped disc.

    Single pixels on the edge may differ; a shift of a tenth of a pixel would move the centres apart.
    """
    clip = discs(*size)
    offsets = []
    for seed in range(40):
        warped = GEOMETRY(clip, np.random.default_rng(seed))
        seen, truth = warped.frames[0, ..., 2] > 127, warped.masks[0] == 1
        edge = cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3))) > 0
        assert not ((seen != truth) & ~edge).any()
        if truth.sum() > 50 and not edge_touched(truth):
            offsets.append(np.argwhere(seen).mean(0) - np.argwhere(truth).mean(0))
    assert len(offsets) > 10
    assert np.abs(np.mean(offsets, 0)).max() < 0.1


@pytest.mark.parametrize("size", [(480, 854), (854, 480), (480, 640)])
def test_fine_detail_is_as_sharp_in_training_as_in_use(size):
    """Across and down alike: a wide picture, squashed, must not be blurred in the direction in which it hardly shrinks,
    nor alias in the other.
    """
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    picture = cv2.GaussianBlur(noise, (0, 0), 1.0)
    trained = squash(Clip(picture[None], np.zeros((1, *size), np.uint8), "noise"), 480).frames[0].astype(float)
    pixels = picture_pixels(picture, 480, torch.device("cpu"))[0].permute(1, 2, 0).numpy()
    used = (pixels * PIXEL_STD + PIXEL_MEAN) * 255
    for axis in (0, 1):
        assert np.diff(trained, axis=axis).std() == pytest.approx(np.diff(used, axis=axis).std(), rel=0.15)
    assert np.abs(trained - used).mean() < 0.2 * used.std()


def test_wide_pictures_are_turned_without_being_bent():
    """A camera that is tilted turns a picture in its own proportions, whatever square it is then squashed to."""
    turned = Augmentation(64, flip=0.0, degrees=25).draw_matrix(Size(90, 160), np.random.default_rng(1))
    squashed = Augmentation(64, flip=0.0).draw_matrix(Size(90, 160), np.random.default_rng(1))
    tilt = (turned @ np.linalg.inv(squashed))[:2, :2]
    np.testing.assert_allclose(tilt @ tilt.T, np.eye(2), atol=1e-9)
    assert abs(tilt[0, 1]) > 0.05
    np.testing.assert_allclose(turned @ (32, 32, 1), (80, 45, 1))


def edge_touched(mask):
    return mask[[0, -1]].any() or mask[:, [0, -1]].any()


def test_alignment_is_exact_where_pixels_move_by_whole_numbers():
    clip = discs(64, 64)
    flipped = Augmentation(64, flip=1.0)(clip, np.random.default_rng(0))
    assert (flipped.frames == clip.frames[:, :, ::-1]).all()
    assert (flipped.masks == clip.masks[:, :, ::-1]).all()
    same = Augmentation(64, flip=0.0)(clip, np.random.default_rng(0))
    assert (same.frames == clip.frames).all()
    assert (same.masks == clip.masks).all()


def test_squashing_shows_the_whole_picture():
    clip = squash(discs(128, 256), 64)
    assert clip.size == (64, 64)
    share = (discs(128, 256).masks == 1).mean()
    assert (clip.masks == 1).mean() == pytest.approx(share, rel=0.05)


def test_a_clip_is_varied_as_one_but_for_frame_colours():
    augmented = GEOMETRY(discs(90, 160, num_frames=3), np.random.default_rng(5))
    assert (augmented.masks == augmented.masks[:1]).all()
    assert (augmented.frames == augmented.frames[:1]).all()
    strong = STRONG(discs(90, 160, num_frames=3), np.random.default_rng(5))
    assert (strong.masks == strong.masks[:1]).all()
    assert not (strong.frames[0] == strong.frames[1]).all()


def test_one_seed_gives_one_result():
    clip = discs(90, 160, num_frames=2)
    first, again, other = (STRONG(clip, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert (first.frames == again.frames).all()
    assert (first.masks == again.masks).all()
    assert not (first.frames == other.frames).all()


def test_a_crop_keeps_an_object_in_sight():
    """One small object in a corner: random crops of a fifth would mostly miss it."""
    masks = np.zeros((1, 100, 100), np.uint8)
    masks[0, :12, :12] = 1
    clip = Clip(np.zeros((1, 100, 100, 3), np.uint8), masks, "corner")
    cropped = Augmentation(64, crop=(0.2, 0.2))
    assert all((cropped(clip, np.random.default_rng(seed)).masks == 1).sum() >= 16 for seed in range(20))
    empty = Clip(clip.frames, np.zeros_like(masks), "empty")
    assert not cropped(empty, np.random.default_rng(0)).masks.any()


def test_where_no_crop_shows_enough_of_an_object_the_whole_picture_is_taken():
    masks = np.zeros((1, 100, 100), np.uint8)
    masks[0, :12, :12] = 1
    clip = Clip(np.zeros((1, 100, 100, 3), np.uint8), masks, "corner")
    cropped = Augmentation(64, crop=(0.2, 0.2), min_area=200)
    shown = [cropped(clip, np.random.default_rng(seed)).masks for seed in range(20)]
    large = [(mask == 1).sum() >= 200 for mask in shown]
    whole = [np.array_equal(mask, squash(clip, 64).masks) for mask in shown]
    assert any(large) and any(whole) and all(np.add(large, whole))


def test_a_picture_with_padding_around_it_lies_anywhere_within():
    padded = Augmentation(64, flip=0.0, crop=(1.3, 1.3))
    matrices = [padded.draw_matrix(Size(90, 160), np.random.default_rng(seed)) for seed in range(50)]
    corners = np.array([np.linalg.inv(matrix)[:2, 2] for matrix in matrices])
    room = 64 - 64 / 1.3
    assert corners.min() >= 0 and corners.max() <= room
    assert (np.ptp(corners, axis=0) > 0.8 * room).all()


def test_close_stills_show_one_object_large():
    """Either of the two discs, whole, at different scales and places."""
    close, still = Augmentation(64, close=1.0), discs(300, 500)
    shown = [close(still, np.random.default_rng(seed)) for seed in range(40)]
    shares = np.array([[(clip.masks == number).mean() for number in (1, 2)] for clip in shown])
    assert (shares.max(1) > 0.1).all(), "of a wide picture the large disc fills a ninth, the small one a twentieth"
    assert set(shares.argmax(1)) == {0, 1}
    assert shares.max(1).max() > 2 * shares.max(1).min()
    for clip in shown:
        assert ((clip.frames[..., 0] > 200) == (clip.masks > 0)).mean() > 0.95, "pictures and masks stay aligned"


def test_clips_and_pictures_without_objects_are_not_cut():
    augmented = [Augmentation(64, close=close)(discs(90, 160, 2), np.random.default_rng(0)) for close in (0.0, 1.0)]
    assert np.array_equal(augmented[0].frames, augmented[1].frames)
    still = discs(90, 160)
    empty = Clip(still.frames, np.zeros_like(still.masks), "empty")
    assert window_on_object(empty, np.random.default_rng(0)) is None


def test_a_speck_is_cut_out_with_its_surroundings():
    masks = np.zeros((1, 100, 100), np.uint8)
    masks[0, 50:52, 50:52] = 1
    window = window_on_object(Clip(np.zeros((1, 100, 100, 3), np.uint8), masks, "speck"), np.random.default_rng(0))
    assert 48 <= min(window.size) <= max(window.size) <= 50


def test_a_close_look_that_is_turned_shows_the_picture_around_it_and_no_padding():
    """As a close look has it in use, which is cut from the picture."""
    masks = np.zeros((1, 300, 300), np.uint8)
    masks[0, 140:160, 140:160] = 1
    clip = Clip(np.full((1, 300, 300, 3), 250, np.uint8), masks, "middle")
    turned = Augmentation(64, degrees=40, shear=8, stretch=1.3, close=1.0)
    for seed in range(30):
        shown = turned(clip, np.random.default_rng(seed))
        assert shown.frames.min() == 250
        assert 0.1 < (shown.masks == 1).mean() < 0.9


def test_sixteen_bit_masks_keep_their_numbers():
    masks = np.full((1, 40, 40), 1234, np.uint16)
    augmented = Augmentation(32)(Clip(np.zeros((1, 40, 40, 3), np.uint8), masks, "many"), np.random.default_rng(0))
    assert augmented.object_ids == (1234,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size"),
        ({"size": 8, "crop": (0.0, 1.0)}, "crop"),
        ({"size": 8, "crop": (1.0, 0.5)}, "crop"),
        ({"size": 8, "stretch": 0.5}, "stretch"),
        ({"size": 8, "close": 1.5}, "close is a probability from 0 to 1, not 1.5"),
        ({"size": 8, "flip": -0.1}, "flip is a probability from 0 to 1, not -0.1"),
        ({"size": 8, "degrees": -5.0}, "degrees is 0 or more, not -5"),
        ({"size": 8, "min_area": -1}, "min_area is 0 or more, not -1"),
    ],
)
def test_options_out_of_range_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**options)


@pytest.mark.parametrize(
    ("name", "value"), [("brightness", -1.0), ("hue", float("nan")), ("grey", 2.0), ("gamma", 0.0)]
)
def test_colours_out_of_range_are_errors(name, value):
    with pytest.raises(InputError, match=rf"ColourJitter\.{name} is .* not {value}"):
        ColourJitter(**{name: value})


def test_colour_changes_do_what_they_say():
    grey = np.full((1, 4, 4, 3), 100, np.uint8)
    assert (ColourChange(brightness=1.5).apply(grey) == 150).all()
    assert (ColourChange(brightness=9.0).apply(grey) == 255).all()
    assert (ColourChange(contrast=2.0).apply(grey) == 100).all()
    assert (ColourChange(gamma=2.0).apply(grey) == round((100 / 255) ** 2 * 255)).all()
    red = np.zeros((1, 4, 4, 3), np.uint8)
    red[..., 0] = 200
    assert np.ptp(ColourChange(saturation=0.0).apply(red), axis=-1).max() == 0
    assert ColourChange(hue=1 / 3).apply(red)[0, 0, 0].argmax() == 1
    assert ColourChange().apply(red) is red
    halves = np.concatenate([grey // 2, grey + 50])
    assert np.ptp(ColourChange(contrast=1.5).apply(halves)) > np.ptp(halves)


def test_grey_is_as_frequent_as_asked():
    generator = np.random.default_rng(0)
    changes = [ColourJitter(saturation=0.2, grey=0.3).draw(generator) for _ in range(500)]
    assert 0.2 < np.mean([change.saturation == 0 for change in changes]) < 0.4
