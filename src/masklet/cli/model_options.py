"""Which model, on what: options that commands take in the same words."""

from __future__ import annotations

from typing import Annotated

import typer

Model = Annotated[str, typer.Option("--model", metavar="NAME|FILE", help="See `masklet models`; or a checkpoint file.")]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Side at which the model looks, a multiple of 32; its own if left out."),
]
Precision = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="float32, bfloat16 (faster on hardware that computes in it) or float16; float32 if left out.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda or mps; if left out, CUDA where there is one, otherwise the CPU."),
]
