"""Stand-in checkpoints with exactly the keys and shapes of the eight released files.

The values come from NumPy (PCG64, one seed per key), so every machine, torch and implementation draws the same ones. A
name is a key of `shapes.json`: sam2_hiera_{t,s,b+,l} or sam2.1_hiera_{t,s,b+,l}.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SHAPES: dict[str, dict[str, list[int]]] = json.loads((Path(__file__).parent / "shapes.json").read_text())

# In a random network memories and pointers hardly show. These gains make a pointer left out, or temporal slots mixed
# up, move the masks by far more than rounding does.
GAINS = {"cross_attn_image.out_proj": 4.0, "obj_ptr_proj.layers.2": 8.0}
TABLES = ("no_mem_embed", "no_mem_pos_enc", "maskmem_tpos_enc", "no_obj_ptr", "no_obj_embed_spatial")


def draw(key: str, shape: list[int]) -> NDArray[np.float32]:
    """The tensor of one key."""
    generator = np.random.Generator(np.random.PCG64(zlib.crc32(key.encode())))
    noise = generator.standard_normal(shape, dtype=np.float32)
    if key.endswith("positional_encoding_gaussian_matrix"):
        return noise
    if "pos_embed" in key or key.endswith(TABLES):
        return 0.1 * noise
    if key == "sam_mask_decoder.pred_obj_score_head.layers.2.bias":
        return noise * 0 + np.float32(1.5)  # most objects are judged present, not all
    if "_embed.weight" in key or "embeddings" in key or "_token" in key:
        return 0.2 * noise
    if len(shape) <= 1:
        is_scale = key.endswith(("weight", "gamma"))
        return (1.0 + 0.1 * noise if is_scale else 0.05 * noise).astype(np.float32)
    gain = next((gain for part, gain in GAINS.items() if part in key), 1.0)
    return noise * np.float32(gain / math.sqrt(math.prod(shape[1:])))


def seeded_state(name: str) -> dict[str, NDArray[np.float32]]:
    """The state dict of one release."""
    return {key: draw(key, shape) for key, shape in SHAPES[name].items()}
