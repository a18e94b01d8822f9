"""A folder of pictures without annotations: places that synthetic scenes are set in."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.data.clips import Clip
from masklet.data.layouts.pairs import check_still
from masklet.errors import InputError
from masklet.io.files import walk_files
from masklet.io.images import IMAGE_SUFFIXES, read_image


class PictureFolder:
    """The pictures in `folder` and the folders below it, as stills without objects.

    All pictures count, masks beside them too. Raises `InputError` where there are none.
    """

    only_stills = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"no such folder of pictures: {self.folder}")
        self.paths = sorted(walk_files(self.folder, *IMAGE_SUFFIXES))
        if not self.paths:
            raise InputError(f"{self.folder} holds no pictures; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")

    def __len__(self) -> int:
        return len(self.paths)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Picture `index`. Raises `InputError` where more than one frame is asked for, or naming a damaged file."""
        check_still(num_frames, self.folder)
        picture = read_image(self.paths[index])
        return Clip(picture[None], np.zeros((1, *picture.shape[:2]), np.uint8), str(self.paths[index]))
