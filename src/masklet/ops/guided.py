"""Masks brought to a picture's size along the picture's own edges.

Source: "Guided Image Filtering" (He, Sun and Tang, 2013, sections 3.2 and, for colours, 3.5), fitted at the mask's own
resolution and applied at a finer one, as in "Fast Guided Filter" (He and Sun, 2015).
"""

from __future__ import annotations

import torch
from torch import Tensor

from masklet.ops.resize import resize_bilinear

RADIUS = 2
"""Cells of the mask to each side over which it is explained by the picture's colours."""
EPSILON = 1e-3
"""Variance of colour, which runs from 0 to 1, below which a difference counts for little."""
FINEST = 2
"""Pixels to each side of a cell that a picture needs for its edges to be followed."""
OFF_EDGE = 3.0
"""Logit beyond which a pixel lies off the mask's edge, which is all that the filter is to move."""
SURE = 1e-4
"""Nearer than this to 0 or 1 a probability is not taken, so that logits stay finite."""


def resize_guided(logits: Tensor, picture: Tensor, size: tuple[int, int]) -> Tensor:
    """Logits [n 1 h w] as [n 1 H W], `size` being H, W, along the edges of a picture, RGB [3 a b] in 0 to 1.

    Around each cell the mask's probability is fitted as a linear function of colour; the functions are then read at
    every pixel's own colour, so that an edge of the mask moves to an edge of the picture nearby. The picture may have
    been resized: more than `FINEST` times h x w pixels cost time and show little more. Off the edges
    no mask becomes less sure of the side that a pixel is on, since the surer of two objects that overlap gets it.
    """
    # Variances are small differences of means, which nothing shorter than float32 can hold; nor can TF32 well, so
    # colours are first brought near zero.
    with torch.autocast(logits.device.type, enabled=False):
        picture = picture[None].float() - picture.float().mean((1, 2), keepdim=True)
        colour = resize_bilinear(picture, logits.shape[-2], logits.shape[-1], antialias=True)
        mean = _NeighbourhoodMean(colour)
        slope, offset = _fit(colour[0], logits.float().sigmoid(), mean)
        slope, offset = (resize_bilinear(mean(part), *picture.shape[-2:]) for part in (slope, offset))
        found = (slope * picture).sum(1, keepdim=True) + offset
        found = found.clamp(SURE, 1 - SURE).logit()
        unguided = resize_bilinear(logits.float(), *picture.shape[-2:])
        surer = (unguided * found > 0) & (unguided.abs() > found.abs()) & (found.abs() > OFF_EDGE)
        return resize_bilinear(torch.where(surer, unguided, found), *size)


def _fit(colour: Tensor, inside: Tensor, mean: _NeighbourhoodMean) -> tuple[Tensor, Tensor]:
    """Around each cell the slope [n 3 h w] and offset [n 1 h w] that explain `inside` [n 1 h w] by colours [3 h w]
    (ridge regression with three unknowns, solved by Cramer's rule)."""
    mean_colour, mean_inside = mean(colour), mean(inside)
    # Rows of the colours' covariance, each [3 h w], the same for every mask; the matrix is symmetric.
    ridge = EPSILON * torch.eye(3, dtype=colour.dtype, device=colour.device)[..., None, None]
    covariance = mean(colour[:, None] * colour) - mean_colour[:, None] * mean_colour + ridge
    adjugate = torch.linalg.cross(covariance.roll(-1, 0), covariance.roll(-2, 0), dim=1)
    determinant = (covariance[0] * adjugate[0]).sum(0)
    shared = mean(inside * colour) - mean_inside * mean_colour
    slope = torch.einsum("nchw,cdhw->ndhw", shared, adjugate) / determinant
    return slope, mean_inside - (slope * mean_colour).sum(1, keepdim=True)


class _NeighbourhoodMean:
    """The mean of maps [... h w], of the size of `like`, over the square around each cell, as far as it is within the
    map. As products with two matrices that is quicker than pooling on a CPU."""

    def __init__(self, like: Tensor) -> None:
        self.over_rows, self.over_columns = (_band(side, like) for side in like.shape[-2:])

    def __call__(self, maps: Tensor) -> Tensor:
        return self.over_rows @ maps @ self.over_columns.T


def _band(side: int, like: Tensor) -> Tensor:
    """The matrix that takes means over neighbours."""
    places = torch.arange(side, device=like.device)
    near = ((places[:, None] - places).abs() <= RADIUS).to(like.dtype)
    return near / near.sum(1, keepdim=True)
