"""`masklet eval`: measure a model, or masks that are there already, by the field's protocols."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from masklet.cli.model_options import Device, ImageSize, Model, Precision
from masklet.cli.prompt_options import Range, parse_range

app = typer.Typer(no_args_is_help=True, help="Measure segmentation and tracking by the benchmarks' protocols.")

Data = Annotated[Path, typer.Option("--data", help="Folder of the benchmark.")]
Out = Annotated[Path, typer.Option("--out", help="Folder for results; started again, what is there is not done again.")]
Processes = Annotated[
    int | None, typer.Option(min=1, help="Clips at the same time; if not given, one for each core, or one on a GPU.")
]
Layout = Annotated[
    str | None,
    typer.Option(help="davis2016, davis2017, lvos, sav, mose or youtube-vos; recognised if not given."),
]
Clips = Annotated[list[str] | None, typer.Option("--clip", help="Only this clip; may be given several times.")]
Compare = Annotated[Path | None, typer.Option(help="Another report.json to compare with.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar and no table.")]


@app.command()
def vos(
    data: Data,
    model: Model = "nano",
    prompt: Annotated[
        str, typer.Option(help="On an object's first frame: mask, box, 1-click, 3-click, 5-click.")
    ] = "mask",
    out: Out = Path("eval-vos"),
    layout: Layout = None,
    clip: Clips = None,
    image_size: ImageSize = None,
    device: Device = None,
    precision: Precision = None,
    value_range: Range = None,
    processes: Processes = None,
    compare: Compare = None,
    quiet: Quiet = False,
) -> None:
    """Semi-supervised video object segmentation: J&F, or a submission where the truth is not public."""
    from masklet.eval.examples import worst_frames
    from masklet.eval.layouts import open_clips
    from masklet.eval.running import SUBMISSION_FILE
    from masklet.eval.submission import pack_submission
    from masklet.eval.vos import VosRun, vos_report

    other = _other_report(compare)
    dataset = open_clips(data, layout, clip or ())
    run = VosRun(dataset, _choice(model, image_size, device, precision, value_range), out, prompt)
    results, seconds = _measured(run, out, processes, quiet)
    if not any(one.has_truth for one in dataset.clips):
        count = pack_submission(dataset, run.scores.predicted, out / SUBMISSION_FILE)
        typer.echo(f"{count} masks to submit: {out / SUBMISSION_FILE}")
        if other is not None:
            typer.echo("nothing was scored that could be compared: the truth is not public", err=True)
        return
    title = f"Video object segmentation from {'a mask' if prompt == 'mask' else prompt}, {dataset.layout}"
    report = vos_report(title, run.settings, results, seconds)
    _finish(report, lambda: worst_frames(run.scores, results), out, other, quiet)


@app.command()
def masks(
    truth: Annotated[Path, typer.Option("--truth", help="Folder of the benchmark, or of its masks alone.")],
    predicted: Annotated[Path, typer.Option("--predicted", help="Folder with the masks of each clip.")],
    out: Out = Path("eval-masks"),
    layout: Layout = None,
    clip: Clips = None,
    processes: Processes = None,
    compare: Compare = None,
    quiet: Quiet = False,
) -> None:
    """J&F of masks that are there already, whoever made them."""
    from masklet.eval.examples import worst_frames
    from masklet.eval.layouts import open_clips
    from masklet.eval.vos import MaskScores, vos_report

    other = _other_report(compare)
    dataset = open_clips(truth, layout, clip or ())
    measure = MaskScores(dataset, predicted)
    measure.check()
    results, seconds = _measured(measure, out, processes, quiet)
    report = vos_report(f"Masks against the truth, {dataset.layout}", measure.settings, results, seconds)
    _finish(report, lambda: worst_frames(measure, results), out, other, quiet)


@app.command()
def interactive(
    data: Data,
    model: Model = "nano",
    mode: Annotated[str, typer.Option(help="offline (several passes) or online (one pass, pausing).")] = "offline",
    rounds: Annotated[int, typer.Option(min=1, help="Frames that are clicked on.")] = 8,
    clicks: Annotated[int, typer.Option(min=1, help="Clicks on each of them.")] = 3,
    out: Out = Path("eval-interactive"),
    layout: Layout = None,
    clip: Clips = None,
    image_size: ImageSize = None,
    device: Device = None,
    precision: Precision = None,
    value_range: Range = None,
    processes: Processes = None,
    compare: Compare = None,
    quiet: Quiet = False,
) -> None:
    """The paper's interactive protocols: J&F as more and more frames are corrected by clicks."""
    from masklet.eval.interactive import InteractiveRun, Mode, interactive_report, worst_interactive
    from masklet.eval.layouts import open_clips

    other = _other_report(compare)
    dataset = open_clips(data, layout, clip or ())
    chosen = _choice(model, image_size, device, precision, value_range)
    run = InteractiveRun(dataset, chosen, cast(Mode, mode), rounds, clicks)
    results, seconds = _measured(run, out, processes, quiet)
    report = interactive_report(run, results, seconds)
    _finish(report, lambda: worst_interactive(run, results), out, other, quiet)


@app.command()
def image(
    data: Annotated[Path, typer.Option("--data", help="Annotated pictures, in any layout that training reads.")],
    model: Model = "nano",
    images: Annotated[Path | None, typer.Option(help="Where an annotation file's pictures are.")] = None,
    clicks: Annotated[int, typer.Option(min=1, help="How many clicks.")] = 5,
    min_area: Annotated[int, typer.Option(min=1, help="Leave out objects of fewer pixels.")] = 1,
    whole: Annotated[bool, typer.Option("--whole", help="All objects of a picture are one.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many pictures, spread evenly.")] = None,
    out: Out = Path("eval-image"),
    image_size: ImageSize = None,
    device: Device = None,
    precision: Precision = None,
    value_range: Range = None,
    processes: Processes = None,
    compare: Compare = None,
    quiet: Quiet = False,
) -> None:
    """Mean IoU on pictures from a box and after each click."""
    from masklet.eval.image import ImageRun, image_report, worst_pictures

    other = _other_report(compare)
    chosen = _choice(model, image_size, device, precision, value_range)
    run = ImageRun(data, chosen, images, clicks, min_area, whole, limit)
    results, seconds = _measured(run, out, processes, quiet)
    _finish(image_report(run, results, seconds), lambda: worst_pictures(run, results), out, other, quiet)


def _choice(
    model: str, image_size: int | None, device: str | None, precision: str | None, value_range: str | None
) -> Any:
    from masklet.eval.running import ModelChoice

    return ModelChoice(model, image_size, device, precision, parse_range(value_range))


def _measured(measure: Any, out: Path, processes: int | None, quiet: bool) -> tuple[dict[str, dict[str, Any]], float]:
    """All results, with a progress bar on the terminal's error stream."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from masklet.eval.running import measure_all

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    clock = TimeElapsedColumn(), TextColumn("so far,"), TimeRemainingColumn(), TextColumn("left")
    with Progress(*columns, *clock, console=Console(stderr=True), disable=quiet) as progress:
        task = progress.add_task("measuring", total=len(measure.items))
        return measure_all(measure, out, processes, lambda item: progress.advance(task))


def _other_report(path: Path | None) -> Any:
    """The report to compare with, read before the long work begins. Raises `InputError`."""
    from masklet.eval.report import read_report

    return None if path is None else read_report(path)


def _finish(report: Any, examples: Callable[[], list[Any]], out: Path, other: Any, quiet: bool) -> None:
    """Write the report in every form, with the examples that are drawn for it, and print it."""
    from rich.console import Console

    from masklet.errors import InputError, MaskletWarning
    from masklet.eval.page import write_page
    from masklet.eval.report import rows_table, summary_table, write_report

    write_report(report, out)
    try:
        drawn = examples()
    except InputError as error:  # found late, as of a picture that is not of its masks' size
        warnings.warn(f"the report shows no examples: {error}", MaskletWarning, stacklevel=2)
        drawn = []
    write_page(report, out / "report.html", drawn, other)
    if not quiet:
        console = Console()
        console.print(rows_table(report))
        console.print(summary_table(report, other))
    typer.echo(f"report: {out / 'report.html'}")
