"""Two packages side by side: a process each, asked by turns."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

CONFIG_FILES = {"sam2.1": "configs/sam2.1/{}.yaml", "sam2": "configs/sam2/{}.yaml"}


class Worker:
    """`one_side.py` in a process of its own."""

    def __init__(self, python: str, package: str, threads: int) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
        python = os.path.abspath(python) if os.sep in python else python  # it runs in another folder
        self.process = subprocess.Popen(
            [python, "-W", "ignore", str(HERE / "one_side.py"), package],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
            cwd=HERE,
        )
        self.versions = self.ask("versions", threads=threads)

    def ask(self, what: str, **arguments: Any) -> Any:
        """Call a method of `one_side.Side` and return its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{what}: the process of {self.process.args} died; run it by hand to see why")
        return json.loads(line)

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def hardware() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        model = next((line.split(":")[1].strip() for line in cpuinfo.open() if line.startswith("model name")), model)
    return {"processor": model, "cores": os.cpu_count(), "system": platform.platform()}


def seeded_checkpoint(name: str, folder: Path) -> Path:
    """A file in the official format with the parity suite's seeded weights."""
    import torch

    from parity.seeded_weights import seeded_state

    path = folder / f"{name}.pt"
    torch.save({"model": {key: torch.from_numpy(value) for key, value in seeded_state(name).items()}}, path)
    return path


def write_clip(folder: Path, num_frames: int, height: int = 360, width: int = 480) -> Path:
    """The parity suite's clip as a folder of JPEG pictures with whole numbers for names."""
    from parity import scenes

    folder.mkdir()
    for number, frame in enumerate(scenes.clip(num_frames, height, width)):
        Image.fromarray(frame).save(folder / f"{number:05d}.jpg", quality=95)
    return folder


def config_file(checkpoint: str) -> str:
    """The official configuration file of seeded weights."""
    return CONFIG_FILES[checkpoint.split("_", 1)[0]].format(checkpoint)
