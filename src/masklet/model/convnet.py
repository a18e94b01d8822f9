"""A plain residual convolutional trunk (He et al., 2016), for small models that train from scratch on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.config import ConvNetConfig
from masklet.model.layers import join_heads, split_heads, to_maps, to_tokens
from masklet.model.positions import sine_map

HEAD_WIDTH = 32
"""Channels of one head of attention."""


class ConvNet(nn.Module):
    """Pixels [b 3 H W] to four maps at strides 4, 8, 16 and 32, channels as `config.widths`."""

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        first = config.widths[0]
        self.stem = NormedConvs(
            *conv_norm(3, first // 2, stride=2), relu(), *conv_norm(first // 2, first, stride=2), relu()
        )
        inputs = (first, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(width_in, width, stride=1 if stage == 0 else 2),
                *(ResidualBlock(width, width) for _ in range(depth - 1)),
            )
            for stage, (width_in, width, depth) in enumerate(zip(inputs, config.widths, config.depths))
        )
        self.global_blocks = nn.Sequential(*(GlobalBlock(config.widths[-1]) for _ in range(config.global_blocks)))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = self.stem(pixels)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        # Convolutions see edges and textures; that the white and the black fur are one cat takes the whole picture.
        maps[-1] = self.global_blocks(maps[-1])
        return maps


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is projected where width or size changes."""

    def __init__(self, width_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.body = NormedConvs(*conv_norm(width_in, width, stride), relu(), *conv_norm(width, width))
        projects = stride != 1 or width_in != width
        self.shortcut = NormedConvs(*conv_norm(width_in, width, stride, kernel=1)) if projects else nn.Identity()
        self.activation = relu()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


class NormedConvs(nn.Sequential):
    """Convolutions, each with its batch normalisation behind it, and activations between them.

    A norm whose statistics are settled is a factor and an offset for each channel: on a CPU its convolution takes them
    along, which saves the reading and writing of the whole map, while GPUs would wait for so many small steps. They are
    joined anew on every call, as there are few of them
    beside a map's cells, and what is not kept cannot be out of date.
    """

    def forward(self, x: Tensor) -> Tensor:
        layers = iter(self)
        for layer in layers:
            x = _convolve(x, layer, next(layers)) if isinstance(layer, nn.Conv2d) else layer(x)
        return x


def _convolve(x: Tensor, conv: nn.Conv2d, norm: Any) -> Tensor:
    """norm: a `BatchNorm2d`, or a `SyncBatchNorm` in its place."""
    if norm.training or x.device.type != "cpu":
        return norm(conv(x))
    scale = norm.weight.float() * torch.rsqrt(norm.running_var.float() + norm.eps)
    weight = conv.weight.float() * scale[:, None, None, None]
    bias = norm.bias.float() - norm.running_mean.float() * scale
    return F.conv2d(x, weight.to(conv.weight.dtype), bias.to(conv.weight.dtype), conv.stride, conv.padding)


class GlobalBlock(nn.Module):
    """A transformer block over all cells of a map [b c h w]: pre-norm, with sines for positions (Carion et al., 2020).

    Both branches begin at zero, so that a trained trunk can be given such blocks without a change of what it says.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // HEAD_WIDTH
        self.norm1 = nn.LayerNorm(width)
        self.query_key = nn.Linear(width, 2 * width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.linear1 = nn.Linear(width, 2 * width)
        self.linear2 = nn.Linear(2 * width, width)
        for last in (self.proj, self.linear2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, maps: Tensor) -> Tensor:
        height, width = maps.shape[-2:]
        x = to_tokens(maps)
        positions = to_tokens(sine_map(height, width, maps.shape[1], maps.device)[None])
        x = x + self.proj(self._attend(self.norm1(x), positions.to(x.dtype)))
        x = x + self.linear2(F.gelu(self.linear1(self.norm2(x))))
        return to_maps(x, height, width)

    def _attend(self, tokens: Tensor, positions: Tensor) -> Tensor:
        query, key = self.query_key(tokens + positions).chunk(2, dim=-1)
        query, key, value = (split_heads(x, self.num_heads) for x in (query, key, self.value(tokens)))
        return join_heads(F.scaled_dot_product_attention(query, key, value))


def conv_norm(width_in: int, width: int, stride: int = 1, kernel: int = 3) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution, without the bias that the batch normalisation behind it would cancel."""
    return nn.Conv2d(width_in, width, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(width)


def relu() -> nn.ReLU:
    """In place, as neither a norm nor a sum, behind which it comes, needs what it put out once more."""
    return nn.ReLU(inplace=True)
