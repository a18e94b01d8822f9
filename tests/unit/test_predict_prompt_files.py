"""Prompts and masks from files, and the errors that name the place in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError, PromptError
from masklet.io.documents import read_json
from masklet.io.palette import write_index_png
from masklet.predict.prompt_files import place_masks, read_mask, read_prompts

INDEX = np.array([[0, 1, 1], [2, 2, 0]], np.uint8)


def _write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_points_boxes_and_masks_are_read_with_their_frames_and_objects(tmp_path) -> None:
    write_index_png(tmp_path / "mask.png", INDEX)
    path = _write(
        tmp_path / "prompts.json",
        [
            {"frame": 3, "object": 2, "points": [[5, 6], [7.5, 8]], "labels": [1, 0]},
            {"box": [1, 2, 3, 4]},
            {"object": 2, "mask": "mask.png"},
            {"object": 7, "points": [[1, 1]], "box": [0, 0, 5, 5]},
        ],
    )
    first, second, third, fourth = read_prompts(path)
    assert (first.frame, first.object_id) == (3, 2)
    assert first.prompt.points.tolist() == [[5, 6], [7.5, 8]]
    assert first.prompt.labels.tolist() == [1, 0]
    assert (second.frame, second.object_id) == (0, 1)
    assert second.prompt.box.tolist() == [1, 2, 3, 4]
    assert third.prompt.mask.tolist() == (INDEX == 2).tolist()
    assert fourth.prompt.labels.tolist() == [1] and fourth.prompt.box is not None


def test_files_that_begin_with_a_byte_order_mark_are_read(tmp_path):
    """As some editors and shells on Windows write them."""
    path = tmp_path / "prompts.json"
    path.write_text('[{"box": [1, 2, 3, 4]}]', encoding="utf-8-sig")
    (placed,) = read_prompts(path)
    assert placed.prompt.box.tolist() == [1, 2, 3, 4]
    assert read_json(path) == [{"box": [1, 2, 3, 4]}]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[{", "as JSON"),
        ({"frame": 0}, "must hold a list"),
        ([], "must hold a list"),
        ([{"box": [1, 2, 3, 4]}, 5], "prompt 1: .* got 5"),
        ([{"bbox": [1, 2, 3, 4]}], "unknown field 'bbox'; known are box, frame"),
        ([{"frame": -1, "box": [1, 2, 3, 4]}], "frame is a whole number from 0; got -1"),
        ([{"object": 0, "box": [1, 2, 3, 4]}], "object is a whole number from 1 to 65535; got 0"),
        ([{"object": 70000, "box": [1, 2, 3, 4]}], "object is a whole number from 1 to 65535; got 70000"),
        ([{"object": "dog", "box": [1, 2, 3, 4]}], "got 'dog'"),
        ([{"box": [3, 2, 1, 4]}], "prompt 0: box .* inverted"),
        ([{"points": [[1, 2]], "labels": [1, 0]}], "1 points need 1 labels"),
        ([{"points": "here"}], "prompt 0: "),
        ([{"frame": 1}], "empty prompt"),
        ([{"mask": "none.png"}], r"no such mask: .*none\.png"),
        ([{"mask": 5}], "prompt 0: "),
    ],
)
def test_what_is_wrong_is_said_with_the_place(tmp_path, content, words) -> None:
    path = _write(tmp_path / "prompts.json", content)
    with pytest.raises(PromptError, match=words) as caught:
        read_prompts(path)
    assert "prompts.json" in str(caught.value)


def test_a_missing_file_is_named(tmp_path) -> None:
    with pytest.raises(PromptError, match=r"no such prompts file: .*none\.json"):
        read_prompts(tmp_path / "none.json")


def test_one_object_of_an_index_mask_is_taken_by_its_number(tmp_path) -> None:
    path = tmp_path / "mask.png"
    for stored in (INDEX, INDEX.astype(np.uint16) * 300):
        write_index_png(path, stored)
        for value in (1, 2):
            number = value * (300 if stored.max() > 255 else 1)
            np.testing.assert_array_equal(read_mask(path, number), value == INDEX)
    Image.fromarray(INDEX).save(path)
    np.testing.assert_array_equal(read_mask(path, 2), INDEX == 2)
    with pytest.raises(PromptError, match="holds objects 1, 2, but no object 5"):
        read_mask(path, 5)


@pytest.mark.parametrize("value", [1, 38, 255])
def test_a_mask_of_one_value_is_the_object_whatever_its_number(tmp_path, value) -> None:
    mask = INDEX == 2
    Image.fromarray(mask.astype(np.uint8) * np.uint8(value)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png", 1), mask)


def test_masks_in_brightness_are_halved_soft_edges_and_all(tmp_path) -> None:
    soft = np.array([[0, 30, 120, 140, 255]], np.uint8)
    for image in (Image.fromarray(soft), Image.fromarray(np.dstack([soft] * 3))):
        image.save(tmp_path / "soft.png")
        assert read_mask(tmp_path / "soft.png", 1).tolist() == [[False, False, False, True, True]]


def test_empty_and_unreadable_masks_are_errors(tmp_path) -> None:
    write_index_png(tmp_path / "empty.png", np.zeros((3, 3), np.uint8))
    with pytest.raises(PromptError, match=r"empty\.png is empty"):
        read_mask(tmp_path / "empty.png", 1)
    (tmp_path / "text.png").write_text("no")
    with pytest.raises(InputError, match="cannot read"):
        read_mask(tmp_path / "text.png", 1)


def test_grey_masks_of_many_cells_are_numbered_not_soft(tmp_path) -> None:
    labels = np.kron(np.arange(200, dtype=np.uint8).reshape(10, 20), np.ones((8, 8), np.uint8))
    Image.fromarray(labels).save(tmp_path / "cells.png")
    assert (read_mask(tmp_path / "cells.png", 5) == (labels == 5)).all()
    with pytest.raises(PromptError, match="no object 250"):
        read_mask(tmp_path / "cells.png", 250)


def _disc(radius: float, soft: float) -> np.ndarray:
    """[96 128] uint8, white inside, falling off over twice `soft` pixels."""
    y, x = np.mgrid[:96, :128]
    return np.clip(((radius - np.hypot(y - 48, x - 64)) / soft + 1) * 127.5, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("soft", [0.5, 1, 2, 5, 10, 20])
@pytest.mark.parametrize("radius", [8, 20, 40])
def test_soft_edges_are_no_object_numbers_however_wide_they_are(tmp_path, radius, soft) -> None:
    values = _disc(radius, soft)
    Image.fromarray(values).save(tmp_path / "soft.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "soft.png", 1), values >= 128)


def test_a_map_of_probabilities_is_halved(tmp_path) -> None:
    y, x = np.mgrid[:96, :128]
    values = (255 / (1 + np.exp((np.hypot(y - 48, x - 64) - 30) / 6))).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "map.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "map.png", 1), values >= 128)


def test_the_smallest_cells_side_by_side_are_numbers(tmp_path) -> None:
    """4 x 4 pixels each, with a grey value of its own."""
    values = np.random.default_rng(0).permutation(250).astype(np.uint8).reshape(10, 25)
    cells = np.kron(values, np.ones((4, 4), np.uint8))
    Image.fromarray(cells).save(tmp_path / "cells.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "cells.png", 77), cells == 77)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_of_a_cut_out_what_is_opaque_is_the_object(tmp_path, mode) -> None:
    picture = Image.new("RGB", (128, 96), "white").convert(mode)
    alpha = _disc(30, 3)
    picture.putalpha(Image.fromarray(alpha))
    picture.save(tmp_path / "cut_out.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "cut_out.png", 1), alpha >= 128)
    picture.putalpha(255)
    picture.save(tmp_path / "opaque.png")
    assert read_mask(tmp_path / "opaque.png", 1).all()


def test_objects_told_apart_by_colours_are_not_taken_for_one(tmp_path) -> None:
    """An index mask that a program saved in colours: all objects together were every one of them."""
    index = np.zeros((40, 60), np.uint8)
    index[4:14, 4:14], index[20:36, 20:50] = 1, 2
    write_index_png(tmp_path / "index.png", index)
    Image.open(tmp_path / "index.png").convert("RGB").save(tmp_path / "colours.png")
    with pytest.raises(PromptError, match=r"colours\.png has several colours, one for each object"):
        read_mask(tmp_path / "colours.png", 1)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 200, 40)])
@pytest.mark.parametrize("name", ["mask.png", "mask.jpg"])
def test_a_single_colour_is_an_object_soft_edges_and_all(tmp_path, colour, name) -> None:
    inside = np.zeros((40, 60), bool)
    inside[8:32, 10:50] = True
    Image.fromarray(inside[..., None] * np.uint8(colour)).save(tmp_path / name, quality=60)
    found = read_mask(tmp_path / name, 1)
    assert (found & inside).sum() / (found | inside).sum() > 0.95


def test_each_object_of_an_index_mask_is_prompted_by_its_number(tmp_path) -> None:
    write_index_png(tmp_path / "mask.png", INDEX)
    placed = place_masks(3, tmp_path / "mask.png")
    assert [(one.frame, one.object_id) for one in placed] == [(3, 1), (3, 2)]
    for one in placed:
        np.testing.assert_array_equal(one.prompt.mask, one.object_id == INDEX)


def test_a_mask_of_one_object_is_object_1(tmp_path) -> None:
    write_index_png(tmp_path / "mask.png", (INDEX == 2) * np.uint8(7))
    (placed,) = place_masks(0, tmp_path / "mask.png")
    assert placed.object_id == 1
    np.testing.assert_array_equal(placed.prompt.mask, INDEX == 2)
