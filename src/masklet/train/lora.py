"""Low-rank updates of the trunk, for fine-tuning on small machines (Hu et al., 2021), and frozen parts."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from masklet.errors import InputError
from masklet.model.convnet import ConvNet


class LowRankUpdate(nn.Module):
    """A weight [o i] plus `up @ down`, of rank r; the start is the weight itself, since `up` is zero."""

    def __init__(self, outputs: int, inputs: int, rank: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(rank, inputs))
        self.up = nn.Parameter(torch.zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, weight: Tensor) -> Tensor:
        return weight + self.up @ self.down


def add_low_rank_updates(trunk: nn.Module, rank: int) -> None:
    """Freeze `trunk` and give each of its linear layers a trainable update of rank `rank`.

    Raises `InputError` for a rank below 1 and for a convolutional trunk, most of which would stay frozen.
    """
    if rank < 1:
        raise InputError(f"the rank of a low-rank update is at least 1, not {rank}")
    if isinstance(trunk, ConvNet):
        raise InputError("low-rank updates are for linear layers, and this trunk is convolutional; set lora_rank to 0")
    layers = [module for module in trunk.modules() if isinstance(module, nn.Linear)]
    trunk.requires_grad_(False)
    for layer in layers:
        update = LowRankUpdate(layer.out_features, layer.in_features, rank).to(layer.weight.device)
        parametrize.register_parametrization(layer, "weight", update)


def merge_low_rank_updates(trunk: nn.Module) -> None:
    """Fold every update into its weight, which leaves the plain architecture behind."""
    for module in trunk.modules():
        if isinstance(module, nn.Linear) and parametrize.is_parametrized(module, "weight"):
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def freeze(model: nn.Module, prefixes: tuple[str, ...]) -> None:
    """Let no parameter whose name starts with one of `prefixes` be trained.

    Raises `InputError` naming a prefix that fits no parameter.
    """
    for prefix in prefixes:
        members = [parameter for name, parameter in model.named_parameters() if name.startswith(prefix)]
        if not members:
            raise InputError(f"no parameter's name starts with {prefix!r}, so it cannot be frozen")
        for parameter in members:
            parameter.requires_grad_(False)


def train_mode(model: nn.Module, fixed_statistics: bool = False) -> None:
    """Training mode, but for the batch normalisation of frozen parts, whose statistics must stay as they are.

    fixed_statistics: those of all other parts stay, too, and normalise in training as they do in use.
    """
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and (fixed_statistics or not module.weight.requires_grad):
            module.eval()
