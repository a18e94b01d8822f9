"""`compile_model`: the same results, and no compiling at every frame."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from masklet.errors import DeviceError
from masklet.model.compiled import compile_model
from masklet.model.network import Network
from masklet.predict.video import VideoSession
from tiny import TINY_CONVNET, TINY_HIERA, tiny_clip, tiny_model

ATTENTIVE = replace(TINY_CONVNET, trunk=replace(TINY_CONVNET.trunk, global_blocks=1))
"""With global attention behind the convolutions, as `nano` has it."""


def track(model, clip):
    """One object for five frames, then two."""
    session = VideoSession(model, clip)
    session.add(1, 0, points=[[10, 20]])
    results = []
    for result in session.propagate():
        if result.frame == 5:
            result = session.add(2, 5, box=[20, 8, 44, 30])
        results.append(result)
    return results


@pytest.mark.full
@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
@pytest.mark.parametrize(
    ("config", "compared"), [(TINY_CONVNET, 20), (ATTENTIVE, 5), (TINY_HIERA, 5)], ids=["convnet", "attentive", "hiera"]
)
def test_compiled_tracking_is_the_same_and_settles(config, compared):
    from torch._dynamo.utils import counters

    clip = tiny_clip(20)
    plain = track(tiny_model(config), clip)
    compiled = compile_model(tiny_model(config))
    torch._dynamo.reset()
    counters.clear()
    results = list(zip(plain, track(compiled, clip), strict=True))
    for one, other in results[:compared]:
        # Memories are kept in bfloat16: a difference in the seventh digit may round to the next of its three. With
        # random attention that grows; in this Hiera, one of 1e-6 in the weights is one of 2 in the logits 13 frames on.
        assert (one.logits - other.logits).abs().mean() < 5e-3
        assert (one.logits - other.logits).abs().max() < 0.05
    graphs = counters["stats"]["unique_graphs"]
    track(compiled, clip)
    assert counters["stats"]["unique_graphs"] == graphs, "a second clip compiled something anew"
    assert graphs < len(clip)


def test_a_deep_copy_computes_with_its_own_weights(monkeypatch):
    # What is compiled is a plain function, which deep copies share.
    monkeypatch.setattr(torch, "compile", lambda verb: lambda *args, **kwargs: verb(*args, **kwargs))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    model = compile_model(tiny_model())
    twin = deepcopy(model)
    pixels = torch.rand(1, 3, model.config.image_size, model.config.image_size)
    with torch.no_grad():
        assert torch.equal(twin.encode(pixels).stride16, model.encode(pixels).stride16)
        for weights in twin.parameters():
            weights.zero_()
        assert not twin.encode(pixels).stride16.any() and model.encode(pixels).stride16.any()


def test_without_triton_there_is_a_clear_error(monkeypatch):
    monkeypatch.setattr("masklet.model.compiled.find_spec", lambda name: None)
    monkeypatch.setattr(Network, "device", torch.device("cuda"))
    with pytest.raises(DeviceError, match="needs Triton"):
        compile_model(tiny_model())


def test_without_a_compiler_there_is_a_clear_error(monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(DeviceError, match="needs a C"):
        compile_model(tiny_model())
