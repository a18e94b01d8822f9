"""The colours that every model expects: RGB in 0 to 1, less ImageNet's mean, over its standard deviation."""

from __future__ import annotations

import torch
from torch import Tensor

PIXEL_MEAN = (0.485, 0.456, 0.406)
PIXEL_STD = (0.229, 0.224, 0.225)


def normalise(pixels: Tensor) -> Tensor:
    """Colours [... 3 H W] in 0 to 1 as models expect them."""
    mean, std = (torch.tensor(values, device=pixels.device).view(3, 1, 1) for values in (PIXEL_MEAN, PIXEL_STD))
    return (pixels - mean) / std
