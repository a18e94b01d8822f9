"""DAVIS, MOSE, LVOS and YouTube-VOS: `JPEGImages/CLIP/00000.jpg` and `Annotations/CLIP/00000.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from masklet.data.clips import Clip, choose_frames
from masklet.data.reading import read_frames, read_index_mask
from masklet.errors import InputError
from masklet.io.images import IMAGE_SUFFIXES
from masklet.io.natural import natural_key
from masklet.types import Size

FRAME_FOLDER, MASK_FOLDER = "JPEGImages", "Annotations"
RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
"""Folders that DAVIS has between these two and the clips; the first one found is taken."""

FIRST_FRAME_ATTEMPTS = 4
"""Draws of a run whose first frame shows an object, before any run is taken."""


class ClipFolders:
    """Clips as folders of pictures, with index masks for all or some frames (YouTube-VOS: every fifth).

    root: the folder that holds `JPEGImages` and `Annotations`; max_stride, reverse_probability: see `choose_frames`, in
    annotated frames. Raises `InputError` naming the mask without its picture, the clip without masks, or the folder
    that holds no clips.
    """

    def __init__(self, root: str | Path, *, max_stride: int = 1, reverse_probability: float = 0.5) -> None:
        self.root = Path(root)
        self.max_stride = max_stride
        self.reverse_probability = reverse_probability
        self.clips = find_clips(self.root)

    def __len__(self) -> int:
        return len(self.clips)

    def clip(self, index: int, generator: np.random.Generator, num_frames: int = 1) -> Clip:
        """A run of `num_frames` annotated frames of clip `index`, if possible with an object on the first."""
        pairs = self.clips[index]
        for _ in range(FIRST_FRAME_ATTEMPTS):
            chosen = choose_frames(
                range(len(pairs)),
                num_frames,
                generator,
                max_stride=self.max_stride,
                reverse_probability=self.reverse_probability,
            )
            frames = read_frames([pairs[number][0] for number in chosen])
            size = Size(*frames.shape[1:3])
            masks = np.stack([read_index_mask(pairs[number][1], size) for number in chosen])
            if masks[0].any():
                break
        return Clip(frames, masks, str(pairs[chosen[0]][0].parent))


def find_clips(root: Path) -> list[list[tuple[Path, Path]]]:
    """Picture and mask of each annotated frame, in order, for each clip below `root`, by name.

    Raises `InputError` as `ClipFolders` does.
    """
    frame_root, mask_root = _resolution(root / FRAME_FOLDER), _resolution(root / MASK_FOLDER)
    folders = sorted(path for path in frame_root.glob("*") if path.is_dir())
    if not folders:
        raise InputError(f"{root} is empty: looked for clips as folders of pictures in {frame_root} and {mask_root}")
    return [_find_pairs(folder, mask_root / folder.name) for folder in folders]


def _find_pairs(frame_folder: Path, mask_folder: Path) -> list[tuple[Path, Path]]:
    pictures = {path.stem: path for path in frame_folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES}
    masks = {path.stem: path for path in mask_folder.glob("*.png")}
    if not masks:
        raise InputError(f"the clip {frame_folder} has no masks: looked for PNG files in {mask_folder}")
    lonely = sorted(masks.keys() - pictures.keys())
    if lonely:
        raise InputError(f"{masks[lonely[0]]} has no picture {frame_folder / lonely[0]}.jpg")
    return [(pictures[stem], masks[stem]) for stem in sorted(masks, key=natural_key)]


def _resolution(folder: Path) -> Path:
    return next((folder / name for name in RESOLUTIONS if (folder / name).is_dir()), folder)
