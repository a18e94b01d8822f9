"""A close look at a mask: the picture around it is cut out and encoded by itself, and the mask decoded again there.

A model sees every picture at one size, so that a thing which fills a tenth of it gets a tenth of the cells. Close by,
it gets most of them. Source: ours; zooming in before a mask is corrected is from "f-BRS" (Sofiiuk et al., 2020).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masklet.model.image_encoder import STRIDE, ImageFeatures
from masklet.model.network import FED_BACK_LIMIT, Network
from masklet.ops.boxes import mask_boxes
from masklet.ops.coordinates import BOTTOM_RIGHT, FOREGROUND, PAD, TOP_LEFT, Points
from masklet.ops.crops import Crop, crop_between
from masklet.ops.resize import resize_bilinear
from masklet.predict.pixels import at_full_size, encode_to_predict, picture_pixels
from masklet.types import Size

MARGIN = 1.6
"""Side of a window, before the picture's border cuts it, as a multiple of the longer side of what it surrounds."""
MIN_SIDE = 48
"""Pixels below which a window does not shrink: enlarged further, a picture is blur."""
HARDLY_CLOSER = 0.9
"""A window with both sides at least this part of the picture's shows nothing new."""
PIXELS_PER_LOGIT = STRIDE // 4
OUTSIDE = -10.0
"""Logit outside a window."""
FIRST_IOU = 2 / 3
"""How much of the predicted quality stays from the first look: close by, a part is easily taken for the whole."""
MAX_WINDOWS = 4
"""Windows encoded together, which bounds the memory that many objects take."""


@dataclass(frozen=True, eq=False)
class CloseUps:
    """n masks, each on a window of a picture, right and lower edges exclusive.

    logits: [n 1 4h 4w] over the window; iou: [n] predicted quality. A mask that could not be seen closer is as it was,
    on the whole picture.
    """

    windows: tuple[Crop, ...]
    logits: Tensor
    iou: Tensor

    def low_res(self, first: Tensor, whole: Tensor) -> Tensor:
        """All masks on the whole picture at the resolution of the first answers, [n 1 4h 4w], for further prompts;
        whole: what `on_picture` makes of `logits`."""
        height, width = first.shape[-2:]
        seen = resize_bilinear(whole, height, width, antialias=True)
        closer = torch.tensor([window.layer > 0 for window in self.windows], device=first.device)
        return torch.where(closer[:, None, None, None], seen, first)

    def on_picture(self, logits: Tensor, size: Size, guide: NDArray[np.uint8] | None) -> Tensor:
        """Logits over the windows, [n 1 h w], laid onto the whole picture, [n 1 H W]; guide: see `at_full_size`."""
        whole = logits.new_full((len(logits), 1, *size), OUTSIDE)
        for row, window in enumerate(self.windows):
            rows, columns = window.window
            part = None if guide is None else guide[rows, columns]
            whole[row, :, rows, columns] = at_full_size(logits[row : row + 1], Size(*window.size), part)[0]
        return whole


def look_closer(
    model: Network,
    picture: NDArray[np.uint8],
    points: Points | None,
    logits: Tensor,
    iou: Tensor,
    *,
    stability_fallback: bool | None = None,
) -> CloseUps:
    """Decode n masks again, each from its own prompt and itself, on the part of the picture around it.

    picture: RGB [H W 3]; points: n rows in model pixels; logits: [n 1 4h 4w]; iou: [n]. A mask keeps its logits where
    it is empty and has no box, where it fills the picture, and where the box lies beyond it.
    """
    size = Size(*picture.shape[:2])
    image_size = logits.shape[-1] * PIXELS_PER_LOGIT  # an embedding may come from the same weights at another size
    seen = None if points is None else Points(points.xy.float().cpu(), points.label.cpu())  # at once for all rows
    masks = (logits[:, 0] > 0).cpu().numpy()
    windows = tuple(_window(seen, masks[row], row, size, image_size) for row in range(len(logits)))
    chosen = [row for row, window in enumerate(windows) if window.layer]
    found = CloseUps(windows, logits.float().clone(), iou.float().clone())
    for begin in range(0, len(chosen), MAX_WINDOWS):
        rows = chosen[begin : begin + MAX_WINDOWS]
        near = [windows[row] for row in rows]
        features = _encode(model, picture, near, image_size)
        decoded = model.decode(
            features,
            model.condition(features, None),
            None if points is None else _seen_from(near, points, rows, size, image_size),
            _cut(logits[rows].float(), near, size).clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT),
            multimask=False,
            stability_fallback=stability_fallback,
        )
        found.logits[rows] = decoded.candidates.logits.float()
        near_iou = decoded.candidates.iou[:, 0].float()
        found.iou[rows] = FIRST_IOU * found.iou[rows] + (1 - FIRST_IOU) * near_iou
    return found


def _window(points: Points | None, mask: NDArray[np.bool_], row: int, size: Size, image_size: int) -> Crop:
    """Around the box, or else around the mask [4h 4w], and around all points on the object; layer 0 where that is no
    closer."""
    height, width = size
    whole = Crop(0, 0, width, height)
    scale = np.array([width, height], np.float32)
    corners, clicks = np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    if points is not None:
        xy, label = points.xy[row].numpy() / image_size * scale, points.label[row].numpy()
        corners, clicks = xy[(label == TOP_LEFT) | (label == BOTTOM_RIGHT)], xy[label == FOREGROUND]
    if not len(corners):
        if not mask.any():
            return whole
        corners = mask_boxes(mask).reshape(2, 2) / np.array(mask.shape[::-1]) * scale
    reach = np.concatenate((corners, clicks)).clip(0, scale)  # the official names take prompts beyond the border
    low, high = reach.min(0), reach.max(0)
    if (low == high).any():
        return whole
    half = max(MARGIN * float((high - low).max()), MIN_SIDE) / 2
    middle = (low + high) / 2
    near = crop_between(middle - half, middle + half, size)
    return whole if all(side >= HARDLY_CLOSER * all_of_it for side, all_of_it in zip(near.size, size)) else near


def _encode(model: Network, picture: NDArray[np.uint8], windows: list[Crop], image_size: int) -> ImageFeatures:
    """The features of each window, equal ones being encoded once."""
    distinct = list(dict.fromkeys(windows))
    pixels = [picture_pixels(picture[one.window], image_size, model.device) for one in distinct]
    features = encode_to_predict(model, torch.cat(pixels))
    return features.select(torch.tensor([distinct.index(one) for one in windows], device=model.device))


def _seen_from(windows: list[Crop], points: Points, rows: list[int], size: Size, image_size: int) -> Points:
    """The rows of points in model pixels of their windows; those outside no longer count."""
    xy, label = points.xy[rows], points.label[rows]
    bounds = torch.tensor([window[:4] for window in windows], dtype=xy.dtype, device=xy.device)[:, None]
    scale = torch.tensor([size.width, size.height], dtype=xy.dtype, device=xy.device)
    moved = (xy / image_size * scale - bounds[..., :2]) / (bounds[..., 2:] - bounds[..., :2]) * image_size
    is_corner = (label == TOP_LEFT) | (label == BOTTOM_RIGHT)
    outside = ((moved < 0) | (moved > image_size)).any(-1) & ~is_corner
    return Points(moved, label.masked_fill(outside, PAD))


def _cut(logits: Tensor, windows: list[Crop], size: Size) -> Tensor:
    """What of each mask [n 1 h w] lies in its window, [n 1 h w] again."""
    height, width = logits.shape[-2:]
    parts = []
    for row, window in enumerate(windows):
        rows, columns = window.window
        whole = resize_bilinear(logits[row : row + 1], *size)  # one at a time: pictures may be large
        parts.append(resize_bilinear(whole[..., rows, columns], height, width, antialias=True))
    return torch.cat(parts)
