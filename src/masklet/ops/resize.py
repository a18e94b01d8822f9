"""Resizing maps, the same way wherever it is done."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

MOST_AT_ONCE = 64
"""CUDA refuses to average over more than about 94 pixels a side, so that what shrinks by more does so in two steps."""


def resize_bilinear(maps: Tensor, height: int, width: int, antialias: bool = False) -> Tensor:
    """Resize [b c h w] bilinearly, pixel centres at halves."""
    if maps.shape[-2:] == (height, width):
        return maps
    if antialias and max(maps.shape[-2] / height, maps.shape[-1] / width) > MOST_AT_ONCE:
        halves = [min(side, 8 * aim) for side, aim in zip(maps.shape[-2:], (height, width))]
        maps = F.interpolate(maps, size=halves, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False, antialias=antialias)
