"""Positions as numbers: sines for maps and for time, and rotations for attention.

Everything is computed anew for the map at hand, so any image size works, and in real arithmetic, so that every backend
and exporter can follow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TEMPERATURE = 10000.0


def _frequencies(count: int, device: torch.device) -> Tensor:
    """[count] wave lengths in pairs, as in the original Transformer (sine and cosine share one)."""
    index = torch.arange(count, dtype=torch.float32, device=device)
    return TEMPERATURE ** (2 * torch.div(index, 2, rounding_mode="floor") / count)


def sine_map(height: int, width: int, channels: int, device: torch.device) -> Tensor:
    """Fixed sine positions of a map, [channels h w]: first half for rows, second for columns, both scaled to 2 pi."""
    wave = _frequencies(channels // 2, device)

    def axis(length: int) -> Tensor:
        steps = torch.arange(1, length + 1, dtype=torch.float32, device=device)
        angles = (steps / (length + 1e-6) * (2 * math.pi))[:, None] / wave
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=-1).flatten(1).T

    rows = axis(height)[:, :, None].expand(-1, -1, width)
    columns = axis(width)[:, None, :].expand(-1, height, -1)
    return torch.cat((rows, columns))


def sine_time(times: Tensor, channels: int) -> Tensor:
    """Sine positions of points in time, [n] to [n channels]: sines first, then cosines."""
    angles = times[:, None] / _frequencies(channels // 2, times.device)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def rotary_map(height: int, width: int, channels: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of axial rotary positions (RoPE, Su et al. 2021), each [h*w channels/2].

    The first half of the channel pairs turns with the column, the second with the row.
    """
    rate = TEMPERATURE ** -(torch.arange(0, channels, 4, dtype=torch.float32, device=device) / channels)
    columns = torch.arange(width, dtype=torch.float32, device=device)[None, :, None] * rate
    rows = torch.arange(height, dtype=torch.float32, device=device)[:, None, None] * rate
    angles = torch.cat((columns.expand(height, -1, -1), rows.expand(-1, width, -1)), dim=-1).flatten(0, 1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn neighbouring channel pairs of x [... n d] by the angles of `rotary_map` [n d/2]."""
    even, odd = x[..., 0::2].to(sine.dtype), x[..., 1::2].to(sine.dtype)
    turned = (x * cosine.repeat_interleave(2, dim=-1)).unflatten(-1, (-1, 2))
    # In place: fresh memory for every product would take longer than the arithmetic.
    turned[..., 0].addcmul_(odd, sine, value=-1)
    turned[..., 1].addcmul_(even, sine)
    return turned.flatten(-2).to(x.dtype)
