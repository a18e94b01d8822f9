"""The layers that several parts of the network share."""

import torch
from torch import nn

from masklet.model.layers import LayerNorm2d, pointwise


def test_two_pointwise_convolutions_in_one_give_what_one_after_the_other_gives():
    torch.manual_seed(0)
    first, second = nn.Conv2d(6, 12, 1), nn.Conv2d(12, 4, 1)
    maps = torch.randn(2, 6, 5, 7)
    found, expected = pointwise(maps, first, second), second(first(maps))
    assert torch.allclose(found, expected, atol=1e-5)
    weights = [*first.parameters(), *second.parameters()]
    grads = (torch.autograd.grad(out.square().sum(), weights) for out in (found, expected))
    assert all(torch.allclose(*pair, rtol=1e-4, atol=1e-4) for pair in zip(*grads))


def test_a_map_is_normalised_over_its_channels_at_each_place():
    torch.manual_seed(0)
    norm = LayerNorm2d(6)
    nn.init.uniform_(norm.weight, 0.5, 2)
    nn.init.uniform_(norm.bias, -1, 1)
    maps = torch.randn(2, 6, 3, 4)
    centred = maps - maps.mean(1, keepdim=True)
    normal = centred / (centred.square().mean(1, keepdim=True) + norm.eps).sqrt()
    expected = normal * norm.weight[:, None, None] + norm.bias[:, None, None]
    assert torch.allclose(norm(maps), expected, atol=1e-5)
