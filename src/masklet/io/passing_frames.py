"""Frames of an iterable that can only be walked once, held so that they can be asked for again."""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from masklet.errors import InputError, OutputError
from masklet.io.frame_source import FrameSource
from masklet.io.images import ValueRange, read_own_image
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray


class PassingFrames(FrameSource):
    """The frames of any iterable of pictures, pulled one by one as they are asked for.

    With `revisit`, every frame is also written, losslessly packed, to a temporary file that goes away with this object;
    without, a frame that has left the cache is gone. The length is known once the end has been reached.
    """

    def __init__(self, frames: Iterable[Any], *, revisit: bool, value_range: ValueRange | None = None) -> None:
        """Pulls the first frame. Raises `InputError` where there is none or it is not a picture."""
        self._frames = iter(frames)
        self._value_range = value_range
        self._pulled = 1
        self._ended = False
        self._failed: BaseException | None = None
        self._held: list[Any] = []  # what was pulled and is not stored yet
        self._spool = _Spool() if revisit else None
        try:
            first = read_own_image(next(self._frames), value_range)
        except StopIteration:
            raise InputError("the iterable has no frames") from None
        super().__init__("the iterable", Size(*first.shape[:2]), fps=None)
        self.held = None if revisit else self._cache_frames
        self._pulled = 0
        self._store(first)

    def __len__(self) -> int:
        if not self._ended:
            raise TypeError("an iterable of frames has no length until its end has been reached")
        return self._pulled

    def _read(self, number: int) -> NDArray[np.uint8]:
        if number < self._pulled:
            if self._spool is None:
                raise InputError(
                    f"frame {number} has passed and was let go: open the iterable with revisit=True, as a session with "
                    "keep='all' does, to keep what passes"
                )
            return self._spool.read(number)
        while self._pulled <= number:
            frame = self._pull()
        return frame

    def _pull(self) -> NDArray[np.uint8]:
        if not self._held:
            self._held.append(self._next_picture())
        frame = read_own_image(self._held[0], self._value_range)
        self._store(frame)
        self._held.clear()
        return frame

    def _next_picture(self) -> Any:
        try:
            picture = next(self._frames)
        except StopIteration:
            if self._failed is not None:  # a generator that has raised anything gives no more
                raise InputError(
                    f"the iterable failed after {self._pulled} frames and gives no more: {self._failed!r}"
                ) from self._failed
            self._ended = True
            raise IndexError(f"the iterable ended after {self._pulled} frames") from None
        except IndexError as error:  # which would pass for the end of the clip
            self._failed = error
            raise InputError(f"the iterable failed after {self._pulled} frames: {error!r}") from error
        except BaseException as error:
            self._failed = error
            raise
        self._failed = None  # a camera may go on
        return picture

    def _let_one_go(self) -> None:
        if self._spool is not None:
            super()._let_one_go()
        else:  # the earliest, so that those between where tracking is and a prompt ahead of it are kept
            del self._cache[min(self._cache)]

    def _store(self, frame: NDArray[np.uint8]) -> None:
        self._keep(self._pulled, frame)
        if self._spool is not None:
            self._spool.append(frame)
        self._pulled += 1


class _Spool:
    """Frames packed as PNG, one after the other, in a temporary file without a name."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the spool
        self._ends = [0]

    def append(self, frame: NDArray[np.uint8]) -> None:
        _, packed = cv2.imencode(".png", frame, (cv2.IMWRITE_PNG_COMPRESSION, 1))
        try:
            self._file.seek(self._ends[-1])
            self._file.write(packed.tobytes())
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"cannot hold frame {len(self._ends) - 1} in {tempfile.gettempdir()}: {error.strerror or error}; give "
                "it more room (TMPDIR), or go one way through the frames (revisit=False)"
            ) from error
        self._ends.append(self._file.tell())

    def read(self, number: int) -> NDArray[np.uint8]:
        self._file.seek(self._ends[number])
        packed = self._file.read(self._ends[number + 1] - self._ends[number])
        return np.asarray(cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR), np.uint8)
