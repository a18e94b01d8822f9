"""Smooth random motion: of things across the frame, of the camera over the scene, and of soft bodies.

Places are shares of the frame: (0, 0) its upper left corner, (1, 1) its lower right. Times run from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

ELASTIC_GRID = 4


@dataclass(frozen=True)
class MotionRange:
    """How strongly things move in one clip, each a typical size over the whole clip.

    speed, camera: shares of the frame; turn: degrees; growth: factor of size; perspective: foreshortening across an
    object; elastic: displacement as a share of the object; leave: probability that a thing goes out of the frame and
    comes back; rest: probability that it stays where it is.
    """

    speed: float = 0.35
    camera: float = 0.12
    turn: float = 30.0
    growth: float = 1.35
    perspective: float = 0.15
    elastic: float = 0.04
    leave: float = 0.15
    rest: float = 0.15


def draw_path(
    times: NDArray[np.floating],
    generator: np.random.Generator,
    motion: MotionRange,
    *,
    side: float,
    centre: NDArray[np.floating],
) -> NDArray[np.float64]:
    """Where a thing is at each of `times`: [t 3 3] from its own box (-0.5..0.5) to places in the frame.

    side: its longer side at time 0; centre: its place then.
    """
    strength = 0.0 if generator.random() < motion.rest else float(generator.gamma(2.0, 0.5))
    reach = strength * np.array([motion.speed, motion.speed, motion.turn, 1, motion.perspective, motion.perspective])
    right, down, turn, growth, *tilts = _curves(times, generator, reach)
    travel = np.stack([right, down], -1)
    if generator.random() < motion.leave:
        travel += _excursion(times, generator)
    angles = np.radians(generator.uniform(-15, 15) + turn)
    sizes = side * motion.growth**growth
    paths = np.tile(np.eye(3), (len(times), 1, 1))
    cosines, sines = np.cos(angles) * sizes, np.sin(angles) * sizes
    paths[:, 0, 0], paths[:, 0, 1], paths[:, 1, 0], paths[:, 1, 1] = cosines, -sines, sines, cosines
    paths[:, :2, 2] = centre + travel
    tilted = np.tile(np.eye(3), (len(times), 1, 1))
    tilted[:, 2, :2] = np.clip(np.stack(tilts, -1), -0.5, 0.5)
    return paths @ tilted


def draw_camera(
    times: NDArray[np.floating], generator: np.random.Generator, motion: MotionRange
) -> NDArray[np.float64]:
    """How the scene moves in the frame at each of `times`: [t 3 3] affine, the identity at time 0."""
    strength = 0.0 if generator.random() < motion.rest else float(generator.gamma(2.0, 0.5))
    reach = strength * np.array([motion.camera, motion.camera, 6, 1])
    right, down, turn, growth = _curves(times, generator, reach)
    angles, zooms = np.radians(turn), 1.15**growth
    shake = generator.normal(0, 0.004 * strength, (len(times), 2))
    shake[0] = 0
    camera = np.tile(np.eye(3), (len(times), 1, 1))
    camera[:, 0, 0] = camera[:, 1, 1] = np.cos(angles) * zooms
    camera[:, 1, 0] = np.sin(angles) * zooms
    camera[:, 0, 1] = -camera[:, 1, 0]
    camera[:, :2, 2] = 0.5 - camera[:, :2, :2] @ (0.5, 0.5) + np.stack([right, down], -1) + shake
    return camera


def draw_elastic(times: NDArray[np.floating], generator: np.random.Generator, amplitude: float) -> NDArray[np.float32]:
    """Displacements of a soft body at each of `times`: [t 4 4 2] on a coarse grid over its box, as shares of it."""
    shape = (ELASTIC_GRID, ELASTIC_GRID, 2)
    modes = generator.normal(0, amplitude, (2, *shape))
    phases = generator.uniform(0, 2 * np.pi, 2) + 2 * np.pi * np.outer(times, generator.uniform(0.3, 1.5, 2))
    return np.einsum("tm,mxyc->txyc", np.sin(phases), modes).astype(np.float32)


def _curves(
    times: NDArray[np.floating], generator: np.random.Generator, sizes: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Smooth functions of time that are 0 at time 0, each a steady drift and a wave of one of the n `sizes`: [n t]."""
    drift, wave = generator.normal(0, 1, (2, len(sizes), 1)) * sizes[:, None] * [[[1.0]], [[0.35]]]
    turns = generator.uniform(0.4, 1.6, (len(sizes), 1))
    phase = generator.uniform(0, 2 * np.pi, (len(sizes), 1))
    return drift * times + wave * (np.sin(2 * np.pi * turns * times + phase) - np.sin(phase))


def _excursion(times: NDArray[np.floating], generator: np.random.Generator) -> NDArray[np.float64]:
    """Out of the frame and back: [t 2]."""
    angle = generator.uniform(0, 2 * np.pi)
    leaves, returns = np.sort(generator.uniform(0.1, 1.1, 2))
    phase = np.clip((times - leaves) / max(returns - leaves, 0.3), 0, 1)
    return 1.6 * np.sin(np.pi * phase)[:, None] * (np.cos(angle), np.sin(angle))
