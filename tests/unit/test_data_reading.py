"""Masks that are no index masks are told from those that are."""

import cv2
import numpy as np
import pytest
from PIL import Image

from masklet.data.layouts import open_dataset
from masklet.data.reading import has_void_masks, read_index_mask, read_index_masks, shows_object
from masklet.errors import InputError
from masklet.io.palette import is_shaded, read_index_png
from masklet.types import Size

SIZE = Size(120, 160)


def binary():
    mask = np.zeros(SIZE, np.uint8)
    cv2.ellipse(mask, (80, 60), (50, 30), 20, 0, 360, 255, -1)
    return mask


def smooth_line():
    mask = np.zeros(SIZE, np.uint8)
    cv2.polylines(mask, [np.array([[10, 10], [100, 90], [150, 20]])], False, 255, 3, cv2.LINE_AA)
    return mask


def smooth_objects():
    """Three objects, told apart by their shade, with smooth edges."""
    mask = np.zeros(SIZE, np.uint8)
    for value, x in ((85, 30), (170, 80), (255, 130)):
        cv2.circle(mask, (x, 60), 20, value, -1, cv2.LINE_AA)
    return mask


def jpeg(quality):
    return cv2.imdecode(cv2.imencode(".jpg", binary(), [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE)


def photograph():
    noise = np.random.default_rng(0).normal(128, 400, SIZE)
    return np.clip(cv2.GaussianBlur(noise, (0, 0), 3), 0, 255).astype(np.uint8)


def crowd(side, dtype):
    """Cells of about `side` pixels, each a number of its own, that fill the picture."""
    generator = np.random.default_rng(0)
    count = SIZE.height * SIZE.width // side**2
    centres = generator.uniform(0, 1, (count, 2)) * SIZE
    rows, columns = np.mgrid[: SIZE.height, : SIZE.width]
    distance = (rows[..., None] - centres[:, 0]) ** 2 + (columns[..., None] - centres[:, 1]) ** 2
    return (1 + distance.argmin(-1)).astype(dtype)


def lines(width):
    """Forty thin objects that cross each other."""
    generator = np.random.default_rng(0)
    mask = np.zeros(SIZE, np.uint8)
    for number in range(1, 41):
        cv2.polylines(mask, [generator.integers(0, 120, (3, 2), np.int32)], False, 6 * number, width)
    return mask


def rings():
    """Objects inside of each other, two pixels wide."""
    mask = np.zeros(SIZE, np.uint8)
    for number, radius in enumerate(range(58, 4, -2), 1):
        cv2.circle(mask, (80, 60), radius, number, -1)
    return mask


@pytest.mark.parametrize(
    "mask",
    [
        cv2.GaussianBlur(binary(), (0, 0), 0.8),
        cv2.GaussianBlur(binary(), (0, 0), 6),
        cv2.resize(binary(), None, fx=0.23, fy=0.23, interpolation=cv2.INTER_AREA),
        cv2.resize(binary(), None, fx=1.7, fy=1.7, interpolation=cv2.INTER_CUBIC),
        smooth_line(),
        smooth_objects(),
        jpeg(60),
        jpeg(90),
        photograph(),
    ],
)
def test_smooth_masks_and_photographs_are_told(mask):
    assert len(np.unique(mask)) > 10
    assert is_shaded(mask)


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros(SIZE, np.uint8),
        np.full(SIZE, 255, np.uint8),
        binary(),
        binary() // 255,
        crowd(10, np.uint8),
        crowd(5, np.uint16),
        255 - crowd(10, np.uint8),
        np.where(rings() % 2 == 0, 0, rings() * 9),
        lines(1),
        lines(2),
        rings(),
    ],
)
def test_index_masks_are_taken_at_their_word(mask):
    assert not is_shaded(mask)


def test_a_smooth_mask_among_training_pictures_is_named(tmp_path):
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(binary()).save(tmp_path / "a.png")
    dataset = open_dataset(tmp_path)
    assert dataset.clip(0, np.random.default_rng(0), 1).object_ids == (255,)
    Image.fromarray(cv2.GaussianBlur(binary(), (0, 0), 1)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a\.png is no index mask.*its \d+ values shade into each other.*threshold"):
        dataset.clip(0, np.random.default_rng(0), 1)
    Image.fromarray(rings()).save(tmp_path / "a.png")
    assert np.array_equal(read_index_mask(tmp_path / "a.png", SIZE), rings())


def test_a_halved_mask_of_one_object_is_told_by_its_few_shades():
    """OpenCV halves by the mean of four pixels, which leaves 64, 128 and 191 along the edge."""
    disc = cv2.circle(np.zeros(SIZE, np.uint8), (80, 60), 50, 255, -1)
    halved = cv2.resize(disc, (80, 60), interpolation=cv2.INTER_AREA)
    assert 3 <= len(np.unique(halved)) - 2 <= 8
    assert is_shaded(halved)
    assert not is_shaded(np.digitize(halved, [1, 254]).astype(np.uint8)), "a band of doubt around an object"


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [((1, 2, 255), (1, 2)), ((21, 255), (21,)), ((255,), (255,)), ((128, 255), (128, 255)), ((1, 254, 255), None)],
)
def test_255_beside_low_numbers_is_void(tmp_path, numbers, kept):
    mask = np.zeros(SIZE, np.uint8)
    for place, number in enumerate(numbers):
        mask[10 * place : 10 * place + 8, 20:60] = number
    Image.fromarray(mask).save(tmp_path / "a.png")
    read = read_index_mask(tmp_path / "a.png", SIZE)
    assert np.array_equal(read, np.where(np.isin(mask, kept or numbers), mask, 0))


def test_void_is_void_on_every_frame_of_a_clip(tmp_path):
    """On the second frame the object has left, and the border of doubt stays."""
    masks = np.zeros((3, *SIZE), np.uint8)
    masks[:, 10:20, 20:60] = 255
    masks[::2, 30:40, 20:60] = 1
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, mask in zip(paths, masks, strict=True):
        Image.fromarray(mask).save(path)
    assert [np.unique(mask).tolist() for mask in read_index_masks(paths, SIZE)] == [[0, 1], [0], [0, 1]]


def test_what_is_void_is_told_by_all_masks_of_a_clip_and_not_by_those_at_hand(tmp_path):
    masks = np.zeros((2, *SIZE), np.uint8)
    masks[:, 10:20, 20:60] = 255
    masks[0, 30:40, 20:60] = 1
    paths = [tmp_path / f"{number}.png" for number in range(2)]
    for path, mask in zip(paths, masks, strict=True):
        Image.fromarray(mask).save(path)
    assert read_index_masks(paths[1:], SIZE).any() and not read_index_masks(paths[1:], SIZE, clip=paths).any()
    assert [shows_object(path, paths) for path in paths] == [True, False]
    assert shows_object(paths[1], paths[1:])


def test_few_masks_of_a_long_clip_are_asked_what_is_void(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "masklet.data.reading.read_index_png", lambda path: asked.append(path) or np.array([[0, 255]], np.uint8)
    )
    clip = tuple(tmp_path / f"{number}.png" for number in range(1000))
    assert not has_void_masks(clip)
    assert len(asked) == 50 and {clip[0], clip[-1]} <= set(asked)


def test_no_mask_of_the_shared_data_is_refused(shared_dir):
    data = shared_dir / "data"
    masks = sorted((data / "train").rglob("*.png"))[::40] + sorted((data / "dev").rglob("*.png"))[::20]
    assert len(masks) > 50
    assert not [path for path in masks if is_shaded(read_index_png(path))]
