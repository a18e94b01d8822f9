"""Pictures without masks: backgrounds for synthetic clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.data.clips import Clip
from masklet.data.layouts.pairs import check_still
from masklet.errors import InputError
from masklet.io.images import IMAGE_SUFFIXES, read_image


class PictureFolder:
    """All pictures in `folder` and the folders below it, as stills without objects. Raises `InputError` for none."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"{self.folder} is not a folder")
        self.paths = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        if not self.paths:
            raise InputError(f"{self.folder} is empty: looked for pictures ({', '.join(sorted(IMAGE_SUFFIXES))})")

    def __len__(self) -> int:
        return len(self.paths)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Picture `index` as a clip of one frame, without objects. Raises `InputError` where more are asked for."""
        check_still(num_frames, self.folder)
        frame = read_image(self.paths[index])
        return Clip(frame[None], np.zeros((1, *frame.shape[:2]), np.uint8), str(self.paths[index]))
