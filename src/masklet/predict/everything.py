"""Masks of everything in a picture, without a prompt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from masklet.checkpoints import DEFAULT_MODEL, load
from masklet.io.images import read_own_image
from masklet.model.network import Network
from masklet.predict.everything_options import choose_options
from masklet.predict.mask_finder import FoundMask, MaskFinder, OnPoints, best_first
from masklet.types import Size, detections

if TYPE_CHECKING:
    from supervision import Detections


@dataclass(frozen=True, eq=False)
class FoundMasks:
    """All masks found on a picture of `size`, best first, packed as run lengths until they are looked at."""

    size: Size
    found: tuple[FoundMask, ...]

    def __len__(self) -> int:
        return len(self.found)

    def __iter__(self) -> Iterator[FoundMask]:
        return iter(self.found)

    def __getitem__(self, index: int) -> FoundMask:
        return self.found[index]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """[n H W] bool: all of them unpacked, which takes n x H x W bytes."""
        return np.stack([mask.mask for mask in self.found]) if self.found else np.zeros((0, *self.size), bool)

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in each mask, [n]."""
        return np.array([mask.area for mask in self.found], np.int64)

    @property
    def boxes(self) -> NDArray[np.float32]:
        """The tight box x0, y0, x1, y1 of each mask, [n, 4], right and lower edges exclusive."""
        return np.array([mask.box for mask in self.found], np.float32).reshape(-1, 4)

    @property
    def iou(self) -> NDArray[np.float32]:
        """Predicted quality of each mask, [n], 0 to 1."""
        return np.array([mask.iou for mask in self.found], np.float32)

    def rle(self) -> list[dict[str, Any]]:
        """Each mask as COCO run-length encoding."""
        return [mask.rle for mask in self.found]

    def to_supervision(self) -> Detections:
        """The masks as `supervision.Detections`, the predicted IoU as confidence. Raises `DeviceError`."""
        return detections(self.masks, confidence=self.iou)

    def label_map(self) -> NDArray[np.int32]:
        """Whose each pixel is, [H, W] without overlaps: 0 nobody's, i + 1 the mask at index i.

        Of overlapping masks the smallest has the pixel, so that parts show on their wholes.
        """
        labels = np.zeros(self.size, np.int32)
        for index in np.argsort(-self.areas, kind="stable"):
            labels[self.found[index].mask] = index + 1
        return labels


def everything(
    image: Any,
    model: Network | str = DEFAULT_MODEL,
    *,
    preset: str = "default",
    on_points: OnPoints | None = None,
    **changes: Any,
) -> FoundMasks:
    """Find and mask everything in a picture, by prompting the model with a grid of points.

    image: a path, PIL image, array or tensor, see `masklet.io.images.read_image`; model: from `masklet.load`, or a name
    or file for it; preset: "fast", "default" or "thorough"; on_points: called now and then with how many points were
    tried, and of how many; changes: any of `EverythingOptions` by name, such as `points_per_side=16` or
    `pred_iou_thresh=0.7`. Thresholds are the official ones, but lower for small models.
    Full-size masks are packed batch by batch, so that memory does not grow with their number.

    Raises `InputError` for a picture that cannot be read, an unknown preset or option, or a value out of range.
    Source: SAM paper, section 4 and appendix B; official `automatic_mask_generator.py`.
    """
    picture = read_own_image(image)
    network = model if isinstance(model, Network) else load(model)
    options = choose_options(preset, changes, network.config)
    found = MaskFinder(network, options).find(picture, on_points=on_points)
    return FoundMasks(Size(*picture.shape[:2]), best_first(found))
