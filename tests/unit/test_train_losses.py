"""Losses against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from masklet.model.mask_decoder import MaskCandidates
from masklet.train.losses import LossWeights, decoding_loss, dice_loss, focal_loss, mask_iou


def candidates(logits, iou, presence):
    """Candidates of one row with m masks, logits given as a list of m flat lists of four pixels."""
    maps = torch.tensor(logits, dtype=torch.float32).reshape(1, len(logits), 2, 2)
    return MaskCandidates(maps, torch.tensor([iou]), torch.zeros(1, len(logits), 8), torch.tensor([[presence]]))


TRUTH = torch.tensor([True, True, False, False]).reshape(1, 1, 2, 2)
ALL_RIGHT, ALL_WRONG, HALF = [9.0, 9, -9, -9], [-9.0, -9, 9, 9], [9.0, -9, -9, -9]


@pytest.mark.parametrize(("target", "alpha"), [(1.0, 0.25), (0.0, 0.75)])
def test_focal_loss_of_an_undecided_pixel_on_and_off_the_object(target, alpha):
    # p = 1/2: alpha * (1/2)^2 * log 2.
    pixel = torch.full((1, 1, 1, 1), target)
    assert focal_loss(torch.zeros(1, 1, 1, 1), pixel).item() == pytest.approx(alpha * 0.25 * math.log(2))


def test_focal_loss_hardly_counts_what_is_right_already():
    sure, unsure = torch.full((1, 1, 1, 1), 4.0), torch.full((1, 1, 1, 1), 0.0)
    target = torch.ones(1, 1, 1, 1)
    assert focal_loss(sure, target) < focal_loss(unsure, target) / 1000


def test_dice_loss_by_hand():
    # Soft mask 1/2 everywhere on two object pixels of four: 1 - (2 * 1 + 1) / (2 + 2 + 1).
    target = torch.tensor([1.0, 1, 0, 0]).reshape(1, 1, 2, 2)
    assert dice_loss(torch.zeros(1, 1, 2, 2), target).item() == pytest.approx(0.4)


def test_iou_of_masks():
    predicted = torch.tensor([[[[True, False]], [[False, False]]]])
    assert mask_iou(predicted, torch.tensor([[[[True, True]]]])).tolist() == [[0.5, 0.0]]
    assert mask_iou(predicted, torch.tensor([[[[False, False]]]])).tolist() == [[0.0, 1.0]]


def test_only_the_best_candidate_is_taught_its_mask():
    logits = torch.tensor([ALL_WRONG, HALF, ALL_RIGHT]).reshape(1, 3, 2, 2).requires_grad_()
    several = MaskCandidates(logits, torch.zeros(1, 3), torch.zeros(1, 3, 8), torch.ones(1, 1))
    loss = decoding_loss(several, TRUTH, LossWeights())
    (loss.focal + loss.dice).sum().backward()
    assert logits.grad[0, 2].abs().sum() > 0
    assert logits.grad[0, :2].abs().sum() == 0


@pytest.mark.parametrize(("surest", "expected"), [(0, 0.0), (1, 0.5), (2, 1.0)])
def test_the_iou_that_is_watched_is_of_the_candidate_that_would_be_shown(surest, expected):
    """Not of the one nearest to the truth, which nobody knows in use."""
    iou = torch.eye(3)[surest : surest + 1]
    logits = torch.tensor([ALL_WRONG, HALF, ALL_RIGHT]).reshape(1, 3, 2, 2)
    several = MaskCandidates(logits, iou, torch.zeros(1, 3, 8), torch.ones(1, 1))
    assert decoding_loss(several, TRUTH, LossWeights()).shown_iou.item() == expected


@pytest.mark.parametrize(("focal", "dice_of_best"), [(20.0, 0.4), (1.0, 0.25)])
def test_the_best_candidate_is_the_one_of_the_lowest_weighted_loss(focal, dice_of_best):
    """Half right and sure of it, or undecided: the one has the lower dice loss, the other the lower focal loss."""
    both = candidates([[2.0, -2, -9, -9], [0.0, 0, 0, 0]], [0.5, 0.5], 9.0)
    loss = decoding_loss(both, TRUTH, LossWeights(focal=focal))
    assert loss.dice.item() == pytest.approx(dice_of_best, abs=1e-3)


def test_every_candidate_is_taught_its_iou():
    loss = decoding_loss(candidates([ALL_RIGHT, HALF, ALL_WRONG], [0.75, 0.25, 0.5], 9.0), TRUTH, LossWeights())
    assert loss.iou.item() == pytest.approx((0.25 + 0.25 + 0.5) / 3)


def test_where_the_object_is_absent_only_presence_counts():
    nowhere = torch.zeros_like(TRUTH)
    loss = decoding_loss(candidates([ALL_RIGHT], [0.9], 0.0), nowhere, LossWeights())
    assert (loss.focal.item(), loss.dice.item(), loss.iou.item()) == (0, 0, 0)
    assert loss.presence.item() == pytest.approx(math.log(2))


@pytest.mark.parametrize(("presence", "truth", "expected"), [(9, 1, 1), (-9, 1, 0), (9, 0, 0), (-9, 0, 1)])
def test_the_iou_that_is_watched_is_of_what_would_be_shown(presence, truth, expected):
    """Nothing, where the object is judged absent: right where it is, wrong where it is not."""
    loss = decoding_loss(candidates([ALL_RIGHT], [0.9], float(presence)), TRUTH * truth > 0, LossWeights())
    assert loss.shown_iou.item() == expected


def test_the_total_weighs_the_parts():
    loss = decoding_loss(candidates([HALF], [0.9], 1.0), TRUTH, LossWeights())
    weights = LossWeights(focal=3, dice=5, iou=7, presence=11)
    expected = 3 * loss.focal + 5 * loss.dice + 7 * loss.iou + 11 * loss.presence
    torch.testing.assert_close(loss.total(weights), expected)


def test_finer_truth_is_met_by_enlarged_logits():
    truth = TRUTH.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert decoding_loss(candidates([ALL_RIGHT], [1.0], 9.0), truth, LossWeights()).shown_iou.item() == 1
