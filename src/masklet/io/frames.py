"""Open any source of frames: a video file, a folder or glob of pictures, an array, a list, or something endless."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from masklet.errors import InputError
from masklet.io.frame_source import FrameSource
from masklet.io.images import IMAGE_SUFFIXES, Pages, ValueRange, read_image
from masklet.io.natural import natural_key
from masklet.io.passing_frames import PassingFrames
from masklet.io.video_file import VideoFile
from masklet.types import Size

if TYPE_CHECKING:
    from numpy.typing import NDArray


def open_frames(source: Any, *, revisit: bool = True, value_range: ValueRange | None = None) -> FrameSource:
    """Open a source of frames; nothing beyond its first frame is decoded yet.

    source: the path of a video (mp4, mov, mkv, webm, avi, gif, or whatever else FFmpeg reads), of a folder of pictures,
    of one picture or of a stack of them (TIFF, animated PNG or WebP); a glob such as "shots/*.png"; an array or tensor
    [t, H, W, 3]; a sequence of pictures; any other iterable of pictures, an endless one too; or a FrameSource, handed
    back as it is. Pictures are whatever `read_image` takes; files come in natural order (9 before 10). With `revisit`
    off, an iterable's frames are let go once they leave the cache, so that an endless one takes constant space.
    value_range: of pictures, see `read_image`; one for all frames. Raises `InputError` for a source that is missing,
    empty, damaged, or not one of these.
    """
    if isinstance(source, FrameSource):
        if value_range is not None:
            raise InputError(f"{source.name} is open already; give the range of values where it is opened")
        return source
    if isinstance(source, str | os.PathLike):
        return _open_path(os.fspath(source), value_range)
    if hasattr(source, "shape") and len(source.shape) != 4:
        raise InputError(f"an array of frames has shape [t, H, W, 3]; got {list(source.shape)}")
    if isinstance(source, Sequence) or hasattr(source, "shape"):
        return PictureFrames("the clip", source, value_range)
    if isinstance(source, Iterable):
        return PassingFrames(source, revisit=revisit, value_range=value_range)
    raise InputError(f"frames come from a path, array, sequence or iterable; got {type(source).__name__}")


class PictureFrames(FrameSource):
    """The frames of a sequence of pictures: files, arrays, tensors, or one array [t, H, W, 3]."""

    def __init__(self, name: str, pictures: Sequence[Any], value_range: ValueRange | None = None) -> None:
        """Raises `InputError` where there is no picture or the first cannot be read."""
        if not len(pictures):
            raise InputError(f"{name} has no frames")
        first = read_image(pictures[0], value_range)
        super().__init__(name, Size(*first.shape[:2]), fps=None)
        self._pictures = pictures
        self._value_range = value_range
        self._keep(0, first)

    def __len__(self) -> int:
        return len(self._pictures)

    def _read(self, number: int) -> NDArray[np.uint8]:
        if number >= len(self):
            raise IndexError(f"{self.name} has {len(self)} frames; there is no frame {number}")
        try:
            picture = self._pictures[number]
        except IndexError as error:  # which would pass for the end of the clip
            raise InputError(f"{self.name} says it has {len(self)} frames and fails on {number}: {error!r}") from error
        frame = read_image(picture, self._value_range)
        self._check_size(frame, str(picture) if isinstance(picture, str | os.PathLike) else f"frame {number}")
        return frame


class PictureFiles(PictureFrames):
    """Files with a picture each, in natural order. What is made from a frame is called as its file is where no two
    share a name, else by the frame's number."""

    def __init__(self, name: str, files: Sequence[Path], title: str, value_range: ValueRange | None = None) -> None:
        files = sorted(files, key=lambda file: natural_key(str(file)))
        apart = len({file.stem.lower() for file in files}) == len(files)  # macOS and Windows see no capitals
        self._files, self._title = files, title
        self._numbers = {file.stem: number for number, file in enumerate(files)} if apart else None
        super().__init__(name, files, value_range)

    @property
    def title(self) -> str:
        return self._title

    def label(self, number: int) -> str:
        return super().label(number) if self._numbers is None else self._files[number].stem

    def file_name(self, number: int) -> str | None:
        return None if self._numbers is None else self._files[number].name

    def number_of(self, label: str) -> int | None:
        return super().number_of(label) if self._numbers is None else self._numbers.get(label)


def check_there(path: str) -> None:
    """Raise `InputError` where a path to `open_frames` leads nowhere, which costs less to know than to load a model."""
    if os.path.exists(path) or (glob.has_magic(path) and glob.glob(path, recursive=True)):
        return
    if "://" in path:
        raise InputError(f"{path} is not a file; step a masklet.Stream through the pictures of a camera or address")
    if glob.has_magic(path):
        _check_found(path, ())
    raise InputError(f"no such file or folder: {path}")


def _open_path(path: str, value_range: ValueRange | None) -> FrameSource:
    check_there(path)
    if os.path.isdir(path):
        return _open_folder(Path(path), value_range)
    if not os.path.exists(path):
        return _open_glob(path, value_range)
    if is_picture(Path(path)):
        pages = Pages(path, value_range)
        if len(pages) > 1:
            return PictureFrames(path, pages)
        return PictureFrames(path, [Path(path)], value_range)
    if value_range is not None:
        raise InputError(f"{path} is a video, of 8 bits or made so; a range of values is for pictures")
    return VideoFile(path)


def _open_folder(folder: Path, value_range: ValueRange | None) -> FrameSource:
    files = [file for file in folder.iterdir() if is_picture(file)]
    _check_found(f"folder {folder}", files)
    first_of: dict[str, Path] = {}
    for file in sorted(files):
        other = first_of.setdefault(file.stem, file)
        if other != file:
            raise InputError(
                f"{folder} holds {other.name} and {file.name}: frames beside their masks? Name the frames alone, as in "
                f"'{folder / f'*{other.suffix}'}'"
            )
    return PictureFiles(f"folder {folder}", files, Path(os.path.abspath(folder)).name, value_range)


def _open_glob(pattern: str, value_range: ValueRange | None) -> FrameSource:
    files = _found_by(pattern)
    _check_found(pattern, files)
    return PictureFiles(pattern, files, Path(_folder_of(files)).name, value_range)


def _found_by(pattern: str) -> list[Path]:
    return [file for file in map(Path, glob.glob(pattern, recursive=True)) if file.is_file()]


def _folder_of(files: Sequence[Path]) -> str:
    return os.path.commonpath({os.path.abspath(file.parent) for file in files})


def place_of(source: str | os.PathLike[str]) -> str:
    """The path of a source, for a glob that of the folder which all it finds lie in."""
    path = os.fspath(source)
    if os.path.exists(path) or not glob.has_magic(path):
        return path
    files = _found_by(path)
    return _folder_of(files) if files else path


def _check_found(place: str, files: Sequence[Path]) -> None:
    if not files:
        raise InputError(f"no pictures in {place}: looked for {', '.join(sorted(IMAGE_SUFFIXES))} files")


def is_picture(path: Path) -> bool:
    """Whether that is a file of pictures, by its suffix."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def is_still(path: Path) -> bool:
    """Whether that is the file of a single picture rather than a stack of them. Raises `InputError` if damaged."""
    return is_picture(path) and len(Pages(path)) == 1
