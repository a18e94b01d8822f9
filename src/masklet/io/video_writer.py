"""Write clips as mp4 files that every player shows."""

from __future__ import annotations

import os
from contextlib import suppress
from fractions import Fraction
from typing import TYPE_CHECKING, cast

import av
import numpy as np

from masklet.errors import InputError, OutputError
from masklet.types import Size

if TYPE_CHECKING:
    from types import TracebackType

    from av.container import OutputContainer
    from numpy.typing import NDArray

DEFAULT_FPS = 24.0
"""Frames per second for clips that come without a rate, such as folders of pictures."""

# Constant quality: visually lossless for H.264, near it for the older MPEG-4. A key frame every 48 frames begins a
# fragment: as the file is written in fragments until it is finished, a full disk leaves all but the last readable.
# Without negative offsets, frames that are stored out of order would make the clip begin two frames late.
_FLAGS = {"movflags": "+hybrid_fragmented+negative_cts_offsets"}
_ENCODERS = {"libx264": {"crf": "18", "preset": "fast", "g": "48"}, "mpeg4": {"qscale": "3", "g": "48"}}
_ITU709 = 1
_TICK = Fraction(1, 1000)  # seconds; of clips whose rate varies


class VideoWriter:
    """Writes uint8 RGB frames [H, W, 3] of one size to an mp4 file (H.264, or MPEG-4 where that encoder is absent).

    A context manager: the file is finished when the block is left, by an error or Ctrl-C as well, and then holds the
    frames written so far. Odd sides are made even, as the format needs, by repeating the last row or column. A block
    left before the first frame leaves no file. `size` is what the video's frames then have.
    """

    def __init__(self, path: str | os.PathLike[str], size: Size, fps: float | None = None) -> None:
        """size: of the frames, height and width; fps: frames per second, `DEFAULT_FPS` if None."""
        self._path = os.fspath(path)
        self._size = size
        height, width = size
        self.size = Size(height + height % 2, width + width % 2)
        self._rate = Fraction(fps or DEFAULT_FPS).limit_denominator(1001)
        self._output: tuple[OutputContainer, av.VideoStream] | None = None
        self._begins: float | None = None
        self._shown = -1

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, frame: NDArray[np.uint8], time: float | None = None) -> None:
        """Append one frame; time: when it is shown, in seconds from anywhere, for clips whose rate varies.

        Either all frames have a time or none. Raises `InputError` for another size or type, `OutputError` where it
        cannot be written: that is the end of it.
        """
        height, width = self._size
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            raise InputError(
                f"the video takes uint8 frames {[height, width, 3]}; got {frame.dtype} {list(frame.shape)}"
            )
        even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        try:
            if self._output is None:
                self._begins = time
                self._output = self._open()
            container, stream = self._output
            if time is not None and self._begins is not None:
                self._shown = max(self._shown + 1, round((time - self._begins) / _TICK))
                picture.pts, picture.time_base = self._shown, _TICK
            container.mux(stream.encode(picture.reformat(format="yuv420p", dst_colorspace=_ITU709)))
        except (av.FFmpegError, OSError) as error:
            self._abandon()
            raise OutputError(f"cannot write the video {self._path}: {error.strerror or error}") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._output is None:
            return
        container, stream = self._output
        try:
            container.mux(stream.encode(None))
            container.close()
        except (av.FFmpegError, OSError) as failure:
            if kind is None:
                raise OutputError(f"cannot finish the video {self._path}: {failure.strerror or failure}") from failure

    def _abandon(self) -> None:
        """Close after a failed write without flushing the encoder, at which FFmpeg can crash."""
        if self._output is not None:
            with suppress(av.FFmpegError, OSError):
                self._output[0].close()
            self._output = None

    def _open(self) -> tuple[OutputContainer, av.VideoStream]:
        encoder = next(name for name in _ENCODERS if name in av.codecs_available)
        # FFmpeg takes what precedes a colon in a relative path for a protocol.
        container = av.open(os.path.join(os.getcwd(), self._path), "w", format="mp4", options=_FLAGS)
        stream = cast("av.VideoStream", container.add_stream(encoder, rate=self._rate, options=_ENCODERS[encoder]))
        stream.height, stream.width = self.size
        stream.pix_fmt = "yuv420p"
        if self._begins is not None:
            stream.codec_context.time_base = _TICK
        context = stream.codec_context  # with all three unset, players guess by the size, and tint small clips
        context.colorspace = context.color_primaries = context.color_trc = _ITU709
        return container, stream
