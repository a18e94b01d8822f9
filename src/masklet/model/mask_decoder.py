"""The mask decoder: prompt tokens and picture attend to each other, then draw masks (paper section 4, figure 8).

Beyond SAM's decoder it takes high-resolution features from the encoder, and judges whether the object is there at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from masklet.model.image_encoder import ImageFeatures
from masklet.model.layers import MLP, LayerNorm2d, join_heads, split_heads, to_maps, to_tokens

NUM_HEADS = 8
NUM_MASKS = 4  # one for prompts that leave no doubt, three for those that do
STABILITY_DELTA = 0.05
STABILITY_THRESHOLD = 0.98


@dataclass(frozen=True, eq=False)
class MaskCandidates:
    """Masks to choose from. logits: [b m 4h 4w]; iou: [b m] in 0 to 1; tokens: [b m c]; presence: [b 1] logits."""

    logits: Tensor
    iou: Tensor
    tokens: Tensor
    presence: Tensor

    def kept(self, multimask: bool, stability_fallback: bool) -> MaskCandidates:
        """What is chosen from for a prompt with or without a doubt."""
        if multimask:
            return self.ambiguous()
        return self.stable_single() if stability_fallback else self.single()

    def best(self) -> MaskCandidates:
        """The one with the highest predicted IoU."""
        rows = torch.arange(self.iou.shape[0], device=self.iou.device)
        best = self.iou.argmax(1)
        logits, iou, tokens = (each[rows, best][:, None] for each in (self.logits, self.iou, self.tokens))
        return MaskCandidates(logits, iou, tokens, self.presence)

    def ambiguous(self) -> MaskCandidates:
        """The three masks that cover an ambiguous prompt's readings."""
        return self._keep(slice(1, None))

    def single(self) -> MaskCandidates:
        """The one mask for a prompt that leaves no doubt."""
        return self._keep(slice(0, 1))

    def stable_single(self) -> MaskCandidates:
        """The single mask or, where its edge is uncertain, the best of the three.

        The token stays that of the single mask, as in the official code: the object pointer is made from it.
        """
        reading = self.ambiguous().best()
        stable = (stability(self.logits[:, 0], STABILITY_DELTA) >= STABILITY_THRESHOLD)[:, None]
        return MaskCandidates(
            logits=torch.where(stable[..., None, None], self.logits[:, :1], reading.logits),
            iou=torch.where(stable, self.iou[:, :1], reading.iou),
            tokens=self.tokens[:, :1],
            presence=self.presence,
        )

    def _keep(self, which: slice) -> MaskCandidates:
        return MaskCandidates(self.logits[:, which], self.iou[:, which], self.tokens[:, which], self.presence)


def stability(logits: Tensor, delta: float) -> Tensor:
    """How little a mask changes when its threshold moves by +-delta: an IoU, [... H W] to [...]; 1 where empty."""
    inner = (logits > delta).sum((-2, -1)).float()
    outer = (logits > -delta).sum((-2, -1)).float()
    return torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)


class MaskDecoder(nn.Module):
    """Picture features and prompt tokens to `NUM_MASKS` candidates."""

    def __init__(self, width: int, num_layers: int, feedforward: int) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(width, num_layers, feedforward)
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(NUM_MASKS, width)
        self.obj_score_token = nn.Embedding(1, width)
        self.conv_s0 = nn.Conv2d(width, width // 8, kernel_size=1)
        self.conv_s1 = nn.Conv2d(width, width // 4, kernel_size=1)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, kernel_size=2, stride=2),
            LayerNorm2d(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, kernel_size=2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(MLP(width, width, width // 8, 3) for _ in range(NUM_MASKS))
        self.iou_prediction_head = MLP(width, width, NUM_MASKS, 3)
        self.pred_obj_score_head = MLP(width, width, 1, 3)

    def forward(
        self, features: ImageFeatures, conditioned: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor
    ) -> MaskCandidates:
        """conditioned: [b c h w]; positions: [1 c h w]; sparse: [b n c]; dense: [b c h w] or [1 c 1 1]."""
        output_tokens = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((output_tokens.expand(sparse.shape[0], -1, -1), sparse), dim=1)
        tokens, maps = self.transformer(conditioned + dense, positions, tokens)
        presence_token, iou_token, mask_tokens = tokens[:, 0], tokens[:, 1], tokens[:, 2 : 2 + NUM_MASKS]
        brushes = torch.stack([mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=2)
        canvas = self._upscale(maps, features)
        return MaskCandidates(
            # Cells times channels, as the canvas lies in memory: the other way round, gradients come back in another
            # order than what they meet, and GELU's takes five times as long on a CPU.
            logits=to_maps(to_tokens(canvas) @ brushes, *canvas.shape[-2:]),
            iou=self.iou_prediction_head(iou_token).sigmoid(),
            tokens=mask_tokens,
            presence=self.pred_obj_score_head(presence_token),
        )

    def _upscale(self, maps: Tensor, features: ImageFeatures) -> Tensor:
        """[b c h w] to [b c/8 4h 4w], adding the encoder's fine features on the way."""
        double, norm, activation, quadruple, last_activation = self.output_upscaling
        maps = activation(norm(double(maps) + features.stride8))
        return last_activation(quadruple(maps) + features.stride4)


class TwoWayTransformer(nn.Module):
    """Layers in which tokens attend to the picture and the picture to the tokens; tokens have the last word."""

    def __init__(self, width: int, num_layers: int, feedforward: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(width, feedforward, first=index == 0) for index in range(num_layers))
        self.final_attn_token_to_image = Attention(width, width // 2)
        self.norm_final_attn = nn.LayerNorm(width)

    def forward(self, maps: Tensor, positions: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """maps: [b c h w]; positions: [1 c h w]; prompts: [b n c]. Returns tokens [b n c] and maps [b c h w]."""
        height, width = maps.shape[-2:]
        image, where = to_tokens(maps), to_tokens(positions)
        tokens = prompts
        for layer in self.layers:
            tokens, image = layer(tokens, image, prompts, where)
        attended = self.final_attn_token_to_image(tokens + prompts, image + where, image)
        return self.norm_final_attn(tokens + attended), to_maps(image, height, width)


class TwoWayLayer(nn.Module):
    """Tokens among themselves, tokens to picture, an MLP, picture to tokens; each residual, then normalised.

    The prompts serve as positions of the tokens. In the first layer tokens still are the prompts, so that neither a
    position nor a residual is added there.
    """

    def __init__(self, width: int, feedforward: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(width, width // 2)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MLP(width, feedforward, width, num_layers=2)
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(width, width // 2, few_keys=True)
        self.norm4 = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, image: Tensor, prompts: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
        if self.first:
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + prompts
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.cross_attn_token_to_image(tokens + prompts, image + where, image))
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = self.norm4(image + self.cross_attn_image_to_token(image + where, tokens + prompts, tokens))
        return tokens, image


class Attention(nn.Module):
    """Multi-head attention at an inner width of its own.

    few_keys: there are far fewer keys than queries, such as a dozen tokens that a whole picture attends to.
    """

    def __init__(self, width: int, inner: int, few_keys: bool = False) -> None:
        super().__init__()
        self.few_keys = few_keys
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """query: [b n c]; key, value: [b k c]. Returns [b n c]."""
        q = split_heads(self.q_proj(query), NUM_HEADS)
        k = split_heads(self.k_proj(key), NUM_HEADS)
        v = split_heads(self.v_proj(value), NUM_HEADS)
        attend = attend_to_few if self.few_keys and q.device.type == "cpu" else F.scaled_dot_product_attention
        return self.out_proj(join_heads(attend(q, k, v)))


def attend_to_few(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention for very few keys on a CPU, where PyTorch's own takes four times as long; [b heads n d] each.

    Keys come first, so that the softmax runs along rows of queries rather than along a handful of numbers at a time.
    """
    weights = ((k * k.shape[-1] ** -0.5) @ q.transpose(-2, -1)).softmax(-2)
    return weights.transpose(-2, -1) @ v
