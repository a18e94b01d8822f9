"""Open any source of frames: a video file, a folder or glob of pictures, an array, a list, or something endless."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.io.frame_source import BrokenVideo, FrameSource
from masklet.io.images import IMAGE_SUFFIXES, Pages, read_image
from masklet.io.natural import natural_key
from masklet.io.passing_frames import PassingFrames
from masklet.io.video_file import VideoFile
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BrokenVideo", "FrameSource", "PictureFrames", "is_picture", "is_still", "open_frames"]


def open_frames(source: Any, *, revisit: bool = True) -> FrameSource:
    """Open a source of frames; nothing beyond its first frame is decoded yet.

    source: the path of a video (mp4, mov, mkv, webm, avi, gif, or whatever else FFmpeg reads), of a folder of pictures,
    of one picture or of a stack of them (TIFF, animated PNG or WebP); a glob such as "shots/*.png"; an array or tensor
    [t, H, W, 3]; a sequence of pictures; any other iterable of pictures, an endless one too; or a FrameSource, handed
    back as it is. Pictures are whatever `read_image` takes; files come in natural order (9 before 10). With `revisit`
    off, an iterable's frames are let go once they leave the cache, so that an endless one takes constant space.
    Raises `InputError` for a source that is missing, empty, damaged, or not one of these.
    """
    if isinstance(source, FrameSource):
        return source
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source))
    if hasattr(source, "shape") and len(source.shape) != 4:
        raise InputError(f"an array of frames has shape [t, H, W, 3]; got {list(source.shape)}")
    if isinstance(source, Sequence) or hasattr(source, "shape"):
        return PictureFrames("the clip", source)
    if isinstance(source, Iterable):
        return PassingFrames(source, revisit=revisit)
    raise InputError(f"frames come from a path, array, sequence or iterable; got {type(source).__name__}")


class PictureFrames(FrameSource):
    """The frames of a sequence of pictures: files, arrays, tensors, or one array [t, H, W, 3]."""

    def __init__(self, name: str, pictures: Sequence[Any], labels: Sequence[str] | None = None) -> None:
        """labels: what files made from the frames are called.

        Raises `InputError` where there is no picture or the first cannot be read.
        """
        if not len(pictures):
            raise InputError(f"{name} has no frames")
        first = read_image(pictures[0])
        super().__init__(name, Size(*first.shape[:2]), fps=None)
        self._pictures = pictures
        self._labels = labels
        self._keep(0, first)

    def __len__(self) -> int:
        return len(self._pictures)

    def label(self, number: int) -> str:
        """A file's name without suffix where no two share it, else the frame's number."""
        return super().label(number) if self._labels is None else self._labels[number]

    def _read(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self):
            raise IndexError(f"{self.name} has {len(self)} frames; there is no frame {number}")
        picture = self._pictures[number]
        frame = read_image(picture)
        self._check_size(frame, str(picture) if isinstance(picture, str | os.PathLike) else f"frame {number}")
        return frame


def _open_path(path: str) -> FrameSource:
    if os.path.isdir(path):
        files = [file for file in Path(path).iterdir() if is_picture(file)]
        return _open_files(f"folder {path}", files)
    if not os.path.exists(path):
        if glob.has_magic(path):
            return _open_files(path, [Path(file) for file in glob.glob(path, recursive=True)])
        if "://" in path:
            raise InputError(f"{path} is not a file; step a masklet.Stream through the pictures of a camera or address")
        raise InputError(f"no such file or folder: {path}")
    if is_picture(Path(path)):
        pages = Pages(path)
        return PictureFrames(path, pages if len(pages) > 1 else [Path(path)])
    return VideoFile(path)


def _open_files(name: str, files: list[Path]) -> FrameSource:
    if not files:
        raise InputError(f"no pictures in {name}: looked for {', '.join(sorted(IMAGE_SUFFIXES))} files")
    files = sorted(files, key=lambda file: natural_key(str(file)))
    labels = [file.stem for file in files]
    return PictureFrames(name, files, labels if len(set(labels)) == len(labels) else None)


def is_picture(path: Path) -> bool:
    """Whether that is a file of pictures, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def is_still(path: Path) -> bool:
    """Whether that is the file of a single picture rather than a stack of them. Raises `InputError` if damaged."""
    return is_picture(path) and len(Pages(path)) == 1
