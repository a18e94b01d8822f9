"""The official picture predictor's methods over an `ImagePredictor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from masklet.errors import InputError, PromptError, TooEarly
from masklet.model.image_encoder import ImageFeatures
from masklet.model.network import Network
from masklet.ops.coordinates import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, PAD, TOP_LEFT, Points
from masklet.predict.image import ImageEmbedding, ImagePredictor, encoder_fingerprint
from masklet.sam2.build_sam import SAM2Base, build_sam2_hf, load_network
from masklet.types import Size

Prediction = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
"""Masks [c H W] (logits, or 0 and 1), predicted IoU [c], low-resolution logits [c h w]; [b c ...] for b > 1 prompts."""

KINDS = (BACKGROUND, FOREGROUND, TOP_LEFT, BOTTOM_RIGHT, PAD)
"""Labels that a point may have; the official code takes any other for a point of no kind."""


class SAM2ImagePredictor:
    """Set a picture, then prompt it.

    sam_model: what `build_sam2` or `masklet.load` returns, or a name; mask_threshold: the logit above which a pixel
    belongs to a mask; max_hole_area, max_sprinkle_area: holes filled and specks removed up to so many low-resolution
    pixels (a mask's largest part stays, which the official class may remove too). Further arguments are ignored, as in
    the official class. Raises `InputError`.
    """

    def __init__(
        self,
        sam_model: Network | str,
        mask_threshold: float = 0.0,
        max_hole_area: float = 0.0,
        max_sprinkle_area: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if mask_threshold and (max_hole_area or max_sprinkle_area):
            raise InputError(f"holes and specks are found at threshold 0; leave mask_threshold={mask_threshold} out")
        self.model = load_network(sam_model)
        self.mask_threshold = mask_threshold
        self._predictor = ImagePredictor(
            self.model,
            stability_fallback=self.model.stability_fallback if isinstance(self.model, SAM2Base) else None,
            fill_hole_area=int(max_hole_area),
            remove_speck_area=int(max_sprinkle_area),
        )
        self.reset_predictor()

    @classmethod
    def from_pretrained(cls, model_id: str, **kwargs: Any) -> SAM2ImagePredictor:
        """The predictor of a hub repository such as "facebook/sam2.1-hiera-tiny", or of one of our model names."""
        return cls(build_sam2_hf(model_id, **kwargs), **kwargs)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    def set_image(self, image: Any) -> None:
        """Encode an RGB picture: an array [H W 3] of 0 to 255, a PIL image, or what else `masklet` reads."""
        self.reset_predictor()
        self._set([self._predictor.embed(image)])

    def set_image_batch(self, image_list: Sequence[Any]) -> None:
        """Encode pictures of any sizes together, for `predict_batch`. Raises `InputError` where there are none."""
        self.reset_predictor()
        if not len(image_list):
            raise InputError("set_image_batch needs a picture at least; got an empty list")
        self._set(self._predictor.embed_batch(image_list))
        self._is_batch = True

    def reset_predictor(self) -> None:
        """Forget the picture."""
        self._embeddings: list[ImageEmbedding] = []
        self._sizes: list[Size] = []
        self._kept_features: dict[str, Any] | None = None  # put back by a script that is still to say the sizes
        self._is_batch = False

    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> Prediction:
        """Masks for a prompt, or for b prompts at once.

        point_coords: [n 2] or [b n 2] x, y in pixels (fractions of the picture where `normalize_coords` is off);
        point_labels: [n] or [b n], 1 object, 0 not the object; box: [4] or [b 4], or its corners, [2 2] or [b 2 2];
        mask_input: [1 h w] or [b 1 h w] low-resolution logits of an earlier answer. Raises `PromptError`, which is
        `TooEarly` before `set_image`.
        """
        prompt = (point_coords, point_labels, box, mask_input)
        return self._answer(self._embedding(), prompt, multimask_output, return_logits, normalize_coords)

    def predict_batch(
        self,
        point_coords_batch: Sequence[ArrayLike] | None = None,
        point_labels_batch: Sequence[ArrayLike] | None = None,
        box_batch: Sequence[ArrayLike] | None = None,
        mask_input_batch: Sequence[ArrayLike] | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
        normalize_coords: bool = True,
    ) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]], list[NDArray[np.float32]]]:
        """`predict` for each picture of `set_image_batch`: lists of masks, predicted IoUs and low-resolution logits."""
        if not self._is_batch:
            raise TooEarly("no pictures are set: call set_image_batch first")
        batches = (point_coords_batch, point_labels_batch, box_batch, mask_input_batch)
        for batch in batches:
            if batch is not None and len(batch) < len(self._embeddings):
                raise PromptError(f"{len(self._embeddings)} pictures are set; got prompts for {len(batch)} only")
        answers = []
        for index, embedding in enumerate(self._embeddings):
            prompt = tuple(None if batch is None else batch[index] for batch in batches)
            answers.append(self._answer(embedding, prompt, multimask_output, return_logits, normalize_coords))
        masks, ious, low_res = (list(part) for part in zip(*answers, strict=True))
        return masks, ious, low_res

    def get_image_embedding(self) -> Tensor:
        """The features of the picture, [1 c h w], with the mark of having no memory."""
        return self._features["image_embed"]

    @property
    def _features(self) -> dict[str, Any]:
        """The official predictor's features, which its notebooks look at: of all pictures set, along the batch."""
        self._embedding()
        features = [embedding.features for embedding in self._embeddings]
        with torch.no_grad():
            coarse = torch.cat([self.model.condition(maps, None) for maps in features])
        fine = [torch.cat([getattr(maps, name) for maps in features]) for name in ("stride4", "stride8")]
        seen = {"image_embed": coarse, "high_res_feats": fine}
        pictures = [embedding.picture for embedding in self._embeddings]
        return seen if pictures[0] is None else {**seen, "pictures": pictures}  # models such as nano look again

    @_features.setter
    def _features(self, features: dict[str, Any]) -> None:
        """What a script kept of `_features`; it sets `_orig_hw` besides."""
        self._put_back(features, self._orig_hw)

    @property
    def _orig_hw(self) -> list[tuple[int, int]]:
        """Height and width of each picture set."""
        return [(size.height, size.width) for size in self._sizes]

    @_orig_hw.setter
    def _orig_hw(self, sizes: Sequence[tuple[int, int]]) -> None:
        self._put_back(self._features if self._embeddings else self._kept_features, sizes)

    @property
    def _is_image_set(self) -> bool:
        """Whether `predict` has what it needs; put to True officially where features are put back."""
        return bool(self._embeddings)

    @_is_image_set.setter
    def _is_image_set(self, value: bool) -> None:
        if not value:
            self.reset_predictor()

    def _put_back(self, features: dict[str, Any] | None, sizes: Sequence[tuple[int, int]]) -> None:
        """Make embeddings of official features and sizes of pictures, as soon as there are as many of both."""
        self._kept_features, self._sizes = features, [Size(int(height), int(width)) for height, width in sizes]
        self._embeddings = []
        if features is None or len(features["image_embed"]) != len(sizes):
            return
        with torch.no_grad():
            coarse = features["image_embed"] - self.model.no_mem_embed.transpose(1, 2)[..., None]
        maps = zip(*features["high_res_feats"], coarse, strict=True)
        name, weights = self.model.config.name, encoder_fingerprint(self.model)
        pictures = features.get("pictures", [None] * len(sizes))
        for size, picture, each in zip(self._sizes, pictures, maps):
            seen = ImageFeatures(*(one[None] for one in each))
            self._embeddings.append(ImageEmbedding(size, seen, name, weights, picture))

    def _set(self, embeddings: list[ImageEmbedding]) -> None:
        self._embeddings, self._sizes = embeddings, [embedding.size for embedding in embeddings]

    def _embedding(self) -> ImageEmbedding:
        """The picture last set."""
        if not self._embeddings:
            raise TooEarly("no picture is set: call set_image first")
        return self._embeddings[-1]

    def _answer(
        self,
        embedding: ImageEmbedding,
        prompt: tuple[Any, ...],
        multimask: bool,
        return_logits: bool,
        normalize: bool,
    ) -> Prediction:
        """prompt: point coordinates, their labels, box, low-resolution logits; each may be None."""
        coords, labels, box, mask_input = prompt
        points = _model_points(coords, labels, box, embedding.size if normalize else Size(1, 1), self.model)
        earlier = _model_logits(mask_input, embedding, self.device)
        if earlier is not None and points is not None and len(earlier) not in (1, len(points.xy)):
            raise PromptError(f"{len(earlier)} rows of mask_input for {len(points.xy)} of prompts; give one or as many")
        found = self._predictor.decode(embedding, points, earlier, multimask=multimask)
        masks = found.logits if return_logits else (found.logits > self.mask_threshold).float()
        return _numbers(masks), _numbers(found.iou), _numbers(found.low_res)


def _model_points(coords: Any, labels: Any, box: Any, size: Size, model: Network) -> Points | None:
    """Official prompts in pixels of a picture of `size` as model points, b rows, the box's corners first."""
    rows: Points | None = None
    if coords is not None:
        if labels is None:
            raise PromptError("points and labels come together: point_labels is missing")
        xy, kinds = _tensor(coords, model.device), _tensor(labels, model.device)
        xy, kinds = (xy[None], kinds[None]) if xy.ndim == 2 else (xy, kinds)
        if xy.ndim != 3 or xy.shape[-1] != 2 or kinds.shape != xy.shape[:2]:
            raise PromptError(
                f"points are [n 2] or [b n 2] with a label each; got {tuple(xy.shape)} and {tuple(kinds.shape)}"
            )
        if not torch.isin(kinds, torch.tensor(KINDS, device=model.device)).all():
            raise PromptError(f"labels are 1 (object), 0 (not the object), 2 and 3 (corners of a box); got {labels}")
        rows = Points(xy, kinds.int())
    if box is not None:
        boxes = _tensor(box, model.device)
        if boxes.shape[-2:] == (2, 2):
            boxes = boxes.flatten(-2)
        if boxes.shape[-1:] != (4,):
            raise PromptError(f"a box is four numbers x0, y0, x1, y1, or two corners; got {tuple(boxes.shape)}")
        corners = boxes.reshape(-1, 2, 2)
        kinds = torch.tensor([[TOP_LEFT, BOTTOM_RIGHT]], device=model.device).expand(len(corners), 2).int()
        if rows is not None and len(rows.xy) != len(corners):
            raise PromptError(f"{len(corners)} boxes with {len(rows.xy)} rows of points; give as many of each")
        rows = Points(corners, kinds).followed_by(rows)
    if rows is None:
        return None
    if not len(rows.xy):
        raise PromptError("no rows of points or boxes; leave them out, or do not ask")
    if not torch.isfinite(rows.xy).all():
        raise PromptError("points and boxes must be finite numbers")
    scale = torch.tensor([size.width, size.height], dtype=torch.float32, device=model.device)
    return Points(rows.xy / scale * model.config.image_size, rows.label)


def _model_logits(mask_input: Any, embedding: ImageEmbedding, device: torch.device) -> Tensor | None:
    if mask_input is None:
        return None
    logits = _tensor(mask_input, device)
    expected = embedding.features.stride4.shape[-2:]
    if logits.shape[-3:] != (1, *expected) or logits.ndim not in (3, 4):
        raise PromptError(
            f"mask_input is [1 h w] or [b 1 h w] of {tuple(expected)} here, such as logits[best][None]; "
            f"got {tuple(logits.shape)}"
        )
    return logits if logits.ndim == 4 else logits[None]


def _tensor(values: Any, device: torch.device) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32, device=device)


def _numbers(values: Tensor) -> NDArray[np.float32]:
    """As an array, without the batch where there is one prompt only."""
    return values.squeeze(0).float().cpu().numpy()
