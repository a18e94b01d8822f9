"""Small video files of every awkward kind, made on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


def moving_square(num_frames: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """RGB frames in which a white square walks to the right while the ground turns from black to red."""
    frames = []
    for number in range(num_frames):
        frame = np.zeros((height, width, 3), np.uint8)
        frame[..., 0] = 4 * number % 256
        left = 2 * number % (width - 12)
        frame[10:20, left : left + 12] = 255
        frames.append(frame)
    return frames


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray],
    codec: str = "libx264",
    *,
    options: dict[str, str] | None = None,
    rotation: int = 0,
    times: Iterable[int] | None = None,
    muxer_options: dict[str, str] | None = None,
) -> Path:
    """Encode frames at 24 frames a second, or shown at `times` in milliseconds, the container chosen by the suffix."""
    height, width = frames[0].shape[:2]
    with av.open(str(path), "w", options=muxer_options or {}) as container:
        stream = container.add_stream(codec, rate=24, options=options or {})
        stream.width, stream.height = width, height
        stream.pix_fmt = {"gif": "rgb8", "mjpeg": "yuvj420p"}.get(codec, "yuv420p")
        if rotation:
            stream.set_display_rotation(rotation)
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        shown = None if times is None else iter(times)
        for array in frames:
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            if shown is not None:
                frame.pts, frame.time_base = next(shown), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def cut_off(path: Path, fraction: float) -> Path:
    """A copy of a file without its end."""
    data = path.read_bytes()
    shorter = path.with_name(f"cut_{path.name}")
    shorter.write_bytes(data[: int(len(data) * fraction)])
    return shorter


def decoded(path: Path) -> list[np.ndarray]:
    """All frames in order, as PyAV alone decodes them."""
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
