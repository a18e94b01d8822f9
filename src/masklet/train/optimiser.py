"""AdamW with layer decay on the trunk, learning-rate schedules, and a moving average of the weights."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from masklet.errors import InputError
from masklet.model.layers import LayerNorm2d

VISION = "image_encoder."
TRUNK = "image_encoder.trunk."
_BLOCK = re.compile(r"image_encoder\.trunk\.((?:global_)?blocks\.\d+|stages\.\d+\.\d+)\.")


@dataclass(frozen=True)
class Schedule:
    """A learning rate over `steps` steps: linear warm-up to the peak, then a half cosine down to `final` of it."""

    steps: int
    warmup: int = 0
    final: float = 0.1

    def __call__(self, step: int) -> float:
        """The factor on the peak learning rate at `step`, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        progress = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW's settings (Loshchilov & Hutter, 2019).

    vision_lr_factor: the image encoder's learning rate relative to the rest. layer_decay: each trunk block learns at
    this factor of the block behind it, 1 for none. clip: the largest norm of the whole gradient. ema: the decay of the
    moving average of the weights, 0 for none. Raises `InputError` for numbers out of range.
    """

    weight_decay: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)
    vision_lr_factor: float = 1.0
    layer_decay: float = 1.0
    clip: float = 0.1
    ema: float = 0.0

    def __post_init__(self) -> None:
        if not all(0 <= value < 1 for value in (*self.betas, self.ema)):
            raise InputError(f"betas and ema lie in 0 to 1, 1 left out; got {self.betas} and {self.ema:g}")
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"layer_decay is above 0 and at most 1, not {self.layer_decay:g}")
        if not self.clip > 0:
            raise InputError(f"clip is above 0, infinity for gradients of any size; got {self.clip:g}")
        if not min(self.weight_decay, self.vision_lr_factor) >= 0:
            raise InputError(
                f"weight_decay and vision_lr_factor are 0 or more; got {self.weight_decay:g} and "
                f"{self.vision_lr_factor:g}"
            )


def make_optimiser(model: nn.Module, config: OptimiserConfig) -> torch.optim.AdamW:
    """AdamW over the parameters that require a gradient, in groups by learning rate and by weight decay.

    Each group holds `lr_factor`, which `set_learning_rate` multiplies with the schedule. Biases and the parameters of
    norms are not decayed.
    """
    factors = learning_rate_factors(model, config)
    undecayed = _norm_and_bias_names(model)
    groups: dict[tuple[float, bool], list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((factors[name], name not in undecayed), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": members, "lr_factor": factor, "weight_decay": config.weight_decay if decays else 0.0}
            for (factor, decays), members in groups.items()
        ],
        lr=0.0,
        betas=config.betas,
    )


def set_learning_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group `rate` times its own factor."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["lr_factor"]


def learning_rate_factors(model: nn.Module, config: OptimiserConfig) -> dict[str, float]:
    """The factor on the learning rate of each parameter, by name.

    The neck learns at the image encoder's rate, the trunk's last block at `layer_decay` of it, each block before at
    `layer_decay` of the next, and the stem as one block more; position embeddings are exempt. Source: the official
    `layer_decay_param_modifier` and its fine-tuning configuration.
    """
    names = [name for name, _ in model.named_parameters()]
    blocks = list(dict.fromkeys(match[0] for name in names if (match := _BLOCK.match(name))))

    def factor(name: str) -> float:
        if not name.startswith(VISION):
            return 1.0
        if not name.startswith(TRUNK) or "pos_embed" in name:
            return config.vision_lr_factor
        match = _BLOCK.match(name)
        below_neck = len(blocks) - blocks.index(match[0]) if match else len(blocks) + 1
        return config.vision_lr_factor * config.layer_decay**below_neck

    return {name: factor(name) for name in names}


def _norm_and_bias_names(model: nn.Module) -> set[str]:
    """Parameters that weight decay would only harm."""
    names = {name for name, _ in model.named_parameters() if name.endswith("bias")}
    for prefix, module in model.named_modules():
        if isinstance(module, nn.LayerNorm | nn.BatchNorm2d | nn.GroupNorm | LayerNorm2d):
            names |= {f"{prefix}.{name}" for name, _ in module.named_parameters()}
    return names


class MovingAverage:
    """An exponential moving average of what changes in a model: parameters that are trained, and buffers.

    weights: by their names in the model's state.

    Averaged weights are better than the last ones late in training and much worse early on, so the decay starts low
    and rises to `decay` (Polyak & Juditsky, 1992; the ramp is TensorFlow's).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.num_updates = 0
        frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
        self.weights = {
            name: value.detach().clone() for name, value in model.state_dict().items() if name not in frozen
        }

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of `model`."""
        self.num_updates += 1
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates))
        state = model.state_dict()
        for name, average in self.weights.items():
            value = state[name]
            if value.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on."""
        return {"weights": self.weights, "num_updates": self.num_updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.num_updates = state["num_updates"]
        for name, average in self.weights.items():
            average.copy_(state["weights"][name])
