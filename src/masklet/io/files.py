"""The files in a folder and in the folders below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from masklet.errors import InputError
from masklet.io.natural import natural_key

SYSTEMS_OWN = ("lost+found", "System Volume Information", "$RECYCLE.BIN")
"""What lies at the root of disks and is not to be looked into."""


def walk_files(root: Path, *endings: str) -> Iterator[Path]:
    """Every file whose name ends in one of `endings`, in capitals or not, folder by folder.

    What is hidden is left out, such as the files that macOS and Jupyter add to folders. Links to folders are followed,
    since large data sets are spread over disks by them, but no folder is entered twice. A `root` that does not exist
    holds no files. Raises `InputError` for a folder that cannot be read.
    """
    entered = set()
    for folder, folders, names in os.walk(root, followlinks=True, onerror=_refuse):
        place = os.path.realpath(folder)
        if place in entered:
            folders.clear()
            continue
        entered.add(place)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in SYSTEMS_OWN)
        for name in sorted(names):
            if name.lower().endswith(endings) and not name.startswith("."):
                yield Path(folder, name)


def _refuse(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise InputError(f"cannot look into the folder {error.filename}: {error.strerror}") from error


def files_below(root: Path, *endings: str) -> list[Path]:
    """The files of `walk_files` in natural order."""
    return sorted(walk_files(root, *endings), key=lambda path: natural_key(path.relative_to(root).as_posix()))
