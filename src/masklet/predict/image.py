"""Masks in a picture: embed it once, then prompt it as often as you like.

Source: SAM 2 paper, section 4; official `sam2_image_predictor.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from masklet.errors import InputError, PromptError
from masklet.io.images import read_image
from masklet.model.image_encoder import STRIDE, ImageFeatures
from masklet.model.layers import resize_bilinear
from masklet.model.network import Network
from masklet.ops.components import fill_holes_and_specks
from masklet.ops.coordinates import Points, to_model_mask, to_model_points
from masklet.predict.pixels import picture_pixels
from masklet.tracking.step import FED_BACK_LIMIT
from masklet.types import ImageMasks, Prompt, Size

if TYPE_CHECKING:
    from os import PathLike

    from numpy.typing import ArrayLike

GIVEN_MASK_LOGIT = 10.0
"""How sure of itself a boolean mask prompt is when it is shown to the decoder as logits."""
HOLE_FILL = 10.0
"""Logit of a filled hole in a picture; removed specks get its negative."""


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """A picture as the network sees it. size: of the picture; features: with b = 1; model: name of the model that made
    it, whose decoder alone can read it."""

    size: Size
    features: ImageFeatures
    model: str

    def save(self, path: str | PathLike[str]) -> None:
        """Write to a safetensors file."""
        from safetensors.torch import save_file

        tensors = {name: maps.contiguous().cpu() for name, maps in vars(self.features).items()}
        notes = {"height": str(self.size.height), "width": str(self.size.width), "model": self.model}
        save_file(tensors, Path(path), metadata=notes)

    @staticmethod
    def load(path: str | PathLike[str]) -> ImageEmbedding:
        """Read what `save` wrote. Raises `InputError`."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(Path(path), framework="pt") as file:
                notes = file.metadata() or {}
                features = ImageFeatures(*(file.get_tensor(name) for name in ("stride4", "stride8", "stride16")))
            return ImageEmbedding(Size(int(notes["height"]), int(notes["width"])), features, notes["model"])
        except (SafetensorError, OSError, KeyError) as error:
            raise InputError(f"{path} is not a saved image embedding ({error})") from error


class ImagePredictor:
    """Masks for points, boxes and masks on pictures. model: from `masklet.load`."""

    def __init__(
        self,
        model: Network,
        *,
        stability_fallback: bool = True,
        fill_hole_area: int = 0,
        remove_speck_area: int = 0,
    ) -> None:
        self.model = model
        self.stability_fallback = stability_fallback
        self.fill_hole_area = fill_hole_area
        self.remove_speck_area = remove_speck_area

    def embed(self, image: Any) -> ImageEmbedding:
        """Encode a picture: a path, PIL image, array or tensor, see `masklet.io.images.read_image`."""
        return self.embed_batch([image])[0]

    @torch.no_grad()
    def embed_batch(self, images: Sequence[Any]) -> list[ImageEmbedding]:
        """Encode pictures, of any sizes, together."""
        if not len(images):
            return []
        arrays = [read_image(image) for image in images]
        image_size, device = self.model.config.image_size, self.model.device
        features = self.model.encode(torch.cat([picture_pixels(array, image_size, device) for array in arrays]))
        return [
            ImageEmbedding(Size(*array.shape[:2]), features.select(index), self.model.config.name)
            for index, array in enumerate(arrays)
        ]

    def predict(
        self,
        embedding: ImageEmbedding,
        *,
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        boxes: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        mask_logits: Tensor | None = None,
        multimask: bool = True,
    ) -> ImageMasks:
        """Masks for one prompt, or for many boxes at once.

        points: (n, 2) x, y in the picture's pixels; labels: (n,) 1 object, 0 not the object; box: (4,) x0, y0, x1, y1;
        boxes: (b, 4), each an object of its own; mask: (H, W) bool, a mask to be improved; mask_logits: `low_res` of an
        earlier answer, one mask per object, to be refined; multimask: three readings or a single mask. The result has b
        rows, 1 but for `boxes`. Raises `PromptError`.
        """
        points_on_model = self._points(embedding, points, labels, box, boxes)
        earlier = self._earlier_logits(embedding, mask, mask_logits)
        if points_on_model is None and earlier is None:
            raise PromptError("an empty prompt: give points, a box, boxes, a mask or mask_logits")
        return self.decode(embedding, points_on_model, earlier, multimask=multimask)

    @torch.no_grad()
    def decode(
        self, embedding: ImageEmbedding, points: Points | None, mask_logits: Tensor | None, *, multimask: bool
    ) -> ImageMasks:
        """`predict` for prompts that are tensors already: points in model pixels, b rows; mask_logits [b 1 4h 4w]."""
        features = self._features(embedding)
        if points is None:
            # A picture prompted by a mask alone has no point tokens at all, not even padding.
            rows = 1 if mask_logits is None else len(mask_logits)
            empty = torch.zeros(rows, 0, 2, device=self.model.device)
            points = Points(empty, empty[..., 0])
        decoded = self.model.decode(
            features,
            self.model.condition(features, None),
            points,
            mask_logits,
            multimask=multimask,
            stability_fallback=self.stability_fallback,
        )
        candidates = decoded.candidates
        low_res = candidates.logits.float()
        return ImageMasks(
            logits=self._full_size(low_res, embedding.size),
            iou=candidates.iou.float(),
            low_res=low_res.clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT),
        )

    def _full_size(self, low_res: Tensor, size: Size) -> Tensor:
        """Logits [b m h w] at the picture's size, small holes and specks mended first."""
        mended = fill_holes_and_specks(
            low_res.flatten(0, 1),
            hole_area=self.fill_hole_area,
            speck_area=self.remove_speck_area,
            fill=HOLE_FILL,
        )
        return resize_bilinear(mended.reshape(low_res.shape), *size)

    def _features(self, embedding: ImageEmbedding) -> ImageFeatures:
        if embedding.model != self.model.config.name:
            raise InputError(f"the embedding was made by {embedding.model}, the model here is {self.model.config.name}")
        device, dtype = self.model.device, self.model.dtype
        return ImageFeatures(*(maps.to(device, dtype) for maps in vars(embedding.features).values()))

    def _points(
        self,
        embedding: ImageEmbedding,
        points: ArrayLike | None,
        labels: ArrayLike | None,
        box: ArrayLike | None,
        boxes: ArrayLike | None,
    ) -> Points | None:
        if boxes is None:
            if points is None and box is None:
                return None
            return self._one(embedding, Prompt.of(points, labels, box))
        if points is not None or box is not None:
            raise PromptError("boxes come alone, each an object of its own; give points and box, or boxes")
        array = np.asarray(boxes, np.float32)
        if array.ndim != 2 or array.shape[1] != 4 or not len(array):
            raise PromptError(f"boxes have shape (b, 4) with b >= 1; got {array.shape}")
        rows = [self._one(embedding, Prompt.of(box=row)) for row in array]
        return Points(torch.cat([row.xy for row in rows]), torch.cat([row.label for row in rows]))

    def _one(self, embedding: ImageEmbedding, prompt: Prompt) -> Points:
        prompt.check_within(embedding.size)
        image_size = embedding.features.stride16.shape[-1] * STRIDE
        found = to_model_points(prompt.points, prompt.labels, prompt.box, embedding.size, image_size, self.model.device)
        assert found is not None, "a prompt without a mask has points or a box"
        return found

    def _earlier_logits(
        self, embedding: ImageEmbedding, mask: ArrayLike | None, mask_logits: Tensor | None
    ) -> Tensor | None:
        side = embedding.features.stride4.shape[-1]
        if mask is None and mask_logits is None:
            return None
        if mask is not None:
            if mask_logits is not None:
                raise PromptError("give a mask or mask_logits, not both")
            prompt = Prompt.of(mask=mask)
            prompt.check_within(embedding.size)
            assert prompt.mask is not None
            return (to_model_mask(prompt.mask, side, self.model.device) * 2 - 1) * GIVEN_MASK_LOGIT
        logits = torch.as_tensor(mask_logits, dtype=torch.float32, device=self.model.device)
        logits = logits.reshape(-1, 1, *logits.shape[-2:])
        if logits.shape[-2:] != (side, side):
            raise PromptError(f"mask_logits are {side} x {side} for this picture; got {tuple(logits.shape)}")
        return logits
