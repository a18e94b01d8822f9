"""The data that recipes name, opened."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from masklet.data.layouts import open_dataset
from masklet.data.transforms import Augmentation
from masklet.errors import InputError
from masklet.train.feed import Feed, check_sources, open_mix_source, open_source, open_synthetic
from masklet.train.recipe import Part, Recipe, Source, Stage, Synthetic
from tiny_training import CONVNET, stills_recipe, write_clip, write_stills


@pytest.fixture
def folders(tmp_path):
    """A folder of stills and one of drawings with a transparent ground."""
    write_stills(tmp_path / "stills", 2)
    (tmp_path / "drawings").mkdir()
    drawing = np.zeros((80, 80, 4), np.uint8)
    drawing[10:70, 10:70] = (200, 30, 160, 255)
    Image.fromarray(drawing).save(tmp_path / "drawings" / "square.png")
    return Source(str(tmp_path / "stills")), Source(str(tmp_path / "drawings"), cached=True)


def test_scenes_may_be_painted_from_drawings_alone(folders, tmp_path):
    stills, drawings = folders
    source = Synthetic((stills,), cut_outs=0, disguises=0, shapes=0, drawings=1, artwork=(drawings,))
    scenes = open_synthetic(source, 64, tmp_path / "cache", 128)
    clip = scenes.clip(0, np.random.default_rng(1), 2)
    assert clip.frames.shape == (2, 64, 64, 3)
    in_still = scenes.backgrounds.clip(0, np.random.default_rng(0)).masks.max()
    assert clip.masks.max() > in_still, "a drawing lies over the still and its objects"


def test_folders_of_drawings_share_by_weight_and_may_hold_their_descriptions(folders, tmp_path):
    stills, drawings = folders
    (tmp_path / "drawings" / "square.txt").write_text("A square.\n")
    artwork = (replace(drawings, weight=3.0), replace(drawings, cached=False))
    source = Synthetic((stills,), cut_outs=0.5, disguises=0, shapes=0, drawings=0.5, artwork=artwork)
    scenes = open_synthetic(source, 64, tmp_path / "cache", 128)
    np.testing.assert_allclose(scenes.shares, [0.5, 0, 0, 0.375, 0.125])


def recipe_of(source, frames):
    return Recipe("r", CONVNET, (Stage("s", 1, 1e-3, (Part((source,), frames=frames),), Augmentation(64)),))


def test_stills_are_no_clips_and_are_refused_before_training_begins(folders):
    stills, _ = folders
    check_sources(recipe_of(stills, 1))
    with pytest.raises(InputError, match=r"stills holds single pictures, not clips of 4 frames.*--frames 1"):
        check_sources(recipe_of(stills, 4))
    check_sources(recipe_of(Synthetic((stills,)), 4))


def test_single_pictures_among_clips_are_named_before_training_begins(tmp_path):
    size = {"height": 64, "width": 64}
    images = [
        {"id": number, "file_name": f"{number}.jpg", **size, **({"video_id": 1, "frame_id": number} if number else {})}
        for number in range(4)
    ]
    square = {"category_id": 1, "iscrowd": 0, "area": 400, "bbox": [10, 10, 20, 20]}
    square["segmentation"] = [[10, 10, 30, 10, 30, 30, 10, 30]]
    annotations = [{"id": n + 1, "image_id": n, "track_id": 1, **square} for n in range(4)]
    file = tmp_path / "mixed.json"
    contents = {"videos": [{"id": 1, "name": "clip"}], "images": images, "annotations": annotations}
    file.write_text(json.dumps({**contents, "categories": [{"id": 1, "name": "thing"}]}))
    for number in range(4):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{number}.jpg")
    source = Source(str(file), images=str(tmp_path))
    with pytest.raises(InputError, match=r"single pictures among its clips, such as 0\.jpg, .* 3 frames"):
        check_sources(recipe_of(source, 3))
    check_sources(recipe_of(source, 1))


@pytest.mark.parametrize("followed", [True, False])
def test_clips_whose_objects_cannot_be_followed_are_named_before_training_begins(tmp_path, followed):
    """Without a track_id an annotation's own id counts, which is another on each frame."""
    images = [
        {"id": n, "file_name": f"{n}.jpg", "height": 64, "width": 64, "video_id": 1, "frame_id": n} for n in range(3)
    ]
    square = {"category_id": 1, "segmentation": [[10, 10, 30, 10, 30, 30, 10, 30]]}
    annotations = [{"id": n + 1, "image_id": n, **square, **({"track_id": 7} if followed else {})} for n in range(3)]
    file = tmp_path / "clips.json"
    contents = {"videos": [{"id": 1, "name": "clip"}], "images": images, "annotations": annotations}
    file.write_text(json.dumps({**contents, "categories": [{"id": 1, "name": "thing"}]}))
    for n in range(3):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{n}.jpg")
    source = Source(str(file), images=str(tmp_path))
    check_sources(recipe_of(source, 1))
    if followed:
        check_sources(recipe_of(source, 3))
        return
    with pytest.raises(InputError, match=r"clips\.json no object is on two frames of a clip: .* need a track_id"):
        check_sources(recipe_of(source, 3))


def test_a_range_of_values_that_pictures_do_not_have_is_told_before_training_begins(folders):
    stills, _ = folders
    with pytest.raises(InputError, match=r"stills.000\.jpg: a range of values up to 4095 is for 12- and 16-bit"):
        check_sources(recipe_of(replace(stills, value_range=(0, 4095)), 1))


def test_clips_as_stills_show_all_their_frames_though_caching_was_asked_for(tmp_path):
    source = Source(str(write_clip(tmp_path / "clips", 5)), cached=True)
    check_sources(recipe_of(source, 1))
    dataset = open_source(source, tmp_path / "cache", 64)
    generator = np.random.default_rng(0)
    seen = {dataset.clip(0, generator, 1).frames.tobytes() for _ in range(60)}
    assert len(seen) == 5


def test_pictures_of_two_places_are_cached_apart(folders, tmp_path, monkeypatch):
    stills, _ = folders
    monkeypatch.setattr("masklet.train.feed.open_bare", lambda source: open_dataset(source.images or source.path))
    write_stills(tmp_path / "others", 2, seed=5)
    sources = [replace(stills, cached=True, images=images) for images in (None, stills.path, str(tmp_path / "others"))]
    first, same, other = (
        open_source(source, tmp_path / "cache", 64).clip(0, np.random.default_rng(0)).frames for source in sources
    )
    assert np.array_equal(first, same) and not np.array_equal(first, other)


def test_frames_lie_as_far_apart_as_the_source_says(tmp_path):
    write_clip(tmp_path / "clips", 9)
    truths = np.load(tmp_path / "clips" / "truth.npy")
    dataset = open_source(Source(str(tmp_path / "clips"), max_stride=4), tmp_path / "cache", 64)
    generator = np.random.default_rng(0)
    steps = set()
    for _ in range(40):
        clip = dataset.clip(0, generator, 2)
        first, second = (next(k for k in range(9) if (truths[k] == (mask > 0)).all()) for mask in clip.masks)
        steps.add(abs(second - first))
    assert steps == {1, 2, 3, 4}


def test_things_in_scenes_are_of_the_sizes_asked_for(folders, tmp_path):
    stills, _ = folders
    scenes = open_synthetic(Synthetic((stills,), sides=(0.9, 1.1)), 64, tmp_path / "cache", 128)
    assert scenes.scene.sides == (0.9, 1.1)


def test_scenes_have_as_many_assemblies_as_asked_for(folders, tmp_path):
    stills, drawings = folders
    source = Synthetic((stills,), cut_outs=0.5, disguises=0, shapes=0, artwork=(drawings,), assemblies=0.2)
    scenes = open_synthetic(source, 64, tmp_path / "cache", 128)
    np.testing.assert_allclose(scenes.shares, [0.5, 0, 0, 0.3, 0.2])
    np.testing.assert_allclose(scenes.sources[-1].shares * 0.8, [0.5, 0, 0, 0.3])


def test_scenes_are_cut_out_as_close_looks_have_them_like_photographs(folders, tmp_path):
    stills, _ = folders
    varied = Augmentation(64, degrees=9, crop=(0.5, 1.0), close=0.7, min_area=5)
    opened = open_mix_source(Synthetic((stills,)), varied, tmp_path / "cache")
    assert opened.augmentation == Augmentation(64, close=0.7, min_area=5), "and are not varied otherwise"


def test_no_stage_and_no_part_gets_the_samples_of_another(folders, tmp_path):
    """Batch 5 of two clips, batch 2 of four and batch 10 of one begin with clip 10 alike."""
    stills, _ = folders
    parts = tuple(Part((stills,), clips=clips, sessions=1, objects=1) for clips in (2, 4, 1))
    plain = Augmentation(64, crop=(0.5, 0.9))
    pictures = []
    for first_step in (0, 9):
        feed = Feed(Stage("s", 20, 1e-3, parts, plain), 0, tmp_path / "cache", first_step)
        pictures += [feed._batches[part][step].pixels[0, 0] for part, step in enumerate((5, 2, 10))]
    assert not any(torch.equal(one, other) for i, one in enumerate(pictures) for other in pictures[:i])


def test_missing_artwork_is_named_before_training_begins(folders, tmp_path):
    stills, _ = folders
    scenes = Synthetic((stills,), artwork=(Source(str(tmp_path / "clipart")),))
    recipe = Recipe("r", CONVNET, (Stage("s", 1, 1e-3, (Part((scenes,)),), Augmentation(64)),))
    with pytest.raises(InputError, match="no such file or folder.*clipart"):
        check_sources(recipe)


def test_actors_and_scenery_come_into_scenes(folders, tmp_path):
    stills, _ = folders
    clips = Source(str(write_clip(tmp_path / "clips", 5)))
    places = tmp_path / "places" / "deep"
    places.mkdir(parents=True)
    Image.fromarray(np.full((90, 60, 3), (1, 200, 3), np.uint8)).save(places / "green.png")
    scenery = (str(tmp_path / "places"),)
    source = Synthetic((stills,), cut_outs=0.5, disguises=0, shapes=0, actors=(clips,), acting=0.5, scenery=scenery)
    check_sources(recipe_of(source, 4))
    scenes = open_synthetic(replace(source, recolour=0.25), 64, tmp_path / "cache", 128)
    np.testing.assert_allclose(scenes.shares, [0.5, 0, 0, 0.5])
    assert scenes.scene.recolour == 0.25
    seen = {scenes.clip(0, np.random.default_rng(seed), 3).name for seed in range(30)}
    assert sum("green.png" in name for name in seen) == 1 and len(seen) > 1


def test_stills_cannot_act_and_scenery_is_looked_for_before_training_begins(folders, tmp_path):
    stills, _ = folders
    with pytest.raises(InputError, match=r"stills holds single pictures, not clips of 4 frames; actors move"):
        check_sources(recipe_of(Synthetic((stills,), actors=(stills,)), 4))
    check_sources(recipe_of(Synthetic((stills,), actors=(stills,)), 1))
    with pytest.raises(InputError, match=r"no such folder of pictures: .*places"):
        check_sources(recipe_of(Synthetic((stills,), scenery=(str(tmp_path / "places"),)), 1))


def test_packing_that_takes_long_is_heard_of(folders, tmp_path, monkeypatch, capsys):
    stills, _ = folders
    monkeypatch.setattr("masklet.train.feed.PACKING_SECONDS", -1.0)
    open_source(replace(stills, cached=True), tmp_path / "cache", 64)
    assert capsys.readouterr().out.splitlines()[-1].endswith("stills: 2/2")
    open_source(replace(stills, cached=True), tmp_path / "cache", 64)
    assert not capsys.readouterr().out, "what is packed already is not packed again"


def test_one_folder_may_be_stills_and_scenery(folders, tmp_path):
    stills, _ = folders
    source = Synthetic((replace(stills, cached=True),), shapes=1.0, scenery=(stills.path,))
    scenes = open_synthetic(source, 64, tmp_path / "cache", 128)
    generator = np.random.default_rng(0)
    assert all(scenes.backgrounds.clip(k, generator, 1).masks.any() for k in range(len(scenes.backgrounds)))
    assert len(scenes.scenery) == 2 * len(scenes.backgrounds), "pictures and their masks, all as pictures"
    assert not any(scenes.scenery.clip(k, generator, 1).masks.any() for k in range(len(scenes.scenery)))
    assert scenes.clip(0, generator, 1).frames.any()


def test_rows_of_a_still_are_filled_with_its_objects_and_those_of_a_clip_are_not(tmp_path):
    """Rows for each session's objects; of those too small there are none."""
    stills, clip = write_stills(tmp_path / "stills", 4), write_clip(tmp_path / "clip", 5)
    recipe = stills_recipe(stills, 4)
    (stage, _), rows = recipe.stages, 4
    _, batch = Feed(stage, 0, tmp_path / "cache")[0]
    assert batch.masks.shape[:2] == (4, rows) and batch.valid.all()
    small = replace(stage, augmentation=replace(stage.augmentation, min_area=64 * 64))
    assert not Feed(small, 0, tmp_path / "cache")[0][1].valid.any()
    moving = replace(stage.parts[0], sources=(Source(str(clip)),), frames=3)
    _, batch = Feed(replace(stage, parts=(moving,)), 0, tmp_path / "cache")[0]
    assert batch.valid.tolist() == [[True] + [False] * (rows - 1)] * 4
