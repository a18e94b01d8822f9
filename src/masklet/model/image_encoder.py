"""The image encoder: a trunk and a feature pyramid neck (paper section 4; Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.config import ConvNetConfig, HieraConfig, ModelConfig
from masklet.model.convnet import ConvNet
from masklet.model.hiera import Hiera
from masklet.model.layers import pointwise

STRIDE = 16
"""Pixels of the model's picture per cell of `ImageFeatures.stride16`."""


@dataclass(frozen=True, eq=False)
class ImageFeatures:
    """What one picture looks like to the rest of the network.

    stride4: [b c/8 4h 4w] and stride8: [b c/4 2h 2w], as the mask decoder takes them; stride16: [b c h w].
    """

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor

    @staticmethod
    def join(several: Sequence[ImageFeatures]) -> ImageFeatures:
        """The features of several batches as those of one."""
        maps = zip(*((one.stride4, one.stride8, one.stride16) for one in several))
        return ImageFeatures(*(torch.cat(strides) for strides in maps))

    def expand(self, batch: int) -> ImageFeatures:
        """The same features for `batch` prompts, without a copy where there is one picture."""
        if self.stride16.shape[0] == batch:
            return self
        return ImageFeatures(*(maps.expand(batch, -1, -1, -1) for maps in (self.stride4, self.stride8, self.stride16)))

    def select(self, rows: Tensor) -> ImageFeatures:
        """The pictures at `rows` [n] of the batch."""
        return ImageFeatures(self.stride4[rows], self.stride8[rows], self.stride16[rows])

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None) -> ImageFeatures:
        """The same features elsewhere or in another precision."""
        return ImageFeatures(*(maps.to(device, dtype) for maps in (self.stride4, self.stride8, self.stride16)))


class ImageEncoder(nn.Module):
    """Normalised pixels [b 3 H W] to features; the two 1 x 1 convolutions that make the finest are the decoder's."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.trunk = make_trunk(config.trunk)
        self.neck = Neck(config.trunk.widths, config.width)

    def forward(self, pixels: Tensor, to_stride4: nn.Conv2d, to_stride8: nn.Conv2d) -> ImageFeatures:
        return self.neck(self.trunk(pixels), to_stride4, to_stride8)


def make_trunk(config: HieraConfig | ConvNetConfig) -> nn.Module:
    """A module that turns pixels into four maps at strides 4, 8, 16 and 32."""
    return Hiera(config) if isinstance(config, HieraConfig) else ConvNet(config)


class Neck(nn.Module):
    """Lateral 1 x 1 convolutions; only the stride-32 map is added to the one above it."""

    def __init__(self, trunk_widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        # Deepest first, which is the order of the released files.
        self.convs = nn.ModuleList(Lateral(channels, width) for channels in reversed(trunk_widths))

    def forward(self, maps: list[Tensor], to_stride4: nn.Conv2d, to_stride8: nn.Conv2d) -> ImageFeatures:
        thens = (to_stride4, to_stride8, None, None)
        stride4, stride8, stride16, stride32 = (
            lateral(x, then) for lateral, x, then in zip(reversed(self.convs), maps, thens)
        )
        # Nearest-neighbour upsampling in float32: half precision has no such kernel on every backend. Under autocast
        # the sum stays so, as officially: memories are made of it, outside of autocast perhaps.
        deep = F.interpolate(stride32.float(), scale_factor=2.0, mode="nearest")
        return ImageFeatures(stride4, stride8, stride16 + deep.to(to_stride4.weight.dtype))


class Lateral(nn.Module):
    """One 1 x 1 convolution, held in a module of its own for the key names of the released files."""

    def __init__(self, width_in: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width_in, width, kernel_size=1)

    def forward(self, x: Tensor, then: nn.Conv2d | None) -> Tensor:
        return self.conv(x) if then is None else pointwise(x, self.conv, then)
