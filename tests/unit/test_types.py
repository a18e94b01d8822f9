"""Prompts as people make them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from masklet.errors import PromptError
from masklet.types import Prompt


def test_lists_and_tensors_make_a_prompt_and_are_copied() -> None:
    points = np.array([[1.0, 2.0]])
    prompt = Prompt(points=points, labels=[1], box=(1, 2, 30, 40))
    points += 5
    assert prompt.points.tolist() == [[1, 2]] and prompt.labels.tolist() == [1]
    assert prompt.box is not None and prompt.box.tolist() == [1, 2, 30, 40]
    mask = torch.ones(1, 4, 5)
    given = Prompt(mask=mask)
    mask.zero_()
    assert given.mask is not None and given.mask.shape == (4, 5) and given.mask.all()


def test_of_prompts_that_follow_each_other_points_add_up_and_the_later_box_and_mask_hold() -> None:
    first, second = Prompt.of((1, 2), 1, box=(0, 0, 9, 9)), Prompt.of((3, 4), 0, box=(1, 1, 5, 5))
    both = first.followed_by(second)
    assert (both.points.tolist(), both.labels.tolist()) == ([[1, 2], [3, 4]], [1, 0])
    assert both.box is not None and both.box.tolist() == [1, 1, 5, 5]
    kept = first.followed_by(Prompt.of((3, 4)))
    assert kept.box is not None and kept.box.tolist() == [0, 0, 9, 9]
    mask = Prompt.of(mask=np.eye(3))
    assert first.followed_by(mask) is mask and mask.followed_by(first) is first


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": [[1, 2]], "labels": [0.5]}, "labels are 1"),
        ({"points": [[1, 2]]}, "1 points need 1 labels; got 0"),
        ({"points": [1, 2], "labels": [1]}, r"shape \(n, 2\)"),
        ({"box": "here"}, "box must be numbers"),
        ({"mask": [["a"]]}, "zeros and ones"),
        ({"mask": np.full((2, 2), 0.5)}, "where the object begins"),
    ],
)
def test_what_makes_no_prompt_is_told(fields, message) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt(**fields)


def test_an_index_mask_of_several_objects_is_no_mask():
    index = np.zeros((6, 8), np.uint16)
    index[1:3, 1:3], index[4:6, 4:8] = 3, 500
    with pytest.raises(PromptError, match="several numbers, 3, 500: of an index mask take one object, as in mask == 3"):
        Prompt.of(mask=index)
    assert Prompt.of(mask=np.where(index == 3, np.uint8(255), np.uint8(0))).mask.sum() == 4


def test_labels_with_a_row_too_many_are_told_by_their_shape() -> None:
    with pytest.raises(PromptError, match=r"2 points need 2 labels; got an array of shape \(1, 2\)"):
        Prompt.of(points=[[5, 5], [6, 6]], labels=[[1, 1]])
