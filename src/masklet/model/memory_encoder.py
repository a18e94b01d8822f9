"""The memory encoder: a frame's features and its mask become a memory (paper section 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from masklet.model.layers import LayerNorm2d

MASK_CHANNELS = (1, 4, 16, 64, 256)  # four halvings, the square of two more channels each
NUM_FUSER_LAYERS = 2
LAYER_SCALE = 1e-6


class MemoryEncoder(nn.Module):
    """Features [b c h w] and a scaled mask [b 1 16h 16w] to a memory [b m h w]."""

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(width)
        self.pix_feat_proj = nn.Conv2d(width, width, kernel_size=1)
        self.fuser = Fuser(width)
        self.out_proj = nn.Conv2d(width, memory_width, kernel_size=1)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        return self.out_proj(self.fuser(self.pix_feat_proj(features) + self.mask_downsampler(mask)))


class MaskDownsampler(nn.Module):
    """[b 1 16h 16w] to [b c h w] by four strided convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for channels_in, channels in zip(MASK_CHANNELS[:-1], MASK_CHANNELS[1:]):
            steps += [nn.Conv2d(channels_in, channels, 3, stride=2, padding=1), LayerNorm2d(channels), nn.GELU()]
        self.encoder = nn.Sequential(*steps, nn.Conv2d(MASK_CHANNELS[-1], width, kernel_size=1))

    def forward(self, mask: Tensor) -> Tensor:
        return self.encoder(mask)


class Fuser(nn.Module):
    """ConvNeXt blocks (Liu et al., 2022) over the sum of features and mask."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNeXtBlock(width) for _ in range(NUM_FUSER_LAYERS))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class ConvNeXtBlock(nn.Module):
    """A depthwise 7 x 7 convolution, then an MLP on each pixel, scaled and residual."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, kernel_size=7, padding=3, groups=width)
        self.norm = LayerNorm2d(width)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.act = nn.GELU()
        self.pwconv2 = nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(LAYER_SCALE * torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        pixels = self.norm(self.dwconv(x)).permute(0, 2, 3, 1)
        pixels = self.gamma * self.pwconv2(self.act(self.pwconv1(pixels)))
        return x + pixels.permute(0, 3, 1, 2)
