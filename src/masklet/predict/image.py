"""Masks in a picture: embed it once, then prompt it as often as you like.

Source: SAM 2 paper, section 4; official `sam2_image_predictor.py`.
"""

from __future__ import annotations

import os
import warnings
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from masklet.checkpoints import save_tensors
from masklet.errors import InputError, MaskletWarning, PromptError
from masklet.io.images import read_image, read_own_image
from masklet.model.image_encoder import STRIDE, ImageFeatures
from masklet.model.network import FED_BACK_LIMIT, Network, expect_model
from masklet.ops.boxes import mask_boxes
from masklet.ops.components import fill_holes_and_specks
from masklet.ops.coordinates import Points, to_model_mask, to_model_points
from masklet.predict.close_look import look_closer
from masklet.predict.pixels import at_full_size, encode_to_predict, picture_pixels
from masklet.tracking.step import MAX_AMBIGUOUS_POINTS
from masklet.types import ImageMasks, Prompt, Size, prompt_numbers

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

GIVEN_MASK_LOGIT = 10.0
"""How sure of itself a boolean mask prompt is when it is shown to the decoder as logits."""
HOLE_FILL = 10.0
"""Logit of a filled hole in a picture; removed specks get its negative."""
MAX_PROMPTS_TOGETHER = 32
"""Prompts that are decoded at once: with the official sizes each takes 20 MB, and a detector may give hundreds."""
MAX_TOGETHER = 4
"""Pictures that are encoded at once: attention over very many is more than GPUs take, and Metal ends the process."""
NUM_SAMPLED = 16
"""Numbers of each tensor, or up to twice as many, that go into a fingerprint."""


@dataclass(frozen=True, eq=False)
class ImageEmbedding:
    """A picture as the network sees it. size: of the picture; features: with b = 1; model and weights: name and
    `encoder_fingerprint` of the model that made it, whose decoder alone can read it; picture: RGB [H W 3], where its
    predictor looks at it again."""

    size: Size
    features: ImageFeatures
    model: str
    weights: str
    picture: NDArray[np.uint8] | None = None

    def save(self, path: str | PathLike[str]) -> None:
        """Write to a safetensors file, in one step. Raises `OutputError` where it cannot be written."""
        tensors = {name: maps.contiguous().cpu() for name, maps in vars(self.features).items()}
        if self.picture is not None:
            tensors["picture"] = torch.from_numpy(np.ascontiguousarray(self.picture))
        height, width = map(str, self.size)
        notes = {"height": height, "width": width, "model": self.model, "weights": self.weights}
        save_tensors(tensors, Path(path), notes)

    @staticmethod
    def load(path: str | PathLike[str]) -> ImageEmbedding:
        """Read what `save` wrote. Raises `InputError`, for files that do not name their weights too."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(Path(path), framework="pt") as file:
                notes = file.metadata() or {}
                # Copies: Windows neither replaces nor deletes a file while something is mapped from it.
                maps = (file.get_tensor(name).clone() for name in ("stride4", "stride8", "stride16"))
                features = ImageFeatures(*maps)
                picture = file.get_tensor("picture").clone().numpy() if "picture" in file.keys() else None  # noqa: SIM118
            size = Size(int(notes["height"]), int(notes["width"]))
            return ImageEmbedding(size, features, notes["model"], notes["weights"], picture)
        except KeyError as error:
            raise InputError(
                f"{path} is not a saved image embedding of this version: it lacks {error}; embed the picture again"
            ) from error
        except (SafetensorError, OSError) as error:
            raise InputError(f"{path} is not a saved image embedding ({error})") from error


def encoder_fingerprint(model: Network) -> str:
    """Eight hex digits that tell the weights which make embeddings from others of the same architecture.

    Training moves the numbers of a tensor together, so a few of each will do; as bfloat16, so that a model is the same
    loaded in that or in float32.
    """
    decoder = model.sam_mask_decoder  # `encode` ends with two of its convolutions
    parts = (model.image_encoder, decoder.conv_s0, decoder.conv_s1)
    weights = [weight.flatten() for part in parts for weight in part.state_dict().values()]
    few = [weight[:: max(1, len(weight) // NUM_SAMPLED)].bfloat16().view(torch.int16) for weight in weights]
    return f"{zlib.crc32(torch.cat(few).cpu().numpy().tobytes()):08x}"


class ImagePredictor:
    """Masks for points, boxes and masks on pictures.

    model: from `masklet.load`; stability_fallback: whether an unstable single mask is replaced by the best of three;
    close_look: whether each mask is decoded again on the part of the picture around it, which costs an encoding for
    every mask and finds more of things that are small in their picture; guided_edges: whether a mask's edges follow the
    picture's; each None for what suits the model; fill_hole_area, remove_speck_area: pixels, at a quarter of the
    model's size (which shows the window only in a close look), up to which holes are filled and specks removed, 0 for
    neither.
    """

    def __init__(
        self,
        model: Network,
        *,
        stability_fallback: bool | None = None,
        close_look: bool | None = None,
        guided_edges: bool | None = None,
        fill_hole_area: int = 0,
        remove_speck_area: int = 0,
    ) -> None:
        expect_model(model)
        self.model = model
        self.stability_fallback = stability_fallback
        self.close_look = model.config.close_look if close_look is None else close_look
        self.guided_edges = model.config.guided_edges if guided_edges is None else guided_edges
        self.fill_hole_area = fill_hole_area
        self.remove_speck_area = remove_speck_area

    def embed(self, image: Any) -> ImageEmbedding:
        """Encode a picture: a path, PIL image, array or tensor, see `masklet.io.images.read_image`."""
        return self.embed_batch([image])[0]

    @torch.no_grad()
    def embed_batch(self, images: Iterable[Any]) -> list[ImageEmbedding]:
        """Encode pictures, of any sizes, together."""
        if isinstance(images, str | PathLike):
            raise InputError(f"embed_batch takes several pictures; for one: embed({os.fspath(images)!r})")
        together = images if isinstance(images, Sequence) else list(images)
        if not len(together):
            return []
        keep = self.close_look or self.guided_edges
        image_size, device = self.model.config.image_size, self.model.device
        sizes: list[Size] = []
        kept: list[NDArray[np.uint8] | None] = []
        encoded: list[ImageFeatures] = []
        for begin in range(0, len(together), MAX_TOGETHER):
            some = together[begin : begin + MAX_TOGETHER]
            arrays = [(read_own_image if keep else read_image)(image) for image in some]
            sizes += [Size(*array.shape[:2]) for array in arrays]
            kept += arrays if keep else [None] * len(arrays)
            pixels = torch.cat([picture_pixels(array, image_size, device) for array in arrays])
            features = encode_to_predict(self.model, pixels)
            # Of several each gets a copy, so that one that is kept does not keep all.
            rows = torch.arange(len(arrays), device=device).split(1)
            encoded += [features.select(row) for row in rows] if len(arrays) > 1 else [features]
        return [
            ImageEmbedding(size, own, self.model.config.name, self._weights, array)
            for size, own, array in zip(sizes, encoded, kept, strict=True)
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
        multimask: bool | None = None,
    ) -> ImageMasks:
        """Masks for one prompt, or for many boxes at once.

        points: (n, 2) x, y in the picture's pixels; labels: (n,) 1 object, 0 not the object; box: (4,) x0, y0, x1, y1;
        boxes: (b, 4), each an object of its own; mask: (H, W) bool, a mask to be improved, of the picture's size or, at
        another scale, of its proportions, which without points or a box comes with the box around it; mask_logits:
        `low_res` of an earlier answer, one mask per object, to be refined; multimask: three readings of the prompt or a
        single mask, None for three of a single point, which leaves a doubt what is meant, and one of anything more. The
        result has b rows, 1 but for `boxes`. Raises `PromptError`.
        """
        if not isinstance(embedding, ImageEmbedding):
            raise InputError(f"predict takes what embed(picture) gives, not {type(embedding).__name__}")
        if mask is not None and points is None and box is None and boxes is None:
            box = _box_around(mask, embedding.size)  # models trained on points and boxes make little of a mask alone
        points_on_model = self._points(embedding, points, labels, box, boxes)
        earlier = self._earlier_logits(embedding, mask, mask_logits)
        if points_on_model is None and earlier is None:
            raise PromptError("an empty prompt: give points, a box, boxes, a mask or mask_logits")
        rows = 1 if points_on_model is None else len(points_on_model.xy)
        if earlier is not None and len(earlier) != rows:
            raise PromptError(
                f"{len(earlier)} earlier masks for {rows} objects; give one for each, such as `found.best().low_res`"
            )
        if multimask is None:
            multimask = mask is None and mask_logits is None and _is_ambiguous(points_on_model)
        return self.decode(embedding, points_on_model, earlier, multimask=multimask)

    @torch.no_grad()
    def decode(
        self, embedding: ImageEmbedding, points: Points | None, mask_logits: Tensor | None, *, multimask: bool
    ) -> ImageMasks:
        """`predict` for prompts that are tensors already: points in model pixels, b rows; mask_logits [b 1 4h 4w]."""
        features = self._features(embedding)
        if (self.close_look or self.guided_edges) and embedding.picture is None:
            raise InputError(
                "this predictor looks at the picture again, which the embedding was made without; embed the picture "
                "again with it, or make it with close_look=False and guided_edges=False"
            )
        if points is None:
            # A picture prompted by a mask alone has no point tokens at all, not even padding.
            rows = 1 if mask_logits is None else len(mask_logits)
            empty = torch.zeros(rows, 0, 2, device=self.model.device)
            points = Points(empty, empty[..., 0])
        # Earlier logits may be one for all prompts, or the other way round.
        rows = max(len(points.xy), 0 if mask_logits is None else len(mask_logits))
        xy, label = points.xy.expand(rows, -1, -1), points.label.expand(rows, -1)
        earlier = None if mask_logits is None else mask_logits.expand(rows, -1, -1, -1)
        parts = []
        for begin in range(0, rows, MAX_PROMPTS_TOGETHER):
            some = slice(begin, begin + MAX_PROMPTS_TOGETHER)
            given = None if earlier is None else earlier[some]
            parts.append(self._decode(embedding, features, Points(xy[some], label[some]), given, multimask))
        if len(parts) == 1:
            return parts[0]
        return ImageMasks(
            logits=torch.cat([part.logits for part in parts]),
            iou=torch.cat([part.iou for part in parts]),
            low_res=torch.cat([part.low_res for part in parts]),
        )

    def _decode(
        self,
        embedding: ImageEmbedding,
        features: ImageFeatures,
        points: Points,
        mask_logits: Tensor | None,
        multimask: bool,
    ) -> ImageMasks:
        decoded = self.model.decode(
            features,
            self.model.condition(features, None),
            points,
            mask_logits,
            multimask=multimask,
            stability_fallback=self.stability_fallback,
        )
        candidates = decoded.candidates
        logits, iou = candidates.logits.float(), candidates.iou.float()
        if self.close_look:
            return self._closer(embedding, points, logits, iou)
        guide = embedding.picture if self.guided_edges else None
        return ImageMasks(
            logits=at_full_size(self._mended(logits), embedding.size, guide),
            iou=iou,
            low_res=logits.clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT),
        )

    def _closer(self, embedding: ImageEmbedding, points: Points, logits: Tensor, iou: Tensor) -> ImageMasks:
        """Every mask, logits [b m 4h 4w], as it is seen from close by."""
        assert embedding.picture is not None, "checked before"
        num_masks = iou.shape[1]
        each = Points(points.xy.repeat_interleave(num_masks, 0), points.label.repeat_interleave(num_masks, 0))
        flat, size = logits.flatten(0, 1)[:, None], embedding.size
        seen = look_closer(
            self.model, embedding.picture, each, flat, iou.flatten(), stability_fallback=self.stability_fallback
        )
        guide = embedding.picture if self.guided_edges else None
        whole = seen.on_picture(seen.logits, size, guide)
        low_res = seen.low_res(flat, whole).clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT)
        if self.fill_hole_area or self.remove_speck_area:
            whole = seen.on_picture(self._mended(seen.logits), size, guide)
        return ImageMasks(
            logits=whole.reshape(*iou.shape, *size),
            iou=seen.iou.reshape(iou.shape),
            low_res=low_res.reshape(logits.shape),
        )

    def _mended(self, low_res: Tensor) -> Tensor:
        """Logits [b m h w] with small holes filled and specks removed."""
        mended = fill_holes_and_specks(
            low_res.flatten(0, 1),
            hole_area=self.fill_hole_area,
            speck_area=self.remove_speck_area,
            fill=HOLE_FILL,
        )
        return mended.reshape(low_res.shape)

    def _features(self, embedding: ImageEmbedding) -> ImageFeatures:
        if embedding.model != self.model.config.name:
            raise InputError(f"the embedding was made by {embedding.model}, the model here is {self.model.config.name}")
        if embedding.weights != self._weights:
            raise InputError(
                f"the embedding was made by other weights of {embedding.model} than those here (fine-tuned since, or "
                "loaded as another type); embed the picture again"
            )
        return embedding.features.to(self.model.device, self.model.dtype)

    @cached_property
    def _weights(self) -> str:
        """Found once: a model that is trained further needs a predictor of its own."""
        return encoder_fingerprint(self.model)

    def _points(
        self,
        embedding: ImageEmbedding,
        points: ArrayLike | None,
        labels: ArrayLike | None,
        box: ArrayLike | None,
        boxes: ArrayLike | None,
    ) -> Points | None:
        if labels is not None and points is None:
            raise PromptError("labels belong to points; give points too, or leave labels out")
        if boxes is None:
            if points is None and box is None:
                return None
            return self._one(embedding, Prompt.of(points, labels, box))
        if points is not None or box is not None:
            raise PromptError(
                "several boxes are an object each, and points refine one object: give points with a single box, or none"
            )
        array = prompt_numbers("boxes", boxes)
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
            prompt.check_proportions(embedding.size)
            assert prompt.mask is not None
            shown = to_model_mask(prompt.mask, side, self.model.device)
            if prompt.mask.any() and not (shown > 0.5).any():
                warnings.warn(
                    f"the mask given has no part thick enough for the {side} x {side} cells that the model sees it in: "
                    "only what comes with it is asked for, or the box around it; cut out the part of the picture "
                    "around it, or load the model with a larger image_size",
                    MaskletWarning,
                    stacklevel=3,  # whoever called `predict`
                )
                return None
            return (shown * 2 - 1) * GIVEN_MASK_LOGIT
        try:
            logits = torch.as_tensor(mask_logits, dtype=torch.float32, device=self.model.device).detach()
        except (TypeError, ValueError, RuntimeError) as error:
            raise PromptError(f"mask_logits are numbers, `low_res` of an answer; got {type(mask_logits)}") from error
        if logits.ndim < 2 or logits.shape[-2:] != (side, side):
            raise PromptError(f"mask_logits are {side} x {side} for this picture; got {tuple(logits.shape)}")
        if logits.ndim == 4 and logits.shape[1] != 1:
            raise PromptError(
                f"mask_logits hold {logits.shape[1]} readings of each object; give one for each, such as "
                "`found.best().low_res`"
            )
        return logits.reshape(-1, 1, side, side)


def _is_ambiguous(points: Points | None) -> bool:
    return points is not None and points.xy.shape[1] <= MAX_AMBIGUOUS_POINTS


def _box_around(mask: ArrayLike, size: Size) -> NDArray[np.float32]:
    """The box (4,) around a mask, in the pixels of a picture of `size`, whatever the mask's own scale."""
    given = Prompt.of(mask=mask).mask
    assert given is not None
    if not given.any():
        raise PromptError("the mask is empty; mark some of the object, or prompt with points or a box")
    height, width = given.shape
    return mask_boxes(given) * np.array([size.width / width, size.height / height] * 2, np.float32)
