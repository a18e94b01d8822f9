"""Pictures and clips of the parity cases: NumPy formulas, no files, no randomness."""

from __future__ import annotations

import numpy as np


def picture(height: int = 480, width: int = 640, phase: float = 0.0) -> np.ndarray:
    """An (H, W, 3) uint8 picture: a textured ground, a disc, a box and a ring; `phase` moves them."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / width, y / height
    ground = np.stack(
        [
            110 + 60 * np.sin(9 * u + 4 * v),
            120 + 50 * np.cos(7 * v - 3 * u),
            100 + 40 * np.sin(15 * u * v),
        ],
        -1,
    )
    for cx, cy, r, color in (
        (0.30 + 0.15 * np.sin(phase), 0.40 + 0.08 * np.cos(phase), 0.16, (220, 60, 50)),
        (0.70 - 0.12 * np.sin(phase), 0.62, 0.13, (60, 200, 90)),
    ):
        inside = np.hypot((u - cx) * width / height, v - cy) < r
        shade = 1 + 0.25 * np.cos(20 * (u - cx)) * np.cos(20 * (v - cy))
        ground[inside] = (np.array(color) * shade[..., None])[inside]
    bx, by = 0.45 + 0.10 * np.cos(phase), 0.15 + 0.05 * np.sin(phase)
    box = (np.abs(u - bx) < 0.09) & (np.abs(v - by) < 0.08)
    ground[box] = (50, 80, 210)
    return np.clip(np.rint(ground), 0, 255).astype(np.uint8)


def clip(frames: int = 10, height: int = 360, width: int = 480) -> list[np.ndarray]:
    """`frames` pictures of the same scene in motion."""
    return [picture(height, width, phase=0.35 * t) for t in range(frames)]


def disc_mask(height: int, width: int, phase: float) -> np.ndarray:
    """(H, W) bool: exactly the second disc of `picture` at that phase."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    u, v = x / width, y / height
    return np.hypot((u - (0.70 - 0.12 * np.sin(phase))) * width / height, v - 0.62) < 0.13
