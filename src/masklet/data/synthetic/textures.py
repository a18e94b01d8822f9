"""Procedural textures: smooth noise, stripes, checks, dots and gradients in random colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def draw_texture(height: int, width: int, generator: np.random.Generator) -> NDArray[np.uint8]:
    """A random texture, uint8 RGB [height width 3]: two to four colours mixed by a random pattern, with some grain."""
    pattern = _PATTERNS[generator.integers(len(_PATTERNS))](height, width, generator)
    colours = generator.uniform(0, 255, (int(generator.integers(2, 5)), 3)).astype(np.float32)
    if generator.random() < 0.5:
        colours = colours.mean(0) + (colours - colours.mean(0)) * np.float32(generator.uniform(0.15, 0.7))
    positions = np.linspace(0, 1, len(colours))
    ramp = np.stack([np.interp(np.linspace(0, 1, 256), positions, channel) for channel in colours.T], -1)
    mixed = ramp[(pattern * 255).astype(np.uint8)].astype(np.float32)
    shade = fractal_noise(height, width, generator, cells=2)[..., None] - 0.5
    grain = generator.standard_normal((height, width, 1), np.float32) * np.float32(generator.uniform(0, 12))
    return np.clip(mixed + shade * np.float32(generator.uniform(0, 120)) + grain, 0, 255).astype(np.uint8)


def fractal_noise(
    height: int, width: int, generator: np.random.Generator, *, cells: int = 4, octaves: int = 3
) -> NDArray[np.float32]:
    """Smooth noise in 0..1, [height width]: random grids, the first of `cells` x `cells`, each next twice as fine and
    half as strong."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        side = cells * 2**octave
        grid = generator.random((side + 1, side + 1), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    return _full_range(total)


def _full_range(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretched to 0..1."""
    low, high = float(values.min()), float(values.max())
    return (values - low) / max(high - low, 1e-6)


def _waves(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """Distance along a random direction, bent by noise, in periods."""
    angle = generator.uniform(0, np.pi)
    rows, columns = np.mgrid[:height, :width].astype(np.float32) / max(height, width)
    bend = fractal_noise(height, width, generator, cells=2, octaves=2) * generator.uniform(0, 0.5)
    along = columns * np.cos(angle) + rows * np.sin(angle) + bend
    return (along * generator.uniform(2, 16)).astype(np.float32)


def _noise(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    return fractal_noise(height, width, generator, cells=int(generator.integers(2, 12)))


def _gradient(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    return _full_range(_waves(height, width, generator))


def _soft_stripes(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    return 0.5 + 0.5 * np.sin(2 * np.pi * _waves(height, width, generator))


def _hard_stripes(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    duty = generator.uniform(0.2, 0.8)
    return (_waves(height, width, generator) % 1 < duty).astype(np.float32)


def _checks(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    return np.abs(_hard_stripes(height, width, generator) - _hard_stripes(height, width, generator))


def _blots(height: int, width: int, generator: np.random.Generator) -> NDArray[np.float32]:
    noise = _noise(height, width, generator)
    return (noise > generator.uniform(0.35, 0.65)).astype(np.float32)


_PATTERNS = (_noise, _gradient, _soft_stripes, _hard_stripes, _checks, _blots)
