"""The tiny random model as a checkpoint, for commands that take a file."""

from __future__ import annotations

from pathlib import Path

from masklet.checkpoints import save
from tiny import tiny_model


def save_tiny_model(path: Path) -> Path:
    """Write the model, seeded, to a safetensors file."""
    save(tiny_model(), path)
    return path
