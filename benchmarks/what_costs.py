"""What a tracked frame costs with more objects, other sizes, other arithmetic, compiled: against the plain way.

    python benchmarks/what_costs.py --rounds 30

All ways run in one process and take turns, frame by frame, so that a busy machine slows each alike. Prints the median
of each and of its ratios to the first, which are what README tells.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import masklet
from sides import hardware

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from parity import scenes

WARM_FRAMES = 9  # after so many a frame recalls all it ever will but for object pointers


@dataclass(frozen=True)
class Way:
    """One way to track a frame."""

    name: str
    objects: int = 1
    image_size: int | None = None
    dtype: str = "float32"
    is_compiled: bool = False

    def begin(self, model: str, frames: list[NDArray[np.uint8]]) -> masklet.Stream:
        """A stream whose memory is full after these frames, the first of them prompted."""
        loaded = masklet.load(model, device="cpu", image_size=self.image_size, dtype=self.dtype)
        if self.is_compiled:
            masklet.compile_model(loaded)
        stream = masklet.Stream(loaded)
        stream.step(frames[0])
        for number in range(self.objects):
            stream.add(1 + number, box=(40 + 20 * number, 40, 240 + 20 * number, 240))
        for frame in frames[1:]:
            stream.step(frame)
        return stream


WAYS = [
    Way("plain"),
    Way("two objects", objects=2),
    Way("four objects", objects=4),
    Way("at 256 pixels", image_size=256),
    Way("bfloat16", dtype="bfloat16"),
    Way("compiled", is_compiled=True),
]
"""The plain way first."""


def take_turns(streams: dict[str, masklet.Stream], frames: list[NDArray[np.uint8]]) -> dict[str, list[float]]:
    """Seconds of each way, frame by frame; every other frame begins with the last of them."""
    seconds: dict[str, list[float]] = {name: [] for name in streams}
    for number, frame in enumerate(frames):
        for name in list(streams)[:: 1 if number % 2 == 0 else -1]:
            begin = time.perf_counter()
            streams[name].step(frame)
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nano", help="name or checkpoint file")
    parser.add_argument("--rounds", type=int, default=30, help="frames of each way that are timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    frames = scenes.clip(WARM_FRAMES + options.rounds, 360, 480)
    streams: dict[str, masklet.Stream] = {}
    for way in WAYS:
        try:
            streams[way.name] = way.begin(options.model, frames[:WARM_FRAMES])
        except masklet.MaskletError as error:
            print(f"{way.name:<14}  left out: {error}")
    seconds = take_turns(streams, frames[WARM_FRAMES:])

    plain = seconds["plain"]
    ratios = {
        name: statistics.median(mine / theirs for mine, theirs in zip(taken, plain, strict=True))
        for name, taken in seconds.items()
    }
    for name, taken in seconds.items():
        print(f"{name:<14}  {statistics.median(taken):7.4f} s   median ratio {ratios[name]:.2f}")
    if options.json:
        ran_on = {"hardware": hardware(), "torch": torch.__version__, "threads": options.threads}
        report = {"model": options.model, **ran_on, "seconds": seconds, "ratio": ratios}
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
