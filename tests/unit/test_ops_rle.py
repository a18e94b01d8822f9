"""COCO run-length encoding: agreement with pycocotools, and errors for damaged input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from masklet.errors import InputError
from masklet.ops.rle import decode_rle, decode_rle_columns, encode_rle


def _disc() -> np.ndarray:
    y, x = np.mgrid[:37, :53]
    return (x - 20) ** 2 + (y - 15) ** 2 < 150


def test_encoding_is_json_and_equals_pycocotools() -> None:
    rle = json.loads(json.dumps(encode_rle(_disc())))
    assert rle["size"] == [37, 53]
    np.testing.assert_array_equal(coco.decode(rle).astype(bool), _disc())


def test_plain_lists_of_counts_decode() -> None:
    # runs go down the columns: 2 off, 3 on, 1 off in a picture of 2 rows and 3 columns
    mask = decode_rle({"size": [2, 3], "counts": [2, 3, 1]})
    assert mask.tolist() == [[False, True, True], [False, True, False]]


@pytest.mark.parametrize("value", [False, True])
def test_uniform_masks_round_trip(value: bool) -> None:
    mask = np.full((3, 4), value)
    np.testing.assert_array_equal(decode_rle(encode_rle(mask)), mask)


@pytest.mark.parametrize("seed", range(20))
def test_the_columns_of_a_mask_are_those_with_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    mask = np.zeros((7, 30), np.bool_)
    start, stop = sorted(generator.integers(0, 31, 2))
    mask[:, start:stop] = generator.random((7, stop - start)) < generator.random()
    first, part = decode_rle_columns(encode_rle(mask))
    whole = np.zeros_like(mask.T)
    whole[first : first + len(part)] = part
    np.testing.assert_array_equal(whole.T, mask)
    assert not len(part) or (part[0].any() and part[-1].any())


@pytest.mark.parametrize("counts", [[0, 6], [6], [0, 0, 6], [2, 1, 3], [5, 1], [0, 1, 5], [1, 0, 1, 2, 2]])
def test_columns_of_odd_runs(counts: list[int]) -> None:
    rle = {"size": [2, 3], "counts": counts}
    first, part = decode_rle_columns(rle)
    whole = np.zeros((3, 2), np.bool_)
    whole[first : first + len(part)] = part
    np.testing.assert_array_equal(whole.T, decode_rle(rle))


def test_bytes_counts_decode() -> None:
    rle = coco.encode(np.asfortranarray(_disc(), np.uint8))
    np.testing.assert_array_equal(decode_rle(rle), _disc())


@pytest.mark.parametrize(
    ("rle", "words"),
    [
        ({"size": [2, 3], "counts": [2, 3]}, "add up to 5 pixels"),
        ({"size": [2, 3], "counts": [2, -1, 5]}, "damaged"),
        ({"size": [2, 3], "counts": "é"}, "damaged or cut off|add up"),
        ({"size": [2, 3], "counts": encode_rle(_disc())["counts"]}, "add up to 1961 pixels"),
        ({"size": [37, 53], "counts": encode_rle(_disc())["counts"][:-3]}, "add up|cut off"),
        ({"size": [37, 53], "counts": "o" * 40}, "damaged or cut off"),
        ({"size": [37, 53], "counts": "o" * 40 + "0"}, "too large"),
        ({"size": [2, 3], "counts": ""}, "add up to 0"),
        ({"size": [2, 3]}, "add up|must be a string"),
        ({"size": [2, 3], "counts": ["a"]}, "must be a string or a list"),
        ({"counts": [6]}, "needs a size"),
        ({"size": [6], "counts": [6]}, "needs a size"),
        ({"size": [-2, -3], "counts": [6]}, "negative"),
    ],
)
def test_damaged_rle_is_an_error_that_says_what_is_wrong(rle: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        decode_rle(rle)


def test_only_two_dimensional_masks_are_encoded() -> None:
    with pytest.raises(InputError, match=r"\(1, 4, 4\)"):
        encode_rle(np.zeros((1, 4, 4), bool))


def test_endless_counts_are_no_counts():
    with pytest.raises(InputError, match="whole numbers"):
        decode_rle({"size": [2, 2], "counts": [float("inf")]})
