"""What to do where the masks of several objects overlap."""

from __future__ import annotations

import torch


def non_overlapping(logits: torch.Tensor) -> torch.Tensor:
    """Leave each pixel to the object with the highest logit there, so that no two masks overlap.

    logits: [n, ...] with objects along the first dimension. Returns the same shape, the losers at most -10: low enough
    for `sigmoid` to be practically 0. Source: the official `SAM2Base._apply_non_overlapping_constraints`.
    """
    if len(logits) < 2:
        return logits
    objects = torch.arange(len(logits), device=logits.device).reshape(-1, *[1] * (logits.ndim - 1))
    winner = logits.argmax(0, keepdim=True)
    return torch.where(winner == objects, logits, logits.clamp(max=-10.0))
