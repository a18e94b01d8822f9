"""Two processes with half of a batch each learn what one learns from the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from masklet.data.batches import ClipBatch
from masklet.data.transforms import Augmentation
from masklet.model.network import Network
from masklet.train.losses import LossWeights
from masklet.train.objective import BatchLoss
from masklet.train.recipe import Part, Source, Stage
from masklet.train.rollout import Annotator
from tiny_training import HIERA, SIZE

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
from test_train_processes import train_one_rank
train_one_rank(sys.argv[2])
"""


def make_batch(rows: slice) -> ClipBatch:
    """Four clips of two frames with two moving rectangles each; those at `rows`."""
    generator = np.random.default_rng(0)
    pixels = torch.from_numpy(generator.normal(size=(4, 2, 3, SIZE, SIZE)).astype(np.float32))
    masks = torch.zeros(4, 2, 2, SIZE, SIZE, dtype=torch.bool)
    for clip, item in np.ndindex(4, 2):
        x, y = generator.integers(0, 30, 2)
        for frame in range(2):
            masks[clip, item, frame, y : y + 20, x + 4 * frame : x + 24] = True
            pixels[clip, frame, item, y : y + 20, x + 4 * frame : x + 24] += 2
    valid = torch.ones(4, 2, dtype=torch.bool)
    return ClipBatch(pixels[rows], masks[rows], valid[rows], tuple("abcd")[rows])


def make_loss() -> BatchLoss:
    torch.manual_seed(0)
    return BatchLoss(Network(HIERA))


def gradients(loss: torch.nn.Module, batch: ClipBatch) -> dict[str, torch.Tensor]:
    value, _ = loss(batch, PART, STAGE, np.random.default_rng(0))
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
    here = str(Path(__file__).parent)
    script = tmp_path / "work.py"
    script.write_text(WORK)
    tests = str(Path(__file__).parent.parent)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([tests, *sys.path])}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*torchrun, str(script), here, str(tmp_path)], env=environment, check=True, timeout=110)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    alone = gradients(make_loss(), make_batch(slice(0, 4)))
    assert set(first) == set(second) == set(alone)
    assert any(name.startswith("model.memory_attention.") for name in alone)
    for name, gradient in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], gradient, rtol=1e-3, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
