"""Small random networks and clips: every mechanism of the real ones, in milliseconds."""

from __future__ import annotations

import numpy as np
import torch

from masklet.config import ConvNetConfig, HieraConfig, ModelConfig
from masklet.model.network import Network

TINY_CONVNET = ModelConfig(
    "tiny-convnet",
    ConvNetConfig(widths=(8, 16, 16, 32), depths=(1, 1, 1, 1)),
    image_size=64,
    width=64,
    memory_width=32,
    memory_layers=2,
    feedforward=64,
)
TINY_HIERA = ModelConfig(
    "tiny-hiera",
    HieraConfig(16, 1, (1, 1, 2, 1), (3,), window_spec=(4, 2, 2, 2), window_pos_embed_bkg_spatial_size=(3, 3)),
    image_size=64,
    width=64,
    memory_width=32,
    memory_layers=2,
    feedforward=64,
)


def tiny_model(config: ModelConfig = TINY_CONVNET, seed: int = 0) -> Network:
    """A random network in which memories and pointers move the masks a good deal, and most objects are present."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        model = Network(config)
        for name, weight in model.named_parameters():
            if weight.ndim > 1:
                gain = 4.0 if "cross_attn_image.out_proj" in name or name.startswith("obj_ptr_proj.layers.2") else 1.0
                fan_in = weight[0].numel() if "embed" not in name and "token" not in name else 4
                weight.normal_(generator=generator).mul_(gain * fan_in**-0.5)
        model.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(1.5)
    return model.eval()


def tiny_clip(num_frames: int, height: int = 48, width: int = 72, seed: int = 0) -> np.ndarray:
    """uint8 [t H W 3]: a bright square drifting over noise."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 120, (height, width, 3), dtype=np.uint8)
    frames = np.repeat(ground[None], num_frames, axis=0)
    for t in range(num_frames):
        x = 4 + (3 * t) % (width - 20)
        frames[t, 12:28, x : x + 16] = (220, 120 + 3 * (t % 40), 60)
    return frames
