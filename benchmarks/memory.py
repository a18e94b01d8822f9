"""Resident memory while 2,000 frames are tracked, through `Stream` and through what `masklet track` runs.

    python benchmarks/memory.py --model nano --image-size 128 --json out.json

Prints the curve of both and how much each grew from frame 100 to the end; exits with 1 where that is 20 MB or more.
The clip, a small picture that wanders over noise, is made on the spot. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

import masklet
from masklet.io.video_writer import VideoWriter
from masklet.model.network import Network
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.record import track_to_folder
from masklet.types import Prompt, Size

SIZE = Size(240, 320)
BOX = (20, 60, 100, 140)
SETTLED = 100
LIMIT_MB = 20.0
CURVE_STEPS = 20

Watch = Callable[[int], None]


def resident_mb() -> float:
    """Resident memory of this process in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def scene(num_frames: int) -> Iterator[NDArray[np.uint8]]:
    """Frames of a bright patch that goes round in circles over a still ground."""
    generator = np.random.default_rng(0)
    ground = generator.integers(0, 90, (*SIZE, 3), np.uint8)
    patch = generator.integers(150, 255, (80, 80, 3), np.uint8)
    for number in range(num_frames):
        angle = 2 * np.pi * number / 200
        left, top = int(120 - 100 * np.cos(angle)), int(60 + 50 * np.sin(angle))
        frame = ground.copy()
        frame[top : top + 80, left : left + 80] = patch
        yield frame


def track_stream(model: Network, num_frames: int, watch: Watch) -> None:
    """Two objects through `Stream`."""
    stream = masklet.Stream(model)
    for number, frame in enumerate(scene(num_frames)):
        stream.step(frame)
        if number == 0:
            stream.add(1, box=BOX)
            stream.add(2, points=[(280, 200)])
        watch(number + 1)


def track_file(model: Network, num_frames: int, watch: Watch) -> None:
    """Two objects through a video file, everything written that `masklet track` writes."""
    prompts = [PlacedPrompt(0, 1, Prompt.of(box=BOX)), PlacedPrompt(0, 2, Prompt.of(points=[(280, 200)]))]
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        with VideoWriter(clip, SIZE, 30) as writer:
            for frame in scene(num_frames):
                writer.write(frame)
        track_to_folder(model, clip, prompts, Path(folder) / "out", on_frame=lambda done, _: watch(done))


def measure(
    name: str, run: Callable[[Network, int, Watch], None], model: Network, num_frames: int
) -> dict[str, object]:
    """Run one way of tracking and sample the memory as it goes."""
    samples = {1, SETTLED, num_frames, *np.linspace(1, num_frames, CURVE_STEPS, dtype=int).tolist()}
    curve: dict[int, float] = {}
    begin = time.perf_counter()

    def watch(done: int) -> None:
        if done in samples:
            curve[done] = round(resident_mb(), 1)
            print(f"{name:>7}  frame {done:>5}  {curve[done]:>8.1f} MB", flush=True)

    run(model, num_frames, watch)
    growth = curve[num_frames] - curve[min(SETTLED, num_frames)]
    print(f"{name:>7}  grew by {growth:.1f} MB from frame {SETTLED} to {num_frames}\n", flush=True)
    return {"curve_mb": curve, "growth_mb": round(growth, 1), "seconds": round(time.perf_counter() - begin, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="name or checkpoint file")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    model = masklet.load(options.model, device="cpu", image_size=options.image_size)
    figures = {
        name: measure(name, run, model, options.frames)
        for name, run in (("stream", track_stream), ("track", track_file))
    }
    report = {
        "model": model.config.name,
        "image_size": options.image_size,
        "frames": options.frames,
        "machine": {"system": platform.platform(), "cpus": os.cpu_count(), "torch": torch.__version__},
        **figures,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return int(any(float(str(figure["growth_mb"])) >= LIMIT_MB for figure in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
