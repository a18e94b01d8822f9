"""A plain residual convolutional trunk (He et al., 2016), for small models that train from scratch on a CPU."""

from __future__ import annotations

from torch import Tensor, nn

from masklet.config import ConvNetConfig


class ConvNet(nn.Module):
    """Pixels [b 3 H W] to four maps at strides 4, 8, 16 and 32, channels as `config.widths`."""

    def __init__(self, config: ConvNetConfig) -> None:
        super().__init__()
        first = config.widths[0]
        self.stem = nn.Sequential(
            *conv_norm(3, first // 2, stride=2), nn.ReLU(), *conv_norm(first // 2, first, stride=2), nn.ReLU()
        )
        inputs = (first, *config.widths[:-1])
        self.stages = nn.ModuleList(
            nn.Sequential(
                ResidualBlock(width_in, width, stride=1 if stage == 0 else 2),
                *(ResidualBlock(width, width) for _ in range(depth - 1)),
            )
            for stage, (width_in, width, depth) in enumerate(zip(inputs, config.widths, config.depths))
        )

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = self.stem(pixels)
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut, which is projected where width or size changes."""

    def __init__(self, width_in: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(*conv_norm(width_in, width, stride), nn.ReLU(), *conv_norm(width, width))
        projects = stride != 1 or width_in != width
        self.shortcut = nn.Sequential(*conv_norm(width_in, width, stride, kernel=1)) if projects else nn.Identity()
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.body(x) + self.shortcut(x))


def conv_norm(width_in: int, width: int, stride: int = 1, kernel: int = 3) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    """A convolution, without the bias that the batch normalisation behind it would cancel."""
    return nn.Conv2d(width_in, width, kernel, stride, padding=kernel // 2, bias=False), nn.BatchNorm2d(width)
