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
    category: Annotated[
        list[str] | None,
        typer.Option(
            "--category",
            metavar="NAME|ID=NAME",
            help="What objects without a category are: all of them, or one by its id. Repeatable.",
        ),
    ] = None,
    polygons: Annotated[bool, typer.Option("--polygons", help="Outlines instead of masks (coco, labelme).")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Write over files that are there already.")] = False,
) -> None:
    """Convert masks between COCO, YouTube-VIS, YOLO, DAVIS, SA-V, LabelMe and masklet's own files.

    Says what the target format cannot hold.
    """
    from masklet.io.annotations import categorised
    from masklet.io.formats import read_annotations, recognise, write_annotations

    names, others = _parse_categories(category or [])
    source_format = source_format or recognise(source)
    annotations = read_annotations(source, source_format, images)
    annotations = categorised(annotations, names, others)
    lost = write_annotations(annotations, target, to, polygons=polygons, source=source, replace=replace)
    clips = annotations.clips
    held = f"{annotations.num_masks} masks on {len(annotations.frames)} frames of {len(clips)} clips" if clips else ""
    typer.echo(
        f"{source_format} -> {to}: {held or f'{annotations.num_masks} masks on {len(annotations.frames)} pictures'}"
    )
    for sentence in lost:
        typer.echo(f"  not kept: {sentence}", err=True)
    typer.echo(str(target))


def _parse_categories(texts: list[str]) -> tuple[dict[int, str], str | None]:
    """Names by object id, and the one for all others. Raises `typer.BadParameter`."""
    names: dict[int, str] = {}
    others: str | None = None
    for text in texts:
        number, is_for_one, name = text.partition("=")
        if not is_for_one and others is not None:
            raise typer.BadParameter(f"one category for all others, not {others!r} and {text!r}; name one as ID=NAME")
        if not is_for_one:
            others = text
        elif number.isdecimal() and name:
            names[int(number)] = name
        else:
            raise typer.BadParameter(f"a category is NAME or ID=NAME, such as cat or 2=cat; got {text!r}")
    return names, others
