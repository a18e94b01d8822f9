"""`masklet train`: train or fine-tune a model by a recipe, go on with a run, take the model out of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from masklet.cli.model_options import ImageSize
from masklet.cli.prompt_options import Range, parse_range

app = typer.Typer(no_args_is_help=True, help="Train or fine-tune a model by a recipe, or go on with a run.")

# A run's recipe keeps these paths, and it may be gone on with from anywhere.
DataPath = partial(typer.Option, resolve_path=True)
Data = Annotated[Path, DataPath("--data", help="Folder (or COCO file) of annotated pictures or clips.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for this run: its recipe, state, curves and model.")]
Device = Annotated[str, typer.Option(help="cpu, cuda or mps.")]
AnyDevice = Annotated[
    str | None, typer.Option(help="cpu, cuda or mps; if left out, CUDA where there is one, otherwise the CPU.")
]
Workers = Annotated[
    int | None,
    typer.Option(min=0, help="Processes that prepare batches; if left out, 1 on the CPU, up to 8 beside a GPU."),
]
ManyWorkers = Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare batches.")]
TensorBoard = Annotated[bool, typer.Option("--tensorboard", help="Also write TensorBoard files into the run's folder.")]


@app.command()
def nano(
    data: Annotated[Path, DataPath("--data", help="Folder that holds cats, fashion, coco and nuclei.")],
    out: Out,
    font: Annotated[Path | None, DataPath(help="Font with colour emoji, to vary synthetic scenes.")] = None,
    artwork: Annotated[
        Path | None, DataPath(help="The Open Clip Art Library as PNG files (Debian: openclipart-png).")
    ] = None,
    stamps: Annotated[
        Path | None, DataPath(help="Tux Paint's rubber stamps (Debian: tuxpaint-stamps-default).")
    ] = None,
    renders: Annotated[Path | None, DataPath(help="What tools/render_models.py and render_scenery.py draw.")] = None,
    device: Device = "cpu",
    workers: Workers = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train masklet's small model from scratch, on the folders cats, fashion, coco and nuclei of DATA."""
    from masklet.train.loop import Pace, begin
    from masklet.train.nano import nano as nano_recipe

    recipe = nano_recipe(data, font, artwork, stamps, renders)
    _told(out, lambda: begin(recipe, out, Pace(workers=workers, tensorboard=tensorboard), device))


@app.command()
def finetune(
    data: Data,
    out: Out,
    start: Annotated[str, typer.Option("--from", help="Model to start from: a name or a checkpoint.")] = "nano",
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = 500,
    frames: Annotated[
        int, typer.Option(min=1, help="Frames of each clip, to and fro where it is shorter; 1 for pictures.")
    ] = 1,
    image_size: ImageSize = None,
    images: Annotated[
        Path | None, DataPath(help="Where the pictures of an annotation file lie, if not beside it.")
    ] = None,
    held_out: Annotated[
        Path | None,
        DataPath(
            "--held-out",
            help="Annotated pictures or clips to measure on as it goes, and to keep the best by; DATA, if parted.",
        ),
    ] = None,
    held_out_images: Annotated[
        Path | None,
        DataPath(help="Where the pictures held out lie, if neither beside their annotations nor in IMAGES."),
    ] = None,
    stride: Annotated[
        int, typer.Option(min=1, help="Up to so many annotated frames from one frame of a clip to the next.")
    ] = 4,
    value_range: Range = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help='float32, bfloat16 or "bfloat16 encoder"; if left out, bfloat16 for all but nano on GPUs that have it.'
        ),
    ] = None,
    device: AnyDevice = None,
    workers: Workers = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Adapt a model to your own pictures (or, with --frames 4 or so, clips)."""
    from masklet.checkpoints import choose_device
    from masklet.train import recipes
    from masklet.train.loop import Pace, begin

    device = device or choose_device().type
    recipe = recipes.finetune(
        data,
        _from(start),
        steps=steps,
        frames=frames,
        image_size=image_size,
        images=images,
        max_stride=stride,
        precision=cast(Any, precision) if precision else recipes.precision_on(device),
        held_out=held_out,
        held_out_images=held_out_images,
        value_range=parse_range(value_range),
    )
    _told(out, lambda: begin(recipe, out, Pace(workers=workers, tensorboard=tensorboard), device))


@app.command("mose-finetune")
def mose_finetune(
    data: Data,
    out: Out,
    start: Annotated[str, typer.Option("--from", help="Checkpoint of the base-plus size.")] = "sam2.1-base-plus",
    device: Device = "cuda",
    workers: ManyWorkers = 10,
    tensorboard: TensorBoard = False,
) -> None:
    """Meta's fine-tuning on MOSE, for eight large GPUs: run it through torchrun; on fewer, it takes more steps."""
    from masklet.train import recipes
    from masklet.train.loop import Pace, begin

    recipe = recipes.mose_finetune(data, _from(start), num_gpus=int(os.environ.get("WORLD_SIZE", "1")))
    _told(out, lambda: begin(recipe, out, Pace(workers=workers, tensorboard=tensorboard), device))


@app.command("paper-full")
def paper_full(
    stills: Annotated[Path, DataPath(help="Folder of SA-1B.")],
    clips: Annotated[Path, DataPath(help="Folder of SA-V.")],
    out: Out,
    start: Annotated[str, typer.Option("--from", help="Checkpoint pretrained on pictures, of the base-plus size.")],
    device: Device = "cuda",
    workers: ManyWorkers = 10,
    tensorboard: TensorBoard = False,
) -> None:
    """The paper's full training on pictures and clips, for 256 GPUs: run it through torchrun."""
    from masklet.train import recipes
    from masklet.train.loop import Pace, begin

    recipe = recipes.paper_full(stills, clips, _from(start))
    _told(out, lambda: begin(recipe, out, Pace(workers=workers, tensorboard=tensorboard), device))


@app.command("run")
def run_recipe(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.json", help="A recipe, such as a run's, edited.")],
    out: Out,
    device: AnyDevice = None,
    workers: Workers = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Train by a recipe from a file, with rates, batches, seed and data as it says."""
    from masklet.checkpoints import choose_device
    from masklet.train.loop import Pace, begin
    from masklet.train.recipe import load_recipe

    loaded = load_recipe(recipe)
    chosen = device or choose_device().type
    _told(out, lambda: begin(loaded, out, Pace(workers=workers, tensorboard=tensorboard), chosen))


@app.command("resume")
def resume_run(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    device: Annotated[str | None, typer.Option(help="cpu, cuda or mps; as before if left out.")] = None,
    workers: Workers = None,
    tensorboard: TensorBoard = False,
) -> None:
    """Go on with a run exactly where it was last saved."""
    from masklet.train.loop import Pace, resume

    _told(run, lambda: resume(run, Pace(workers=workers, tensorboard=tensorboard), device))


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run, which may still be training.")],
    model: Annotated[Path, typer.Argument(help="File to write: .safetensors, or .pt in Meta's format.")],
    half: Annotated[bool, typer.Option("--half", help="Store in half precision.")] = False,
) -> None:
    """Take the model out of a run as it was last saved, averaged weights if it has them."""
    import torch

    from masklet.checkpoints import save
    from masklet.train.saved import saved_model

    network, progress = saved_model(run)
    save(network, model, torch.float16 if half else None)
    typer.echo(f"{model}: the model after {progress}")


def _from(start: str) -> str:
    """A checkpoint's name, or its path from anywhere, which a run's recipe keeps."""
    return str(Path(start).resolve()) if Path(start).is_file() else start


def _told(run: Path, train: Callable[[], Any]) -> None:
    """Print what training ends with; after Ctrl-C, how to go on."""
    try:
        typer.echo(train())
    except KeyboardInterrupt:
        if (run / "state.pt").is_file():
            typer.echo(f"stopped; `masklet train resume {run}` goes on from where it was last saved", err=True)
        raise
