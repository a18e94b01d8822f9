"""`masklet segment`: masks of objects in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.model_options import Device, ImageSize, Model, Precision
from masklet.cli.prompt_options import Points, Quiet, Range, parse_box, parse_points, parse_range


def segment(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    point: Points = None,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="Box round an object. Repeatable: an object each."),
    ] = None,
    model: Model = "nano",
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the results.")] = Path("out"),
    value_range: Range = None,
    image_size: ImageSize = None,
    device: Device = None,
    precision: Precision = None,
    quiet: Quiet = False,
) -> None:
    """Segment objects in a picture by clicks or boxes.

    Writes overlay.png to look at, masks.png (object numbers, DAVIS palette) and masklets.json (COCO RLE and scores).
    """
    boxes = [parse_box(text) for text in box or []]
    shown = parse_range(value_range)
    points = parse_points(point, alone=not boxes)
    if not points and not boxes:
        raise typer.BadParameter("say what to segment: --point X,Y or --box X0,Y0,X1,Y1")

    from masklet.checkpoints import load
    from masklet.errors import InputError
    from masklet.predict.record import segment_to_folder

    if not image.exists():  # which costs less to know than to load a model
        raise InputError(f"no such picture: {image}")
    recorded = segment_to_folder(
        load(model, device=device, dtype=precision, image_size=image_size),
        image,
        out,
        points=[(x, y) for x, y, _ in points],
        labels=[label for _, _, label in points] or None,
        boxes=boxes,
        value_range=shown,
    )
    if not quiet:
        for path in (recorded.overlay, recorded.masks, recorded.masklets):
            typer.echo(str(path))
