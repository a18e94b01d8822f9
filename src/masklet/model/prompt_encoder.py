"""The prompt encoder: points, boxes and masks as embeddings (paper section 4, as in SAM)."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from masklet.model.layers import LayerNorm2d
from masklet.ops.coordinates import PAD, Points

NUM_POINT_KINDS = 4  # background, foreground, and the two corners of a box
MASK_CHANNELS = 16


class PromptEncoder(nn.Module):
    """Sparse prompts become tokens, a mask becomes a map added to the picture's features."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.pe_layer = FourierPositions(width // 2)
        self.point_embeddings = nn.ModuleList([nn.Embedding(1, width) for _ in range(NUM_POINT_KINDS)])
        self.not_a_point_embed = nn.Embedding(1, width)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, MASK_CHANNELS // 4, kernel_size=2, stride=2),
            LayerNorm2d(MASK_CHANNELS // 4),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS // 4, MASK_CHANNELS, kernel_size=2, stride=2),
            LayerNorm2d(MASK_CHANNELS),
            nn.GELU(),
            nn.Conv2d(MASK_CHANNELS, width, kernel_size=1),
        )
        self.no_mask_embed = nn.Embedding(1, width)

    def sparse(self, points: Points, image_size: int) -> Tensor:
        """Tokens [b n+1 c] of points on a picture of `image_size` pixels; the last stands for "no box follows".

        No points at all (n = 0) make no tokens either, as where a picture is prompted by a mask alone.
        """
        if not points.xy.shape[1]:
            return self.no_mask_embed.weight.new_zeros(len(points.xy), 0, self.no_mask_embed.embedding_dim)
        padding = Points(torch.zeros_like(points.xy[:, :1]), torch.full_like(points.label[:, :1], PAD))
        points = points.followed_by(padding)
        # Points name pixels; half a pixel further lies their centre.
        where = self.pe_layer((points.xy + 0.5) / image_size)
        kinds = torch.cat([self.not_a_point_embed.weight, *self.point_embeddings.parameters()])
        is_point = (points.label != PAD)[..., None]
        return torch.where(is_point, where, torch.zeros_like(where)) + kinds[points.label.long() + 1]

    def dense(self, mask_logits: Tensor | None, height: int, width: int) -> Tensor:
        """A map [b c height width] for logits [b 1 4*height 4*width], or [1 c 1 1] where there are none."""
        if mask_logits is None:
            return self.no_mask_embed.weight[:, :, None, None]
        return self.mask_downscaling(mask_logits)

    def image_positions(self, height: int, width: int) -> Tensor:
        """Positions of the cells of a feature map, [1 c height width]."""
        device = self.no_mask_embed.weight.device
        rows = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        columns = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        return self.pe_layer(torch.stack((x, y), dim=-1)).permute(2, 0, 1)[None]


class FourierPositions(nn.Module):
    """Random Fourier features of places in the unit square (Tancik et al., 2020)."""

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, num_waves: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, num_waves))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> FourierPositions:
        """Move to another device, but not into half precision, in which places lose pixels."""
        matrix = self.positional_encoding_gaussian_matrix
        super()._apply(fn, recurse)
        moved = self.positional_encoding_gaussian_matrix
        if moved.dtype.itemsize < torch.float32.itemsize:
            self.positional_encoding_gaussian_matrix = matrix.to(moved.device, torch.float32)
        return self

    def forward(self, xy: Tensor) -> Tensor:
        """[... 2] in 0 to 1 to [... 2*num_waves]."""
        matrix = self.positional_encoding_gaussian_matrix
        angles = (2 * math.pi) * ((2 * xy - 1).to(matrix.dtype) @ matrix)
        return torch.cat((angles.sin(), angles.cos()), dim=-1)
