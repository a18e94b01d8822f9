"""Memory attention: the present frame looks at what was remembered (paper section 4 and appendix D.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.model.layers import to_maps, to_tokens
from masklet.model.positions import rotary_map, rotate, sine_map

POSITION_WEIGHT = 0.1


@dataclass(frozen=True, eq=False)
class MemoryTokens:
    """What the present frame may look at.

    tokens, position: [b n m] with m the memory width; the first n - num_pointer_tokens are whole memory maps, row by
    row, one after the other; the tail are object pointers, which have no place in the picture to rotate by.
    """

    tokens: Tensor
    position: Tensor
    num_pointer_tokens: int


class MemoryAttention(nn.Module):
    """Layers of self-attention over the frame and cross-attention to the memories."""

    def __init__(self, width: int, memory_width: int, num_layers: int, feedforward: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(MemoryLayer(width, memory_width, feedforward) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, maps: Tensor, memory: MemoryTokens) -> Tensor:
        """[b c h w] to [b c h w], conditioned on the memory."""
        height, width = maps.shape[-2:]
        positions = sine_map(height, width, maps.shape[1], maps.device).to(maps.dtype)
        rotary = rotary_map(height, width, maps.shape[1], maps.device)
        x = to_tokens(maps + POSITION_WEIGHT * positions)
        for layer in self.layers:
            x = layer(x, memory, rotary)
        return to_maps(self.norm(x), height, width)


class MemoryLayer(nn.Module):
    """Pre-norm: self-attention, cross-attention to memory, feed-forward, each residual."""

    def __init__(self, width: int, memory_width: int, feedforward: int) -> None:
        super().__init__()
        self.self_attn = RotaryAttention(width, width)
        self.cross_attn_image = RotaryAttention(width, memory_width)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.norm3 = nn.LayerNorm(width)

    def forward(self, x: Tensor, memory: MemoryTokens, rotary: tuple[Tensor, Tensor]) -> Tensor:
        frame = self.norm1(x)
        x = x + self.self_attn(frame, frame, frame, rotary)
        placed = memory.tokens + memory.position
        x = x + self.cross_attn_image(self.norm2(x), placed, memory.tokens, rotary, memory.num_pointer_tokens)
        return x + self.linear2(F.relu(self.linear1(self.norm3(x))))


class RotaryAttention(nn.Module):
    """One-headed attention in which queries and keys are rotated by their place in the picture."""

    def __init__(self, width: int, key_width: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(key_width, width)
        self.v_proj = nn.Linear(key_width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, rotary: tuple[Tensor, Tensor], num_unplaced: int = 0
    ) -> Tensor:
        """query: [b h*w c]; key, value: [b n m], n a multiple of h*w but for the last `num_unplaced`."""
        q = rotate(self.q_proj(query), *rotary)
        k = self.k_proj(key)
        placed = k.shape[1] - num_unplaced
        maps = k[:, :placed].unflatten(1, (-1, query.shape[1]))
        k = torch.cat((rotate(maps, *rotary).flatten(1, 2), k[:, placed:]), dim=1)
        attended = F.scaled_dot_product_attention(q[:, None], k[:, None], self.v_proj(value)[:, None])
        return self.out_proj(attended[:, 0])
