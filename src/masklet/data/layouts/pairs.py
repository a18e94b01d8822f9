"""The plain layout: `NAME.jpg` with the index mask `NAME.png` beside it, or in folders `images` and `masks`."""

from __future__ import annotations

import glob
from pathlib import Path

import numpy as np
from PIL import Image

from masklet.data.clips import Clip
from masklet.data.reading import read_index_mask
from masklet.errors import InputError
from masklet.io.formats.folders import size_as_shown
from masklet.io.images import IMAGE_SUFFIXES, TIFF_SUFFIXES, ValueRange, read_image
from masklet.types import Size

SPLIT_FOLDERS = ("images", "masks")
"""Names of the two folders where pictures and masks lie apart."""

MOST_PROBLEMS = 5
"""Pairs that do not fit together are named up to so many."""

MASK_SUFFIXES = frozenset((".png",))
"""Files that count as index masks beside pictures, whatever the case of their letters."""
OWN_MASK_SUFFIXES = MASK_SUFFIXES | TIFF_SUFFIXES
"""And in folders of their own, where they cannot be taken for pictures."""


class PairFolder:
    """Still pictures `NAME.jpg` (or another picture type), each with an index mask `NAME.png`.

    folder: where both lie, or where its folders `images` and `masks` hold them, as PNG or TIFF files there;
    value_range: of the pictures, see `read_image`. Raises `InputError` naming the picture without a mask, the mask
    without a picture, or the folder that holds neither.
    """

    only_stills = True

    def __init__(self, folder: str | Path, *, value_range: ValueRange | None = None) -> None:
        self.folder = Path(folder)
        self.value_range = value_range
        self.pairs = find_pairs(self.folder)

    def __len__(self) -> int:
        return len(self.pairs)

    def check(self) -> None:
        """Raise `InputError` naming the first few masks that are of another size than their pictures, or are none."""
        problems = []
        for index, (picture, mask) in enumerate(self.pairs):
            if not _seem_to_fit(picture, mask):
                try:
                    self._read(index)  # which knows for certain, and tells why
                except InputError as error:
                    problems.append(str(error))
            if len(problems) == MOST_PROBLEMS:
                problems.append("and perhaps more")
                break
        if problems:
            raise InputError("\n".join(problems))

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """Picture `index` as a clip of one frame. Raises `InputError` where more frames are asked for."""
        check_still(num_frames, self.folder)
        return self._read(index)

    def _read(self, index: int) -> Clip:
        picture_path, mask_path = self.pairs[index]
        frame = read_image(picture_path, self.value_range)
        mask = read_index_mask(mask_path, Size(*frame.shape[:2]))
        return Clip(frame[None], mask[None], str(picture_path))


def _seem_to_fit(picture: Path, mask: Path) -> bool:
    """Whether a mask holds whole numbers and is of its picture's size, as far as the beginnings of the files tell."""
    try:
        with Image.open(picture) as image, Image.open(mask) as numbers:
            shown = size_as_shown(image, Image.Image.getexif(image))  # PNG's own method would decode the pixels
            whole_numbers = numbers.mode in ("1", "P", "L") or numbers.mode.startswith("I")
            return whole_numbers and (numbers.height, numbers.width) == shown
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError):
        return False


def check_still(num_frames: int, folder: Path) -> None:
    """Raise `InputError` where more than one frame is asked of still pictures."""
    if num_frames != 1:
        raise InputError(f"{folder} holds still pictures; ask for 1 frame, not {num_frames}")


def find_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """Picture and mask paths in `folder`, by name. Raises `InputError` as `PairFolder` does."""
    if all((folder / name).is_dir() for name in SPLIT_FOLDERS):
        picture_folder, mask_folder = (folder / name for name in SPLIT_FOLDERS)
        pictures, masks = files_by_stem(picture_folder, IMAGE_SUFFIXES), files_by_stem(mask_folder, OWN_MASK_SUFFIXES)
    else:
        picture_folder = mask_folder = folder
        pictures, masks = files_by_stem(folder, IMAGE_SUFFIXES - MASK_SUFFIXES), files_by_stem(folder, MASK_SUFFIXES)
    if not pictures:
        looked_for = "pictures NAME.jpg with index masks NAME.png "
        looked_for += "beside them" if mask_folder == picture_folder else f"in {mask_folder}"
        raise InputError(f"{picture_folder} holds no pictures: looked for {looked_for} (in folders below nobody looks)")
    for stem in sorted(pictures.keys() ^ masks.keys()):
        if stem in pictures:
            other = next((path for path in mask_folder.glob(f"{glob.escape(stem)}.*") if path != pictures[stem]), None)
            kinds = "PNG" if mask_folder == picture_folder else "PNG or TIFF"
            hint = f": {other.name} is none, as masks are {kinds} files, which keep their values" if other else ""
            raise InputError(f"{pictures[stem]} has no mask {mask_folder / stem}.png{hint}")
        raise InputError(f"{masks[stem]} has no picture {picture_folder / stem}.jpg")
    return [(pictures[stem], masks[stem]) for stem in sorted(pictures)]


def files_by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """The files of `folder` with one of `suffixes` by their name without it.

    Raises `InputError` where `folder` is none, or two files have one name.
    """
    found: dict[str, Path] = {}
    for path in shown_files(folder, suffixes):
        if path.stem in found:
            raise InputError(f"{found[path.stem]} and {path} have one name: which is it that the mask belongs to?")
        found[path.stem] = path
    return found


def shown_files(folder: Path, suffixes: frozenset[str]) -> list[Path]:
    """The files of `folder` with one of `suffixes`, in capitals or not, by name; hidden ones left out.

    Raises `InputError` where `folder` is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder")
    shown = (path for path in sorted(folder.iterdir()) if not path.name.startswith("."))
    return [path for path in shown if path.suffix.lower() in suffixes]
