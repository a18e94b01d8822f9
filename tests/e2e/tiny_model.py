"""A model small enough to run in milliseconds, with random weights: for what does not depend on how good masks are."""

from __future__ import annotations

from pathlib import Path

import torch

from masklet.checkpoints import save
from masklet.config import ConvNetConfig, ModelConfig
from masklet.model.network import Network

TINY = ModelConfig(
    "tiny-test",
    ConvNetConfig(widths=(8, 8, 16, 16), depths=(1, 1, 1, 1)),
    image_size=64,
    width=64,
    memory_width=32,
    memory_layers=1,
    feedforward=64,
)


def save_tiny_model(path: Path) -> Path:
    """Write the model, seeded, to a safetensors file."""
    torch.manual_seed(0)
    save(Network(TINY).eval(), path)
    return path
