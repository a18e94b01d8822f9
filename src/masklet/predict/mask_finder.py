"""Masks for a grid of points on a picture and on crops of it, with the doubtful and the doubled ones left out.

Follow `MaskFinder.find`: each crop is encoded once and prompted in batches; a mask at the picture's size lives only
until it is judged and packed. Source: SAM paper, appendix B; official `automatic_mask_generator.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from masklet.model.image_encoder import ImageFeatures
from masklet.model.network import FED_BACK_LIMIT, Network
from masklet.ops.boxes import mask_areas, mask_boxes, nms
from masklet.ops.components import fill_holes_and_specks
from masklet.ops.coordinates import FOREGROUND, Points, to_model_points
from masklet.ops.crops import Crop, crop_windows, touches_cut
from masklet.ops.resize import resize_bilinear
from masklet.ops.rle import decode_rle, encode_rle
from masklet.predict.everything_options import EverythingOptions
from masklet.predict.image import HOLE_FILL
from masklet.predict.pixels import at_full_size, encode_to_predict, picture_pixels, shrunk_guide
from masklet.types import Size

OnPoints = Callable[[int, int], None]
"""Called with how many points were tried, and of how many."""

MAX_LOGITS_AT_ONCE = 2**24
"""Pixels of full-size masks held at one time: 64 MB, 54 masks of 640 x 480."""


@dataclass(frozen=True, eq=False)
class FoundMask:
    """One mask of a picture.

    rle: COCO run lengths, see `masklet.ops.rle`; area: pixels; box: x0, y0, x1, y1, right and lower edges exclusive;
    iou: predicted; stability: 0 to 1; point: x, y of the point it was found by; crop: where that was looked for. All in
    the picture's pixels.
    """

    rle: dict[str, Any]
    area: int
    box: tuple[int, int, int, int]
    iou: float
    stability: float
    point: tuple[float, float]
    crop: Crop

    @property
    def mask(self) -> NDArray[np.bool_]:
        """[H, W] bool, unpacked anew each time."""
        return decode_rle(self.rle)


@dataclass(frozen=True, eq=False)
class _View:
    """A crop as the network sees it.

    features: b = 1; conditioned: [1 c h w]; size: height, width of the picture; guide: the crop's own pixels, RGB, as
    few as count, where masks are to follow their edges.
    """

    crop: Crop
    features: ImageFeatures
    conditioned: Tensor
    size: tuple[int, int]
    guide: NDArray[np.uint8] | None


class MaskFinder:
    """Looks for masks everywhere on a picture.

    model: from `masklet.load`; options: where to look and what to keep; stability_fallback: whether an unstable single
    mask is replaced by the best of three, None for what suits the model.
    """

    def __init__(self, model: Network, options: EverythingOptions, *, stability_fallback: bool | None = None) -> None:
        self.model = model
        self.options = options
        self.stability_fallback = stability_fallback

    @torch.no_grad()
    def find(
        self, image: NDArray[np.uint8], where: NDArray[np.bool_] | None = None, on_points: OnPoints | None = None
    ) -> list[FoundMask]:
        """The masks of a picture, uint8 RGB [H W 3]; with `where`, [H W], of points on its true pixels only.

        on_points: called now and then with how many points were tried, and of how many. In the official order: by
        predicted IoU or, where there are crops, those of the smallest crops first; see `best_first`.
        """
        size = image.shape[0], image.shape[1]
        crops = crop_windows(size, self.options.crop_n_layers, self.options.crop_overlap_ratio)
        grids = [self._points(crop, where) for crop in crops]
        done, total = 0, sum(map(len, grids))
        found: list[FoundMask] = []
        for crop, points in zip(crops, grids, strict=True):
            if not len(points):
                continue
            view, seen = self._view(image, crop), list[FoundMask]()
            for batch in _batches(points, self.options.points_per_batch):
                seen += self._search(view, batch)
                done += len(batch)
                if on_points is not None:
                    on_points(done, total)
            found += _without_doubles(seen, [mask.iou for mask in seen], self.options.box_nms_thresh)
        if len(crops) == 1:
            return found
        nearness = [-float(np.prod(mask.crop.size)) for mask in found]
        return _without_doubles(found, nearness, self.options.crop_nms_thresh)

    def _points(self, crop: Crop, where: NDArray[np.bool_] | None) -> NDArray[np.float32]:
        """The grid on a crop, [n 2] in pixels of the crop."""
        height, width = crop.size
        points = (self.options.grid(crop.layer) * (width, height)).astype(np.float32)
        if where is None:
            return points
        x, y = np.minimum(points, (width - 1, height - 1)).astype(int).T
        return points[where[crop.window][y, x]]

    def _view(self, image: NDArray[np.uint8], crop: Crop) -> _View:
        seen = image[crop.window]
        pixels = picture_pixels(seen, self.model.config.image_size, self.model.device)
        features = encode_to_predict(self.model, pixels)
        # Shrunk once for all masks: full size, that is dear on a large photograph.
        guide = shrunk_guide(seen, features.stride4.shape[-2:]) if self.model.config.guided_edges else None
        return _View(crop, features, self.model.condition(features, None), (image.shape[0], image.shape[1]), guide)

    def _search(self, view: _View, xy: NDArray[np.float32]) -> Iterator[FoundMask]:
        """The masks of a batch of points of one crop."""
        low_res, iou = self._decode(view, xy, None, multimask=self.options.multimask_output)
        xy = xy.repeat(low_res.shape[1], axis=0)
        low_res, iou = low_res.flatten(0, 1), iou.flatten()
        if self.options.use_m2m:
            low_res, iou = self._refine(view, xy, low_res)
        kept = torch.arange(len(iou), device=iou.device)
        if self.options.pred_iou_thresh > 0:
            kept = kept[iou > self.options.pred_iou_thresh]
        # Few masks pass: only those are brought to full size, a few at a time.
        height, width = view.crop.size
        for some in kept.split(max(1, MAX_LOGITS_AT_ONCE // (height * width))):
            rows = some.tolist()
            yield from self._judge(view, low_res[some], iou[some].tolist(), xy[rows])

    def _decode(
        self, view: _View, xy: NDArray[np.float32], mask_logits: Tensor | None, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Low-resolution logits [n m 4h 4w] and predicted IoU [n m] of points [n 2], each an object of its own."""
        image_size = self.model.config.image_size
        labels = np.full(len(xy), FOREGROUND, np.int32)
        points = to_model_points(xy, labels, None, view.crop.size, image_size, self.model.device)
        assert points is not None, "batches of points are never empty"
        decoded = self.model.decode(
            view.features,
            view.conditioned,
            Points(points.xy.transpose(0, 1), points.label.transpose(0, 1)),
            mask_logits,
            multimask=multimask,
            stability_fallback=self.stability_fallback,
            second_look=False,  # `use_m2m` asks for one
        )
        return decoded.candidates.logits.float(), decoded.candidates.iou.float()

    def _refine(self, view: _View, xy: NDArray[np.float32], low_res: Tensor) -> tuple[Tensor, Tensor]:
        """Each mask [n 4h 4w] decoded again from its point and itself."""
        fed_back = low_res[:, None].clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT)
        size = self.options.points_per_batch
        parts = [
            self._decode(view, some, logits, multimask=False)
            for some, logits in zip(_batches(xy, size), fed_back.split(size), strict=True)
        ]
        return torch.cat([logits for logits, _ in parts])[:, 0], torch.cat([iou for _, iou in parts])[:, 0]

    def _judge(
        self, view: _View, low_res: Tensor, iou: Sequence[float], xy: NDArray[np.float32]
    ) -> Iterator[FoundMask]:
        """Of masks [n 4h 4w] those that are stable and whole, packed."""
        options, crop = self.options, view.crop
        area = options.min_mask_region_area
        mended = fill_holes_and_specks(low_res, hole_area=area, speck_area=area, fill=HOLE_FILL, keep_largest=False)
        logits = resize_bilinear(mended[:, None], *crop.size)[:, 0]
        stability = stability_scores(logits, options.mask_threshold, options.stability_score_offset)
        stable = (stability >= options.stability_score_thresh).nonzero()[:, 0]
        logits = logits[stable]
        if view.guide is not None:  # only now: guided edges are sharp, whatever the model thinks of them
            logits = at_full_size(mended[None, stable], Size(*crop.size), view.guide)[0]
        masks = (logits > options.mask_threshold).cpu().numpy()
        areas = mask_areas(masks)
        boxes = mask_boxes(masks) + np.array((crop.x0, crop.y0) * 2)
        cut = touches_cut(_between_centres(boxes), crop, view.size)
        scores = stability.tolist()
        for number, index in enumerate(stable.tolist()):
            if areas[number] < options.min_area or cut[number]:
                continue
            whole = np.zeros(view.size, bool)
            whole[crop.window] = masks[number]
            x, y = xy[index].tolist()
            x0, y0, x1, y1 = boxes[number].astype(int).tolist()
            yield FoundMask(
                rle=encode_rle(whole),
                area=int(areas[number]),
                box=(x0, y0, x1, y1),
                iou=iou[index],
                stability=scores[index],
                point=(x + crop.x0, y + crop.y0),
                crop=crop,
            )


def best_first(found: Sequence[FoundMask]) -> tuple[FoundMask, ...]:
    """Masks by their predicted IoU, wherever on the picture they were found."""
    return tuple(sorted(found, key=lambda mask: -mask.iou))


def stability_scores(logits: Tensor, threshold: float, offset: float) -> Tensor:
    """The IoU [n] of each mask [n H W] cut at `threshold` + `offset` with itself cut at `threshold` - `offset`.

    0 where both are empty.
    """
    inner, outer = _areas(logits > threshold + offset), _areas(logits > threshold - offset)
    return inner / outer.clamp(min=1)


def _areas(masks: Tensor) -> Tensor:
    """Pixels in each mask [n H W], [n]. On a CPU PyTorch adds them up, many times more slowly than NumPy counts."""
    return torch.from_numpy(mask_areas(masks.numpy())) if masks.is_cpu else masks.sum((-2, -1))


def _without_doubles(found: list[FoundMask], scores: Sequence[float], max_overlap: float) -> list[FoundMask]:
    """One of the masks whose boxes overlap by more than `max_overlap`, best score first."""
    boxes = _between_centres(np.array([mask.box for mask in found], np.float32).reshape(-1, 4))
    return [found[index] for index in nms(boxes, np.asarray(scores), max_overlap)]


def _between_centres(boxes: NDArray[np.floating]) -> NDArray[np.floating]:
    """Boxes from the first to the last pixel's centre, by which the official generator measures overlap and edges."""
    return np.maximum(boxes - (0, 0, 1, 1), 0)


def _batches(points: NDArray[np.float32], size: int) -> Iterator[NDArray[np.float32]]:
    for begin in range(0, len(points), size):
        yield points[begin : begin + size]
