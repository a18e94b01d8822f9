"""Two processes with half of a batch each learn what one learns from the whole batch, and a run of two goes on after
`kill -9` as a run of one does.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from masklet.checkpoints import load
from masklet.data.batches import ClipBatch
from masklet.data.cache import CachedStills
from masklet.data.transforms import Augmentation
from masklet.model.network import Network
from masklet.train.feed import CACHE_SCALE
from masklet.train.loop import Pace, Run, _train_to_file
from masklet.train.losses import LossWeights
from masklet.train.objective import BatchLoss, Chance
from masklet.train.recipe import Part, Recipe, Source, Stage, load_recipe, save_recipe
from masklet.train.rollout import Annotator
from tiny_training import HIERA, SIZE, stills_recipe, write_clip, write_stills

pytestmark = pytest.mark.full

# Boxes without jitter or corrections: no chance is left that the joined batch would draw differently. The trunk is the
# Hiera one because its norms know nothing of the batch; batch normalisation takes its statistics from each process's
# own share (PyTorch's SyncBatchNorm, which would join them, runs on GPUs only).
ANNOTATOR = Annotator(mask_share=0.0, box_share=1.0, max_prompted=1, max_corrected=0, corrections=0, box_jitter=0.0)
PART = Part((Source("-"),), clips=2, frames=2, objects=2, annotator=ANNOTATOR)
STAGE = Stage("-", 1, 1e-3, (PART,), Augmentation(SIZE), supervision=2, losses=LossWeights())

WORK = """
import sys
sys.path.insert(0, sys.argv[1])
import test_train_processes
getattr(test_train_processes, sys.argv[2])(*sys.argv[3:])
"""
HERE = str(Path(__file__).parent)
TESTS = str(Path(__file__).parent.parent)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([TESTS, *sys.path])}


def make_batch(rows: slice) -> ClipBatch:
    """Four clips of two frames with two moving rectangles each; those at `rows`."""
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.integers(0, 128, (4, 2, 3, SIZE, SIZE), dtype=np.uint8))
    masks = torch.zeros(4, 2, 2, SIZE, SIZE, dtype=torch.bool)
    for clip, item in np.ndindex(4, 2):
        x, y = generator.integers(0, 30, 2)
        for frame in range(2):
            masks[clip, item, frame, y : y + 20, x + 4 * frame : x + 24] = True
            pixels[clip, frame, item, y : y + 20, x + 4 * frame : x + 24] += 100
    valid = torch.ones(4, 2, dtype=torch.bool)
    return ClipBatch(pixels[rows], masks[rows], valid[rows], tuple("abcd")[rows])


def make_loss() -> BatchLoss:
    torch.manual_seed(0)
    return BatchLoss(Network(HIERA))


def gradients(loss: torch.nn.Module, batch: ClipBatch) -> dict[str, torch.Tensor]:
    value, _ = loss(batch, PART, STAGE, Chance(np.random.default_rng(0), np.random.default_rng(0)))
    value.backward()
    named = loss.named_parameters()
    return {name.removeprefix("module."): p.grad for name, p in named if p.grad is not None and p.grad.any()}


def train_one_rank(out: str) -> None:
    """What each process of the pair does; `torchrun` tells it its rank."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()
    loss = torch.nn.parallel.DistributedDataParallel(make_loss(), find_unused_parameters=True)
    found = gradients(loss, make_batch(slice(2 * rank, 2 * rank + 2)))
    torch.save(found, f"{out}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_have_the_gradients_of_one(tmp_path):
    script = tmp_path / "work.py"
    script.write_text(WORK)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    work = [str(script), HERE, "train_one_rank", str(tmp_path)]
    subprocess.run([*torchrun, *work], env=ENVIRONMENT, check=True, timeout=110)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = gradients(make_loss(), make_batch(slice(0, 4)))
    assert set(first) == set(second) == set(alone)
    assert any(name.startswith("model.memory_attention.") for name in alone)
    for name, gradient in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")


STEPS = 6
PACE = Pace(save_every=2, print_every=1, workers=0)


def shared_recipe(data: Path) -> Recipe:
    """Batches of stills and of clips take turns, two in a step: some steps touch the memory in their first only.

    The stills are cached, and the trunk learns by low-rank updates and is encoded twice, as in fine-tuning.
    """
    plain = stills_recipe(write_stills(data / "stills", 6), STEPS, HIERA)
    annotator = Annotator(corrections=1)
    stills = Part((Source(str(data / "stills"), cached=True),), clips=2, sessions=2, objects=1, annotator=annotator)
    clips = Part((Source(str(write_clip(data / "clip", 3))),), frames=2, objects=1, annotator=annotator)
    stages = tuple(replace(stage, parts=(stills, clips)) for stage in plain.stages)
    return replace(plain, stages=stages, accumulate=2, lora_rank=2, checkpointing=True)


def run_one_rank(folder: str, recipe: str, out: str) -> None:
    """Train, or train on, as `masklet train` does in one of two processes; then tell what it wrote and learned."""
    torch.set_num_threads(1)
    written = note_writes(Path(folder))
    begun = (Path(folder) / "state.pt").exists()
    run = Run.resume(Path(folder), PACE) if begun else Run.begin(load_recipe(Path(recipe)), Path(folder), PACE)
    _train_to_file(run)
    learned = {"model": run.model.state_dict(), "average": run.average.weights}
    torch.save({**learned, "written": sorted(written)}, f"{out}/{run.rank}.pt")


def note_writes(folder: Path) -> set[str]:
    """The names, filled in as it goes, of the files of `folder` that this process opens to write or puts in place."""
    written: set[str] = set()

    def note(path: object) -> None:
        if isinstance(path, str | Path) and Path(path).parent == folder:
            written.add(Path(path).name)

    def hear(event: str, arguments: tuple[object, ...]) -> None:
        if event == "os.rename":
            note(arguments[1])
        elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            note(arguments[0])

    sys.addaudithook(hear)
    return written


class Pair:
    """Two processes that train into one folder, started as `torchrun` starts them."""

    def __init__(self, folder: Path, recipe: Path) -> None:
        self.folder = folder
        self.out = folder.with_name(f"{folder.name} told")
        self.out.mkdir(exist_ok=True)
        command = [sys.executable, "-c", WORK, HERE, "run_one_rank", str(folder), str(recipe), str(self.out)]
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "WORLD_SIZE": "2"}
        ranks = [{"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
        self.processes = [subprocess.Popen(command, env={**ENVIRONMENT, **place, **rank}) for rank in ranks]

    def finish(self) -> list[dict]:
        """What each rank tells at the end."""
        try:
            assert [process.wait(timeout=100) for process in self.processes] == [0, 0]
        finally:
            self.kill()
        return [torch.load(self.out / f"{rank}.pt", weights_only=True) for rank in range(2)]

    def kill_after(self, step: int) -> None:
        """Kill both as soon as that step is written down, most likely in the midst of the next."""
        try:
            while max(steps_of(self.folder), default=0) < step:
                assert [process.poll() for process in self.processes] == [None, None], "the run ended by itself"
                time.sleep(0.01)
        finally:
            self.kill()
        assert [process.returncode for process in self.processes] == [-signal.SIGKILL] * 2

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def steps_of(folder: Path) -> list[int]:
    log = folder / "log.jsonl"
    return [json.loads(line)["step"] for line in log.read_text().splitlines()] if log.exists() else []


def cache_of(folder: Path) -> Path:
    (cache,) = (folder / "cache" / str(CACHE_SCALE * SIZE)).iterdir()
    assert {path.name for path in cache.iterdir()} == {"pictures.bin", "index.json"}, "nothing half-built stays behind"
    return cache


def assert_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_two_processes_train_one_run_and_go_on_after_being_killed(tmp_path):
    recipe = shared_recipe(tmp_path / "data")
    file = tmp_path / "recipe.json"
    save_recipe(recipe, file)

    first, second = Pair(tmp_path / "whole", file).finish()
    for weights in ("model", "average"):
        assert_equal(first[weights], second[weights])
    own_files = {"recipe.json", "state.pt", "log.jsonl", "model.safetensors"}
    assert own_files <= set(first["written"]) and second["written"] == []
    assert steps_of(tmp_path / "whole") == list(range(1, STEPS + 1)), "each step once, not by each process"
    assert len(CachedStills(cache_of(tmp_path / "whole"))) == 6

    Pair(tmp_path / "killed", file).kill_after(step=3)
    assert torch.load(tmp_path / "killed" / "state.pt", weights_only=True)["step"] < STEPS
    built = (cache_of(tmp_path / "killed") / "pictures.bin").stat()
    for told in Pair(tmp_path / "killed", file).finish():
        for weights in ("model", "average"):
            assert_equal(told[weights], first[weights])
    assert steps_of(tmp_path / "killed")[-1] == STEPS
    again = (cache_of(tmp_path / "killed") / "pictures.bin").stat()
    assert (again.st_ino, again.st_mtime_ns) == (built.st_ino, built.st_mtime_ns), "the cache is used as it was"
    models = [load(tmp_path / name / "model.safetensors", device="cpu").state_dict() for name in ("whole", "killed")]
    assert_equal(*models)
