"""`masklet segment`: masks of objects in one picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.model_options import Device, ImageSize, Model, Precision
from masklet.cli.prompt_options import Out, Points, Quiet, Range, parse_box, parse_points, parse_range, results_folder

DOUBTFUL = ", so look at it: a box or more clicks may help"


def segment(
    image: Annotated[Path, typer.Argument(help="The picture.")],
    point: Points = None,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="Box round an object. Repeatable: an object each."),
    ] = None,
    model: Model = "nano",
    out: Out = None,
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
    if image.is_dir():
        raise InputError(f"{image} is a folder: `masklet track` and `masklet everything` take one as a clip")
    recorded = segment_to_folder(
        load(model, device=device, dtype=precision, image_size=image_size),
        image,
        results_folder(out, image),
        points=[(x, y) for x, y, _ in points],
        labels=[label for _, _, label in points] or None,
        boxes=boxes,
        value_range=shown,
    )
    if not quiet:
        for number, iou in recorded.iou.items():
            typer.echo(f"object {number}: predicted IoU {iou:.2f}{DOUBTFUL if iou < 0.5 else ''}", err=True)
        for path in (recorded.overlay, recorded.masks, recorded.masklets):
            typer.echo(str(path))
