"""What a run left in its folder, read back: its recipe and state, and the model in it, for use."""

from __future__ import annotations

import os
from itertools import accumulate
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from masklet.checkpoints import build, find_checkpoint, read_checkpoint
from masklet.errors import InputError
from masklet.model.network import Network
from masklet.train.lora import add_low_rank_updates, freeze, merge_low_rank_updates
from masklet.train.recipe import Recipe, load_recipe


def make_model(recipe: Recipe, *, started: bool) -> Network:
    """The network of a recipe, with its frozen parts and low-rank updates.

    started: with the weights the recipe starts from, if it names any; otherwise with random ones. Raises
    `CheckpointError` where those weights are not of the recipe's architecture.
    """
    if started and recipe.start:
        path = find_checkpoint(recipe.start)
        state, _ = read_checkpoint(path)
        model = build(recipe.model, state, path)
    else:
        model = Network(recipe.model)
    freeze(model, recipe.frozen)
    if recipe.lora_rank:
        add_low_rank_updates(model.image_encoder.trunk, recipe.lora_rank)
    return model


def saved_model(folder: str | os.PathLike[str]) -> tuple[Network, str]:
    """The model of a run as it was last saved, as `Run.result` would give it, and how far it had come.

    Raises `InputError` where `folder` holds no run, or a damaged one.
    """
    folder = Path(folder)
    recipe, state = read_run(folder)
    weights = state["model"] | (state["average"]["weights"] if state["average"] else {})
    return for_use(recipe, weights, state["blended"], folder), f"{state['step']} of {recipe.num_steps} steps"


def read_run(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """The recipe of a run as it is now, and its state. Raises `InputError` where one is missing or damaged."""
    for file in (folder / "recipe.json", folder / "state.pt"):
        if not file.exists():
            raise InputError(f"{folder} holds no run to go on with: there is no {file}")
    recipe, path = load_recipe(folder / "recipe.json"), folder / "state.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"step", "model", "optimiser", "average"} - set(state)
    except (OSError, EOFError, RuntimeError, LookupError, TypeError, ValueError, UnpicklingError) as error:
        raise InputError(
            f"{path} is damaged, or no state of a run ({type(error).__name__}): begin another run, from a model that "
            f"this one left if there is one (--from {folder / 'model.safetensors'})"
        ) from error
    if missing:
        raise InputError(f"{path} is no state of a run: it lacks {', '.join(sorted(missing))}")
    state["blended"] = _blended(recipe, state, folder)
    return recipe, state


def _blended(recipe: Recipe, state: dict[str, Any], folder: Path) -> dict[str, dict[str, Tensor]]:
    """The weights to be blended after the stages that have ended; one that was lengthened since has not.

    They are kept when their stage ends. Raises `InputError` for a stage named since, as that cannot be made up for.
    """
    kept = state.get("blended") or {}
    ends = accumulate(stage.steps for stage in recipe.stages)
    ended = {stage.name: end for stage, end in zip(recipe.stages, ends) if end <= state["step"]}
    for name in ended:
        if name in {share.stage for share in recipe.blended} and name not in kept:
            raise InputError(
                f"{folder / 'recipe.json'} blends the weights after {name!r}, which had ended, at step {ended[name]}, "
                "before it was named: they were not kept; leave it out of blended"
            )
    return {name: weights for name, weights in kept.items() if name in ended}


def for_use(
    recipe: Recipe, weights: dict[str, Tensor], blended: dict[str, dict[str, Tensor]], folder: Path | None = None
) -> Network:
    """The plain network of a recipe with trained weights, its low-rank updates merged.

    blended: the weights after stages, by their names, that the mean is taken of once they are all there.
    """
    if not recipe.blended or not all(share.stage in blended for share in recipe.blended):
        return _merged(recipe, weights, folder)
    order = [stage.name for stage in recipe.stages]
    shares = sorted(recipe.blended, key=lambda share: order.index(share.stage))
    # Updates are products of two factors, whose means would not give the mean of the products.
    states = [_merged(recipe, blended[share.stage], folder).state_dict() for share in shares]
    model = Network(recipe.model).eval()
    model.load_state_dict(mean_weights(states, [share.weight for share in shares]))
    return model


def _merged(recipe: Recipe, weights: dict[str, Tensor], folder: Path | None) -> Network:
    """The plain network with the weights of a run, whose low-rank updates are folded in."""
    model = make_model(recipe, started=False)
    load_weights(model, weights, folder)
    if recipe.lora_rank:
        merge_low_rank_updates(model.image_encoder.trunk)
    return model.eval()


def mean_weights(several: list[dict[str, Tensor]], shares: list[float]) -> dict[str, Tensor]:
    """The weighted mean of several states of one network; counters are the last one's."""

    def mean(name: str) -> Tensor:
        return torch.stack([share * weights[name] for share, weights in zip(shares, several)]).sum(0) / sum(shares)

    return {name: mean(name) if last.is_floating_point() else last for name, last in several[-1].items()}


def load_weights(model: Network, weights: dict[str, Tensor], folder: Path | None) -> None:
    """Give `model` the weights of the run in `folder`. Raises `InputError` where they are of another network."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(
            f"the weights in {folder}/state.pt are not of the network in its recipe.json: model and lora_rank cannot "
            "be edited within a run; undo that edit"
        ) from error
