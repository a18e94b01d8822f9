"""Formats with a file for each picture or clip: where each is written."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from masklet.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from masklet.io.annotations import Frame


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
    files: dict[Path, str] = {}
    for name, stem in zip(names, stems, strict=True):
        file = stem.with_name(stem.name + ending)
        if file in files:
            raise InputError(f"{files[file]} and {name} would both be written to {file}; rename one of them")
        files[file] = name
    return list(files)
