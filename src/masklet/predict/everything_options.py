"""How to look for every object of a picture: the official generator's options by their names, and presets of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from masklet.config import HieraConfig, ModelConfig
from masklet.errors import InputError
from masklet.ops.crops import point_grid


@dataclass(frozen=True, eq=False)
class EverythingOptions:
    """Where to put points and which of their masks to keep.

    points_per_side: points along each side of the picture; points_per_batch: points decoded together; point_grids: one
    grid per crop layer instead, each [n, 2] x, y in 0 to 1.
    pred_iou_thresh, stability_score_thresh: 0 to 1, the least predicted IoU and stability of a mask that is kept; 0
    keeps all. Stability is the IoU of the mask cut at logits `mask_threshold` + and - `stability_score_offset`.
    box_nms_thresh, crop_nms_thresh: of two masks of one crop, or of different crops, whose boxes overlap by a larger
    IoU only the better, or the one of the smaller crop, is kept.
    crop_n_layers: layers of ever smaller crops searched as pictures of their own, layer i having 4**i;
    crop_overlap_ratio: how far crops of the first layer overlap, of the picture's shorter side;
    crop_n_points_downscale_factor: by how much each layer's grid is coarser than the one before.
    min_mask_region_area: holes and specks of up to so many low-resolution pixels are mended; min_area: pixels of the
    smallest mask kept.
    use_m2m: give each mask back to the model once, to be refined; multimask_output: three masks a point, not one.

    Raises `InputError` for a value out of range. Source: official `automatic_mask_generator.py`.
    """

    points_per_side: int = 32
    points_per_batch: int = 64
    pred_iou_thresh: float = 0.8
    stability_score_thresh: float = 0.95
    stability_score_offset: float = 1.0
    mask_threshold: float = 0.0
    box_nms_thresh: float = 0.7
    crop_n_layers: int = 0
    crop_nms_thresh: float = 0.7
    crop_overlap_ratio: float = 512 / 1500
    crop_n_points_downscale_factor: int = 1
    point_grids: Sequence[NDArray[np.floating]] | None = None
    min_mask_region_area: int = 0
    min_area: int = 1
    use_m2m: bool = False
    multimask_output: bool = True

    def __post_init__(self) -> None:
        for name in ("points_per_side", "points_per_batch", "crop_n_points_downscale_factor"):
            self._check(name, getattr(self, name) >= 1, "1 or more")
        for name in ("crop_n_layers", "min_mask_region_area", "min_area", "stability_score_offset"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("pred_iou_thresh", "stability_score_thresh"):
            self._check(name, getattr(self, name) <= 1, "at most 1; above it no mask would be left")
        for name in ("box_nms_thresh", "crop_nms_thresh"):
            self._check(name, getattr(self, name) >= 0, "0 or more (1 drops nothing)")
        self._check("crop_overlap_ratio", 0 <= self.crop_overlap_ratio < 1, "0 or more and below 1")
        if self.point_grids is not None:
            self._check_grids(self.point_grids)

    def grid(self, layer: int) -> NDArray[np.floating]:
        """The points to try on a crop of that layer, [n, 2] x, y in 0 to 1."""
        if self.point_grids is not None:
            return np.asarray(self.point_grids[layer])
        return point_grid(max(1, int(self.points_per_side / self.crop_n_points_downscale_factor**layer)))

    def _check(self, name: str, fits: bool, range_of_values: str) -> None:
        if not fits:
            raise InputError(f"{name} must be {range_of_values}; got {getattr(self, name)}")

    def _check_grids(self, grids: Sequence[NDArray[np.floating]]) -> None:
        if len(grids) <= self.crop_n_layers:
            raise InputError(f"{self.crop_n_layers} crop layers need {self.crop_n_layers + 1} grids; got {len(grids)}")
        for layer, grid in enumerate(map(np.asarray, grids)):
            if grid.ndim != 2 or grid.shape[1] != 2 or not len(grid) or not ((grid >= 0) & (grid <= 1)).all():
                raise InputError(f"point_grids[{layer}] must hold x, y in 0 to 1, [n, 2]; got shape {grid.shape}")


PRESETS: dict[str, EverythingOptions] = {
    "fast": EverythingOptions(points_per_side=16),
    "default": EverythingOptions(),
    "thorough": EverythingOptions(crop_n_layers=1, crop_n_points_downscale_factor=2, min_area=25, use_m2m=True),
}
"""fast: a quarter of the points; default: as the official generator; thorough: also looks at four parts of the picture
one by one, for small things, and refines each mask."""


UNSURE = {"pred_iou_thresh": 0.3, "stability_score_thresh": 0.5}
"""Thresholds for small models of our own, which think less of their masks than the releases for which the official
thresholds were chosen: with those, they would find nothing."""


def choose_options(preset: str, changes: dict[str, Any], model: ModelConfig) -> EverythingOptions:
    """A preset with thresholds that suit the model, then the changes.

    Raises `InputError` for an unknown preset or option.
    """
    if preset not in PRESETS:
        raise InputError(f"unknown preset {preset!r}; there are {', '.join(PRESETS)}")
    known = [field.name for field in fields(EverythingOptions)]
    for name in changes:
        if name not in known:
            raise InputError(f"unknown option {name!r}; there are {', '.join(known)}")
    thresholds = {} if isinstance(model.trunk, HieraConfig) else UNSURE
    return replace(PRESETS[preset], **{**thresholds, **changes})
