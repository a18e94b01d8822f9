"""Maps of other sizes."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from masklet.ops.resize import resize_bilinear


def test_what_shrinks_far_is_averaged_in_two_steps_to_nearly_the_same(monkeypatch):
    """CUDA refuses to do it in one."""
    maps = torch.randn(1, 1, 40, 30, generator=torch.Generator().manual_seed(0))
    large = F.interpolate(maps, scale_factor=20, mode="bilinear")
    sizes = []
    interpolate = F.interpolate
    monkeypatch.setattr(F, "interpolate", lambda maps, **how: (sizes.append(how["size"]), interpolate(maps, **how))[1])
    small = resize_bilinear(large, 8, 6, antialias=True)
    assert sizes == [[64, 48], (8, 6)]
    once = F.interpolate(large, size=(8, 6), mode="bilinear", antialias=True)
    torch.testing.assert_close(small, once, rtol=0, atol=0.02)
