"""`masklet everything`: masks of everything in a picture or a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.model_options import Device, ImageSize, Model, Precision
from masklet.cli.prompt_options import Out, Quiet, Range, parse_range, results_folder


def everything(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE|CLIP", help="A picture; or a video file, a stack or folder of pictures, or a glob."
        ),
    ],
    preset: Annotated[
        str | None, typer.Option("--preset", help="fast, default or thorough.  \\[default: default; fast for a clip]")
    ] = None,
    points: Annotated[
        int | None, typer.Option("--points", min=1, metavar="N", help="Try N x N points instead.")
    ] = None,
    iou: Annotated[float | None, typer.Option("--iou", min=0, max=1, help="Least predicted IoU of a mask.")] = None,
    stability: Annotated[
        float | None, typer.Option("--stability", min=0, max=1, help="Least stability of a mask.")
    ] = None,
    max_objects: Annotated[
        int | None,
        typer.Option("--max-objects", min=1, help="Clips: track no more than so many at once.  \\[default: 32]"),
    ] = None,
    every: Annotated[
        int | None,
        typer.Option("--every", min=1, metavar="N", help="Clips: look for new ones every N frames.  \\[default: 12]"),
    ] = None,
    model: Model = "nano",
    out: Out = None,
    value_range: Range = None,
    image_size: ImageSize = None,
    device: Device = None,
    precision: Precision = None,
    quiet: Quiet = False,
) -> None:
    """Find and mask everything, without a prompt; in a clip, track it, and take up what comes later.

    Writes an overlay to look at, masks as index PNGs (object numbers, DAVIS palette) and masklets.json (COCO RLE and
    scores), as `segment` and `track` do.
    """
    from masklet.checkpoints import load
    from masklet.cli.progress import frame_progress, told_if_stopped
    from masklet.io.frames import check_there, is_still
    from masklet.predict.everything_record import everything_to_folder, everything_video_to_folder
    from masklet.predict.everything_video import MaskletRules

    check_there(source)
    given = {"points_per_side": points, "pred_iou_thresh": iou, "stability_score_thresh": stability, "preset": preset}
    options = {name: value for name, value in given.items() if value is not None}
    shown = parse_range(value_range)
    rules = MaskletRules(
        max_objects=MaskletRules.max_objects if max_objects is None else max_objects,
        look_every=MaskletRules.look_every if every is None else every,
    )
    still = is_still(Path(source))
    if still and (max_objects, every) != (None, None):
        raise typer.BadParameter(f"--max-objects and --every are for clips; {source} is a picture")
    folder = results_folder(out, source)
    network = load(model, device=device, dtype=precision, image_size=image_size)
    if still:
        with frame_progress("finding", quiet=quiet, unit="points") as on_points:
            recorded = everything_to_folder(network, source, folder, value_range=shown, on_points=on_points, **options)
    else:
        with frame_progress("finding and tracking", quiet=quiet) as on_frame, told_if_stopped(folder):
            recorded = everything_video_to_folder(
                network, source, folder, rules=rules, value_range=shown, on_frame=on_frame, **options
            )
    if not recorded.num_objects:
        typer.echo("nothing passed: lower --iou and --stability, or try more --points", err=True)
    if not quiet:
        typer.echo(f"{recorded.num_objects} objects")
        for path in (recorded.overlay, recorded.masks, recorded.masklets):
            typer.echo(str(path))
