"""Prompts as options: what `segment` and `track` take in the same words."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import Annotated

import typer

Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point",
        metavar="X,Y[,LABEL]",
        help="Click at X,Y: LABEL 1 on the object (default), 0 off it. Repeatable, all for one object.",
    ),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW,HIGH",
        help="Values that are black and white, as 200,4095 for a 12-bit camera; of pictures, not of videos.",
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="DIR", help="Folder for the results; out/NAME if left out, as the picture or clip is called."
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


def results_folder(out: Path | None, source: str | Path) -> Path:
    """The folder that was named, or one that is called as the source, so that results of several lie side by side."""
    if out is not None:
        return out
    path = Path(os.path.abspath(source))
    while glob.has_magic(path.name) and not path.exists():  # of a pattern, the folder that it begins in
        path = path.parent
    return Path("out", (path.name if path.is_dir() else path.stem) or "clip")


def parse_points(texts: list[str] | None, *, alone: bool) -> list[tuple[float, float, int]]:
    """All points; alone: without a box or a mask that says where the object is. Raises `typer.BadParameter`."""
    points = [parse_point(text) for text in texts or []]
    if alone and points and not any(label for _, _, label in points):
        raise typer.BadParameter("these points say only what the object is not: add a --point X,Y on it, or a --box")
    return points


def parse_point(text: str) -> tuple[float, float, int]:
    """ "X,Y" or "X,Y,LABEL" as x, y, label. Raises `typer.BadParameter`."""
    numbers = _numbers(text, "a point is X,Y or X,Y,LABEL, such as 120,80 or 120,80,0", (2, 3))
    label = numbers[2] if len(numbers) == 3 else 1
    if label not in (0, 1):
        raise typer.BadParameter(f"a point's LABEL is 1 (on the object) or 0 (off it); got {text!r}")
    return numbers[0], numbers[1], int(label)


def parse_box(text: str) -> tuple[float, float, float, float]:
    """ "X0,Y0,X1,Y1" as four numbers. Raises `typer.BadParameter`."""
    x0, y0, x1, y1 = _numbers(text, "a box is X0,Y0,X1,Y1, such as 40,60,200,180", (4,))
    return x0, y0, x1, y1


def parse_range(text: str | None) -> tuple[float, float] | None:
    """ "LOW,HIGH" as two numbers. Raises `typer.BadParameter`."""
    if text is None:
        return None
    low, high = _numbers(text, "a range is LOW,HIGH, such as 200,4095", (2,))
    return low, high


def _numbers(text: str, form: str, counts: tuple[int, ...]) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in counts:
        raise typer.BadParameter(f"{form}; got {text!r}")
    return numbers
