"""Clips where the official package opens other frames than `masklet.io.frames.open_frames` does.

Source: official `utils/misc.py`.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from masklet.errors import InputError
from masklet.io.frame_source import FrameSource
from masklet.io.frames import is_picture
from masklet.io.images import read_image
from masklet.io.natural import natural_key
from masklet.io.video_file import VideoFile
from masklet.types import Size

JPEG_SUFFIXES = (".jpg", ".jpeg")


def official_clip(video: Any) -> Any:
    """What `open_frames` shall open for an official `video_path`: of a folder with JPEG files only those, and the
    video that `bytes` are. Anything else is handed back. Raises `InputError` for damage.
    """
    if isinstance(video, bytes):
        return VideoInMemory(video)
    if isinstance(video, str | os.PathLike) and os.path.isdir(video):
        folder = Path(video)
        files = [file for file in folder.iterdir() if file.suffix.lower() in JPEG_SUFFIXES and is_picture(file)]
        if files:
            return JpegFrames(f"folder {folder}", sorted(files, key=lambda file: natural_key(file.stem)))
    return video


class JpegFrames(FrameSource):
    """The frames of JPEG files as they are stored: officially their EXIF orientation is ignored.

    Pictures of other sizes are brought to that of the last, which officially is the clip's: so scripts find in one
    picture what they point out in another.
    """

    def __init__(self, name: str, files: list[Path]) -> None:
        super().__init__(name, Size(*_stored(files[-1]).shape[:2]), fps=None)
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    def _read(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self):
            raise IndexError(f"{self.name} has {len(self)} frames; there is no frame {number}")
        frame = _stored(self._files[number])
        if frame.shape[:2] != tuple(self.size):
            return np.asarray(Image.fromarray(frame).resize(self.size[::-1], Image.Resampling.BICUBIC))
        return frame


def _stored(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return read_image(image)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {file} as a picture: {error}") from error


class VideoInMemory(VideoFile):
    """A video file's bytes, written to a temporary file that goes away with this object."""

    def __init__(self, data: bytes) -> None:
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        path = Path(folder, "video")
        path.write_bytes(data)
        super().__init__(path)

    def __del__(self) -> None:
        """Before the file goes, as Windows removes none that is open."""
        if hasattr(self, "_frames"):
            self.close()
