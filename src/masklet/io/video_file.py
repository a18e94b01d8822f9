"""Frames of a video file by number: the same pixels whether they are read in order, backwards or at random."""

from __future__ import annotations

import os
from itertools import count
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from masklet.errors import BrokenVideo, InputError
from masklet.io.frame_source import FrameSource
from masklet.io.video_index import VideoIndex, decode_stream, index_video, video_stream
from masklet.types import Size

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray


ANEW = -1
"""In place of the next frame's number: the decoder is of no more use."""


class VideoFile(FrameSource):
    """The frames of a video file, decoded when asked for and turned upright as the file's metadata says.

    Reading forwards decodes each frame once. A jump begins at the key frame before its target; on the way back, as many
    frames as the cache holds are kept, so that walking backwards decodes the stretch between two key frames as often as
    the cache goes into it, not for every frame.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `InputError` where the file is not a video, or not one frame of it can be decoded."""
        name = os.fspath(path)
        # FFmpeg takes what precedes a colon in a relative path for a protocol.
        self._path = os.path.join(os.getcwd(), name)
        try:
            self._index = index_video(self._path)
            self._frames = _decode_from(self._path, self._index, 0)
            first = _upright(next(self._frames)[1])
        except (av.FFmpegError, OSError) as error:
            raise InputError(f"cannot read {name} as a video: {error.strerror or error}") from error
        except StopIteration:
            raise InputError(f"cannot read {name} as a video: not one frame of it can be decoded") from None
        super().__init__(name, Size(*first.shape[:2]), self._index.fps)
        self._times = self._index.uneven_times
        self._next = 1
        self._keep(0, first)

    def __len__(self) -> int:
        """Frames the file should have: those past a break count too, and raise `BrokenVideo` when read."""
        return self._index.num_frames

    def close(self) -> None:
        """Let go of the file, which Windows does not delete or rename before; frames read later open it again."""
        self._frames.close()
        self._next = ANEW

    def time(self, number: int) -> float | None:
        return None if self._times is None else self._times[number]

    def _read(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self):
            raise IndexError(f"{self.name} has {len(self)} frames; there is no frame {number}")
        start = self._index.start_for(number)
        backwards = number < self._next
        if not start <= self._next <= number:
            self._frames, self._next = _decode_from(self._path, self._index, start), start
        return self._walk_to(number, num_kept=self._cache_frames if backwards else 1)

    def _walk_to(self, number: int, num_kept: int) -> NDArray[np.uint8]:
        """Decode up to frame `number`, keeping so many of the last."""
        worth_keeping = number - num_kept + 1
        last, reason = self._next - 1, "the file ends there"
        self._next = ANEW  # should what follows be broken off, as by Ctrl-C, which ends the generator
        try:
            while last < number:
                last, frame = next(self._frames)
                if worth_keeping <= last <= number:
                    self._keep(last, _upright(frame))
        except StopIteration:
            pass
        except (av.FFmpegError, OSError) as error:
            reason = error.strerror or str(error)
        if last == number:
            self._next = last + 1
            return self._cache[number]
        raise BrokenVideo(self.name, min(last, number - 1), reason)


def _decode_from(path: str, index: VideoIndex, start: int) -> Generator[tuple[int, av.VideoFrame], None, None]:
    """Frames and their numbers in order, from number `start`, which must be among the index's starts."""
    frames = _decode(path, index, start)
    first = next(frames, None)
    if start and (first is None or first[0] > start):  # the container cannot seek there
        yield from (item for item in _decode(path, index, 0) if item[0] >= start)
    elif first is not None:
        yield first
        yield from frames


def _decode(path: str, index: VideoIndex, start: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """A container is opened anew for each jump, as decoders that have met an end or an error do not rewind cleanly."""
    counted = count()
    with av.open(path) as container:
        stream = video_stream(container, path)
        if start and index.times is not None:
            container.seek(index.times[start], stream=stream)
        for frame in decode_stream(container, stream):
            number = next(counted) if index.times is None else index.number_at(frame.pts)
            if number is not None and number >= start:
                yield number, frame


def _upright(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """RGB [H, W, 3], turned and mirrored as the file asks for, which phones do.

    Of its matrix, column x of a stored pixel goes to a * x + c * y of the picture shown, its row y to b * x + d * y.
    """
    picture: NDArray[Any] = frame.to_ndarray(format="rgb24")
    try:
        matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:  # PyAV stops at kinds that it does not know, such as a camera's EXIF; the angle it still has
        return np.ascontiguousarray(np.rot90(picture, round(frame.rotation / 90)))
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return np.ascontiguousarray(picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1])
