"""Low-rank updates and frozen parts."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from masklet.config import ConvNetConfig, HieraConfig, ModelConfig
from masklet.errors import InputError
from masklet.model.network import Network
from masklet.train.lora import add_low_rank_updates, freeze, merge_low_rank_updates, train_mode

SMALL = {"image_size": 64, "width": 64, "memory_width": 16, "memory_layers": 1, "feedforward": 64}
HIERA = ModelConfig("small-hiera", HieraConfig(16, 1, (1, 1, 2, 1), (2,)), **SMALL)
CONVNET = ModelConfig("small-convnet", ConvNetConfig((8, 8, 16, 16), (1, 1, 1, 1)), **SMALL)


def test_an_untrained_update_changes_nothing_and_trains_little():
    trunk = Network(HIERA).image_encoder.trunk
    pixels = torch.randn(1, 3, 64, 64)
    before = trunk(pixels)[-1]
    add_low_rank_updates(trunk, rank=2)
    torch.testing.assert_close(trunk(pixels)[-1], before)
    trained = sum(p.numel() for p in trunk.parameters() if p.requires_grad)
    assert 0 < trained < 0.25 * sum(p.numel() for p in trunk.parameters())


def test_merging_leaves_the_plain_architecture_with_the_trained_function():
    model = Network(HIERA)
    keys = list(model.state_dict())
    trunk = model.image_encoder.trunk
    add_low_rank_updates(trunk, rank=2)
    for name, parameter in trunk.named_parameters():
        if name.endswith(".up"):
            parameter.data.normal_()
    pixels = torch.randn(1, 3, 64, 64)
    trained = trunk(pixels)[-1]
    merge_low_rank_updates(trunk)
    assert sorted(model.state_dict()) == sorted(keys)
    torch.testing.assert_close(trunk(pixels)[-1], trained)


@pytest.mark.parametrize("global_blocks", [0, 1])
def test_a_convolutional_trunk_takes_no_updates(global_blocks):
    trunk = ConvNetConfig((8, 8, 16, 32), (1, 1, 1, 1), global_blocks)
    with pytest.raises(InputError, match="convolutional; set lora_rank to 0"):
        add_low_rank_updates(Network(replace(CONVNET, trunk=trunk)).image_encoder.trunk, rank=2)


def test_frozen_parts_keep_their_weights_and_statistics():
    model = Network(CONVNET)
    freeze(model, ("image_encoder.trunk.",))
    train_mode(model)
    before = {name: value.clone() for name, value in model.image_encoder.trunk.state_dict().items()}
    features = model.encode(torch.randn(2, 3, 64, 64))
    features.stride16.sum().backward()
    assert all(parameter.grad is None for parameter in model.image_encoder.trunk.parameters())
    torch.testing.assert_close(dict(model.image_encoder.trunk.state_dict()), before)
    assert model.training


def test_statistics_can_stay_while_weights_learn():
    model = Network(CONVNET)
    train_mode(model, fixed_statistics=True)
    pixels = torch.randn(2, 3, 64, 64)
    features = model.encode(pixels)
    features.stride16.sum().backward()
    assert all(parameter.grad is not None for parameter in model.image_encoder.trunk.parameters())
    model.eval()
    torch.testing.assert_close(model.encode(pixels).stride16, features.stride16)


def test_freezing_what_is_not_there_is_refused():
    with pytest.raises(InputError, match="'image_encoder.trank'"):
        freeze(Network(CONVNET), ("image_encoder.trank",))
