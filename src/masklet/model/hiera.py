"""Hiera, the hierarchical transformer trunk of the official releases.

Source: SAM 2 paper, section 4 and appendix D.1; Ryali et al. 2023; Bolya et al. 2023 for the window-tiled positions.
Maps are b h w c inside this file, since every layer but the first works on the last axis.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.config import HieraConfig
from masklet.model.layers import MLP

NORM_EPS = 1e-6

FEW_QUERIES = 8
"""What the kernel for a few queries on Apple's GPUs takes; see `attention_for`."""


class Hiera(nn.Module):
    """Pixels [b 3 H W] to four maps at strides 4, 8, 16 and 32, channels as `config.widths`."""

    def __init__(self, config: HieraConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(config.embed_dim)
        tile = config.window_spec[0]
        self.pos_embed = nn.Parameter(torch.zeros(1, config.embed_dim, *config.window_pos_embed_bkg_spatial_size))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, config.embed_dim, tile, tile))
        self.stage_ends = [end - 1 for end in accumulate(config.stages)]
        self.blocks = nn.ModuleList(plan_blocks(config))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        x = self.patch_embed(pixels)
        x = x + self.positions(x.shape[1], x.shape[2])
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.stage_ends:
                maps.append(x.permute(0, 3, 1, 2))
        return maps

    def positions(self, height: int, width: int) -> Tensor:
        """[1 height width c]: a coarse embedding stretched over the picture plus a tile repeated across it."""
        coarse = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        tile = self.pos_embed_window
        repeats = (-(-height // tile.shape[2]), -(-width // tile.shape[3]))
        tiled = tile.tile(1, 1, *repeats)[:, :, :height, :width]
        return (coarse + tiled).permute(0, 2, 3, 1)


def plan_blocks(config: HieraConfig) -> list[Block]:
    """The blocks in order. A stage's first block doubles the width, halves the map, and still uses the windows of the
    stage before, since it partitions before it pools."""
    blocks = []
    index = 0
    for stage, depth in enumerate(config.stages):
        for position in range(depth):
            enters_stage = position == 0 and stage > 0
            window = config.window_spec[stage - 1 if enters_stage else stage]
            blocks.append(
                Block(
                    width_in=config.widths[stage - 1 if enters_stage else stage],
                    width=config.widths[stage],
                    num_heads=config.num_heads * 2**stage,
                    window=0 if index in config.global_att_blocks else window,
                    pool=enters_stage,
                )
            )
            index += 1
    return blocks


class PatchEmbed(nn.Module):
    """Overlapping 7 x 7 patches at stride 4: [b 3 H W] to [b H/4 W/4 c]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, kernel_size=7, stride=4, padding=3)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.proj(pixels).permute(0, 2, 3, 1)


class Block(nn.Module):
    """Attention within windows (or over the whole map where `window` is 0), then an MLP; both residual."""

    def __init__(self, width_in: int, width: int, num_heads: int, window: int, pool: bool) -> None:
        super().__init__()
        self.window = window
        self.pool = pool
        self.norm1 = nn.LayerNorm(width_in, eps=NORM_EPS)
        self.attn = PooledAttention(width_in, width, num_heads, pool)
        self.norm2 = nn.LayerNorm(width, eps=NORM_EPS)
        self.mlp = MLP(width, 4 * width, width, num_layers=2, gelu=True)
        if width_in != width:
            self.proj = nn.Linear(width_in, width)

    def forward(self, x: Tensor) -> Tensor:
        """[b h w width_in] to [b h w width], h and w halved where the block pools."""
        shortcut = x
        x = self.norm1(x)
        if hasattr(self, "proj"):
            shortcut = self.proj(x)
        if self.pool:
            shortcut = max_pool(shortcut)
        height, width = shortcut.shape[1:3]
        if self.window:
            windows = self.attn(to_windows(x, self.window))
            x = from_windows(windows, x.shape[0], height, width)
        else:
            x = self.attn(x)
        x = shortcut + x
        return x + self.mlp(self.norm2(x))


class PooledAttention(nn.Module):
    """Multi-head self-attention over a map, the queries pooled 2 x 2 where a stage begins."""

    def __init__(self, width_in: int, width: int, num_heads: int, pool: bool) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.pool = pool
        self.qkv = nn.Linear(width_in, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """[b h w width_in] to [b h w width] or, pooled, [b h/2 w/2 width]."""
        b, height, width, _ = x.shape
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        if self.pool:
            query = max_pool(query)
            height, width = query.shape[1:3]
        q, k, v = (
            part.flatten(1, 2).unflatten(2, (self.num_heads, -1)).transpose(1, 2) for part in (query, key, value)
        )
        attended = attention_for(q)(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(b, height, width, -1))


def attention_for(q: Tensor) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """What attends from queries [b heads n d].

    Apple's GPUs have a kernel of their own for a few queries, as each window has them where a stage begins; it reads
    views such as these wrongly (PyTorch 2.8 to 2.11, issues 163597 and 181133).
    """
    few_on_mps = q.device.type == "mps" and q.shape[-2] <= FEW_QUERIES
    return plain_attention if few_on_mps else F.scaled_dot_product_attention


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """`scaled_dot_product_attention` written out; [b heads n d] each."""
    return ((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)).softmax(-1) @ v


def max_pool(x: Tensor) -> Tensor:
    """Halve a map: [b h w c] to [b h/2 w/2 c]."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def to_windows(x: Tensor, window: int) -> Tensor:
    """Cut [b h w c], zero-padded right and below to whole windows, into [b*num_windows window window c]."""
    b, height, width, c = x.shape
    below, right = -height % window, -width % window
    if below or right:
        x = F.pad(x, (0, 0, 0, right, 0, below))
    rows, columns = (height + below) // window, (width + right) // window
    x = x.reshape(b, rows, window, columns, window, c)
    return x.transpose(2, 3).reshape(-1, window, window, c)


def from_windows(windows: Tensor, batch: int, height: int, width: int) -> Tensor:
    """Put windows [b*num_windows s s c] together again and cut the padding off: [b height width c]."""
    size, c = windows.shape[1], windows.shape[3]
    rows, columns = -(-height // size), -(-width // size)
    x = windows.reshape(batch, rows, columns, size, size, c).transpose(2, 3)
    return x.reshape(batch, rows * size, columns * size, c)[:, :height, :width]
