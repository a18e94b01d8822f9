"""Where each format writes: a file below the target for each picture or clip, or the target alone."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, get_args

from masklet.errors import InputError
from masklet.io.sav import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from masklet.io.annotations import Annotations, Frame


FRAME_ENDINGS = {"davis": ".png", "labelme": ".json"}
CLIP_ENDINGS = {"masklets": (".json",), "sav": tuple(f"_{kind}.json" for kind in get_args(Kind))}
"""Of formats with a file for each picture, and for each clip. YOLO's labels are never written beside earlier ones."""


def target_files(annotations: Annotations, path: Path, format: str) -> list[Path]:
    """The files that `annotations` may be written to. Raises `InputError` where two would share one."""
    if format in FRAME_ENDINGS:
        return frame_files(path, annotations.frames, FRAME_ENDINGS[format])
    if format in CLIP_ENDINGS:
        return [file for ending in CLIP_ENDINGS[format] for file in clip_files(path, annotations.groups, ending)]
    return [path]


def frame_files(folder: Path, frames: Iterable[Frame], ending: str) -> list[Path]:
    """The file for each of `frames`: its path below `folder`, with `ending` in place of its own.

    Raises `InputError` naming both pictures where two would share a file.
    """
    paths = [frame.path for frame in frames]
    return _apart(paths, [folder / _below(path).with_suffix("") for path in paths], ending)


def clip_files(folder: Path, clips: Sequence[tuple[str, Sequence[Frame]]], ending: str) -> list[Path]:
    """The file for each of `clips`, called by name, and for stills, whose name is their path and loses its ending.

    Raises `InputError` naming both where two would share a file.
    """
    names = [name for name, _ in clips]
    files = [_below(name) if frames[0].clip is not None else _below(name).with_suffix("") for name, frames in clips]
    return _apart(names, [folder / file for file in files], ending)


def _below(name: str) -> Path:
    """A name from a file as a relative path: without root or drive, and `..` left out, so that it leads nowhere else.

    Backslashes part folders, too, as files that were written on Windows have them.
    """
    path = PureWindowsPath(name)
    parts = [part for part in path.parts if part not in (path.anchor, "..")]
    if not parts:
        raise InputError(f"{name!r} is no name for a file; give the picture or clip one")
    return Path(*parts)


def _apart(names: Sequence[str], stems: Sequence[Path], ending: str) -> list[Path]:
    files = [stem.with_name(stem.name + ending) for stem in stems]
    taken: dict[str, str] = {}
    for name, file in zip(names, files, strict=True):
        place = str(file).lower()  # macOS and Windows do not tell `a.png` from `A.png`
        if place in taken:
            raise InputError(f"{taken[place]} and {name} would both be written to {file}; rename one of them")
        taken[place] = name
    return files
