"""What users hold: sizes, prompts and mask results. Checked when made, trusted afterwards."""

from __future__ import annotations

import operator
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from masklet.errors import DeviceError, PromptError
from masklet.ops.boxes import mask_areas, mask_boxes
from masklet.ops.rle import encode_rle

if TYPE_CHECKING:
    import torch
    from numpy.typing import ArrayLike, NDArray
    from supervision import Detections


class Size(NamedTuple):
    """Height and width in pixels, in that order, as arrays have them."""

    height: int
    width: int


@dataclass(frozen=True, eq=False)
class Prompt:
    """What a person points at on one frame, in that frame's own pixels.

    points: (n, 2) x, y; labels: (n,) 1 for the object, 0 for what it is not; box: (4,) x0, y0, x1, y1; mask: (H, W)
    bool. Lists and tensors are taken too, and everything is copied. Points and a box may come together; a mask comes
    alone. Raises `PromptError`.
    """

    points: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    box: NDArray[np.float32] | None = None
    mask: NDArray[np.bool_] | None = None

    @staticmethod
    def of(
        points: ArrayLike | None = None,
        labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask: ArrayLike | None = None,
    ) -> Prompt:
        """Make a prompt from lists or arrays, one point being allowed as (x, y) with a scalar label.

        Labels may be left out: every point then is on the object.
        """
        xy = prompt_numbers("points", () if points is None else points)
        if xy.ndim == 1 and xy.size in (0, 2):
            xy = xy.reshape(-1, 2)
        signs: Any = np.ones(len(xy), np.int32) if labels is None else np.atleast_1d(prompt_numbers("labels", labels))
        given: Any = (xy, signs, box, mask)
        return Prompt(*given)

    @property
    def is_positive(self) -> bool:
        """Whether it says where the object is, not only where it is not."""
        return bool(self.labels.any()) or self.box is not None or self.mask is not None

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", prompt_numbers("points", self.points))
        # Labels stay floats until checked: a cast would turn 0.5 into a valid 0.
        object.__setattr__(self, "labels", prompt_numbers("labels", self.labels))
        if self.box is not None:
            object.__setattr__(self, "box", prompt_numbers("box", self.box))
        if self.mask is not None:
            object.__setattr__(self, "mask", _binary(self.mask))
        if self.points.ndim != 2 or self.points.shape[1] != 2:
            raise PromptError(f"points must have shape (n, 2) as x, y; got {self.points.shape}")
        if self.labels.shape != (len(self.points),):
            got = self.labels.size if self.labels.ndim == 1 else f"an array of shape {self.labels.shape}"
            raise PromptError(f"{len(self.points)} points need {len(self.points)} labels; got {got}")
        if not np.isfinite(self.points).all():
            raise PromptError(f"points must be finite numbers; got {self.points.tolist()}")
        if not np.isin(self.labels, (0, 1)).all():
            raise PromptError(f"labels are 1 (object) or 0 (not the object); got {_plain(self.labels)}")
        object.__setattr__(self, "labels", self.labels.astype(np.int32))
        if self.box is not None:
            _check_box(self.box)
        if self.mask is not None:
            if len(self.points) or self.box is not None:
                raise PromptError("a mask prompt comes alone; give points or a box in a prompt of their own")
            if self.mask.ndim != 2 or 0 in self.mask.shape:
                raise PromptError(f"a mask prompt must have shape (H, W); got {self.mask.shape}")
        elif not len(self.points) and self.box is None:
            raise PromptError("an empty prompt: give points, a box or a mask")

    def followed_by(self, later: Prompt) -> Prompt:
        """Both prompts as one: points add up, a later box replaces an earlier one, a mask replaces everything."""
        if self.mask is not None or later.mask is not None:
            return later
        return Prompt(
            points=np.concatenate((self.points, later.points)),
            labels=np.concatenate((self.labels, later.labels)),
            box=self.box if later.box is None else later.box,
        )

    def check_within(self, size: Size) -> None:
        """Raise `PromptError` where a point or box reaches outside a picture of `size`."""
        height, width = size
        for x, y in self.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise PromptError(f"point ({x:g}, {y:g}) lies outside the picture of {width} x {height} pixels")
        if self.box is not None:
            x0, y0, x1, y1 = self.box
            if x0 < -1 or y0 < -1 or x1 > width + 1 or y1 > height + 1:
                raise PromptError(f"box {_plain(self.box)} reaches outside the picture of {width} x {height} pixels")

    def has_proportions(self, size: Size) -> bool:
        """Whether a mask, if there is one, is of a picture's size, or of it scaled and rounded to whole pixels."""
        if self.mask is None:
            return True
        height, width = self.mask.shape
        return abs(width * size.height - height * size.width) < max(size)

    def check_proportions(self, size: Size) -> None:
        """Raise `PromptError` unless the mask `has_proportions`."""
        if self.mask is not None and not self.has_proportions(size):
            height, width = self.mask.shape
            raise PromptError(
                f"the mask is {width} x {height} pixels (width x height), the picture {size.width} x {size.height}; "
                "give a mask of that size or, smaller or larger, of those proportions"
            )


def prompt_numbers(name: str, values: Any) -> NDArray[np.float32]:
    """Numbers in memory of their own: a caller may write the next click into the same array. Raises `PromptError`."""
    try:
        with np.errstate(over="ignore"):  # to infinity, which is refused
            return np.array(off_device(values), np.float32, order="C")
    except (TypeError, ValueError) as error:
        raise PromptError(f"{name} must be numbers; got {values!r}") from error


def whole_number(what: str, number: Any) -> int:
    """A frame's number or an object's, NumPy's integers too. Raises `PromptError`."""
    try:
        return operator.index(number)
    except TypeError as error:
        raise PromptError(f"{what} must be a whole number; got {number!r}") from error


def off_device(values: Any) -> Any:
    """A tensor, wherever it is and whatever its precision, as an array; anything else as it is."""
    torch = sys.modules.get("torch")  # a tensor can only be here if torch is
    if torch is None or not isinstance(values, torch.Tensor):
        return values
    tensor = values.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _binary(values: Any) -> NDArray[np.bool_]:
    try:
        array = np.asarray(off_device(values))
    except (TypeError, ValueError) as error:
        raise PromptError(f"a mask is an array (H, W) of zeros and ones; got {values!r:.60}") from error
    if array.dtype.kind not in "biuf":
        raise PromptError(f"a mask is an array (H, W) of zeros and ones; got {values!r:.60}: read a file first")
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.dtype == bool:
        return array.copy()
    if array.dtype.kind in "iu" and len(numbers := np.unique(array[array != 0])) > 1:
        raise PromptError(
            f"a mask says yes or no of each pixel; this one holds several numbers, {', '.join(map(str, numbers[:4]))}"
            f"{', ...' if len(numbers) > 4 else ''}: of an index mask take one object, as in mask == {numbers[0]}"
        )
    if array.dtype.kind == "f" and (soft := array[array != np.round(array)]).size:
        raise PromptError(
            f"a mask says yes or no of each pixel; this one holds numbers such as {soft[0]:g}: say where the object "
            "begins, as in mask > 0.5"
        )
    return array > 0


def _check_box(box: NDArray[np.float32]) -> None:
    if box.shape != (4,):
        raise PromptError(f"a box is four numbers x0, y0, x1, y1; got shape {box.shape}")
    if not np.isfinite(box).all():
        raise PromptError(f"a box must be finite numbers; got {_plain(box)}")
    x0, y0, x1, y1 = box
    if x1 <= x0 or y1 <= y0:
        raise PromptError(f"box {_plain(box)} is empty or inverted; it must be x0 < x1 and y0 < y1")


def _plain(values: NDArray[Any]) -> str:
    return "(" + ", ".join(f"{value:g}" for value in values) + ")"


class _Masks:
    """What picture and video results share: views of `masks`, a bool array [..., H, W]."""

    masks: NDArray[np.bool_]

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels in each mask, [...]."""
        return mask_areas(self.masks)

    @property
    def boxes(self) -> NDArray[np.float32]:
        """The tight box x0, y0, x1, y1 of each mask, [..., 4], right and lower edges exclusive; zeros where empty."""
        return mask_boxes(self.masks)

    def rle(self) -> list[dict[str, Any]]:
        """Each mask as COCO run-length encoding, in the order of `masks` flattened."""
        return [encode_rle(mask) for mask in self.masks.reshape(-1, *self.masks.shape[-2:])]


def detections(masks: NDArray[np.bool_], **fields: Any) -> Detections:
    """`supervision.Detections` of masks [n, H, W]. Raises `DeviceError` where the package is missing."""
    try:
        from supervision import Detections
    except ImportError as error:
        raise DeviceError(
            "to_supervision() needs the package supervision: pip install 'masklet[supervision]'"
        ) from error
    return Detections(xyxy=mask_boxes(masks), mask=masks, **fields)


@dataclass(frozen=True, eq=False)
class ImageMasks(_Masks):
    """Masks of one picture: b prompts with m masks each.

    logits: [b m H W] at the picture's size, positive inside; iou: [b m] predicted quality, 0 to 1; low_res: [b m h w]
    logits at a quarter of the model's size, to be handed back as `mask_logits` of a further prompt.
    """

    logits: torch.Tensor
    iou: torch.Tensor
    low_res: torch.Tensor

    @cached_property
    def masks(self) -> NDArray[np.bool_]:  # type: ignore[override]
        """[b m H W] bool."""
        return (self.logits > 0).cpu().numpy()

    def best(self) -> ImageMasks:
        """For each prompt only the mask with the highest predicted IoU: shapes become [b 1 ...]."""
        best = self.iou.argmax(1, keepdim=True)
        of_maps = best[..., None, None]
        return ImageMasks(
            logits=self.logits.take_along_dim(of_maps, 1),
            iou=self.iou.take_along_dim(best, 1),
            low_res=self.low_res.take_along_dim(of_maps, 1),
        )

    def to_supervision(self) -> Detections:
        """All b x m masks as `supervision.Detections`, the predicted IoU as confidence. Raises `DeviceError`."""
        masks = self.masks.reshape(-1, *self.masks.shape[-2:])
        return detections(masks, confidence=self.iou.float().flatten().cpu().numpy())


@dataclass(frozen=True, eq=False)
class FrameMasks(_Masks):
    """The masks of all objects on one frame of a clip or stream.

    frame: its number from 0; object_ids: (n); logits: [n H W] at the video's size, positive inside; presence: [n]
    logits, positive where the model judges the object visible.
    """

    frame: int
    object_ids: tuple[int, ...]
    logits: torch.Tensor
    presence: torch.Tensor

    @cached_property
    def masks(self) -> NDArray[np.bool_]:  # type: ignore[override]
        """[n H W] bool."""
        return (self.logits > 0).cpu().numpy()

    def mask(self, object_id: int) -> NDArray[np.bool_]:
        """[H W] bool, the mask of one object. Raises `PromptError` for an unknown id."""
        if object_id not in self.object_ids:
            raise PromptError(f"no object {object_id} on frame {self.frame}; there are {list(self.object_ids)}")
        return self.masks[self.object_ids.index(object_id)]

    def to_supervision(self) -> Detections:
        """The objects as `supervision.Detections`: ids as `tracker_id`, the chance of presence as confidence.

        Raises `DeviceError` where the package is missing.
        """
        ids = np.array(self.object_ids, np.int64)
        return detections(self.masks, confidence=self.presence.float().sigmoid().cpu().numpy(), tracker_id=ids)
