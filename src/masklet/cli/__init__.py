"""The `masklet` command. Each subcommand has a file of its own: it parses, then makes one call into the library."""

from __future__ import annotations

import signal
import sys
import warnings
from contextlib import suppress
from typing import Annotated, NoReturn

import typer

from masklet.cli import convert, demo, everything, models, sav, segment, track, train
from masklet.cli import eval as evaluation
from masklet.errors import InputError, MaskletError, format_warning

EXIT_FAILURE = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="masklet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from masklet import __version__

        typer.echo(f"masklet {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Segment anything in pictures and track it through video."""


app.command("segment")(segment.segment)
app.command("track")(track.track)
app.command("everything")(everything.everything)
app.command("models")(models.models)
app.command("demo")(demo.demo)
app.command("convert")(convert.convert)
app.add_typer(evaluation.app, name="eval")
app.add_typer(sav.app, name="sav")
app.add_typer(train.app, name="train")


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 failed, 2 for input that cannot be used, 130 after Ctrl-C.

    A request to end (SIGTERM, as batch systems and containers send it) is taken like Ctrl-C, so that what was done
    until then is there. arguments: without the program's name; those the program was called with if None.
    """
    warnings.formatwarning = format_warning
    with suppress(ValueError):  # only the main thread has signals
        signal.signal(signal.SIGTERM, _interrupt)
    if hasattr(sys.stdout, "reconfigure"):  # a file's or pipe's encoding on Windows lacks most of Unicode
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(arguments, prog_name="masklet", windows_expand_args=False)  # globs are ours to expand
    except MaskletError as error:
        _complain(str(error))
        sys.exit(EXIT_BAD_INPUT if isinstance(error, InputError) else EXIT_FAILURE)
    except PermissionError as error:  # of a folder that may not be looked into
        _complain(f"no permission to use {error.filename}: {error.strerror}")
        sys.exit(EXIT_FAILURE)
    except (RuntimeError, MemoryError) as error:
        on_gpu = "out of memory" in str(error)  # as CUDA and MPS call it
        if not (on_gpu or isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)):
            raise
        more = ", --device cpu has more" if on_gpu else ""
        _complain(f"memory ran out: a smaller picture, --image-size or model takes less{more}")
        sys.exit(EXIT_FAILURE)
    except KeyboardInterrupt:  # one that came before typer began, while modules were still loading
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def _complain(message: str) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True, soft_wrap=True, highlight=False).print(Text(f"masklet: {message}", style="bold red"))
