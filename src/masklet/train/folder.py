"""A run's folder is for one run alone, and for one training at a time."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from masklet.errors import InputError, MaskletError, MaskletWarning, OutputError

LEFT_BY_RUNS = ("state.pt", "model.safetensors", "best.safetensors", "log.jsonl", "held-out.jsonl")
"""What another run would replace, or go on writing to. Recipes may lie in a folder before a run does."""

LOCK = ".lock"
CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC)
"""Errors that are not for want of locks."""


def check_unused(folder: str | os.PathLike[str], data: Iterable[str]) -> None:
    """Raises `MaskletError` where `folder` holds anything of a run, `InputError` where it is or holds any of the
    `data`."""
    for name in LEFT_BY_RUNS:
        if (Path(folder) / name).exists():
            goes_on = "resume it, or train" if name == "state.pt" else "train"
            raise MaskletError(f"{folder} holds a run already, or what it left ({name}); {goes_on} into another folder")
    own = Path(os.path.realpath(folder))
    for path in data:
        place = Path(os.path.realpath(path))
        if own in (place, *place.parents):
            raise InputError(f"{folder} holds the data {path}; train into a folder of its own")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """No other process trains in `folder` meanwhile. Raises `MaskletError` where one does, `OutputError` where the
    folder cannot be written."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise MaskletError(
            f"{folder} is being trained by another process: wait for its end, or end it, then resume (if there is "
            f"none, remove {lock.lock_file})"
        ) from error
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in CANNOT_WRITE:
            raise OutputError(f"cannot write {lock.lock_file}: {error.strerror or error}") from error
        warnings.warn(
            f"{folder} is on a file system without locks ({error}): see to it that nothing else trains there",
            MaskletWarning,
            stacklevel=4,
        )
    try:
        yield
    finally:
        lock.release()
        if [file.name for file in folder.iterdir()] == [LOCK]:  # of a run that was refused
            (folder / LOCK).unlink()
