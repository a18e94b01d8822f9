"""The official sizes are fine-tuned by low-rank updates in bfloat16, and come out as plain as they went in."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from masklet.checkpoints import load, read_checkpoint, save
from masklet.model.network import Network
from masklet.train import recipes
from masklet.train.loop import Pace, Run, begin
from masklet.train.recipe import Recipe
from tiny_training import HIERA, write_clip, write_stills

TRUNK = "image_encoder.trunk."
STEPS = 2


def low_rank_recipe(data, start, frames: int) -> Recipe:
    """What `masklet train finetune` does with such a model, at a rate whose updates stand out from rounding."""
    recipe = recipes.finetune(data, str(start), steps=STEPS, frames=frames)
    return replace(recipe, stages=(replace(recipe.stages[0], lr=1e-2),))


@pytest.fixture(scope="module")
def one_thread():
    """More would corrupt memory on clips: see the fixture of this name in `test_train_loop.py`."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=[1, 3], ids=["stills", "clips"])
def trained(request, tmp_path_factory, one_thread):
    """A folder with `start.pt` and a run from it in `run`, and the recipe of the run."""
    folder = tmp_path_factory.mktemp("fine-tuned")
    torch.manual_seed(0)
    save(Network(HIERA), folder / "start.pt")
    data = write_stills(folder / "data", 4) if request.param == 1 else write_clip(folder / "data", 4)
    recipe = low_rank_recipe(data, folder / "start.pt", request.param)
    begin(recipe, folder / "run", Pace(print_every=1, workers=0))
    return folder, recipe


def states(folder) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights before and after."""
    return read_checkpoint(folder / "start.pt")[0], read_checkpoint(folder / "run" / "model.safetensors")[0]


def test_the_recipe_is_the_one_for_official_sizes(trained):
    _, recipe = trained
    assert (recipe.lora_rank, recipe.accumulate, recipe.precision, recipe.checkpointing) == (8, 4, "bfloat16", True)
    assert recipe.model == HIERA


def test_no_update_is_left_beside_the_weights(trained):
    folder, _ = trained
    before, after = states(folder)
    assert {name: value.shape for name, value in after.items()} == {name: v.shape for name, v in before.items()}
    assert all(value.dtype == before[name].dtype for name, value in after.items())


def test_what_was_trained_loads_and_answers(trained):
    folder, _ = trained
    model = load(folder / "run" / "model.safetensors", device="cpu")
    assert model.config == HIERA
    with torch.no_grad():
        assert model.encode(torch.zeros(1, 3, 64, 64)).stride16.isfinite().all()


def test_a_run_with_updates_is_gone_on_with_and_exported(trained):
    """`masklet train export` makes the model out of the state, whose trunk has updates beside its weights."""
    folder, _ = trained
    run = Run.resume(folder / "run", Pace(workers=0))
    assert run.step == STEPS
    assert any(name.endswith(".up") for name in run.model.state_dict())
    after = states(folder)[1]
    for name, value in run.result().state_dict().items():
        assert torch.equal(value, after[name]), name


def test_as_pt_it_is_in_metas_layout(trained):
    folder, _ = trained
    model = load(folder / "run" / "model.safetensors", device="cpu")
    save(model, folder / "model.pt")
    content = torch.load(folder / "model.pt", weights_only=True)
    plain = Network(HIERA)
    plain.load_state_dict(content["model"], strict=True)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def test_the_trunk_changes_by_low_rank_in_its_linear_layers_alone(trained):
    folder, recipe = trained
    before, after = states(folder)
    layers = {name for name, module in Network(HIERA).named_modules() if isinstance(module, nn.Linear)}
    linear = {f"{name}.weight" for name in layers if name.startswith(TRUNK)}
    for name in linear:
        changed = after[name] - before[name]
        # Weight plus update is rounded, which gives the difference full rank at a millionth of its size.
        assert 1 <= torch.linalg.matrix_rank(changed, rtol=1e-4) <= recipe.lora_rank < min(changed.shape), name
    for name in before:
        if name.startswith(TRUNK) and name not in linear:
            assert torch.equal(after[name], before[name]), name
    behind = "image_encoder.neck.convs.0.conv.weight"
    assert not torch.equal(after[behind], before[behind]), "what is behind the trunk is trained as a whole"
