"""Index masks as PNG: DAVIS's palette, 16 bits where needed, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError, OutputError
from masklet.io.palette import davis_palette, read_index_png, write_index_png


def test_the_palette_is_that_of_davis() -> None:
    palette = davis_palette()
    assert palette[:5].tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0], [0, 0, 128]]
    assert palette[255].tolist() == [224, 224, 192]
    assert len(np.unique(palette, axis=0)) == 256


@pytest.mark.parametrize(("top", "mode"), [(1, "P"), (255, "P"), (256, "I;16"), (65535, "I;16")])
@pytest.mark.parametrize("dtype", [np.int64, np.uint16])
def test_round_trip_in_the_smaller_format_that_fits(tmp_path, top, mode, dtype) -> None:
    index = np.array([[0, 1, top], [top, 0, 1]], dtype)
    write_index_png(tmp_path / "mask.png", index)
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode in (mode, mode.removesuffix(";16")), "Pillow 10 opens 16 bits as I"
    np.testing.assert_array_equal(read_index_png(tmp_path / "mask.png"), index)


@pytest.mark.parametrize("mode", ["L", "1", "I;16"])
def test_grey_masks_are_read_as_they_are(tmp_path, mode) -> None:
    picture = np.eye(4, dtype=np.uint16 if mode == "I;16" else bool if mode == "1" else np.uint8)
    Image.fromarray(picture).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_index_png(tmp_path / "mask.png"), np.eye(4))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (np.array([[70000]]), r"70000\.\.70000"),
        (np.array([[-1]]), "-1"),
        (np.zeros((2, 2)), "float64"),
        (np.zeros((2, 2, 1), np.uint8), r"\[2, 2, 1\]"),
    ],
)
def test_what_an_index_png_cannot_hold_is_refused(tmp_path, index, words) -> None:
    with pytest.raises(InputError, match=words):
        write_index_png(tmp_path / "mask.png", index)


def test_a_grey_picture_that_was_given_a_palette_is_read_by_brightness(tmp_path) -> None:
    """Programs that shrink PNG files list the colours as they come, white before black."""
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 2:5] = 255
    shrunk = Image.fromarray((mask == 0).astype(np.uint8), mode="L")
    shrunk.putpalette([255, 255, 255, 0, 0, 0])
    shrunk.save(tmp_path / "shrunk.png")
    np.testing.assert_array_equal(read_index_png(tmp_path / "shrunk.png"), mask)
    shrunk.putpalette([255, 255, 255, 200, 0, 0])  # a colour: the palette shows numbers
    shrunk.save(tmp_path / "numbered.png")
    np.testing.assert_array_equal(read_index_png(tmp_path / "numbered.png"), mask == 0)


def test_unreadable_and_coloured_files_are_named(tmp_path) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG nothing")
    for name, words in (("photo.png", "RGB picture"), ("bad.png", "cannot read"), ("none.png", "no such mask")):
        with pytest.raises(InputError, match=words) as caught:
            read_index_png(tmp_path / name)
        assert name in str(caught.value)


@pytest.mark.parametrize("numbers", [(1, 70001), (-1, 3)])
def test_numbers_of_32_bits_do_not_wrap_around(tmp_path, numbers) -> None:
    Image.fromarray(np.array([numbers], np.int32)).save(tmp_path / "labels.tif")
    with pytest.raises(InputError, match=rf"labels\.tif holds the numbers {numbers[0]} to {numbers[1]}"):
        read_index_png(tmp_path / "labels.tif")
    Image.fromarray(np.array([[0, 40000]], np.int32)).save(tmp_path / "labels.tif")
    assert read_index_png(tmp_path / "labels.tif").tolist() == [[0, 40000]]


def test_a_folder_that_is_not_there_is_an_output_error(tmp_path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        write_index_png(tmp_path / "nowhere" / "mask.png", np.zeros((2, 2), np.uint8))
