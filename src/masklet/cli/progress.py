"""A progress bar over frames, or whatever else comes one by one, with so many a second and the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import typer


@contextmanager
def frame_progress(title: str, *, quiet: bool, unit: str = "frames") -> Iterator[Callable[[int, int | None], None]]:
    """A bar on the terminal; yields what to call after each frame: how many are done, and of how many (None: unknown).

    It goes to standard error, so that standard output holds results alone.
    """
    if quiet:
        yield lambda done, total: None
        return

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    progress = Progress(*columns, console=Console(stderr=True))
    task = progress.add_task(title, total=None, rate="")

    def on_frame(done: int, total: int | None) -> None:
        progress.start()  # not before: an error about the source or the model comes without a bar
        speed = progress.tasks[task].finished_speed or progress.tasks[task].speed
        progress.update(task, completed=done, total=total, rate=f"{speed:.1f} {unit}/s" if speed else "")

    try:
        yield on_frame
    finally:
        if progress.live.is_started:
            progress.stop()


@contextmanager
def told_if_stopped(folder: Path) -> Iterator[None]:
    """Say, after Ctrl-C, that a clip's results in `folder` are those of its first frames alone, if there are any."""
    earlier = _written(folder)
    try:
        yield
    except KeyboardInterrupt:
        if _written(folder) != earlier:
            typer.echo(f"stopped; {folder} holds the frames done until then", err=True)
        raise


def _written(folder: Path) -> int | None:
    results = folder / "masklets.json"
    return results.stat().st_mtime_ns if results.is_file() else None
