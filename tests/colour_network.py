"""A network that sees colours: everything of one colour is one object. Quick, and it lets tests say which
masks must be found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from masklet.model.image_encoder import ImageFeatures
from masklet.model.mask_decoder import MaskCandidates
from masklet.model.memory_attention import MemoryTokens
from masklet.model.network import Decoded, Network
from masklet.ops.coordinates import Points
from tiny import TINY_CONVNET

CELL = 4
"""Pixels of the model's picture per low-resolution pixel; things that are aligned to it get exact masks."""
SURE = 10.0
SCORES = (0.95, 0.9, 0.7)
NEAR = 0.2
"""Colours closer than this, in normalised units, are the same."""


class ColourNetwork(Network):
    """The five verbs on colours, which take the first three channels of features and memories."""

    def __init__(self, image_size: int = 128) -> None:
        super().__init__(replace(TINY_CONVNET, name="colours", image_size=image_size))
        self.num_encoded = 0
        self.eval()

    def encode(self, pixels: Tensor) -> ImageFeatures:
        self.num_encoded += len(pixels)
        width = self.config.width
        return ImageFeatures(
            _in_channels(F.avg_pool2d(pixels, CELL), width // 8),
            _in_channels(F.avg_pool2d(pixels, 2 * CELL), width // 4),
            _in_channels(F.avg_pool2d(pixels, 4 * CELL), width),
        )

    def condition(self, features: ImageFeatures, memory: MemoryTokens | None) -> Tensor:
        if memory is None:
            return features.stride16
        maps = memory.tokens[:, : memory.tokens.shape[1] - memory.num_pointer_tokens]
        seen = maps[..., 3:4].float()  # no colour is remembered of a frame where the object was absent
        colour = (maps[..., :3].float() * seen).sum(1) / seen.sum(1)
        side = features.stride16.shape[-1]
        return _in_channels(colour[..., None, None].expand(-1, -1, side, side), self.config.width)

    def decode(
        self,
        features: ImageFeatures,
        conditioned: Tensor,
        points: Points | None = None,
        mask_logits: Tensor | None = None,
        *,
        multimask: bool,
        stability_fallback: bool | None = None,
        second_look: bool | None = None,
    ) -> Decoded:
        colours = features.stride4[:, :3]
        if points is None:
            wanted = conditioned[:, :3, 0, 0]
        else:
            x, y = (points.xy[:, 0] / CELL).long().clamp(0, colours.shape[-1] - 1).unbind(-1)
            wanted = colours[0, :, y, x].T
        distance = (colours - wanted[..., None, None]).norm(dim=1, keepdim=True)
        logits = (SURE * (1 - distance / NEAR)).clamp(-SURE, SURE)
        return self._decoded(logits, 3 if multimask else 1)

    def adopt(self, features: ImageFeatures, mask: Tensor) -> Decoded:
        return self._decoded(F.avg_pool2d(mask * 2 * SURE - SURE, CELL), 1)

    def remember(self, features: ImageFeatures, logits: Tensor, presence: Tensor, *, binarise: bool) -> Tensor:
        inside = (logits > 0).float()
        count = inside.sum((-2, -1))
        colour = (features.stride4[:, :3] * inside).sum((-2, -1)) / count.clamp(min=1)
        token = torch.cat((colour, (count > 0).float()), 1)[..., None, None]
        side = features.stride16.shape[-1]
        return _in_channels(token.expand(-1, -1, side, side), self.config.memory_width)

    def _decoded(self, logits: Tensor, num_masks: int) -> Decoded:
        batch = len(logits)
        present = (logits > 0).flatten(1).any(1)[:, None]
        presence = torch.where(present, SURE, -SURE)
        candidates = MaskCandidates(
            logits=logits.expand(-1, num_masks, -1, -1),
            iou=torch.tensor(SCORES)[:num_masks].expand(batch, -1),
            tokens=torch.zeros(batch, num_masks, self.config.width),
            presence=presence,
        )
        return Decoded(logits, candidates.iou[:, 0], candidates.tokens[:, 0], presence, candidates)


def _in_channels(maps: Tensor, width: int) -> Tensor:
    """Maps [b n h w] as the first n of `width` channels."""
    return F.pad(maps, (0, 0, 0, 0, 0, width - maps.shape[1]))


Thing = tuple[int, int, int, int, tuple[int, int, int]]
"""x0, y0, x1, y1 in pixels, and a colour."""


def paint(things: Sequence[Thing], height: int = 128, width: int = 128) -> np.ndarray:
    """A grey picture, uint8 RGB [H W 3], with coloured rectangles."""
    image = np.full((height, width, 3), 90, np.uint8)
    for x0, y0, x1, y1, colour in things:
        image[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)] = colour
    return image
