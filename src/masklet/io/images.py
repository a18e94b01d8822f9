"""One picture from anything a person has: a file, a PIL image, an array or a tensor."""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, Union

import numpy as np
from PIL import Image, ImageOps

from masklet.errors import InputError, MaskletWarning
from masklet.types import off_device

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

ImageSource: TypeAlias = Union[str, "os.PathLike[str]", Image.Image, "NDArray[Any]", "torch.Tensor"]
"""What `read_image` takes."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".jp2", ".avif")
)
"""Files that count as pictures in a folder, whatever the case of their letters."""

VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif", ".mpg", ".mpeg", ".ts", ".mts", ".wmv", ".flv", ".3gp")
)
"""What videos end in, to tell them from pictures and from names with a dot; any other file is tried as one, too."""

TIFF_SUFFIXES = frozenset((".tif", ".tiff"))

_PAGED = ("TIFF", "PNG", "WEBP")
"""Formats whose pages are pictures in their own right: a JPEG's may be previews, and a GIF is read as a video."""

_PLANAR_CONFIGURATION, _BITS_PER_SAMPLE, _DESCRIPTION = 284, 258, 270
"""Tags of TIFF."""
_ORIENTATION = 274
"""A tag of EXIF."""
_IMAGEJ_AXIS, _OME_AXIS = r"^(channels|slices|frames)=(\d+)", r'\bSize([CZT])="(\d+)"'
"""What ImageJ and OME write into the description of a stack that has several kinds of pages."""

_NEARLY_BLACK = 4096
"""Values of 16 bits below this are the whole range of a 12-bit camera."""

_CHANNELS = (1, 3, 4)
_OVERSHOOT = 0.1


ValueRange: TypeAlias = tuple[float, float]
"""The values of a picture that are shown black and white."""


def read_image(source: ImageSource, value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """Read a picture as uint8 RGB [H, W, 3], upright.

    source: a file that Pillow reads, turned as its EXIF orientation says; a PIL image; an array [H, W], [H, W, C] or
    [C, H, W]; or a tensor [C, H, W], C being 1, 3 or 4. uint8 runs to 255, uint16 to 65535, floats to 1. Grey is
    repeated and alpha dropped; of several pages the first is read. value_range: the values for black and white where
    they are others, as of a 12-bit camera; what is beyond is cut off. Warns of a 16-bit picture that is nearly black.
    Raises `InputError` for a missing or damaged file and for any other shape or range.
    """
    if value_range is not None and not -math.inf < value_range[0] < value_range[1] < math.inf:
        raise InputError(f"a range of values is the one for black and a larger one for white; got {value_range}")
    if isinstance(source, str | os.PathLike):
        return _read_file(Path(source), value_range)
    if isinstance(source, Image.Image):
        return _from_pil(source, "the picture", value_range)
    source = off_device(source)
    if not isinstance(source, np.ndarray):
        raise InputError(f"a picture is a path, PIL image, array or tensor; got {type(source).__name__}")
    return _to_rgb(_to_bytes(_channels_last(source), value_range=value_range))


def read_own_image(source: ImageSource, value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """`read_image` into memory of its own: a camera's driver may write the next picture into the same array."""
    image = read_image(source, value_range)
    return image if image.flags.owndata else image.copy()


class Pages(Sequence["NDArray[np.uint8]"]):
    """The pages of a TIFF stack or the frames of an animated PNG or WebP, each as `read_image` gives it.

    Pages of another size than the first are previews and the like: where the second is one, the first is all there is.
    """

    def __init__(self, path: str | os.PathLike[str], value_range: ValueRange | None = None) -> None:
        """Raises `InputError` for a missing or damaged file."""
        self.path = Path(path)
        self._value_range = value_range
        self._number = 1
        self._open: Image.Image | None = None  # to go on from the page read last: formats are read from their beginning
        with _named_errors(self.path), Image.open(self.path) as image:
            if image.format in _PAGED and (number := getattr(image, "n_frames", 1)) > 1:
                size = image.size
                _check_axes(image, number, self.path)
                image.seek(1)
                self._number = number if image.size == size else 1

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, page: Any) -> Any:
        with _named_errors(self.path):
            if self._open is None:
                self._open = Image.open(self.path)
            return _read_page(self._open, range(self._number)[page], self.path, self._value_range)

    def __getstate__(self) -> dict[str, Any]:
        """An open file cannot be pickled."""
        return {**vars(self), "_open": None}


def _read_file(path: Path, value_range: ValueRange | None) -> NDArray[np.uint8]:
    with _named_errors(path), Image.open(path) as image:
        return _read_page(image, 0, path, value_range)


def _read_page(image: Image.Image, page: int, path: Path, value_range: ValueRange | None) -> NDArray[np.uint8]:
    image.seek(page)
    if image.format == "TIFF" and _is_planar_16_bit(image):
        raise InputError(
            f"{path} keeps the colours of its 16-bit pixels apart, which Pillow reads wrongly: save it with "
            "interleaved colours, or as 8-bit"
        )
    if image.getexif().get(_ORIENTATION, 1) != 1:  # else it would be copied for nothing
        image = ImageOps.exif_transpose(image)
    return _from_pil(image, str(path), value_range)


def _check_axes(image: Image.Image, number: int, path: Path) -> None:
    """Raise `InputError` where the pages of a stack are not one frame after the other."""
    description = str(getattr(image, "tag_v2", {}).get(_DESCRIPTION, ""))
    named = [*re.findall(_IMAGEJ_AXIS, description, re.MULTILINE), *re.findall(_OME_AXIS, description)[:3]]
    lengths = {{"C": "channels", "Z": "slices", "T": "frames"}.get(axis, axis): int(length) for axis, length in named}
    channels, slices, frames = (lengths.get(axis, 1) for axis in ("channels", "slices", "frames"))
    if channels * slices * frames == number and sum(length > 1 for length in (channels, slices, frames)) > 1:
        raise InputError(
            f"the {number} pages of {path} are {channels} channels of {slices} slices of {frames} frames in turn: save "
            "one channel (and one slice, or a projection) as a stack of its own"
        )


def _is_planar_16_bit(image: Image.Image) -> bool:
    tags = getattr(image, "tag_v2", {})
    return bool(tags.get(_PLANAR_CONFIGURATION) == 2 and max(tags.get(_BITS_PER_SAMPLE, (8,))) > 8)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Whatever Pillow raises as an `InputError` that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"no such picture: {path}") from error
    except InputError as error:
        if str(path) in str(error):
            raise
        raise InputError(f"{path}: {error}") from error
    except Image.UnidentifiedImageError as error:
        if path.suffix.lower() in TIFF_SUFFIXES:
            raise InputError(
                f"cannot read {path} as a picture: it is damaged, or of a kind of TIFF that Pillow does not know, such "
                "as floats of 64 bits; save it with 8 or 16 bits, or floats of 32"
            ) from error
        if path.suffix.lower() not in VIDEO_SUFFIXES:
            raise InputError(f"cannot read {path} as a picture: {error}") from error
        raise InputError(
            f"{path} is a video, not a picture; `masklet track` and `masklet everything` take videos, as do "
            "masklet.VideoSession and masklet.everything_video"
        ) from error
    # Pillow reports damage as any of these, by format
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {path} as a picture: {error}") from error


def _from_pil(image: Image.Image, name: str, value_range: ValueRange | None) -> NDArray[np.uint8]:
    if 0 in image.size:
        raise InputError(f"{name} is {image.width} x {image.height} pixels: there is nothing in it")
    if image.mode.startswith("I"):  # Pillow's convert("RGB") would cut 16-bit grey off at 255
        return _to_rgb(_to_bytes(np.asarray(image).astype(np.int64), 65535, value_range))
    if image.mode == "F":
        return _to_rgb(_to_bytes(np.asarray(image), value_range=value_range))
    picture = np.array(image if image.mode == "RGB" else image.convert("RGB"))
    return picture if value_range is None else _to_bytes(picture, value_range=value_range)


def _channels_last(array: NDArray[Any]) -> NDArray[Any]:
    """[H, W], [H, W, C] or [C, H, W] as [H, W, C]; where both fit, the last dimension holds the channels."""
    if array.ndim == 2:
        array = array[..., None]
    elif array.ndim == 3 and array.shape[-1] not in _CHANNELS and array.shape[0] in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[-1] not in _CHANNELS:
        raise InputError(
            f"a picture has shape [H, W], [H, W, C] or [C, H, W] with C 1, 3 or 4; got {list(array.shape)}"
        )
    if 0 in array.shape:
        raise InputError(f"a picture of {array.shape[1]} x {array.shape[0]} pixels (width x height) has nothing in it")
    return array


def _to_bytes(array: NDArray[Any], top: int | None = None, value_range: ValueRange | None = None) -> NDArray[np.uint8]:
    """Scale to 0..255. `top` is the value of white, by default that of the array's type."""
    if value_range is not None:
        black, white = value_range
        if np.isnan(array).any():
            raise InputError("a picture holds values that are no numbers (nan)")
        if array.dtype == np.uint8 and white > 255:
            raise InputError(
                f"a range of values up to {white:g} is for 12- and 16-bit pictures; this one is 8-bit, up to 255"
            )
        shown = (np.clip(array, black, white).astype(np.float32) - black) * (255 / (white - black))
        return np.rint(shown).astype(np.uint8)
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(255)
    if np.issubdtype(array.dtype, np.floating):
        return _floats_to_bytes(array)
    top = top or (65535 if array.dtype == np.uint16 else 255)
    low, high = array.min(), array.max()
    if not np.issubdtype(array.dtype, np.integer) or low < 0 or high > top:
        raise InputError(
            f"pixel values of a {array.dtype} picture must lie in 0..{top}; got {low}..{high}: "
            "scale it to uint8, to uint16 or to floats from 0 to 1"
        )
    if top == 255:
        return array.astype(np.uint8)
    if 0 < high < _NEARLY_BLACK:
        warnings.warn(
            "a 16-bit picture uses less than a sixteenth of its range, as from a 12-bit camera, and is seen as nearly "
            "black: stretch its values, by one factor for all frames of a clip, or, of files, let "
            "masklet.open_frames(path, value_range=(0, 4095)) do so (--range 0,4095)",
            MaskletWarning,
            stacklevel=2,
        )
    return (array // 257).astype(np.uint8)


def _floats_to_bytes(array: NDArray[np.floating]) -> NDArray[np.uint8]:
    low, high = float(array.min()), float(array.max())
    # resized pictures overshoot a little; normalised ones and those up to 255 go far beyond
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        raise InputError(
            f"float pictures run from 0 to 1; got {low:g}..{high:g}: scale them (divide by 255), undo the "
            "normalisation or, of files, let masklet.open_frames(path, value_range=(0, 255)) do so (--range 0,255)"
        )
    return np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


def _to_rgb(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if array.ndim == 2 or array.shape[-1] == 1:
        grey = array.reshape(array.shape[:2])
        return np.stack((grey, grey, grey), -1)
    return np.ascontiguousarray(array[..., :3])
