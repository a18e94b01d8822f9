"""The official automatic mask generator over `MaskFinder`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masklet.errors import InputError, MaskletWarning
from masklet.io.images import read_image
from masklet.model.network import Network
from masklet.ops.rle import rle_counts
from masklet.predict.everything_options import EverythingOptions
from masklet.predict.mask_finder import FoundMask, MaskFinder
from masklet.sam2.build_sam import SAM2Base, build_sam2_hf
from masklet.sam2.sam2_image_predictor import SAM2ImagePredictor

OUTPUT_MODES = ("binary_mask", "uncompressed_rle", "coco_rle")

OPTIONS = tuple(field.name for field in fields(EverythingOptions) if field.name != "min_area")
"""The official options, all but one of ours."""


class SAM2AutomaticMaskGenerator:
    """Masks for everything in a picture, as records with the official keys.

    model: what `build_sam2` or `masklet.load` returns, or a name; the options are those of
    `masklet.predict.everything_options.EverythingOptions`, exactly one of `points_per_side` and `point_grids` being
    given, and attributes that may be changed at any time (`generator.pred_iou_thresh = 0.9`); output_mode: how
    `segmentation` is returned, "binary_mask" ([H W] bool), "uncompressed_rle" (counts as a list) or "coco_rle" (counts
    as a string). Further arguments are ignored, as in the official class. Raises `InputError` for an option out of
    range.
    """

    def __init__(
        self,
        model: Network | str,
        points_per_side: int | None = 32,
        points_per_batch: int = 64,
        pred_iou_thresh: float = 0.8,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        mask_threshold: float = 0.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: Sequence[NDArray[np.floating]] | None = None,
        min_mask_region_area: int = 0,
        output_mode: str = "binary_mask",
        use_m2m: bool = False,
        multimask_output: bool = True,
        **kwargs: Any,
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise InputError("give either points_per_side or, with points_per_side=None, point_grids")
        if output_mode not in OUTPUT_MODES:
            raise InputError(f"output_mode is one of {', '.join(OUTPUT_MODES)}; got {output_mode!r}")
        self.output_mode = output_mode
        self.predictor = SAM2ImagePredictor(model)
        self.points_per_side = points_per_side
        self.points_per_batch = points_per_batch
        self.pred_iou_thresh = pred_iou_thresh
        self.stability_score_thresh = stability_score_thresh
        self.stability_score_offset = stability_score_offset
        self.mask_threshold = mask_threshold
        self.box_nms_thresh = box_nms_thresh
        self.crop_n_layers = crop_n_layers
        self.crop_nms_thresh = crop_nms_thresh
        self.crop_overlap_ratio = crop_overlap_ratio
        self.crop_n_points_downscale_factor = crop_n_points_downscale_factor
        self.point_grids = point_grids
        self.min_mask_region_area = min_mask_region_area
        self.use_m2m = use_m2m
        self.multimask_output = multimask_output
        self._options()  # raises now what would otherwise wait for the first picture

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2AutomaticMaskGenerator:
        """The generator of a hub repository such as "facebook/sam2.1-hiera-tiny", or of one of our model names."""
        return cls(build_sam2_hf(model_id, **kwargs), **kwargs)

    def generate(self, image: Any) -> list[dict[str, Any]]:
        """The masks of an RGB picture, an array [H W 3] uint8 or what else `masklet` reads, best first.

        Each record holds segmentation (see `output_mode`), area (pixels), bbox (x, y, width, height, measured between
        pixel centres as in the official code), predicted_iou, point_coords ([[x, y]], the point it was found by),
        stability_score and crop_box (x, y, width, height of where that was looked for).
        """
        model = self.predictor.model
        fallback = model.stability_fallback if isinstance(model, SAM2Base) else None
        found = MaskFinder(model, self._options(), stability_fallback=fallback).find(read_image(image))
        if not found and model.config.trunk.kind == "convnet":
            warnings.warn(
                f"nothing passed pred_iou_thresh={self.pred_iou_thresh} and "
                f"stability_score_thresh={self.stability_score_thresh}, which suit the official models: with "
                f"{model.config.name} lower them, or let masklet.everything choose",
                MaskletWarning,
                stacklevel=2,
            )
        return [self._record(mask) for mask in found]

    def _options(self) -> EverythingOptions:
        """What the attributes ask for now."""
        given = {name: getattr(self, name) for name in OPTIONS}
        if given["points_per_side"] is None:  # there are grids
            del given["points_per_side"]
        return EverythingOptions(**given, min_area=0)

    def _record(self, found: FoundMask) -> dict[str, Any]:
        x0, y0, x1, y1 = found.box
        crop = found.crop
        return {
            "segmentation": self._segmentation(found),
            "area": found.area,
            "bbox": [float(x0), float(y0), float(max(x1 - x0 - 1, 0)), float(max(y1 - y0 - 1, 0))],
            "predicted_iou": found.iou,
            "point_coords": [list(found.point)],
            "stability_score": found.stability,
            "crop_box": [float(crop.x0), float(crop.y0), float(crop.x1 - crop.x0), float(crop.y1 - crop.y0)],
        }

    def _segmentation(self, found: FoundMask) -> NDArray[np.bool_] | dict[str, Any]:
        if self.output_mode == "binary_mask":
            return found.mask
        if self.output_mode == "uncompressed_rle":
            return {"size": found.rle["size"], "counts": rle_counts(found.rle).tolist()}
        return found.rle
