"""DAVIS's folders, which other benchmarks follow: frames and masks by clip, and lists of clips."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from masklet.errors import InputError

FRAME_FOLDER, MASK_FOLDER = "JPEGImages", "Annotations"

RESOLUTIONS = ("480p", "Full-Resolution", "1080p")
"""Folders that DAVIS has between these two and the clips; the first one found is taken."""


def clip_root(folder: Path) -> Path:
    """Where the clips of a folder of frames or masks lie: in it, or in that of a resolution below."""
    return next((folder / name for name in RESOLUTIONS if (folder / name).is_dir()), folder)


def read_clip_list(path: Path) -> dict[str, int]:
    """The clips that a list names, each with the first of its lines, from 1.

    A line is a clip's name (DAVIS 2017), or the paths of a frame, `/JPEGImages/480p/CLIP/00000.jpg ...` (DAVIS 2016).
    Raises `InputError` where the file cannot be read, or naming the line whose path has no clip.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the list of clips {path}: {error}") from error
    names: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        first = (line.split()[0] if "/" in line else line.strip()).rstrip("/") or "/"
        name = PurePosixPath(first).parent.name if "/" in first else first
        if not name:
            raise InputError(f"{path}, line {number}, names no clip: {first!r}; write CLIP, or .../CLIP/00000.jpg")
        names.setdefault(name, number)
    return names
