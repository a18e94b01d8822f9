"""The plain layout: `NAME.jpg` with the index mask `NAME.png` beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.data.clips import Clip
from masklet.data.reading import PICTURE_SUFFIXES, read_index_mask, read_picture
from masklet.errors import InputError
from masklet.types import Size


class PairFolder:
    """Still pictures `NAME.jpg` (or another picture type), each with an index mask `NAME.png` beside it.

    folder: where they lie; merge_indices: the probability with which all objects of a picture are taken as one (for
    data whose indices are parts, such as garments of a person). Raises `InputError` naming the picture without a mask,
    the mask without a picture, or the folder where it holds neither.
    """

    def __init__(self, folder: str | Path, *, merge_indices: float = 0.0) -> None:
        if not 0 <= merge_indices <= 1:
            raise InputError(f"merge_indices is a probability, 0 to 1; got {merge_indices}")
        self.folder = Path(folder)
        self.merge_indices = merge_indices
        self.pairs = find_pairs(self.folder)

    def __len__(self) -> int:
        return len(self.pairs)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Picture `index` as a clip of one frame. Raises `InputError` where more frames are asked for."""
        if num_frames != 1:
            raise InputError(f"{self.folder} holds still pictures; ask for 1 frame, not {num_frames}")
        picture_path, mask_path = self.pairs[index]
        frame = read_picture(picture_path)
        mask = read_index_mask(mask_path, Size(*frame.shape[:2]))
        return merged(Clip(frame[None], mask[None], str(picture_path)), self.merge_indices, generator)


def merged(clip: Clip, probability: float, generator: np.random.Generator) -> Clip:
    """With `probability` the clip with all its objects as object 1, else the clip itself."""
    if probability and generator.random() < probability:
        return Clip(clip.frames, (clip.masks > 0).astype(np.uint8), clip.name)
    return clip


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Picture and mask paths in `folder`, by name. Raises `InputError` as `PairFolder` does."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    masks = {path.stem: path for path in files if path.suffix.lower() == ".png"}
    pictures = {path.stem: path for path in files if path.suffix.lower() != ".png"}
    if not pictures:
        raise InputError(f"{folder} is empty: looked for pictures NAME.jpg with index masks NAME.png beside them")
    for stem in pictures.keys() ^ masks.keys():
        if stem in pictures:
            raise InputError(f"{pictures[stem]} has no mask {stem}.png beside it")
        raise InputError(f"{masks[stem]} has no picture {stem}.jpg beside it")
    return [(pictures[stem], masks[stem]) for stem in sorted(pictures)]
