"""SAM 2 in five verbs: encode a picture, condition it on memories, decode a mask, adopt a given one, remember.

Source: SAM 2 paper, section 4 and figure 3. Nothing here keeps state between calls; `masklet.tracking` decides which
memories a frame sees.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from masklet.config import ModelConfig
from masklet.errors import InputError
from masklet.model.image_encoder import STRIDE, ImageEncoder, ImageFeatures
from masklet.model.layers import MLP
from masklet.model.mask_decoder import MaskCandidates, MaskDecoder
from masklet.model.memory_attention import MemoryAttention, MemoryTokens
from masklet.model.memory_encoder import MemoryEncoder
from masklet.model.positions import sine_map, sine_time
from masklet.model.prompt_encoder import PromptEncoder
from masklet.ops.coordinates import PAD, Points
from masklet.ops.resize import resize_bilinear

NUM_TEMPORAL_SLOTS = 7  # six recent frames, and one slot that all conditioning frames share
ABSENT_LOGIT = -1024.0
MASK_SCALE, MASK_BIAS = 20.0, -10.0  # how a mask in 0 to 1 is presented to the memory encoder
PRESENCE_OF_GIVEN_MASK = 10.0
MASK_TO_FEATURE = 4  # cells of a mask prompt, at the model's size, per cell of the decoder's mask input
FED_BACK_LIMIT = 32.0  # logits of an earlier answer are clamped to +- this before they are given back


@dataclass(frozen=True, eq=False)
class Decoded:
    """One mask per object.

    logits: [b 1 4h 4w], -1024 all over where the object is judged absent; iou: [b]; pointer: [b c]; presence: [b 1]
    logits; candidates: what the mask was chosen from, untouched by the judgement of presence.
    """

    logits: Tensor
    iou: Tensor
    pointer: Tensor
    presence: Tensor
    candidates: MaskCandidates


class Network(nn.Module):
    """SAM 2 and its smaller relatives; `config` says which."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        width, memory_width = config.width, config.memory_width
        self.image_encoder = ImageEncoder(config)
        self.mask_downsample = nn.Conv2d(1, 1, kernel_size=MASK_TO_FEATURE, stride=MASK_TO_FEATURE)
        self.memory_attention = MemoryAttention(width, memory_width, config.memory_layers, config.feedforward)
        self.memory_encoder = MemoryEncoder(width, memory_width)
        self.maskmem_tpos_enc = small_random(NUM_TEMPORAL_SLOTS, 1, 1, memory_width)
        self.no_mem_embed = small_random(1, 1, width)
        self.no_mem_pos_enc = small_random(1, 1, width)  # unused, but every released file has it
        self.no_obj_ptr = small_random(1, width)
        if config.signed_pointer_time:
            self.no_obj_embed_spatial = small_random(1, memory_width)
            self.obj_ptr_tpos_proj = nn.Linear(width, memory_width)
        self.sam_prompt_encoder = PromptEncoder(width)
        self.sam_mask_decoder = MaskDecoder(width, config.decoder_layers, config.feedforward)
        self.obj_ptr_proj = MLP(width, width, width, 3)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.no_obj_ptr.device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are stored in."""
        return self.no_obj_ptr.dtype

    def encode(self, pixels: Tensor) -> ImageFeatures:
        """Normalised RGB [b 3 S S], S any multiple of 32, to features; the finest two as the decoder takes them."""
        decoder = self.sam_mask_decoder
        return self.image_encoder(pixels.to(self.dtype), decoder.conv_s0, decoder.conv_s1)

    def condition(self, features: ImageFeatures, memory: MemoryTokens | None) -> Tensor:
        """The stride-16 features in the light of the memory, [b c h w]; marked as memoryless where there is none."""
        if memory is None:
            return features.stride16 + self.no_mem_embed.transpose(1, 2)[..., None]
        maps = features.expand(memory.tokens.shape[0]).stride16
        return self.memory_attention(maps, memory)

    def decode(
        self,
        features: ImageFeatures,
        conditioned: Tensor,
        points: Points | None = None,
        mask_logits: Tensor | None = None,
        *,
        multimask: bool,
        stability_fallback: bool | None = None,
        second_look: bool | None = None,
    ) -> Decoded:
        """Masks for b objects from what `condition` returned and, where there are any, prompts.

        conditioned: [b c h w], or b = 1 for many prompts on one picture; points: b rows; mask_logits: [b 1 4h 4w] of
        an earlier answer. `multimask` chooses the best of three readings by predicted IoU; without it,
        `stability_fallback` lets an unstable single mask be replaced by the best reading, `second_look` gives the first
        answer to points back to the decoder once; None for what the model's configuration says.
        """
        if stability_fallback is None:
            stability_fallback = self.config.stability_fallback
        if second_look is None:
            second_look = self.config.second_look
        candidates = self._candidates(features, conditioned, points, mask_logits).kept(multimask, stability_fallback)
        if second_look and points is not None and mask_logits is None:
            first = candidates.best().logits.clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT)
            candidates = self._candidates(features, conditioned, points, first).kept(multimask, stability_fallback)
        best = candidates.best()
        present = candidates.presence > 0
        return Decoded(
            logits=torch.where(present[..., None, None], best.logits.float(), ABSENT_LOGIT),
            iou=best.iou[:, 0],
            pointer=self._pointer(best.tokens[:, 0], present),
            presence=candidates.presence,
            candidates=candidates,
        )

    def adopt(self, features: ImageFeatures, mask: Tensor) -> Decoded:
        """Take a mask [b 1 S S] of zeros and ones as the answer; the decoder still reads it, for the pointer's sake.

        The features carry no memory, nor the mark of having none (official `_use_mask_as_output`).
        """
        logits = mask * MASK_SCALE + MASK_BIAS
        low_res = resize_bilinear(logits, mask.shape[-2] // 4, mask.shape[-1] // 4, antialias=True)
        cue = self.mask_downsample(mask.to(self.dtype))
        decoded = self.decode(features, features.stride16, mask_logits=cue, multimask=False, stability_fallback=False)
        present = mask.flatten(1).any(1)[:, None]
        pointer = torch.where(present, decoded.pointer, self.no_obj_ptr.to(decoded.pointer.dtype))
        return Decoded(
            logits=low_res,
            iou=torch.ones_like(decoded.iou),
            pointer=pointer,
            presence=torch.where(present, PRESENCE_OF_GIVEN_MASK, -PRESENCE_OF_GIVEN_MASK).to(decoded.presence.dtype),
            candidates=decoded.candidates,
        )

    def remember(self, features: ImageFeatures, logits: Tensor, presence: Tensor, *, binarise: bool) -> Tensor:
        """A memory [b m h w] of a mask, logits [b 1 4h 4w], on its frame; presence: [b 1] logits.

        `binarise` treats the mask as certain, as for prompted frames.
        """
        features = features.expand(logits.shape[0])
        height, width = features.stride16.shape[-2:]
        full = resize_bilinear(logits, height * STRIDE, width * STRIDE)
        mask = (full > 0).to(full.dtype) if binarise else full.sigmoid()
        memory = self.memory_encoder(features.stride16, (mask * MASK_SCALE + MASK_BIAS).to(self.dtype))
        if self.config.signed_pointer_time:
            absent = (presence <= 0).to(memory.dtype)[..., None, None]
            memory = memory + absent * self.no_obj_embed_spatial[..., None, None]
        return memory

    def memory_positions(self, height: int, width: int, slots: Sequence[int]) -> Tensor:
        """Positions [n*height*width m] of n memory maps in temporal slots 0 (conditioning) to 6 (the frame before).

        Slot 0 is the table's last row, slot 6 its first (official `_prepare_memory_conditioned_features`).
        """
        place = sine_map(height, width, self.config.memory_width, self.device).flatten(1).T
        times = torch.stack([self.maskmem_tpos_enc[NUM_TEMPORAL_SLOTS - 1 - slot, 0] for slot in slots])
        return (place + times).flatten(0, 1).to(self.dtype)

    def pointer_positions(self, offsets: Tensor, longest: int) -> Tensor:
        """Positions [n m] of object pointers `offsets` frames away, [n], `longest` being the farthest allowed.

        Zeros for the SAM 2 releases, which give their pointers no time.
        """
        if not self.config.signed_pointer_time:
            return torch.zeros(len(offsets), self.config.memory_width, device=self.device, dtype=self.dtype)
        # A clip of one frame has no farthest pointer; its only pointer lies zero frames away.
        times = sine_time(offsets.float() / max(longest, 1), self.config.width)
        return self.obj_ptr_tpos_proj(times.to(self.dtype))

    def _candidates(
        self, features: ImageFeatures, conditioned: Tensor, points: Points | None, mask_logits: Tensor | None
    ) -> MaskCandidates:
        height, width = conditioned.shape[-2:]
        given = (conditioned, None if points is None else points.xy, mask_logits)
        batch = max(part.shape[0] for part in given if part is not None)  # len() is a constant to exporters
        if points is None:
            points = no_points(batch, conditioned.device)
        if mask_logits is not None:
            mask_logits = resize_bilinear(mask_logits.to(self.dtype), 4 * height, 4 * width, antialias=True)
        encoder = self.sam_prompt_encoder
        return self.sam_mask_decoder(
            features.expand(batch),
            conditioned.expand(batch, -1, -1, -1),
            encoder.image_positions(height, width).to(self.dtype),
            encoder.sparse(points, height * STRIDE).to(self.dtype),
            encoder.dense(mask_logits, height, width),
        )

    def _pointer(self, tokens: Tensor, present: Tensor) -> Tensor:
        """Object pointers [b c] from mask tokens [b c]; absent objects [b 1] share a learned one."""
        return torch.where(present, self.obj_ptr_proj(tokens), self.no_obj_ptr)


def no_points(batch: int, device: torch.device) -> Points:
    """The absence of points as the releases were trained on it: one padding point."""
    return Points(torch.zeros(batch, 1, 2, device=device), torch.full((batch, 1), PAD, device=device))


def small_random(*shape: int) -> nn.Parameter:
    """A learned table, starting close to zero."""
    return nn.Parameter(nn.init.trunc_normal_(torch.zeros(shape), std=0.02))


def expect_model(model: object) -> None:
    """Raise `InputError` for anything else than a model, such as its name."""
    if isinstance(model, str | os.PathLike):
        raise InputError(f"a model is needed, not its name: masklet.load({os.fspath(model)!r})")
    if not isinstance(model, Network):
        inside = next((f": give its .{name}" for name in ("_orig_mod", "module") if hasattr(model, name)), "")
        raise InputError(f"a model is needed, as masklet.load gives, not {type(model).__name__}{inside}")
