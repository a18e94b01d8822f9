"""Crossing from a person's pixels to the model's: the one place where prompts become tensors.

Three coordinate spaces exist: the picture's own pixels, the model's square picture, and cells of a feature map. Only
this file crosses between the first two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masklet.ops.resize import resize_bilinear

BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PAD = 0, 1, 2, 3, -1
"""Labels of points; a box is two points of its own labels."""


@dataclass(frozen=True, eq=False)
class Points:
    """xy: [b n 2] in model pixels; label: [b n], one of the labels above."""

    xy: Tensor
    label: Tensor

    def followed_by(self, other: Points | None) -> Points:
        """These points, then the other's."""
        if other is None:
            return self
        return Points(torch.cat((self.xy, other.xy), 1), torch.cat((self.label, other.label), 1))


def to_model_points(
    points: NDArray[np.float32],
    labels: NDArray[np.int32],
    box: NDArray[np.float32] | None,
    size: tuple[int, int],
    image_size: int,
    device: torch.device | str = "cpu",
) -> Points | None:
    """One object's points and box, in pixels of a picture of `size` (height, width), as model points with b = 1.

    points: (n, 2); labels: (n,); box: (4,) or None. The box's corners come first, as the models were trained. None
    where there is neither point nor box.
    """
    xy, label = np.asarray(points, np.float32).reshape(-1, 2), np.asarray(labels, np.int32).reshape(-1)
    if box is not None:
        xy = np.concatenate((np.asarray(box, np.float32).reshape(2, 2), xy))
        label = np.concatenate((np.array([TOP_LEFT, BOTTOM_RIGHT], np.int32), label))
    if not len(xy):
        return None
    height, width = size
    # Divide first, then scale, in float32: the order the official code rounds in.
    scaled = torch.from_numpy(xy) / torch.tensor([width, height], dtype=torch.float32) * image_size
    return Points(scaled[None].to(device), torch.from_numpy(label)[None].to(device))


def to_model_mask(mask: NDArray[np.bool_], image_size: int, device: torch.device | str = "cpu") -> Tensor:
    """A bool mask (H, W) on the model's square picture, [1 1 S S] of zeros and ones."""
    maps = torch.from_numpy(np.ascontiguousarray(mask))[None, None].to(device=device, dtype=torch.float32)
    return (resize_bilinear(maps, image_size, image_size, antialias=True) >= 0.5).float()
