"""Masks brought to a picture's size along the picture's edges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from masklet.config import CONFIGS
from masklet.eval.metrics import region_j
from masklet.model.network import ABSENT_LOGIT
from masklet.ops.guided import EPSILON, FINEST, OFF_EDGE, RADIUS, SURE, resize_guided
from masklet.predict.image import ImagePredictor
from masklet.predict.video import VideoSession
from masklet.tracking.policy import DEFAULT
from tiny import TINY_CONVNET, tiny_clip, tiny_model

CELLS = 24


def disc(side, radius=0.31):
    """A disc on [side, side], off the middle."""
    y, x = (np.mgrid[:side, :side] + 0.5) / side
    return (x - 0.45) ** 2 + (y - 0.52) ** 2 < radius**2


def coloured(mask, inside=(0.8, 0.3, 0.2), outside=(0.3, 0.5, 0.4)):
    """A picture [3 H W] with two colours and a little noise."""
    noise = 0.02 * torch.randn(3, *mask.shape, generator=torch.Generator().manual_seed(0))
    where = torch.from_numpy(mask)
    return torch.where(where, torch.tensor(inside)[:, None, None], torch.tensor(outside)[:, None, None]) + noise


def by_hand(logits, picture):
    """The same at the mask's own resolution, cell by cell: a ridge regression over each window, then the mean of all
    functions that a cell takes part in."""
    h, w = logits.shape
    colours, inside = picture.permute(1, 2, 0).numpy().astype(float), 1 / (1 + np.exp(-logits.numpy().astype(float)))
    fits = np.zeros((h, w, 4))
    for y in range(h):
        for x in range(w):
            near = np.s_[max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1]
            c, p = colours[near].reshape(-1, 3), inside[near].ravel()
            centred = c - c.mean(0)
            slope = np.linalg.solve(centred.T @ centred / len(c) + EPSILON * np.eye(3), centred.T @ p / len(c))
            fits[y, x] = (*slope, p.mean() - slope @ c.mean(0))
    found = np.zeros((h, w))
    for y in range(h):
        for x in range(w):
            near = np.s_[max(0, y - RADIUS) : y + RADIUS + 1, max(0, x - RADIUS) : x + RADIUS + 1]
            fit = fits[near].reshape(-1, 4).mean(0)
            found[y, x] = fit[:3] @ colours[y, x] + fit[3]
    return found


def test_it_is_the_guided_filter():
    generator = torch.Generator().manual_seed(1)
    logits, picture = 3 * torch.randn(9, 11, generator=generator), torch.rand(3, 9, 11, generator=generator)
    found = resize_guided(logits[None, None], picture, logits.shape)[0, 0].sigmoid().numpy()
    expected = by_hand(logits, picture).clip(SURE, 1 - SURE)
    edge = np.abs(expected - 0.5) < 1 / (1 + np.exp(-OFF_EDGE)) - 0.5
    assert np.allclose(found[edge], expected[edge], atol=1e-4)
    assert edge.mean() > 0.9 and ((found > 0.5) == (expected > 0.5)).all()
    assert (np.abs(found - 0.5) >= np.abs(expected - 0.5) - 1e-4).all(), "off the edge it is at least as sure"


@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_coarse_mask_that_is_a_cell_off_finds_the_edge(shift):
    """Even where the result is to have more pixels than the picture that guides it."""
    coarse = np.roll(disc(CELLS), shift, 1)
    logits = torch.from_numpy(coarse * 12.0 - 6.0).float()[None, None]
    truth = disc(8 * CELLS)
    guided = resize_guided(logits, coloured(disc(4 * CELLS)), truth.shape)[0, 0].numpy() > 0
    plain = F.interpolate(logits, truth.shape, mode="bilinear")[0, 0].numpy() > 0
    assert region_j(truth, guided) > (region_j(truth, plain) + 2) / 3
    assert region_j(truth, guided) > 0.95


def test_without_any_edge_the_mask_stays():
    logits = torch.from_numpy(disc(CELLS) * 12.0 - 6.0).float()[None, None]
    grey = torch.full((3, FINEST * CELLS, FINEST * CELLS), 0.5)
    guided = resize_guided(logits, grey, grey.shape[-2:])[0, 0].numpy() > 0
    assert region_j(disc(FINEST * CELLS), guided) > 0.9


def test_masks_do_not_touch_each_other_and_stay_finite():
    logits = torch.from_numpy(np.stack([disc(CELLS), ~disc(CELLS)]) * 2000.0 - 1000.0).float()[:, None]
    picture = coloured(disc(60))[:, :, :50]
    together = resize_guided(logits, picture, (60, 50))
    assert together.shape == (2, 1, 60, 50)
    assert together.isfinite().all()
    for row in range(2):
        assert torch.allclose(together[row], resize_guided(logits[row : row + 1], picture, (60, 50))[0], atol=1e-4)


def test_of_two_that_are_sure_the_surer_one_stays_so():
    """`non_overlapping` and index masks give each pixel to the highest logit: ties would all go to the first object."""
    logits = torch.stack([torch.full((CELLS, CELLS), 12.0), torch.from_numpy(disc(CELLS) * 50.0 - 25.0)]).float()
    picture = coloured(disc(2 * CELLS))
    found = resize_guided(logits[:, None], picture, (2 * CELLS, 2 * CELLS))[:, 0]
    winner = found.argmax(0).numpy() == 1
    assert region_j(disc(2 * CELLS), winner) > 0.9
    assert found.isfinite().all() and found[1].max() == pytest.approx(25, abs=0.1)


def test_autocast_changes_nothing():
    """Its matrix products would take the variances away."""
    logits = torch.from_numpy(disc(CELLS) * 12.0 - 6.0).float()[None, None]
    picture = coloured(disc(2 * CELLS))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        short = resize_guided(logits, picture, (60, 60))
    assert torch.equal(short, resize_guided(logits, picture, (60, 60)))


def test_pictures_and_clips_follow_the_models_configuration():
    assert [name for name, config in CONFIGS.items() if config.guided_edges] == ["nano"]
    clip = tiny_clip(3)
    network, guided = tiny_model(), tiny_model(replace(TINY_CONVNET, guided_edges=True))
    box = {"box": (4, 12, 20, 28)}
    predictors = [
        ImagePredictor(network),
        ImagePredictor(guided),
        ImagePredictor(network, guided_edges=True),
        ImagePredictor(guided, guided_edges=False),
    ]
    pictures = [one.predict(one.embed(clip[0]), **box) for one in predictors]
    policies = [DEFAULT, DEFAULT, replace(DEFAULT, guided_edges=True), replace(DEFAULT, guided_edges=False)]
    clips = []
    for model, policy in zip((network, guided, network, guided), policies, strict=True):
        session = VideoSession(model, clip, policy=policy)
        session.add(1, 0, **box)
        clips.append(torch.stack([found.logits for found in session.propagate()]))
    for plain, by_model, told, unlike in ([one.logits for one in pictures], clips):
        assert torch.equal(plain, unlike)
        assert torch.equal(by_model, told)
        assert not torch.allclose(plain, told, atol=0.1)
    assert torch.equal(pictures[0].low_res, pictures[1].low_res), "what is fed back is not touched"


def test_absent_objects_stay_absent_in_clips():
    model = tiny_model(replace(TINY_CONVNET, guided_edges=True))
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(-1e6)
    logits = VideoSession(model, tiny_clip(1)).add(1, 0, points=[(8, 20)]).logits
    assert (logits == ABSENT_LOGIT).all()
