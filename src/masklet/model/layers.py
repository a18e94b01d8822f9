"""Small layers that several parts of the network share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map, b c h w, which comes back with its channels last in memory."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        channels_last = x.permute(0, 2, 3, 1)
        return F.layer_norm(channels_last, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class MLP(nn.Module):
    """`num_layers` linear layers with an activation between them."""

    def __init__(self, width_in: int, hidden: int, width_out: int, num_layers: int, gelu: bool = False) -> None:
        super().__init__()
        widths = [width_in, *[hidden] * (num_layers - 1), width_out]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths[:-1], widths[1:]))
        self.activation = nn.GELU() if gelu else nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


def pointwise(x: Tensor, first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Two 1 x 1 convolutions with nothing between them as the one that they amount to, on a map [b c h w].

    What lies between them, which is the widest map of all behind a small trunk, is never there.
    """
    assert first.bias is not None and second.bias is not None
    with torch.autocast(x.device.type, enabled=False):  # what is rounded is the result, once
        inner, outer = first.weight.flatten(1).float(), second.weight.flatten(1).float()
        weight = (outer @ inner)[..., None, None]
        bias = F.linear(first.bias.float(), outer, second.bias.float())
    return F.conv2d(x, weight.to(second.weight.dtype), bias.to(second.weight.dtype))


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[b n c] to [b heads n c/heads]."""
    b, n, c = x.shape
    return x.reshape(b, n, num_heads, c // num_heads).transpose(1, 2)


def join_heads(x: Tensor) -> Tensor:
    """[b heads n d] to [b n heads*d]."""
    b, heads, n, d = x.shape
    return x.transpose(1, 2).reshape(b, n, heads * d)


def to_tokens(maps: Tensor) -> Tensor:
    """[b c h w] to [b h*w c]."""
    return maps.flatten(2).transpose(1, 2)


def to_maps(tokens: Tensor, height: int, width: int) -> Tensor:
    """[b h*w c] to [b c h w]."""
    return tokens.transpose(1, 2).unflatten(2, (height, width))
