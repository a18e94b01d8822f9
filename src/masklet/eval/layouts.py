"""The benchmarks' folders: which clips they hold, and by which rule each counts its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from masklet.data.layouts.pairs import files_by_stem
from masklet.errors import InputError
from masklet.eval.truth import WHOLE, AnnotatedClip, IndexClip, LayeredClip
from masklet.io import sav_folder
from masklet.io.davis import FRAME_FOLDER, MASK_FOLDER, clip_root, read_clip_list
from masklet.io.documents import read_json
from masklet.io.images import IMAGE_SUFFIXES
from masklet.io.natural import natural_key
from masklet.io.palette import read_index_png

Counting = Literal["davis", "first-seen", "lvos"]
"""Which frames count, see `masklet.eval.scoring.counted_frames`."""

LAYOUTS: dict[str, Counting] = {
    "davis2016": "davis",
    "davis2017": "davis",
    "lvos": "lvos",
    "sav": "first-seen",
    "mose": "first-seen",
    "youtube-vos": "first-seen",
}
"""Every layout by name, with its rule of counting."""

LVOS_META = "*_meta.json"
"""The files that LVOS is known by, one of which has each object's range of frames."""
ANY_META = "*meta.json"
"""Where the ranges may be as well: in a file that is called as that of YouTube-VOS."""

SPLITS = (
    "ImageSets/2017/val.txt",
    "ImageSets/480p/val.txt",
    "ImageSets/val.txt",
    "sav_val.txt",
    "sav_test.txt",
    "val.txt",
)
"""Lists of clips, the first one found being taken where no clips are asked for."""


SPLITS_2016 = ("ImageSets/2016/val.txt", "ImageSets/480p/val.txt", *SPLITS)
"""The same where DAVIS 2016 is asked for: the download of 2017 has lists of both."""


@dataclass(frozen=True)
class Dataset:
    """Clips of one benchmark; split: the list that named them, or None for all that are there."""

    root: Path
    layout: str
    clips: tuple[AnnotatedClip, ...]
    split: str | None = None

    @property
    def counting(self) -> Counting:
        return LAYOUTS[self.layout]

    @property
    def settings(self) -> dict[str, Any]:
        """What of the clips the figures depend on."""
        return {
            "data": str(self.root),
            "layout": self.layout,
            "counting": self.counting,
            "split": self.split,
            "clips": [clip.name for clip in self.clips],
        }

    def clip(self, name: str) -> AnnotatedClip:
        """The clip of a name that `clips` has."""
        return next(clip for clip in self.clips if clip.name == name)


def open_clips(root: str | Path, layout: str | None = None, names: Sequence[str] = ()) -> Dataset:
    """Open a benchmark's folder.

    layout: a name from `LAYOUTS`, recognised by itself if None; names: the clips wanted, if none those of the
    validation list in the folder, or all. Raises `InputError`, which says what was looked for.
    """
    root = Path(root)
    if root.is_file():
        raise InputError(f"{root} is a file; a folder of masks is made of one by masklet convert {root} DIR --to davis")
    if not root.is_dir():
        raise InputError(f"no such folder: {root}")
    if layout is not None and layout not in LAYOUTS:
        raise InputError(f"unknown layout {layout!r}; there are {', '.join(LAYOUTS)}")
    frame_root, mask_root = _roots(root)
    folders = {
        path.name: path for path in sorted(mask_root.glob("[!.]*")) if path.is_dir() and any(path.rglob("[!.]*.png"))
    }
    if not folders and any(mask_root.glob("[!.]*.png")):
        folders = {mask_root.name: mask_root}
    if not folders:
        raise InputError(
            f"no clips in {mask_root}: looked for folders CLIP/00000.png (DAVIS, LVOS, MOSE, YouTube-VOS) and "
            f"CLIP/OBJECT/00000.png (SA-V), below {MASK_FOLDER} or {sav_folder.MASK_FOLDER} or directly"
        )
    wanted, split = _wanted(root, names, folders, SPLITS_2016 if layout == "davis2016" else SPLITS)
    layout = layout or _recognise(root, frame_root, folders)
    clips = [_open_clip(folders[name], frame_root, layout) for name in wanted]
    return Dataset(root, layout, tuple(clips), split)


def object_ranges(root: Path) -> dict[str, dict[int, tuple[int, int]]]:
    """LVOS's first and last frame number of each object of each clip, from `*meta.json`; empty without such a file.

    The download has more than one: `train_expression_meta.json` tells what the objects are called, and no ranges.
    """
    ranges: dict[str, dict[int, tuple[int, int]]] = {}
    for path in _meta_files(root, ANY_META):
        for clip, video in _dict_in(read_json(path), "videos").items():
            ranges.setdefault(clip, {}).update(
                (int(number), (int(entry["frame_range"]["start"]), int(entry["frame_range"]["end"])))
                for number, entry in _dict_in(video, "objects").items()
                if _dict_in(entry, "frame_range")
            )
    return ranges


def _dict_in(record: Any, key: str) -> dict[str, Any]:
    """A dict within a benchmark's file; empty where that is of another kind, as several are called alike."""
    found = record.get(key) if isinstance(record, dict) else None
    return found if isinstance(found, dict) else {}


def _meta_files(root: Path, pattern: str) -> list[Path]:
    """A benchmark's files of a pattern: in the root, or beside `Annotations` where that or a clip in it is the root."""
    here = root.absolute()
    places = (root, *(folder.parent for folder in (here, here.parent) if folder.name == MASK_FOLDER))
    return next((found for place in places if (found := sorted(place.glob(pattern)))), [])


def _roots(root: Path) -> tuple[Path | None, Path]:
    """Where the clips' pictures and masks are; a folder of masks alone is its own root."""
    for frames, masks in ((sav_folder.FRAME_FOLDER, sav_folder.MASK_FOLDER), (FRAME_FOLDER, MASK_FOLDER)):
        if (root / masks).is_dir():
            return (clip_root(root / frames) if (root / frames).is_dir() else None), clip_root(root / masks)
    return None, root


def _wanted(
    root: Path, names: Sequence[str], folders: dict[str, Path], splits: Sequence[str]
) -> tuple[list[str], str | None]:
    split = None
    if not names:
        split = next((name for name in splits if (root / name).is_file()), None)
        names = list(read_clip_list(root / split)) if split else sorted(folders, key=natural_key)
        if not names:
            raise InputError(f"{root}/{split} lists no clip; there are {len(folders)}: {sorted(folders)[:8]}")
    missing = [name for name in names if name not in folders]
    if missing:
        source = f", which {split} lists" if split else ""
        raise InputError(f"no masks for clip {missing[0]!r}{source}; there are {len(folders)}: {sorted(folders)[:8]}")
    return list(dict.fromkeys(names)), split


def _recognise(root: Path, frame_root: Path | None, folders: dict[str, Path]) -> str:
    folder = next(iter(folders.values()))
    if any(path.is_dir() for path in folder.glob("[!.]*")):
        return "sav"
    if _meta_files(root, LVOS_META) or any(object_ranges(root).values()):
        return "lvos"
    if any(_dict_in(read_json(path), "videos") for path in _meta_files(root, "meta.json")):
        return "youtube-vos"
    masks = sorted(folder.glob("[!.]*.png"))
    if frame_root is not None and len(masks) == 1 and len(_pictures(frame_root / folder.name)) > 1:
        return "mose"
    values = set(np.unique(read_index_png(masks[0])).tolist())
    return "davis2016" if values <= {0, WHOLE} and WHOLE in values else "davis2017"


def _open_clip(folder: Path, frame_root: Path | None, layout: str) -> AnnotatedClip:
    pictures = _pictures(frame_root / folder.name) if frame_root is not None else []
    if frame_root is not None and not pictures:
        raise InputError(f"clip {folder.name} has masks, but no pictures in {frame_root / folder.name}")
    stems = [path.stem for path in pictures] or sorted(
        {path.stem for path in folder.rglob("[!.]*.png")}, key=natural_key
    )
    places = {stem: place for place, stem in enumerate(stems)}
    common = (folder.name, tuple(stems), tuple(pictures))
    if layout != "sav":
        return IndexClip(*common, _numbered(folder, places), single=layout == "davis2016")
    objects = sorted(path for path in folder.glob("[!.]*") if path.is_dir())
    strange = [path.name for path in objects if not path.name.isdigit()]
    if strange or not objects:
        raise InputError(f"clip {folder} should hold a folder 000, 001, ... for each object; got {strange or 'none'}")
    return LayeredClip(*common, {int(path.name): _numbered(path, places) for path in objects})


def _numbered(folder: Path, places: dict[str, int]) -> dict[int, Path]:
    """The PNGs of a folder by the place of their frame in the clip."""
    files = {path.stem: path for path in folder.glob("[!.]*.png")}
    lonely = sorted(files.keys() - places.keys())
    if lonely:
        raise InputError(f"{files[lonely[0]]} is of a frame that the clip does not have")
    return {places[stem]: path for stem, path in files.items()}


def _pictures(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(files_by_stem(folder, IMAGE_SUFFIXES).values(), key=lambda path: natural_key(path.name))
