"""Recipes survive being written down, and lead through their stages."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from masklet.checkpoints import load, save
from masklet.config import NANO, SAM21_TINY, HieraConfig
from masklet.data.transforms import Augmentation
from masklet.errors import InputError
from masklet.model.network import Network
from masklet.train import recipes
from masklet.train.losses import LossWeights
from masklet.train.nano import nano
from masklet.train.optimiser import OptimiserConfig
from masklet.train.recipe import Part, Recipe, Source, Stage, Synthetic, load_recipe, save_recipe
from masklet.train.rollout import Annotator
from tiny_training import write_clip, write_stills

STILLS = (Source("a", merge=0.5), Synthetic((Source("b"), Source("c")), weight=0.25))
STAGE = Stage("first", 10, 1e-3, (Part(STILLS, clips=4),), Augmentation(64))
RECIPE = Recipe("both", NANO, (STAGE, replace(STAGE, name="second", steps=5)))


@pytest.mark.parametrize("recipe", [RECIPE, replace(RECIPE, model=SAM21_TINY, start="sam2.1-tiny", frozen=("a", "b"))])
def test_a_recipe_reads_back_as_it_was(recipe, tmp_path):
    save_recipe(recipe, tmp_path / "recipe.json")
    assert load_recipe(tmp_path / "recipe.json") == recipe


def test_stages_follow_one_another():
    assert RECIPE.num_steps == 15
    assert [(RECIPE.stage_at(step)[0].name, RECIPE.stage_at(step)[1]) for step in (0, 9, 10, 14)] == [
        ("first", 0),
        ("first", 9),
        ("second", 0),
        ("second", 4),
    ]
    with pytest.raises(InputError, match="15 steps"):
        RECIPE.stage_at(15)


def test_a_recipe_that_was_edited_on_windows_is_read(tmp_path):
    save_recipe(RECIPE, tmp_path / "recipe.json")
    text = (tmp_path / "recipe.json").read_text().replace('"path": "b"', '"path": "B\u00e4ume"')
    (tmp_path / "recipe.json").write_text(text, encoding="utf-8-sig")
    assert load_recipe(tmp_path / "recipe.json").stages[0].parts[0].sources[1].stills[0].path == "B\u00e4ume"


def test_a_spoilt_recipe_is_refused_by_name(tmp_path):
    path = tmp_path / "recipe.json"
    save_recipe(RECIPE, path)
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "stage": []}))
    with pytest.raises(InputError, match=r"recipe\.json.*'stage'"):
        load_recipe(path)


def test_mose_fine_tuning_is_metas_configuration():
    recipe = recipes.mose_finetune(Path("MOSE"), num_gpus=8, num_clips=1000)
    stage, part = recipe.stages[0], recipe.stages[0].parts[0]
    assert (stage.lr, stage.final, stage.steps, stage.warmup) == (5e-6, 0.1, 10_000, 0)
    assert (part.clips, part.frames, part.objects) == (1, 8, 3)
    assert part.annotator == Annotator(0.5, 0.25, 2, 2, 7, 0.1, 0.1)
    assert stage.losses == LossWeights(focal=20, dice=1, iou=1, presence=1)
    optimiser = recipe.optimiser
    assert optimiser.vision_lr_factor * stage.lr == pytest.approx(3e-6)
    assert (optimiser.layer_decay, optimiser.weight_decay, optimiser.clip) == (0.9, 0.1, 0.1)
    assert (stage.augmentation.size, stage.augmentation.degrees, stage.augmentation.shear) == (1024, 25, 20)
    assert recipe.precision == "bfloat16"
    # 2 x 1246 clips on 8 devices, rounded up
    assert recipes.mose_finetune(Path("MOSE"), num_clips=1246).num_steps == 40 * 312


def test_the_clips_of_mose_are_counted(tmp_path):
    write_clip(tmp_path, 8)
    assert recipes.mose_finetune(tmp_path, num_gpus=1).num_steps == 40 * 2


def test_the_papers_rates_and_lengths():
    recipe = recipes.paper_full(Path("SA-1B"), Path("SA-V"), "pretrained.pt")
    stage, optimiser = recipe.stages[0], recipe.optimiser
    assert [(part.frames, part.objects) for part in stage.parts] == [(1, 64), (8, 3)]
    assert stage.parts[1].sources[0].kinds == ("manual",), "SA-V without its automatic masklets"
    assert [part.weight for part in stage.parts] == pytest.approx([0.152 / 0.852, 0.7 / 0.852], abs=1e-3)
    assert all(part.annotator == Annotator(0.5, 0.25, 2, 2, 7, 0.1, 0.1) for part in stage.parts)
    assert (stage.steps, stage.warmup, stage.lr) == (150_000, 15_000, 3e-4)
    assert optimiser.vision_lr_factor * stage.lr == pytest.approx(6e-5)
    assert (optimiser.layer_decay, optimiser.weight_decay, optimiser.clip) == (0.9, 0.1, 0.1)
    assert (optimiser.betas, recipe.precision) == ((0.9, 0.999), "bfloat16")


def test_nano_grows_from_small_stills_to_clips_at_its_final_size():
    recipe = nano(Path("data"), artwork=Path("art"), stamps=Path("stamps"))
    sizes = [stage.augmentation.size for stage in recipe.stages]
    assert sizes[-1] == max(sizes) == 448 <= recipe.model.image_size == 480, "it looks a little closer than it trained"
    assert recipe.model == NANO
    assert all(part.frames == 1 for part in recipe.stages[0].parts)
    assert any(part.frames > 1 for part in recipe.stages[-1].parts)
    fixed = [stage for stage in recipe.stages if stage.fixed_statistics]
    assert fixed[-1] == recipe.stages[-1]
    assert all(stage.augmentation.size >= 384 for stage in fixed), "smaller pictures come in batches large enough"
    assert recipe.stages[-1].name in {share.stage for share in recipe.blended}


def test_animals_are_half_of_the_stamps_and_of_the_renders_of_nano_but_for_vehicles():
    recipe = nano(Path("data"), artwork=Path("art"), stamps=Path("stamps"), renders=Path("renders"))
    for part in recipe.stages[-1].parts:
        weights = {entry.path: entry.weight for entry in part.sources[-1].artwork}
        assert weights.pop(str(Path("renders") / "vehicles")) == 0.6
        for kind, share in (("stamps", 1.0), ("renders", 1.6)):
            of_kind = {path: weight for path, weight in weights.items() if path.startswith(kind)}
            assert sum(of_kind.values()) == pytest.approx(share)
            assert of_kind[str(Path(kind) / "animals")] == pytest.approx(share / 2)
        assert sum(weights.values()) == pytest.approx(0.5 + 1.0 + 1.6)
        (actors,), (places,) = part.sources[-1].actors, part.sources[-1].scenery
        assert (actors.path, places) == (str(Path("renders") / "moving"), str(Path("renders") / "places"))
    bare = nano(Path("data")).stages[-1].parts[0].sources[-1]
    assert bare.artwork == bare.actors == bare.scenery == ()


def test_the_model_in_the_package_is_the_one_that_the_recipe_trains():
    assert load("nano", device="cpu").config == nano(Path("data")).model == NANO


def test_a_precision_nobody_knows_is_refused_with_the_ones_there_are(tmp_path):
    save_recipe(nano(Path("data")), tmp_path / "recipe.json")
    text = (tmp_path / "recipe.json").read_text().replace('"bfloat16 encoder"', '"bf16"')
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(InputError, match=r"'bf16' is none of 'float32', 'bfloat16', 'bfloat16 encoder'"):
        load_recipe(tmp_path / "recipe.json")


def test_recipes_of_earlier_versions_are_read_with_what_came_later_at_its_default(tmp_path):
    recipe = nano(Path("data"))
    save_recipe(recipe, tmp_path / "recipe.json")
    fields = json.loads((tmp_path / "recipe.json").read_text())
    del fields["model"]["trunk"]["global_blocks"]
    for stage in fields["stages"]:
        for part in stage["parts"]:
            for source in part["sources"]:
                source.pop("sides", None)
                source.pop("merge", None)
    (tmp_path / "recipe.json").write_text(json.dumps(fields))
    read = load_recipe(tmp_path / "recipe.json")
    assert read.model.trunk == replace(NANO.trunk, global_blocks=0)
    scenes, written = (one.stages[-1].parts[0].sources[-1] for one in (read, recipe))
    assert scenes == replace(written, sides=Synthetic.sides) != written
    for text in ("[]", '{"name": "r", "model": 1, "stages": []}'):
        (tmp_path / "recipe.json").write_text(text)
        with pytest.raises(InputError, match=r"recipe\.json is not a recipe"):
            load_recipe(tmp_path / "recipe.json")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("lr", "1e-4", "stages[0].lr: '1e-4' is not of the type float"),
        ("steps", 2.5, "stages[0].steps: 2.5 is not of the type int"),
        ("fixed_statistics", 1, "stages[0].fixed_statistics: 1 is not of the type bool"),
        ("name", None, "stages[0].name: None is not of the type str"),
        ("parts", [], "stages[0]: the stage '128 first prompts' needs a part with a weight above 0"),
        ("parts", 3, "stages[0].parts: 3 is no list"),
        ("parts", [{}], "stages[0].parts[0]: sources is missing"),
        ("parts", [{"sources": [{}]}], "stages[0].parts[0].sources[0]: no part of a recipe has the fields []"),
        ("parts", [{"sources": ["data"]}], "stages[0].parts[0].sources[0]: 'data' is no Source or Synthetic"),
        ("augmentation", {"size": 64, "crop": [1.0]}, "stages[0].augmentation.crop: [1.0] has 1 entries in place of 2"),
        ("augmentation", {"size": 64, "flip": 5}, "stages[0].augmentation: Augmentation.flip is a probability from 0"),
        ("losses", 5, "stages[0].losses: 5 has no fields: focal, dice, iou, presence"),
        ("num_steps", 5, "stages[0]: there is no 'num_steps' among name, steps, lr, parts"),
        ("lr", -1e-4, "stages[0]: Stage.lr is 0 or more, not -0.0001"),
        ("steps", 0, "stages[0]: Stage.steps is at least 1, not 0"),
        ("warmup", -1, "stages[0]: Stage.warmup is 0 or more, not -1"),
        ("supervision", 3, "stages[0]: supervision is 1, 2 or 4"),
    ],
)
def test_what_a_hand_got_wrong_in_a_recipe_is_named(tmp_path, field, value, message):
    save_recipe(nano(Path("data")), tmp_path / "recipe.json")
    written = json.loads((tmp_path / "recipe.json").read_text())
    written["stages"][0][field] = value
    (tmp_path / "recipe.json").write_text(json.dumps(written))
    expected = re.escape(f"recipe.json is not a recipe that this version can read: {message}")
    with pytest.raises(InputError, match=expected):
        load_recipe(tmp_path / "recipe.json")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("clip", 0.0, "clip is above 0"),
        ("ema", 1.5, "betas and ema lie in 0 to 1, 1 left out"),
        ("betas", (1.0, 0.9), "betas and ema lie in 0 to 1, 1 left out"),
        ("layer_decay", 0.0, "layer_decay is above 0 and at most 1, not 0"),
        ("weight_decay", -0.1, "weight_decay and vision_lr_factor are 0 or more; got -0.1 and 1"),
    ],
)
def test_settings_of_the_optimiser_out_of_range_are_refused(field, value, message):
    with pytest.raises(InputError, match=message):
        OptimiserConfig(**{field: value})


def test_what_would_only_fail_or_be_lost_later_is_refused_at_once():
    recipe = nano(Path("data"))
    with pytest.raises(InputError, match=r"Recipe\.seed is 0 or more, not -1"):
        replace(recipe, seed=-1)
    with pytest.raises(InputError, match=r"Recipe\.lora_rank is 0 or more, not -3"):
        replace(recipe, lora_rank=-3)
    with pytest.raises(InputError, match="kinds names at least one of manual, auto; got none"):
        Source("data", kinds=())
    with pytest.raises(InputError, match=r"sides is a range of shares of the frame, .* got \(0\.5, 0\.2\)"):
        Synthetic((Source("data"),), sides=(0.5, 0.2))
    with pytest.raises(InputError, match=r"frozen names parts of the trunk, image_encoder\., of which lora_rank 2"):
        replace(recipe, frozen=("image_encoder.",), lora_rank=2)
    assert replace(recipe, frozen=("image_encoder.neck.",), lora_rank=2).lora_rank == 2
    with pytest.raises(InputError, match="trains at 60 pixels, which is no multiple of 32"):
        replace(recipe.stages[0], augmentation=Augmentation(60))


def test_weights_below_nothing_are_refused():
    for make in (partial(Source, "data"), partial(Synthetic, (Source("data"),)), partial(Part, (Source("data"),))):
        with pytest.raises(InputError, match=r"(Source|Synthetic|Part)\.weight is 0 or more, not -1"):
            make(weight=-1.0)
    with pytest.raises(InputError, match=r"Synthetic\.shapes is 0 or more, not nan"):
        Synthetic((Source("data"),), shapes=float("nan"))


def test_what_teaches_nothing_is_refused():
    with pytest.raises(InputError, match="a part of a batch mix needs a source with a weight above 0"):
        Part((Source("data", weight=0.0),))
    with pytest.raises(InputError, match="some loss needs a weight above 0"):
        LossWeights(0.0, 0.0, 0.0, 0.0)


def test_counts_below_one_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"Part\.frames is at least 1, not 0"):
        Part((Source("data"),), frames=0)
    with pytest.raises(InputError, match="a recipe needs at least one stage"):
        replace(nano(Path("data")), stages=())


def test_large_models_are_fine_tuned_by_low_rank_updates(tmp_path):
    hiera = replace(SAM21_TINY, image_size=64, width=64, memory_width=16, memory_layers=1, feedforward=64)
    hiera = replace(hiera, trunk=HieraConfig(16, 1, (1, 1, 1, 1), (2,)))
    save(Network(hiera), tmp_path / "hiera.safetensors")
    recipe = recipes.finetune(write_stills(tmp_path / "stills", 2), str(tmp_path / "hiera.safetensors"), image_size=128)
    assert (recipe.lora_rank, recipe.precision, recipe.checkpointing) == (8, "bfloat16", True)
    assert (recipe.model.image_size, recipe.stages[0].augmentation.size) == (128, 128)
    assert recipe.model.trunk == hiera.trunk


def test_official_sizes_compute_in_bfloat16_where_a_gpu_does(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for native in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, native=native: native)
        assert recipes.precision_on("cuda") == (None if native else "float32")
    assert recipes.precision_on("cpu") == recipes.precision_on("mps") == "float32"


def test_a_model_that_looks_closely_is_fine_tuned_on_whole_pictures_and_close_looks(tmp_path):
    stills = write_stills(tmp_path / "stills", 2)
    save(Network(replace(NANO, close_look=False)), tmp_path / "far.safetensors")
    near, far = (recipes.finetune(stills, start).stages[0] for start in ("nano", str(tmp_path / "far.safetensors")))
    assert (near.augmentation.close, far.augmentation.close) == (0.5, 0.0)
    (near_part,), (far_part,) = near.parts, far.parts
    assert [part.sources[0].cached for part in (near_part, far_part)] == [False, True], "close looks see full size"
    assert replace(near_part, sources=far_part.sources) == far_part


def test_a_few_pictures_do_not_stand_for_the_statistics_of_all(tmp_path):
    data = write_stills(tmp_path / "stills", 2)
    stills, clips = (recipes.finetune(data, frames=frames).stages[0] for frames in (1, 4))
    assert stills.fixed_statistics and clips.fixed_statistics
    assert clips.lr < stills.lr


@pytest.mark.parametrize(("steps", "packed"), [(7, False), (8, True)])
def test_stills_are_packed_where_the_run_draws_as_many(tmp_path, steps, packed):
    """Four pictures a step, and thirty there."""
    save(Network(replace(NANO, close_look=False)), tmp_path / "far.safetensors")
    recipe = recipes.finetune(write_stills(tmp_path / "stills", 30), str(tmp_path / "far.safetensors"), steps=steps)
    assert [source.cached for source in recipe.stages[0].parts[0].sources] == [packed]
