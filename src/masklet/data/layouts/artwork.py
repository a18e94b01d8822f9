"""Drawings with a transparent ground, such as clip art and icons: what is opaque is the object."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, UnidentifiedImageError

from masklet.data.clips import Clip
from masklet.data.layouts.pairs import check_still
from masklet.errors import InputError
from masklet.io.files import walk_files

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDES = (48, 4096)
"""Drawings with a longer side below this are too coarse to cut out, above it too slow to read."""

MIN_FILLED = 0.15
"""Line drawings fill less of their box: no object, but strokes."""

BORDER = 0.08
"""Room around the drawing, as a share of its longer side, so that it counts as a whole object."""

GROUND, OPAQUE = 127, 127
"""The grey that drawings stand on, and the alpha above which a pixel is the object's."""


class ArtworkFolder:
    """The drawings (PNG with transparency) in `folder` and the folders below it, as stills with one object each.

    Line drawings come without an object. Raises `InputError` where there are no drawings.
    """

    only_stills = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.paths = [path for path in sorted(walk_files(self.folder, ".png")) if is_artwork(path)]
        if not self.paths:
            raise InputError(f"{self.folder} holds no PNG pictures with transparency of {SIDES[0]}..{SIDES[1]} pixels")

    def __len__(self) -> int:
        return len(self.paths)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Drawing `index` on a grey ground. Raises `InputError` where more than one frame is asked for."""
        check_still(num_frames, self.folder)
        path = self.paths[index]
        try:
            with Image.open(path) as picture:
                rgba = np.array(picture.convert("RGBA"))
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"cannot read {path} as a picture: {error}") from error
        rgba = framed(rgba)
        # What counts as the object keeps its own colours to the last pixel: things are cut out and put elsewhere.
        alpha = np.where(rgba[..., 3:] > OPAQUE, 1, rgba[..., 3:].astype(np.float32) / 255)
        frame = (rgba[..., :3] * alpha + GROUND * (1 - alpha)).astype(np.uint8)
        return Clip(frame[None], object_mask(rgba)[None], str(path))


def is_artwork(path: Path) -> bool:
    """Whether a PNG file has a transparent ground and a fitting size, as its header says."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                transparent = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
                return transparent and SIDES[0] <= max(picture.size) <= SIDES[1]
    except (OSError, UnidentifiedImageError, Image.DecompressionBombWarning, Image.DecompressionBombError):
        return False


def framed(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The opaque part of a drawing with a little room around it."""
    rows, columns = (np.flatnonzero((rgba[..., 3] > OPAQUE).any(axis)) for axis in (1, 0))
    if len(rows):
        rgba = rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    room = int(BORDER * max(rgba.shape[:2])) + 1
    return np.pad(rgba, ((room, room), (room, room), (0, 0)))


def object_mask(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 [h w], 1 where a framed drawing [h w 4] is opaque; 0 all over for a line drawing."""
    mask = (rgba[..., 3] > OPAQUE).astype(np.uint8)
    return mask if mask.mean() >= MIN_FILLED else np.zeros_like(mask)
