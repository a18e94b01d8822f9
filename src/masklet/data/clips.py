"""A clip with ground truth, and what every source of clips offers. A still picture is a clip of one frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np

from masklet.errors import InputError
from masklet.ops.index_masks import MAX_OBJECT_ID
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

Split = Literal["train", "val"]
"""A part of a data set: to be trained on, or to be validated on."""

FIRST_FRAME_ATTEMPTS = 4
"""Draws of a run whose first frame shows an object, before any run is taken."""


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


def objects_to_prompt(clip: Clip, min_area: int) -> NDArray[np.int64]:
    """The objects with at least `min_area` pixels in the first frame, ascending."""
    areas = np.bincount(clip.masks[0].ravel())
    areas[0] = 0
    return np.flatnonzero(areas >= max(1, min_area))


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


@runtime_checkable
class SaysIfStills(Protocol):
    """A dataset that tells stills from clips, see `holds_stills`."""

    @property
    def only_stills(self) -> bool:
        """Whether every entry is a single picture."""
        ...


@runtime_checkable
class Overlapping(Protocol):
    """A dataset whose objects overlap, so that one index mask cannot show all objects of a picture."""

    def paintings(self, index: int, generator: np.random.Generator, most: int) -> list[Clip]:
        """Still `index` with each of up to `most` index masks, which together show as many of its objects as they can.

        All hold the same frame. Raises `InputError` where the entry cannot be read or is no still.
        """
        ...


def holds_stills(dataset: ClipDataset) -> bool:
    """Whether every entry of `dataset` is a single picture. A dataset that does not say so may hold clips: False."""
    return isinstance(dataset, SaysIfStills) and dataset.only_stills


def read_paintings(dataset: ClipDataset, index: int, generator: np.random.Generator, most: int) -> list[Clip]:
    """Still `index` of any dataset, with several index masks where one cannot show all its objects."""
    if isinstance(dataset, Overlapping):
        return dataset.paintings(index, generator, most)
    return [dataset.clip(index, generator, 1)]


class Joined:
    """Several datasets as one, one after another."""

    def __init__(self, parts: Sequence[ClipDataset]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([len(part) for part in self.parts])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Entry `index`, counted through all parts."""
        part, place = self._find(index)
        return part.clip(place, generator, num_frames)

    @property
    def only_stills(self) -> bool:
        """Whether every part holds stills."""
        return all(holds_stills(part) for part in self.parts)

    def paintings(self, index: int, generator: np.random.Generator, most: int) -> list[Clip]:
        """See `Overlapping`; `index` counted through all parts."""
        part, place = self._find(index)
        return read_paintings(part, place, generator, most)

    def _find(self, index: int) -> tuple[ClipDataset, int]:
        """The part that entry `index` is in, and its place there."""
        which = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[which], index - (int(self._ends[which - 1]) if which else 0)


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
        return self._merge(self.dataset.clip(index, generator, num_frames), generator)

    @property
    def only_stills(self) -> bool:
        """Whether what is merged holds stills."""
        return holds_stills(self.dataset)

    def paintings(self, index: int, generator: np.random.Generator, most: int) -> list[Clip]:
        """See `Overlapping`; each painting by itself is merged or not."""
        return [self._merge(clip, generator) for clip in read_paintings(self.dataset, index, generator, most)]

    def _merge(self, clip: Clip, generator: np.random.Generator) -> Clip:
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


def choose_shown_frames(
    available: Sequence[int],
    num_frames: int,
    generator: np.random.Generator,
    shows: Callable[[int], bool],
    *,
    max_stride: int = 1,
) -> list[int]:
    """As `choose_frames`, drawn again a few times while the first frame shows no object.

    shows: whether a frame number shows an object; asked of first frames alone, as these are the ones that training
    prompts. A clip that hardly ever shows one may still begin without.
    """
    for _ in range(FIRST_FRAME_ATTEMPTS):
        chosen = choose_frames(available, num_frames, generator, max_stride=max_stride)
        if shows(chosen[0]):
            break
    return chosen


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
