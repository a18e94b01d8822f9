"""Writing results so that a reader never meets half a file and a failure says what to do."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from masklet.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import FrameType
    from typing import IO


def make_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder for results, its parents too, and see that it can be written to. Raises `OutputError`."""
    folder = Path(path)
    for place in (folder, *folder.parents):
        if place.is_file():
            raise OutputError(f"{place} is a file; name a folder for the results")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except OSError as error:
        raise OutputError(f"cannot write to the folder {folder}: {error.strerror or error}") from error


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """`make_folder` for a block; where an error ends it, what was made and holds nothing is removed again."""
    made = [folder for folder in (Path(path), *Path(path).parents) if not folder.exists()]
    try:
        yield make_folder(path)
    except BaseException:
        with suppress(OSError):  # at the first that holds something
            for folder in made:
                folder.rmdir()
        raise


def spare_source(source: object, *outputs: Path) -> None:
    """Raise `OutputError` where one of `outputs` is the file or folder that is read, if `source` is a path."""
    if isinstance(source, str | os.PathLike):
        spare_files([Path(source)], outputs)


def spare_files(read: Iterable[Path], outputs: Iterable[Path]) -> None:
    """Raise `OutputError` where one of `outputs` is one of the files or folders `read`, by whatever path."""
    places = {_place(output): output for output in outputs if output.exists()}
    for path in read if places else ():
        if path.exists() and _place(path) in places:  # a link may lead nowhere
            raise OutputError(
                f"{places[_place(path)]} would be written over, and it is what is read; name another folder"
            )


def _place(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


@contextmanager
def atomic_file(path: str | os.PathLike[str]) -> Iterator[IO[str]]:
    """Open a text file that appears under its name, in one step, when the block is left without an error.

    Raises `OutputError` where it cannot be written; then, and after an error in the block, nothing is left behind.
    """
    path = Path(path)
    waiting = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with waiting.open("w", encoding="utf-8") as file:
            yield file
        waiting.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        waiting.unlink(missing_ok=True)


@contextmanager
def undivided(told: str = "") -> Iterator[None]:
    """Let Ctrl-C wait until the block is done, so that what is written together agrees with itself.

    A request to end waits as well, where it is handled at all, as the command line does. An error in the block goes
    before what waits. told: for blocks that take long: what is said when a signal begins to wait; the same one again
    then comes at once.
    """
    waiting: list[int] = []

    def wait(number: int, place: FrameType | None) -> None:
        waiting.append(number)
        if told and waiting.count(number) > 1:
            earlier[number](number, place)
        elif told:
            print(told, file=sys.stderr, flush=True)

    handlers = {int(number): signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    earlier = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in earlier:
            signal.signal(number, wait)
    except ValueError:  # only the main thread has signals, so nothing can divide the block here
        yield
        return
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
    if waiting:
        signal.raise_signal(waiting[0])
