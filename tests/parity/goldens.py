"""What the official code was asked, and what it answered (facebookresearch/sam2 at 2b90b9f, float32, CPU, two threads).

`golden/NAME.json` holds the questions, `golden/NAME.npz` (or its parts) sampled answers: masks every 8th pixel in both
directions, low-resolution logits every 4th, picture features every 8th, 16th and 32nd, memories every 4th position.
Holes were not filled, and memories were stored in bfloat16 and attended in float32.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

FOLDER = Path(__file__).parent / "golden"
LOW_RES_STEP, MEMORY_STEP = 4, 4
CONFIG_FILES = {"sam2.1": "configs/sam2.1/{}.yaml", "sam2": "configs/sam2/{}.yaml"}


@dataclass(frozen=True)
class Golden:
    """One case: `asked` is the JSON, `answers` the sampled arrays."""

    name: str
    asked: dict[str, Any]
    answers: dict[str, NDArray[Any]]

    @property
    def checkpoint(self) -> str:
        """The name of the seeded weights."""
        return self.asked["checkpoint"]

    @property
    def config_file(self) -> str:
        """The official configuration file of these weights."""
        family, _ = self.checkpoint.split("_", 1)
        return CONFIG_FILES[family].format(self.checkpoint)


def load_golden(name: str) -> Golden:
    """The case of that name. Skips the test where there are none, as in the sdist."""
    if not FOLDER.is_dir():
        pytest.skip(f"no official answers at {FOLDER}; they are in the repository only")
    asked = json.loads((FOLDER / f"{name}.json").read_text())
    answers: dict[str, NDArray[Any]] = {}
    for part in sorted(FOLDER.glob(f"{name}.npz")) + sorted(FOLDER.glob(f"{name}.part*.npz")):
        with np.load(part) as arrays:
            answers.update(arrays)
    return Golden(name, asked, answers)
