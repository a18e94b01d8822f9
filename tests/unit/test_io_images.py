"""Pictures of every kind become upright RGB bytes; others are refused with a reason."""

from __future__ import annotations

import struct
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.errors import InputError
from masklet.io.frames import open_frames
from masklet.io.images import read_image, read_own_image
from odd_clips import moving_square, write_clip

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
GREY = RGB[..., 0]


@pytest.mark.parametrize(
    "source",
    [
        RGB,
        Image.fromarray(RGB),
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        RGB / 255.0,
        RGB.astype(np.uint16) * 257,
        RGB.astype(np.int64),
        RGB.transpose(2, 0, 1),
        np.dstack((RGB, GREY)),
        Image.fromarray(np.dstack((RGB, GREY))),
    ],
    ids=["array", "PIL", "tensor", "float tensor", "floats", "16 bit", "int64", "channels first", "RGBA", "RGBA PIL"],
)
def test_colour_pictures_keep_their_values(source) -> None:
    image = read_image(source)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, RGB)


@pytest.mark.parametrize(
    "source",
    [
        GREY,
        GREY[..., None],
        Image.fromarray(GREY),
        Image.fromarray(GREY.astype(np.uint16) * 257),
        Image.fromarray(GREY.astype(np.float32) / 255),
        torch.from_numpy(GREY)[None],
    ],
    ids=["array", "one channel", "PIL", "16-bit PIL", "float PIL", "tensor"],
)
def test_grey_pictures_are_repeated(source) -> None:
    np.testing.assert_array_equal(read_image(source), np.dstack((GREY, GREY, GREY)))


def test_a_boolean_picture_is_black_and_white() -> None:
    assert read_image(np.eye(3, dtype=bool))[..., 0].tolist() == (np.eye(3) * 255).tolist()


def test_half_precision_tensors_are_read() -> None:
    assert read_image(torch.ones(3, 2, 2, dtype=torch.bfloat16)).min() == 255


@pytest.mark.parametrize("name", ["p.png", "p.tif", "p.bmp", "p.ppm"])
def test_files_are_read(tmp_path, name) -> None:
    Image.fromarray(RGB).save(tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name), RGB)
    np.testing.assert_array_equal(read_image(str(tmp_path / name)), RGB)


def test_a_16_bit_file_keeps_its_whole_range(tmp_path) -> None:
    Image.fromarray(GREY.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png")[..., 1], GREY)


def test_palette_pictures_are_read_in_colour(tmp_path) -> None:
    image = Image.fromarray(GREY // 16)
    image.putpalette(list(range(30)))
    image.save(tmp_path / "palette.png")
    assert read_image(tmp_path / "palette.png")[2, 5].tolist() == [9, 10, 11]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, orientation) -> None:
    upright = np.zeros((16, 32, 3), np.uint8)
    upright[:8, :8] = 255
    turned = {
        1: upright,
        2: upright[:, ::-1],
        3: np.rot90(upright, 2),
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, 3),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(turned)).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "phone.png"), upright)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros((0, 5, 3), np.uint8), "5 x 0 pixels"),
        (Image.new("RGB", (0, 4)), "0 x 4"),
        (np.zeros((5, 6, 2), np.uint8), r"\[5, 6, 2\]"),
        (np.zeros(5, np.uint8), r"\[5\]"),
        (np.zeros((1, 2, 3, 4, 5)), "shape"),
        (RGB.astype(np.float32), r"got 0\.\.\d+: scale them \(divide by 255\).*--range 0,255"),
        (RGB / 255.0 - 0.5, r"got -0\.5\.\.-0\.2\d+: .*undo the normalisation"),
        (np.full((4, 4), np.nan), "nan"),
        (RGB.astype(np.int32) * 9, r"0\.\.255"),
        (RGB.astype(np.int16) - 3, r"-3\.\."),
        (RGB.astype(complex), "complex128"),
        (None, "NoneType"),
    ],
)
def test_other_arrays_are_refused_with_a_reason(source, words) -> None:
    with pytest.raises(InputError, match=words):
        read_image(source)


@pytest.mark.parametrize("as_source", [np.asarray, torch.from_numpy], ids=["array", "tensor"])
def test_an_own_picture_does_not_change_with_its_source(as_source) -> None:
    buffer = RGB.copy()
    picture = read_own_image(as_source(buffer))
    buffer[:] = 0
    np.testing.assert_array_equal(picture, RGB)


def test_missing_and_damaged_files_are_named(tmp_path) -> None:
    with pytest.raises(InputError, match=r"no such picture: .*missing\.png"):
        read_image(tmp_path / "missing.png")
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    for name in ("cut.png", "cut.jpg"):
        Image.fromarray(noise).save(tmp_path / name)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(InputError, match=rf"cannot read .*{name}"):
            read_image(tmp_path / name)
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(InputError, match=r"cannot read .*text\.jpg"):
        read_image(tmp_path / "text.jpg")
    with pytest.raises(InputError, match="cannot read"):
        read_image(tmp_path)
    (tmp_path / "clip.MP4").write_bytes(b"\0\0\0\x20ftypisom")
    with pytest.raises(InputError, match=r"clip\.MP4 is a video, not a picture; `masklet track`"):
        read_image(tmp_path / "clip.MP4")


def test_planar_16_bit_tiff_is_refused_since_pillow_garbles_it(tmp_path) -> None:
    """Two bytes for each of three planes of four pixels, as scientists' programs write them."""
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 3, 200), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 3, 210)]
    entries += [(277, 3, 1, 3), (278, 3, 1, 2), (279, 4, 3, 230), (284, 3, 1, 2)]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    tables = struct.pack("<3H", 16, 16, 16).ljust(10, b"\0") + struct.pack("<3I", 250, 258, 266)
    body = head.ljust(200, b"\0") + tables.ljust(30, b"\0") + struct.pack("<3I", 8, 8, 8)
    (tmp_path / "planar.tif").write_bytes(body.ljust(250, b"\0") + bytes(24))
    with pytest.raises(InputError, match=r"planar\.tif keeps the colours of its 16-bit pixels apart.*interleaved"):
        read_image(tmp_path / "planar.tif")


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("suffix", [None, "tif"])
def test_a_range_of_values_is_shown_from_black_to_white(tmp_path, kind, suffix) -> None:
    values = np.array([[0, 200, 1200], [2200, 2300, 4000]], kind)
    if suffix:
        Image.fromarray(values).save(tmp_path / "camera.tif")
    shown = read_image(tmp_path / "camera.tif" if suffix else values, (200, 2200))
    assert shown[..., 0].tolist() == [[0, 0, 128], [255, 255, 255]]
    for source in ([values], iter([values])):
        assert np.array_equal(open_frames(source, value_range=(200, 2200))[0], shown)


def test_a_range_beyond_8_bits_is_not_for_8_bit_pictures() -> None:
    assert read_image(RGB, (0, 71))[-1, -1, -1] == 255
    with pytest.raises(InputError, match="up to 4095 is for 12- and 16-bit pictures; this one is 8-bit"):
        read_image(RGB, (200, 4095))


def test_a_range_of_values_is_for_pictures_and_in_order(tmp_path) -> None:
    for wrong in ((9, 9), (0, np.inf), (np.nan, 1)):
        with pytest.raises(InputError, match=r"a larger one for white; got"):
            read_image(RGB, wrong)
    with pytest.raises(InputError, match=r"no numbers \(nan\)"):
        read_image(np.array([[0, np.nan]]), (0, 9))
    write_clip(tmp_path / "clip.mp4", moving_square(2))
    with pytest.raises(InputError, match=r"clip\.mp4 is a video"):
        open_frames(tmp_path / "clip.mp4", value_range=(0, 4095))
    for number in range(2):
        Image.fromarray(np.full((6, 8), 2000 * number, np.uint16)).save(tmp_path / f"{number}.png")
    frames = open_frames(str(tmp_path / "*.png"), value_range=(0, 4000))
    assert [int(frame[0, 0, 0]) for frame in frames] == [0, 128]


def test_a_12_bit_picture_in_16_bits_is_warned_of() -> None:
    picture = np.full((4, 4), 4000, np.uint16)
    with pytest.warns(UserWarning, match=r"nearly black: stretch its values.*--range 0,4095"):
        read_image(picture)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(picture * 16)
        read_image(picture * 0)


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("ImageJ=1.53t\nimages=6\nchannels=2\nframes=3\nhyperstack=true\n", "2 channels of 1 slices of 3 frames"),
        ("ImageJ=1.53t\nimages=6\nslices=2\nframes=3\n", "1 channels of 2 slices of 3 frames"),
        ('<OME><Image><Pixels SizeC="2" SizeT="3" SizeX="4" SizeY="4" SizeZ="1"/></Image></OME>', "2 channels of 1"),
    ],
)
def test_a_stack_of_channels_or_slices_in_turn_is_no_clip(tmp_path, description, told) -> None:
    pages = [Image.fromarray(np.full((4, 4), number, np.uint8)) for number in range(6)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:], description=description)
    with pytest.raises(InputError, match=f"the 6 pages of .*stack\\.tif are {told}"):
        open_frames(tmp_path / "stack.tif")


@pytest.mark.parametrize(
    "description",
    [
        "",
        "ImageJ=1.53t\nimages=6\nframes=6\n",
        "ImageJ=1.53t\nimages=6\nslices=6\n",
        '<OME><Pixels SizeC="3" SizeT="6" SizeZ="1"/></OME>',
    ],
)
def test_a_stack_of_frames_or_of_slices_is_a_clip(tmp_path, description) -> None:
    pages = [Image.fromarray(np.full((4, 4), number, np.uint8)) for number in range(6)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:], description=description)
    assert len(open_frames(tmp_path / "stack.tif")) == 6


def test_a_kind_of_tiff_that_pillow_does_not_know_is_told_of(tmp_path) -> None:
    header = struct.pack("<2sHI", b"II", 42, 8)
    entries = [(256, 3, 1, 2), (257, 3, 1, 2), (258, 3, 1, 64), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 200)]
    entries += [(277, 3, 1, 1), (278, 3, 1, 2), (279, 4, 1, 32), (339, 3, 1, 3)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *entry) for entry in entries)
    (tmp_path / "a.tif").write_bytes((header + directory).ljust(200, b"\0") + bytes(32))
    with pytest.raises(InputError, match=r"a\.tif as a picture: .* floats of 64 bits"):
        read_image(tmp_path / "a.tif")
