"""Resizing maps, the same way wherever it is done."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

MOST_AT_ONCE = 64
"""CUDA refuses to shrink to less than about 1/94 of a side, so that what shrinks by more than this takes two steps."""


def resize_bilinear(maps: Tensor, height: int, width: int, antialias: bool = False) -> Tensor:
    """Resize [b c h w] bilinearly, pixel centres at halves."""
    if maps.shape[-2:] == (height, width):
        return maps
    if antialias and max(maps.shape[-2] / height, maps.shape[-1] / width) > MOST_AT_ONCE:
        between = [min(side, 8 * aim) for side, aim in zip(maps.shape[-2:], (height, width))]
        maps = F.interpolate(maps, size=between, mode="bilinear", align_corners=False, antialias=True)
    return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False, antialias=antialias)
