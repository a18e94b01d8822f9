"""Parameter groups, schedules and the moving average."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from masklet.config import ConvNetConfig, HieraConfig, ModelConfig
from masklet.model.network import Network
from masklet.train.optimiser import (
    MovingAverage,
    OptimiserConfig,
    Schedule,
    learning_rate_factors,
    make_optimiser,
    set_learning_rate,
)

SMALL = {"image_size": 64, "width": 64, "memory_width": 16, "memory_layers": 1, "feedforward": 64}
HIERA = ModelConfig("small-hiera", HieraConfig(16, 1, (1, 1, 2, 1), (2,)), **SMALL)
CONVNET = ModelConfig("small-convnet", ConvNetConfig((8, 8, 16, 16), (1, 1, 2, 1)), **SMALL)


@pytest.fixture(scope="module")
def hiera() -> Network:
    return Network(HIERA)


def test_layer_decay_grows_towards_the_neck(hiera):
    factors = learning_rate_factors(hiera, OptimiserConfig(vision_lr_factor=0.6, layer_decay=0.5))
    trunk = "image_encoder.trunk."
    assert factors[f"{trunk}blocks.4.norm1.weight"] == pytest.approx(0.6 * 0.5)
    assert factors[f"{trunk}blocks.3.norm1.weight"] == pytest.approx(0.6 * 0.5**2)
    assert factors[f"{trunk}blocks.0.norm1.weight"] == pytest.approx(0.6 * 0.5**5)
    assert factors[f"{trunk}patch_embed.proj.weight"] == pytest.approx(0.6 * 0.5**6)
    assert factors[f"{trunk}pos_embed"] == pytest.approx(0.6)
    assert factors["image_encoder.neck.convs.0.conv.weight"] == pytest.approx(0.6)
    assert factors["memory_encoder.out_proj.weight"] == 1


def test_layer_decay_counts_the_blocks_of_a_convolutional_trunk():
    factors = learning_rate_factors(Network(CONVNET), OptimiserConfig(layer_decay=0.5))
    convolutions = {name: factor for name, factor in factors.items() if name.endswith("body.0.weight")}
    assert list(convolutions.values()) == [0.5**5, 0.5**4, 0.5**3, 0.5**2, 0.5]


def test_layer_decay_counts_the_global_blocks_behind_the_convolutions():
    attentive = replace(CONVNET, trunk=ConvNetConfig((8, 8, 16, 32), (1, 1, 2, 1), global_blocks=2))
    factors = learning_rate_factors(Network(attentive), OptimiserConfig(layer_decay=0.5))
    trunk = "image_encoder.trunk."
    assert factors[f"{trunk}global_blocks.1.proj.weight"] == 0.5
    assert factors[f"{trunk}global_blocks.0.proj.weight"] == 0.5**2
    assert factors[f"{trunk}stages.3.0.body.0.weight"] == 0.5**3
    assert factors[f"{trunk}stem.0.weight"] == 0.5**8


def test_biases_and_norms_are_not_decayed(hiera):
    optimiser = make_optimiser(hiera, OptimiserConfig(weight_decay=0.1))
    decays = {id(p): group["weight_decay"] for group in optimiser.param_groups for p in group["params"]}
    by_name = {name: decays[id(parameter)] for name, parameter in hiera.named_parameters()}
    assert by_name["image_encoder.trunk.blocks.0.norm1.weight"] == 0
    assert by_name["image_encoder.trunk.blocks.0.attn.qkv.bias"] == 0
    assert by_name["sam_mask_decoder.output_upscaling.1.weight"] == 0, "LayerNorm2d is a norm as well"
    assert by_name["image_encoder.trunk.blocks.0.attn.qkv.weight"] == 0.1


def test_frozen_parameters_are_left_out():
    model = Network(CONVNET)
    model.image_encoder.requires_grad_(False)
    optimiser = make_optimiser(model, OptimiserConfig())
    trained = sum(parameter.numel() for group in optimiser.param_groups for parameter in group["params"])
    assert trained == sum(p.numel() for n, p in model.named_parameters() if not n.startswith("image_encoder."))


def test_each_group_gets_the_rate_times_its_factor(hiera):
    optimiser = make_optimiser(hiera, OptimiserConfig(vision_lr_factor=0.6, layer_decay=0.5))
    set_learning_rate(optimiser, 0.01)
    assert max(group["lr"] for group in optimiser.param_groups) == pytest.approx(0.01)
    assert min(group["lr"] for group in optimiser.param_groups) == pytest.approx(0.01 * 0.6 * 0.5**6)


def test_schedule_warms_up_and_then_follows_half_a_cosine():
    schedule = Schedule(steps=110, warmup=10, final=0.1)
    assert [schedule(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [schedule(step) for step in (10, 60, 110)] == pytest.approx([1.0, 0.55, 0.1])
    assert schedule(1000) == pytest.approx(0.1)


def test_moving_average_by_hand():
    model = nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(0.0)
    average = MovingAverage(model, decay=0.5)
    model.weight.data.fill_(1.0)
    average.update(model)  # the ramp: 2 / 11 of the old value stay
    assert average.weights["weight"].item() == pytest.approx(9 / 11)
    average.num_updates = 1000
    average.update(model)  # the ramp is over: half of the old value stays
    assert average.weights["weight"].item() == pytest.approx((9 / 11 + 1) / 2)


def test_what_is_frozen_is_not_averaged():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model[0].requires_grad_(False)
    average = MovingAverage(model, 0.9)
    assert {name.partition(".")[0] for name in average.weights} == {"1"}
    assert {"1.running_mean", "1.num_batches_tracked"} <= set(average.weights)
    average.update(model)
    older = {"num_updates": 3, "weights": {name: value + 1 for name, value in model.state_dict().items()}}
    average.load_state_dict(older)  # runs of earlier versions averaged all
    torch.testing.assert_close(average.weights["1.weight"], model[1].weight.data + 1)


def test_moving_average_goes_on_from_its_state():
    model = nn.Linear(3, 2)
    first, second = MovingAverage(model, 0.9), MovingAverage(model, 0.9)
    model.weight.data.add_(1)
    first.update(model)
    second.load_state_dict(first.state_dict())
    for average in (first, second):
        average.update(model)
    torch.testing.assert_close(first.weights, second.weights)
