"""Prompts as options: what `segment` and `track` take in the same words."""

from __future__ import annotations

from typing import Annotated

import typer

Points = Annotated[
    list[str] | None,
    typer.Option(
        "--point", metavar="X,Y[,LABEL]", help="Click at X,Y: LABEL 1 on the object (default), 0 off it. Repeatable."
    ),
]
Range = Annotated[
    str | None,
    typer.Option(
        "--range",
        metavar="LOW,HIGH",
        help="Values of pictures that are black and white, as 200,4095 for a 12-bit camera.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing but errors.")]


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
