"""What varies between SAM 2 models, as frozen dataclasses.

Only the trunk and four switches (which flip together) differ between the eight official releases; widths, depths and
the kind of trunk are fields as well, so that smaller models of our own fit. What every model shares is a constant
beside the code that uses it. Source: the official `sam2/configs/*.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from masklet.errors import InputError


@dataclass(frozen=True)
class HieraConfig:
    """The hierarchical transformer trunk of the official releases (Ryali et al., 2023)."""

    embed_dim: int
    num_heads: int
    stages: tuple[int, int, int, int]
    global_att_blocks: tuple[int, ...]
    window_spec: tuple[int, int, int, int] = (8, 4, 14, 7)
    window_pos_embed_bkg_spatial_size: tuple[int, int] = (7, 7)

    kind: ClassVar[str] = "hiera"

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels at strides 4, 8, 16 and 32."""
        return (self.embed_dim, self.embed_dim * 2, self.embed_dim * 4, self.embed_dim * 8)


@dataclass(frozen=True)
class ConvNetConfig:
    """A plain residual convolutional trunk: cheap on a CPU, and it trains from scratch on little data.

    `global_blocks` is the number of blocks behind it in which every cell of the stride-32 map attends to all, with
    32 channels in a head.
    """

    widths: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    global_blocks: int = 0

    kind: ClassVar[str] = "convnet"

    def __post_init__(self) -> None:
        if self.global_blocks and self.widths[-1] % 32:
            raise InputError(f"the last width must be a multiple of 32 for global attention, not {self.widths[-1]}")


@dataclass(frozen=True)
class ModelConfig:
    """One model.

    `width` is the channel count of the neck, decoder and memory attention (256 in the releases), `memory_width` that of
    a stored memory (64). `signed_pointer_time` is SAM 2.1's set of four switches: object pointers carry a projected,
    signed temporal position, and a memory of an absent object gets its own embedding. `stability_fallback` says whether
    a single mask with an uncertain edge gives way to the best of the three readings: officially so (except while
    training), but worse with a model whose readings are good for single clicks alone. `second_look` says whether the
    first answer to points or a box is given back to the decoder once before it counts, `close_look` whether the answer
    to points or a box is decoded again on the part of the picture around it, `guided_edges` whether masks are brought
    to a picture's size along its own edges: the releases do not need them, a small model gains much by all three.
    """

    name: str
    trunk: HieraConfig | ConvNetConfig
    image_size: int = 1024
    width: int = 256
    memory_width: int = 64
    memory_layers: int = 4
    decoder_layers: int = 2
    feedforward: int = 2048
    signed_pointer_time: bool = True
    stability_fallback: bool = True
    second_look: bool = False
    close_look: bool = False
    guided_edges: bool = False

    @property
    def recent_memories(self) -> int:
        """Of how many frames before the present one the whole memory is recalled: six, for which there are slots.

        With a convolutional trunk three: such models learn from short clips, in which the farther slots are seldom
        filled, and do better without them (docs/decisions/0016).
        """
        return 3 if self.trunk.kind == "convnet" else 6

    def __post_init__(self) -> None:
        if self.image_size <= 0 or self.image_size % 32:
            raise InputError(f"image_size must be a positive multiple of 32, not {self.image_size}")
        if self.width % self.memory_width:
            raise InputError(f"width {self.width} must be a multiple of memory_width {self.memory_width}")
        if self.width % 32:
            raise InputError(f"width must be a multiple of 32, not {self.width}")


_TINY = HieraConfig(96, 1, (1, 2, 7, 2), (5, 7, 9))
_SMALL = HieraConfig(96, 1, (1, 2, 11, 2), (7, 10, 13))
_BASE_PLUS = HieraConfig(112, 2, (2, 3, 16, 3), (12, 16, 20), window_pos_embed_bkg_spatial_size=(14, 14))
_LARGE = HieraConfig(144, 2, (2, 6, 36, 4), (23, 33, 43), window_spec=(8, 4, 16, 8))

SAM21_TINY = ModelConfig("sam2.1-tiny", _TINY)
SAM21_SMALL = ModelConfig("sam2.1-small", _SMALL)
SAM21_BASE_PLUS = ModelConfig("sam2.1-base-plus", _BASE_PLUS)
SAM21_LARGE = ModelConfig("sam2.1-large", _LARGE)
SAM2_TINY = ModelConfig("sam2-tiny", _TINY, signed_pointer_time=False)
SAM2_SMALL = ModelConfig("sam2-small", _SMALL, signed_pointer_time=False)
SAM2_BASE_PLUS = ModelConfig("sam2-base-plus", _BASE_PLUS, signed_pointer_time=False)
SAM2_LARGE = ModelConfig("sam2-large", _LARGE, signed_pointer_time=False)

NANO = ModelConfig(
    "nano",
    ConvNetConfig(widths=(32, 64, 128, 256), depths=(2, 2, 5, 2), global_blocks=2),
    image_size=480,
    width=128,
    memory_layers=2,
    feedforward=512,
    stability_fallback=False,
    second_look=True,
    close_look=True,
    guided_edges=True,
)
"""The small model trained by this project, whose weights ship in the package."""

CONFIGS: dict[str, ModelConfig] = {
    config.name: config
    for config in (
        NANO,
        SAM21_TINY,
        SAM21_SMALL,
        SAM21_BASE_PLUS,
        SAM21_LARGE,
        SAM2_TINY,
        SAM2_SMALL,
        SAM2_BASE_PLUS,
        SAM2_LARGE,
    )
}
"""Every model masklet knows by name."""
