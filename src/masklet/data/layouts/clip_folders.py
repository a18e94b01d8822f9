"""DAVIS, MOSE, LVOS and YouTube-VOS: `JPEGImages/CLIP/00000.jpg` and `Annotations/CLIP/00000.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.data.clips import Clip, Split, choose_shown_frames
from masklet.data.layouts.pairs import OWN_MASK_SUFFIXES, files_by_stem
from masklet.data.reading import read_frames, read_index_masks, shows_object
from masklet.errors import InputError
from masklet.io.davis import FRAME_FOLDER, MASK_FOLDER, clip_root, read_clip_list
from masklet.io.images import IMAGE_SUFFIXES, ValueRange
from masklet.io.natural import natural_key
from masklet.types import Size

LIST_FOLDERS = ("2017", "2016", "480p", "Full-Resolution", "1080p", ".")
"""Where, in `ImageSets`, DAVIS lists which of its clips are to be trained on and which are not; the first one found
counts."""


class ClipFolders:
    """Clips as folders of pictures, with index masks for all or some frames (YouTube-VOS: every fifth).

    root: the folder that holds `JPEGImages` and `Annotations`; max_stride: see `choose_frames`, in annotated frames;
    split: open only the clips that DAVIS's list of this name has, where there is one, None for all; value_range: of
    the pictures, see `read_image`. Raises `InputError` naming the mask without its picture, the clip without masks, the
    line of the list whose clip is not there, or the folder that holds no clips.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        max_stride: int = 1,
        split: Split | None = "train",
        value_range: ValueRange | None = None,
    ) -> None:
        self.root = Path(root)
        self.value_range = value_range
        self.max_stride = max_stride
        self.clips = find_clips(self.root, split)

    def __len__(self) -> int:
        return len(self.clips)

    @property
    def only_stills(self) -> bool:
        """Whether no clip has a second annotated frame, as in sets that give the first one only, to be tracked."""
        return all(len(pairs) == 1 for pairs in self.clips)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """A run of `num_frames` annotated frames of clip `index`, if possible with an object on the first."""
        pairs = self.clips[index]
        paths = [mask for _, mask in pairs]
        chosen = choose_shown_frames(
            range(len(pairs)),
            num_frames,
            generator,
            lambda number: shows_object(paths[number], paths),
            max_stride=self.max_stride,
        )
        frames = read_frames([pairs[number][0] for number in chosen], self.value_range)
        size = Size(*frames.shape[1:3])
        masks = read_index_masks([paths[number] for number in chosen], size, clip=paths)
        return Clip(frames, masks, str(pairs[chosen[0]][0].parent))


def find_list(root: Path, split: Split) -> Path | None:
    """The file in which DAVIS lists the clips of a split."""
    lists = (root / "ImageSets" / folder / f"{split}.txt" for folder in LIST_FOLDERS)
    return next((path for path in lists if path.is_file()), None)


def find_clips(root: Path, split: Split | None = "train") -> list[list[tuple[Path, Path]]]:
    """Picture and mask of each annotated frame, in order, for each clip below `root` (of a split), by name.

    Raises `InputError` as `ClipFolders` does.
    """
    frame_root, mask_root = clip_root(root / FRAME_FOLDER), clip_root(root / MASK_FOLDER)
    listed = find_list(root, split) if split else None
    if listed:
        folders = _listed_clips(listed, frame_root)
    else:
        folders = sorted(path for path in frame_root.glob("[!.]*") if path.is_dir())
    if not folders:
        raise InputError(f"{root} is empty: looked for clips as folders of pictures in {frame_root} and {mask_root}")
    return [_find_pairs(folder, mask_root / folder.name) for folder in folders]


def _listed_clips(listed: Path, frame_root: Path) -> list[Path]:
    """The folders in `frame_root` that a list names, by name."""
    names = read_clip_list(listed)
    for name, number in names.items():
        if not (frame_root / name).is_dir():
            raise InputError(
                f"{listed}, line {number}, names the clip {name!r}, but there is no folder {frame_root / name}; "
                "add the clip, or take the line out"
            )
    if not names:
        raise InputError(f"{listed} names no clip; delete it to open all in {frame_root}")
    return sorted(frame_root / name for name in names)


def _find_pairs(frame_folder: Path, mask_folder: Path) -> list[tuple[Path, Path]]:
    pictures = files_by_stem(frame_folder, IMAGE_SUFFIXES)
    masks = files_by_stem(mask_folder, OWN_MASK_SUFFIXES) if mask_folder.is_dir() else {}
    if not masks:
        raise InputError(f"the clip {frame_folder} has no masks: looked for PNG and TIFF files in {mask_folder}")
    lonely = sorted(masks.keys() - pictures.keys())
    if lonely:
        raise InputError(f"{masks[lonely[0]]} has no picture {frame_folder / lonely[0]}.jpg")
    return [(pictures[stem], masks[stem]) for stem in sorted(masks, key=natural_key)]
