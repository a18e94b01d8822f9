"""Recipes survive being written down, and lead through their stages."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from masklet.config import NANO, SAM21_TINY
from masklet.data.transforms import Augmentation
from masklet.errors import InputError
from masklet.train.recipe import Part, Recipe, Source, Stage, Synthetic, load_recipe, save_recipe

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


def test_a_spoilt_recipe_is_refused_by_name(tmp_path):
    path = tmp_path / "recipe.json"
    save_recipe(RECIPE, path)
    fields = json.loads(path.read_text())
    path.write_text(json.dumps({**fields, "stage": []}))
    with pytest.raises(InputError, match=r"recipe\.json.*'stage'"):
        load_recipe(path)
