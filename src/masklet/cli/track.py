"""`masklet track`: masks of objects through a clip."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.model_options import Device, ImageSize, Model, Precision
from masklet.cli.prompt_options import Out, Points, Quiet, Range, parse_box, parse_points, parse_range, results_folder


def track(
    video: Annotated[
        str, typer.Argument(help='A video, a stack or folder of pictures, or a glob in quotes such as "shots/*.png".')
    ],
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE.json", help="Prompts for any objects on any frames.")
    ] = None,
    point: Points = None,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="X0,Y0,X1,Y1", help="Box round an object. Repeatable: an object each."),
    ] = None,
    mask: Annotated[
        Path | None, typer.Option("--mask", metavar="FILE.png", help="An object's mask, or an index mask of several.")
    ] = None,
    frame: Annotated[int, typer.Option("--frame", min=0, help="Frame that --point, --box and --mask are on.")] = 0,
    object_id: Annotated[
        int | None,
        typer.Option(
            "--object", min=1, max=65535, help="Number of their (first) object, 1 if left out; of a mask, the only one."
        ),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="Track backwards, from the last prompt.")] = False,
    both: Annotated[bool, typer.Option("--both", help="Track forwards, then backwards to the first frame.")] = False,
    apart: Annotated[
        bool, typer.Option("--apart", help="Where objects overlap, give each pixel to the surest alone.")
    ] = False,
    value_range: Range = None,
    image_size: ImageSize = None,
    device: Device = None,
    precision: Precision = None,
    model: Model = "nano",
    out: Out = None,
    quiet: Quiet = False,
) -> None:
    """Track objects through a clip, from prompts on any frame.

    Writes overlay.mp4 to look at, masks/NAME.png for each frame (object numbers, DAVIS palette) and masklets.json (COCO
    RLE, its area, 0 where the object is not to be seen, and presence, the probability that it is). After Ctrl-C, or
    where the video breaks off, they hold the frames done until then.
    """
    if reverse and both:
        raise typer.BadParameter("--reverse and --both exclude each other")
    boxes = [parse_box(text) for text in box or []]
    points = parse_points(point, alone=not boxes and mask is None and prompts is None)
    if len(boxes) > 1 and points:
        raise typer.BadParameter("several --box are an object each; --point goes with one box or none")
    if mask is not None and (boxes or points):
        raise typer.BadParameter("--mask says all of an object: leave out --box and --point")
    if not (points or boxes or mask) and (frame or object_id is not None):
        raise typer.BadParameter("--frame and --object are of --point, --box and --mask; --prompts says its own")
    if not points and not boxes and mask is None and prompts is None:
        raise typer.BadParameter("say what to track: --point, --box, --mask or --prompts FILE.json")

    from masklet.checkpoints import load
    from masklet.cli.progress import frame_progress, told_if_stopped
    from masklet.io.frames import check_there
    from masklet.predict.prompt_files import place_masks, place_prompt, read_prompts
    from masklet.predict.record import track_to_folder
    from masklet.tracking.policy import TrackingPolicy

    check_there(video)
    shown = parse_range(value_range)
    placed = read_prompts(prompts) if prompts is not None else []
    first = 1 if object_id is None else object_id
    if len(boxes) > 1:
        placed += [place_prompt(frame, number, box=corners) for number, corners in enumerate(boxes, first)]
    elif mask is not None and object_id is None:
        placed += place_masks(frame, mask)
    elif points or boxes or mask:
        placed.append(place_prompt(frame, first, points, boxes[0] if boxes else None, mask))
    if reverse and not any(prompt.frame for prompt in placed):
        raise typer.BadParameter(
            "--reverse tracks from the last prompt back to frame 0, and all are on frame 0: leave it out, or prompt a "
            "later frame"
        )
    folder = results_folder(out, video)
    with frame_progress("tracking", quiet=quiet) as on_frame, told_if_stopped(folder):
        recorded = track_to_folder(
            load(model, device=device, dtype=precision, image_size=image_size),
            video,
            placed,
            folder,
            direction="backward" if reverse else "both" if both else "forward",
            policy=TrackingPolicy(non_overlapping=apart),
            value_range=shown,
            on_frame=on_frame,
        )
    if not quiet:
        for number, runs in sorted(recorded.unseen.items()):
            frames = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
            typer.echo(f"object {number} was not to be seen on frames {frames}", err=True)
        for path in (recorded.overlay, recorded.masks, recorded.masklets):
            typer.echo(str(path))
