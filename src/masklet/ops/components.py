"""Small connected regions of a mask: holes to be filled and specks to be removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


OFFICIAL_FILL = 0.1
"""Logit of a filled hole in the official package's videos; removed specks get its negative."""


def fill_holes_and_specks(
    logits: torch.Tensor, *, hole_area: int, speck_area: int, fill: float = OFFICIAL_FILL, keep_largest: bool = True
) -> torch.Tensor:
    """Close small holes and drop small specks of masks given as logits, positive inside.

    logits: [n, H, W] or [n, 1, H, W]. A background region (logit <= 0) of at most `hole_area` pixels becomes +fill, a
    foreground region of at most `speck_area` pixels -fill; regions are 8-connected and both kinds are judged on the
    mask as it came. An area of 0 leaves that kind alone. A mask's largest region is no speck, however small, unless
    `keep_largest` is off: an object of a few pixels would vanish. Returns a tensor of the same shape, type and device;
    the result is the same on every device, as regions are always found on the CPU.
    Source: the post-processing of the official `sam2/utils/misc.py` and `transforms.py`.
    """
    if (hole_area <= 0 and speck_area <= 0) or not logits.numel():
        return logits
    inside = (logits > 0).cpu().numpy().reshape(-1, *logits.shape[-2:])
    filled = _fill(logits, [small_regions(~mask, hole_area) for mask in inside], fill)
    return _fill(filled, [small_regions(mask, speck_area, keep_largest) for mask in inside], -fill)


def small_regions(mask: NDArray[np.bool_], max_area: int, keep_largest: bool = False) -> NDArray[np.bool_]:
    """The pixels of `mask` [H, W] in 8-connected regions of at most `max_area` pixels, but for the largest if asked."""
    if max_area <= 0 or not mask.any():
        return np.zeros_like(mask)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= max_area
    small[0] = False  # label 0 is everything outside the mask
    if keep_largest:
        small[1 + stats[1:, cv2.CC_STAT_AREA].argmax()] = False
    return small[labels]


def _fill(logits: torch.Tensor, regions: Sequence[NDArray[np.bool_]], value: float) -> torch.Tensor:
    if not any(region.any() for region in regions):  # which spares a copy to the device
        return logits
    where = torch.from_numpy(np.stack(regions)).reshape(logits.shape)
    return logits.masked_fill(where.to(logits.device), value)
