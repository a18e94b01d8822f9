"""The paper's losses for one decoding of one frame (SAM 2, appendix D; Lin et al., 2017; Milletari et al., 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from masklet.data.ranges import check_not_negative
from masklet.errors import InputError
from masklet.ops.resize import resize_bilinear

if TYPE_CHECKING:
    from masklet.model.mask_decoder import MaskCandidates

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0


@dataclass(frozen=True)
class LossWeights:
    """How the four parts are added up. The defaults are the paper's; they assume a pretrained trunk."""

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 1.0

    def __post_init__(self) -> None:
        check_not_negative(self, "focal", "dice", "iou", "presence")
        if not self.focal + self.dice + self.iou + self.presence:
            raise InputError("some loss needs a weight above 0: focal, dice, iou or presence")


FROM_SCRATCH = LossWeights(focal=4.0)
"""With a trunk that knows little, less focal loss than the paper's 20 learns about twice as fast."""


@dataclass(frozen=True, eq=False)
class DecodingLoss:
    """The parts for each row of one decoding, [b], not yet weighted, and the IoU of what would be shown of it, [b]:
    the candidate that is taken to be best, or nothing where the object is judged absent."""

    focal: Tensor
    dice: Tensor
    iou: Tensor
    presence: Tensor
    shown_iou: Tensor

    def total(self, weights: LossWeights) -> Tensor:
        """The weighted sum for each row, [b]."""
        return (
            weights.focal * self.focal
            + weights.dice * self.dice
            + weights.iou * self.iou
            + weights.presence * self.presence
        )

    def scalars(self, moment: str) -> dict[str, Tensor]:
        """What to watch, [b] each, the IoU under the name of the `moment` of a session it belongs to."""
        return {
            f"iou/{moment}": self.shown_iou,
            "loss/focal": self.focal,
            "loss/dice": self.dice,
            "loss/iou": self.iou,
            "loss/presence": self.presence,
        }


def decoding_loss(candidates: MaskCandidates, truth: Tensor, weights: LossWeights) -> DecodingLoss:
    """Compare the m candidate masks of one decoding with the truth.

    Only the candidate with the lowest weighted focal + dice loss is taught its mask, all candidates their IoU
    (L1), and presence is taught by cross-entropy. Where the object is absent only presence counts.
    truth: [b 1 H W] bool, H and W a whole multiple of the candidates' size or equal to it.
    """
    logits = resize_bilinear(candidates.logits.float(), *truth.shape[-2:])
    target = truth.to(logits.dtype).expand_as(logits)
    focal, dice = focal_loss(logits, target), dice_loss(logits, target)
    best = (weights.focal * focal + weights.dice * dice).argmin(1, keepdim=True)
    true_iou = mask_iou(logits.detach() > 0, truth)
    shown = candidates.iou.argmax(1, keepdim=True)
    present = truth.flatten(1).any(1).to(logits.dtype)
    presence = candidates.presence.float().squeeze(1)
    return DecodingLoss(
        focal=focal.gather(1, best).squeeze(1) * present,
        dice=dice.gather(1, best).squeeze(1) * present,
        iou=(candidates.iou.float() - true_iou).abs().mean(1) * present,
        presence=F.binary_cross_entropy_with_logits(presence, present, reduction="none"),
        shown_iou=torch.where(presence > 0, true_iou.gather(1, shown).squeeze(1), 1 - present),
    )


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Sigmoid focal loss averaged over the pixels of each mask: [b m H W] twice to [b m]."""
    cross_entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    miss = 1 - torch.exp(-cross_entropy)
    balance = FOCAL_ALPHA * target + (1 - FOCAL_ALPHA) * (1 - target)
    return (balance * miss.pow(FOCAL_GAMMA) * cross_entropy).flatten(2).mean(2)


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """One minus the soft Dice overlap, smoothed by one pixel: [b m H W] twice to [b m]."""
    soft, target = logits.sigmoid().flatten(2), target.flatten(2)
    return 1 - (2 * (soft * target).sum(2) + 1) / (soft.sum(2) + target.sum(2) + 1)


def mask_iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """Intersection over union of boolean masks [b m H W] and [b 1 H W] as [b m]; two empty masks agree fully."""
    intersection = (predicted & truth).flatten(2).sum(2)
    union = (predicted | truth).flatten(2).sum(2)
    return torch.where(union > 0, intersection / union.clamp(min=1), torch.ones_like(union, dtype=torch.float32))
