"""`masklet convert`: annotations from one file format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="File or folder of annotations.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="File (coco, ytvis) or folder (the others) to write.")],
    to: Annotated[
        str, typer.Option("--to", help="coco, ytvis, yolo, davis, sav, labelme or masklets.", show_default=False)
    ],
    source_format: Annotated[
        str | None,
        typer.Option("--from", help="Format of IN, where it is not recognised by itself."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the pictures, for YOLO labels, which do not hold their size."),
    ] = None,
    polygons: Annotated[bool, typer.Option("--polygons", help="Outlines instead of masks (coco, labelme).")] = False,
) -> None:
    """Convert masks between COCO, YouTube-VIS, YOLO, DAVIS, SA-V, LabelMe and masklet's own files.

    Says what the target format cannot hold.
    """
    from masklet.io.formats import read_annotations, recognise, write_annotations

    source_format = source_format or recognise(source)
    annotations = read_annotations(source, source_format, images)
    lost = write_annotations(annotations, target, to, polygons=polygons, source=source)
    clips = annotations.clips
    held = f"{annotations.num_masks} masks on {len(annotations.frames)} frames of {len(clips)} clips" if clips else ""
    typer.echo(
        f"{source_format} -> {to}: {held or f'{annotations.num_masks} masks on {len(annotations.frames)} pictures'}"
    )
    for sentence in lost:
        typer.echo(f"  not kept: {sentence}", err=True)
    typer.echo(str(target))
