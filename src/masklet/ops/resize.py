"""Resizing maps, the same way wherever it is done."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def resize_bilinear(maps: Tensor, height: int, width: int, antialias: bool = False) -> Tensor:
    """Resize [b c h w] bilinearly, pixel centres at halves."""
    if maps.shape[-2:] == (height, width):
        return maps
    return F.interpolate(maps, size=(height, width), mode="bilinear", align_corners=False, antialias=antialias)
