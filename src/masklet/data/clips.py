"""A clip with ground truth, and what every source of clips offers. A still picture is a clip of one frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from masklet.errors import InputError
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_OBJECT_ID = 65535


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames with an index mask each.

    frames: uint8 RGB [t H W 3]; masks: [t H W] uint8 or uint16, 0 for background and 1..n for objects, a number being
    the same object in every frame; name: where it comes from, for error messages. Other integer types are converted.
    Raises `InputError` naming the clip where shapes or values do not fit.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[Any]
    name: str

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise InputError(
                f"{self.name}: frames must be uint8 [t H W 3]; got {self.frames.dtype} {self.frames.shape}"
            )
        if 0 in self.frames.shape:
            raise InputError(f"{self.name}: a clip needs at least one frame and one pixel; got {self.frames.shape}")
        if self.masks.shape != self.frames.shape[:3]:
            raise InputError(
                f"{self.name}: masks of shape {self.masks.shape} do not fit frames of shape {self.frames.shape[:3]}"
            )
        object.__setattr__(self, "masks", _unsigned(self.masks, self.name))

    @property
    def num_frames(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> Size:
        return Size(self.frames.shape[1], self.frames.shape[2])

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that appear in any frame, ascending."""
        counts = np.bincount(self.masks.ravel())
        return tuple(int(index) for index in np.flatnonzero(counts) if index)


@runtime_checkable
class ClipDataset(Protocol):
    """A source of clips. Must be picklable, so that worker processes can hold it."""

    def __len__(self) -> int:
        """How many entries there are."""
        ...

    def clip(self, index: int, generator: np.random.Generator, num_frames: int) -> Clip:
        """Entry `index` as a clip of `num_frames` frames; all chance comes from `generator`.

        Raises `InputError` naming the file where the entry cannot be read or has too few frames.
        """
        ...


class Joined:
    """Several datasets as one, one after another."""

    def __init__(self, parts: Sequence[ClipDataset]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Entry `index`, counted through all parts."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[which - 1]) if which else 0
        return self.parts[which].clip(index - first, generator, num_frames)


class Merged:
    """A dataset whose clips come, with `probability`, with all their objects taken as one.

    For data whose objects are parts of one thing, such as the garments of a person.
    """

    def __init__(self, dataset: ClipDataset, probability: float) -> None:
        if not 0 <= probability <= 1:
            raise InputError(f"a probability lies in 0 to 1; got {probability}")
        self.dataset = dataset
        self.probability = probability

    def __len__(self) -> int:
        return len(self.dataset)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Entry `index`, merged or not."""
        clip = self.dataset.clip(index, generator, num_frames)
        if generator.random() >= self.probability:
            return clip
        return Clip(clip.frames, (clip.masks > 0).astype(np.uint8), clip.name)


def choose_frames(
    available: Sequence[int],
    num_frames: int,
    generator: np.random.Generator,
    *,
    max_stride: int = 1,
    reverse_probability: float = 0.5,
) -> list[int]:
    """Pick a run of `num_frames` of the `available` frame numbers, evenly spaced, backwards in time now and then.

    The spacing is drawn from 1..`max_stride`, as far as the clip is long enough. A clip that is too short is played
    to and fro. Source: paper section 4, training (eight-frame sequences, random reversal of time).
    """
    if not available or num_frames < 1:
        raise InputError(f"cannot choose {num_frames} frames of a clip with {len(available)} annotated frames")
    ordered = list(available)[::-1] if generator.random() < reverse_probability else list(available)
    swing = ordered + ordered[-2:0:-1]
    longest = (len(ordered) - 1) // (num_frames - 1) if num_frames > 1 else 1
    stride = int(generator.integers(1, max(1, min(max_stride, longest)) + 1))
    start = int(generator.integers(0, max(0, len(ordered) - 1 - (num_frames - 1) * stride) + 1))
    return [swing[(start + k * stride) % len(swing)] for k in range(num_frames)]


def _unsigned(masks: NDArray[Any], name: str) -> NDArray[Any]:
    """OpenCV warps uint8 and uint16 only, so index masks are kept in one of the two."""
    if masks.dtype in (np.uint8, np.uint16):
        return masks
    if masks.dtype == bool:
        return masks.astype(np.uint8)
    if masks.dtype.kind not in "iu":
        raise InputError(f"{name}: masks hold whole numbers, one for each object; got {masks.dtype}")
    if masks.min() < 0 or masks.max() > MAX_OBJECT_ID:
        raise InputError(f"{name}: object numbers must be 0..{MAX_OBJECT_ID}; got {masks.min()}..{masks.max()}")
    return masks.astype(np.uint16)
