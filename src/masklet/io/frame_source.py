"""What every source of frames is: numbered pictures of one size, decoded when asked for, the latest of them kept."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from masklet.errors import InputError
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

CACHE_BYTES = 128 * 2**20
"""Decoded frames kept by each source, in bytes: 48 frames at 1280 x 720."""
CACHE_FRAMES = 64
"""And in frames, so that a long clip of small ones soon stops growing too."""


class FrameSource(ABC):
    """Frames by number from 0, each uint8 RGB [H, W, 3] of the same `size`.

    `fps` is None where a source has none. `len()` is exact, or raises `TypeError` where the end is not known. Frames
    belong to the source and cannot be written to: copy one to draw on it. `held` is how many of the latest can be asked
    for again, None for all.
    """

    held: int | None = None

    def __init__(self, name: str, size: Size, fps: float | None) -> None:
        self.name = name
        self.size = size
        self.fps = fps
        height, width = size
        self._cache_frames = max(2, min(CACHE_FRAMES, CACHE_BYTES // (height * width * 3)))
        self._cache: OrderedDict[int, NDArray[np.uint8]] = OrderedDict()

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _read(self, number: int) -> NDArray[np.uint8]:
        """Decode frame `number`, which is not in the cache; raise `IndexError` past the end."""

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """Frame `number`, the same pixels in whatever order frames are asked for.

        Raises `IndexError` outside the clip, `BrokenVideo` past a break, `InputError` for a frame of another size.
        """
        number = operator.index(number)
        if number < 0:
            raise IndexError(f"frames are numbered from 0; got {number}")
        if number in self._cache:
            self._cache.move_to_end(number)
            return self._cache[number]
        self._keep(number, self._read(number))
        return self._cache[number]

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        number = 0
        while True:
            try:
                frame = self[number]
            except IndexError:
                return
            yield frame
            number += 1

    @property
    def title(self) -> str:
        """What the source is called in results: the name of its file or folder."""
        return Path(self.name).name

    def label(self, number: int) -> str:
        """What files made from a frame are called, without suffix: its number, five digits or more."""
        return f"{number:05d}"

    def file_name(self, number: int) -> str | None:
        """The name of the file that a frame is, if each has one of its own."""
        return None

    def time(self, number: int) -> float | None:
        """When a frame is shown, in seconds from the first, where that is not as `fps` tells: in videos whose rate
        varies, as those of phones and screen recorders do."""
        return None

    def number_of(self, label: str) -> int | None:
        """The frame that files of that name, without suffix, are made from; None where there is none."""
        return int(label) if label.isdecimal() else None

    def _keep(self, number: int, frame: NDArray[np.uint8]) -> None:
        """Put a frame into the cache, the one unused for longest falling out."""
        self._check_size(frame, f"frame {number}")
        self._cache[number] = frame.view()  # it may be the caller's own
        self._cache[number].flags.writeable = False
        self._cache.move_to_end(number)
        if len(self._cache) > self._cache_frames:
            self._let_one_go()

    def _let_one_go(self) -> None:
        self._cache.popitem(last=False)

    def _check_size(self, frame: NDArray[np.uint8], label: str) -> None:
        if frame.shape[:2] != tuple(self.size):
            raise InputError(
                f"frames of different sizes in {self.name}: {label} is {frame.shape[1]} x {frame.shape[0]} pixels "
                f"(width x height), the first {self.size.width} x {self.size.height}"
            )
