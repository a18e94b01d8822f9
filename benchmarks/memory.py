"""Resident memory while 2,000 frames are tracked, through `Stream` and through the command `masklet track`.

    python benchmarks/memory.py --model nano --image-size 128 --json out.json

Prints the curve of both and how much each grew from frame 100 to the end; exits with 1 where that is 20 MB or more.
The clip, a small picture that wanders over noise, is made on the spot. Linux only: it reads /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import masklet
from masklet.io.video_writer import VideoWriter
from masklet.types import Size
from sides import hardware

SIZE = Size(240, 320)
BOX = (20, 60, 100, 140)
POINT = (280, 200)
SETTLED = 100
LIMIT_MB = 20.0
CURVE_STEPS = 20

Watch = Callable[[int, int], None]
"""Called after each frame with how many are done and the process that does them."""


def resident_mb(process: int) -> float:
    """Resident memory of a process in megabytes."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
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


def track_stream(options: argparse.Namespace, watch: Watch) -> None:
    """Two objects through `Stream`, in this process."""
    stream = masklet.Stream(masklet.load(options.model, device="cpu", image_size=options.image_size))
    for number, frame in enumerate(scene(options.frames)):
        stream.step(frame)
        if number == 0:
            stream.add(1, box=BOX)
            stream.add(2, points=[POINT])
        watch(number + 1, os.getpid())


def track_command(options: argparse.Namespace, watch: Watch) -> None:
    """Two objects through `masklet track` on a video file, in a process of its own. A frame is done with its mask."""
    prompts = [{"frame": 0, "object": 1, "box": BOX}, {"frame": 0, "object": 2, "points": [POINT], "labels": [1]}]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "prompts.json").write_text(json.dumps(prompts))
        with VideoWriter(folder / "clip.mp4", SIZE, 30) as writer:
            for frame in scene(options.frames):
                writer.write(frame)
        command = [sys.executable, "-m", "masklet", "track", "clip.mp4", "--prompts", "prompts.json", "--quiet"]
        command += ["--model", str(options.model), "--image-size", str(options.image_size), "--out", "out"]
        with subprocess.Popen(command, cwd=folder) as process:
            for number in range(options.frames):
                while not (folder / f"out/masks/{number:05}.png").exists():
                    if process.poll() is not None:
                        raise SystemExit(f"masklet track ended with exit code {process.returncode} at frame {number}")
                    time.sleep(0.002)
                watch(number + 1, process.pid)


def measure(name: str, run: Callable[[argparse.Namespace, Watch], None], options: argparse.Namespace) -> dict[str, Any]:
    """Run one way of tracking and sample the memory as it goes."""
    samples = {1, SETTLED, options.frames, *np.linspace(1, options.frames, CURVE_STEPS, dtype=int).tolist()}
    curve: dict[int, float] = {}
    begin = time.perf_counter()

    def watch(done: int, process: int) -> None:
        if done in samples:
            used = resident_mb(process)
            if not used:  # a process that has ended may be asked after its last frame
                return
            curve[done] = round(used, 1)
            print(f"{name:>7}  frame {done:>5}  {curve[done]:>8.1f} MB", flush=True)

    run(options, watch)
    settled = min(SETTLED, options.frames)
    growth = max(used for done, used in curve.items() if done >= settled) - curve[settled]
    print(f"{name:>7}  grew by {growth:.1f} MB from frame {SETTLED} to {options.frames}\n", flush=True)
    return {"curve_mb": curve, "growth_mb": round(growth, 1), "seconds": round(time.perf_counter() - begin, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="name or checkpoint file")
    parser.add_argument("--image-size", type=int, default=128)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    figures = {name: measure(name, run, options) for name, run in (("stream", track_stream), ("track", track_command))}
    report = {
        "model": options.model,
        "image_size": options.image_size,
        "frames": options.frames,
        "hardware": hardware(),
        "torch": torch.__version__,
        **figures,
    }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))
    return int(any(figure["growth_mb"] >= LIMIT_MB for figure in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
