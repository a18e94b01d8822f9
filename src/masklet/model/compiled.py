"""The whole per-frame path through `torch.compile`, on request (officially `vos_optimized`)."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from functools import partial
from importlib.util import find_spec
from typing import TypeVar

import torch

from masklet.errors import DeviceError, MaskletWarning
from masklet.model.network import Network, expect_model

CPP_COMPILERS = {"darwin": "clang++", "win32": "cl"}
"""The one compiler that PyTorch looks for where CXX names none, by platform; on all others g++."""

VERBS = ("encode", "condition", "decode", "remember")
"""What of `Network` is compiled."""

AnyNetwork = TypeVar("AnyNetwork", bound=Network)


def compile_model(model: AnyNetwork) -> AnyNetwork:
    """Compile the model's verbs in place, and return it.

    Results stay the same but for rounding. The first frames are slow, as each verb is compiled when first called, and
    again when the number of memories, objects or points is first seen to vary; from then on these may be any. Raises
    `DeviceError` where the device is a CPU and there is no C++ compiler, or a CUDA GPU and there is no Triton.
    """
    expect_model(model)
    if model.device.type == "cpu":
        _require_cpp_compiler()
    elif model.device.type == "cuda" and find_spec("triton") is None:
        raise DeviceError(
            "compiling for CUDA needs Triton, which PyTorch for Windows comes without: pip install triton-windows, or "
            "track without compiling: the results are the same but for rounding"
        )
    elif model.device.type == "mps":
        warnings.warn(
            "PyTorch's compiler for Apple's GPUs has given wrong results: compare some with those without compiling",
            MaskletWarning,
            stacklevel=2,
        )
    # Memories fill up over the first sixteen frames and objects come and go: those sizes become symbols when they are
    # first seen to change, all others stay numbers.
    for verb in VERBS:
        compiled = torch.compile(getattr(type(model), verb))
        setattr(model, verb, partial(compiled, model))  # a deep copy's verbs are then of the copy
    return model


def is_compiled(model: Network) -> bool:
    """Whether `compile_model` has been here."""
    return isinstance(vars(model).get(VERBS[0]), partial)


def _require_cpp_compiler() -> None:
    compiler = os.environ.get("CXX") or CPP_COMPILERS.get(sys.platform, "g++")
    if not shutil.which(compiler):
        raise DeviceError(
            f"compiling for the CPU needs a C++ compiler, and {compiler} is not here; install it (Debian: apt install "
            "g++; macOS: xcode-select --install; Windows: Visual Studio Build Tools), name another in the environment "
            "variable CXX, or track without compiling: the results are the same"
        )
