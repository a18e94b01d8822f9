"""What a network makes of its training batches, as pictures to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from masklet.io.draw import draw_masks
from masklet.ops.resize import resize_bilinear
from masklet.train.rollout import Annotator, Session, SessionPlan

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from masklet.data.batches import ClipBatch
    from masklet.model.network import Network

MOST_CLIPS, MOST_OBJECTS = 4, 3
BOXED_ONCE = SessionPlan(("box",), prompted=(0,), corrected=())


@torch.no_grad()
def compare(model: Network, batch: ClipBatch) -> NDArray[np.uint8]:
    """The truth above and, below, what the model makes of a box on the first frame: uint8 RGB [2S, columns*S, 3].

    A column is a frame; the first few clips of the batch stand side by side. The model is left in evaluation mode.
    """
    model.eval()
    columns = [column for clip in range(min(MOST_CLIPS, len(batch.valid))) for column in _columns(model, batch, clip)]
    return np.concatenate(columns, axis=1)


def _columns(model: Network, batch: ClipBatch, clip: int) -> list[NDArray[np.uint8]]:
    objects = batch.valid[clip].nonzero()[:MOST_OBJECTS, 0]
    masks = batch.masks[clip, objects]
    num_frames = batch.pixels.shape[1]
    truths = masks.transpose(0, 1).cpu().numpy()
    found = np.zeros_like(truths)
    if len(objects):
        features = model.encode(batch.normalised()[clip])
        views = [features.select(torch.full_like(objects, frame)) for frame in range(num_frames)]
        session = Session(model, views, masks, BOXED_ONCE, Annotator(box_jitter=0.0), np.random.default_rng(0))
        for decoding in session.decodings():
            found[decoding.frame] = _at_full_size(decoding.decoded.logits, masks.shape[-1])
    ids = range(1, len(objects) + 1)
    frames = batch.pixels[clip].permute(0, 2, 3, 1).cpu().numpy()
    return [
        np.concatenate([draw_masks(frame, truths[number], ids), draw_masks(frame, found[number], ids)])
        for number, frame in enumerate(frames)
    ]


def _at_full_size(logits: Tensor, side: int) -> NDArray[np.bool_]:
    return (resize_bilinear(logits, side, side)[:, 0] > 0).cpu().numpy()
