"""`masklet demo`: the main job on real pictures and a clip, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from masklet.cli.model_options import Device, Model
from masklet.cli.prompt_options import Quiet


def demo(
    model: Model = "nano",
    device: Device = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")] = Path("out/demo"),
    quiet: Quiet = False,
) -> None:
    """Segment real pictures and track three objects through a clip; needs no network with the model in the box."""
    from masklet.checkpoints import load
    from masklet.cli.progress import frame_progress
    from masklet.predict.demo import run_demo

    with frame_progress("tracking", quiet=quiet) as on_frame:
        report = run_demo(load(model, device=device), out, on_frame=on_frame)
    if not quiet:
        typer.echo(report.text)
        if model == "nano":
            typer.echo(
                "nano is small and saw little; Meta's checkpoints do far better: --model sam2.1-tiny fetches one"
            )
