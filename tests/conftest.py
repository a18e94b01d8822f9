"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

REPOSITORY = Path(__file__).resolve().parent.parent

# Before torch is imported anywhere: one thread in each of several test processes, every core where there is only one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# How long an example takes depends on what else the machine does.
settings.register_profile("masklet", deadline=None)
settings.load_profile("masklet")

# A shell hands Ctrl-C down as ignored to what it runs in the background; tests of Ctrl-C need it back.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The folder of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The shared data (MASKLET_SHARED, or `shared` beside the checkout); skips the test where it is missing."""
    folder = Path(os.environ.get("MASKLET_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}; set MASKLET_SHARED to the folder that holds `data`")
    return folder


@pytest.fixture(scope="session")
def seeded_checkpoint(tmp_path_factory) -> Callable[[str], Path]:
    """name of a release, such as "sam2.1_hiera_t" -> a file in the official format with seeded weights, made once."""
    folder = tmp_path_factory.mktemp("checkpoints")

    def make(name: str) -> Path:
        import torch

        from parity.seeded_weights import seeded_state

        path = folder / f"{name}.pt"
        if not path.exists():
            torch.save({"model": {key: torch.from_numpy(value) for key, value in seeded_state(name).items()}}, path)
        return path

    return make


@pytest.fixture
def no_torchrun(monkeypatch):
    """What stands in the environment of whoever runs the tests must not matter to training."""
    monkeypatch.delenv("RANK", raising=False)
