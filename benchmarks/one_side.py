"""One side of a comparison with the official package: the same calls, by either package's module names.

Started by the scripts beside it, with the Python of the environment that holds the package: reads requests as lines of
JSON, answers each with one. Needs no package but the one compared, NumPy and Pillow.

    PYTHON one_side.py sam2           # or masklet.sam2
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from parity import scenes
from parity.scripts import carry_out

WARM_FRAMES = 7  # after so many a frame recalls all it ever will but for object pointers


class Side:
    """The package's predictors, and what is timed with them."""

    def __init__(self, package: str) -> None:
        self.package = package
        self.builders = import_module(f"{package}.build_sam")
        self.pictures = import_module(f"{package}.sam2_image_predictor")
        self.picture_predictor: Any = None
        self.passing: Iterator[Any] = iter(())

    def versions(self, threads: int) -> dict[str, str]:
        """Set the number of threads; say what runs here."""
        import torch

        torch.set_num_threads(threads)
        return {"package": self.package, "torch": torch.__version__, "python": sys.version.split()[0]}

    def prepare_encode(self, config: str, checkpoint: str) -> None:
        """Build the picture predictor and run it once."""
        model = self.builders.build_sam2(config, checkpoint, device="cpu")
        self.picture_predictor = self.pictures.SAM2ImagePredictor(model)
        self.encode()

    def encode(self) -> float:
        """Seconds to set a picture."""
        picture = scenes.picture()
        begin = time.perf_counter()
        self.picture_predictor.set_image(picture)
        return time.perf_counter() - begin

    def prepare_frame(self, config: str, checkpoint: str | None, clip: str, num_objects: int, image_size: int) -> None:
        """Build the video predictor, prompt objects and track until the memory is full."""
        predictor = self._video(config, checkpoint, [f"++model.image_size={image_size}"], True)
        state = predictor.init_state(clip)
        for number in range(num_objects):
            box = np.array([40 + 20 * number, 40, 240 + 20 * number, 240], np.float32)
            predictor.add_new_points_or_box(state, 0, number, box=box)
        self.passing = predictor.propagate_in_video(state)
        for _ in range(WARM_FRAMES):
            next(self.passing)

    def frame(self) -> float:
        """Seconds to track the next frame."""
        begin = time.perf_counter()
        next(self.passing)
        return time.perf_counter() - begin

    def script(
        self,
        config: str,
        checkpoint: str,
        clip: str,
        script: list[dict[str, Any]],
        overrides: list[str],
        postprocessing: bool,
        out: str,
    ) -> str | None:
        """Carry out a script, its answers into an npz file; returns what it stopped with, if it did."""
        predictor = self._video(config, checkpoint, overrides, postprocessing)
        state = predictor.init_state(clip)
        answers: dict[str, Any] = {}
        stopped = None
        try:
            carry_out(predictor, state, script, answers)
        except (RuntimeError, ValueError, AssertionError) as error:
            stopped = f"{type(error).__name__}: {error}"
        np.savez(out, **answers)
        return stopped

    def _video(self, config: str, checkpoint: str | None, overrides: list[str], postprocessing: bool) -> Any:
        predictor = self.builders.build_sam2_video_predictor(
            config, checkpoint, device="cpu", hydra_overrides_extra=overrides, apply_postprocessing=postprocessing
        )
        # The official package fills holes only where its CUDA extension was built.
        predictor.fill_hole_area = 0
        if self.package == "sam2":
            _attend_in_float32(predictor)
        return predictor


def _attend_in_float32(predictor: Any) -> None:
    """The official code leaves casting stored memories to autocast, and stops where all of them are bfloat16."""
    attend = predictor.memory_attention.forward
    predictor.memory_attention.forward = lambda memory, **rest: attend(memory=memory.float(), **rest)


def main() -> None:
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    sys.stdout = sys.stderr
    side = Side(sys.argv[1])
    for line in sys.stdin:
        request = json.loads(line)
        answer = getattr(side, request.pop("do"))(**request)
        print(json.dumps(answer), file=replies, flush=True)


if __name__ == "__main__":
    main()
