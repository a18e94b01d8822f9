"""Small layers that several parts of the network share."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of a map, b c h w."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        variance = centred.square().mean(1, keepdim=True)
        normal = centred * torch.rsqrt(variance + self.eps)
        return normal * self.weight[:, None, None] + self.bias[:, None, None]


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
