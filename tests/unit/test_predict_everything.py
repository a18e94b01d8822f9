"""Everything in a picture: what is found, what is left out, and what is refused."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from colour_network import ColourNetwork, paint
from masklet import CONFIGS, FoundMasks, Size, everything, load
from masklet.errors import InputError
from masklet.eval.metrics import region_j
from masklet.model.network import FED_BACK_LIMIT
from masklet.ops.boxes import box_iou, mask_boxes
from masklet.ops.crops import Crop
from masklet.ops.rle import decode_rle, encode_rle
from masklet.predict import mask_finder
from masklet.predict.everything_options import PRESETS, EverythingOptions, choose_options
from masklet.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from tiny import TINY_CONVNET, tiny_model

RED, GREEN, BLUE = (230, 40, 40), (40, 220, 60), (40, 60, 240)
THINGS = [(8, 8, 40, 40, RED), (72, 16, 112, 64, GREEN), (24, 80, 56, 112, BLUE)]
GROUND = (0, 0, 128, 128)


@pytest.fixture
def model() -> ColourNetwork:
    return ColourNetwork()


def nearly_equal(mask: np.ndarray, expected: np.ndarray, corners: int) -> bool:
    """Equal but for the pixel at each corner, which bilinear interpolation rounds off."""
    return (mask != expected).sum() <= corners


def packed(mask: np.ndarray) -> mask_finder.FoundMask:
    x0, y0, x1, y1 = mask_boxes(mask).astype(int).tolist()
    whole_picture = Crop(0, 0, mask.shape[1], mask.shape[0])
    return mask_finder.FoundMask(
        rle=encode_rle(mask),
        area=int(mask.sum()),
        box=(x0, y0, x1, y1),
        iou=0.9,
        stability=0.9,
        point=(x0, y0),
        crop=whole_picture,
    )


def has_box(found, box: tuple[int, int, int, int], least_iou: float = 0.7) -> bool:
    return bool(box_iou(np.array(box), found.boxes).max() >= least_iou)


def boxes_of(found) -> set[tuple[int, int, int, int]]:
    return {mask.box for mask in found}


def test_each_thing_is_found_once_and_exactly(model):
    picture = paint(THINGS)
    found = everything(picture, model, points_per_side=8)
    assert sorted(mask.box for mask in found) == sorted([GROUND, *(thing[:4] for thing in THINGS)])
    for mask in found:
        x0, y0, x1, y1 = mask.box
        inside = (picture == picture[int(mask.point[1]), int(mask.point[0])]).all(-1)
        assert nearly_equal(mask.mask, inside, corners=12)
        assert mask.area == mask.mask.sum()
        assert 0.99 < mask.stability <= 1
        assert mask.iou == pytest.approx(0.95)
        assert x0 <= mask.point[0] < x1 and y0 <= mask.point[1] < y1
    assert found.masks.sum(0).max() == 1
    np.testing.assert_array_equal(found.boxes, [mask.box for mask in found])


def test_edges_follow_the_picture_where_the_model_has_them_guided():
    y, x = np.mgrid[-300:300, -400:400]
    blob = (x / 230) ** 2 + (y / 150) ** 2 + 0.25 * np.sin(7 * np.arctan2(y, x)) < 1
    picture = np.where(blob[..., None], RED, GREEN).astype(np.uint8)
    model, missing = load(), []
    for guided in (False, True):
        model.config = replace(model.config, guided_edges=guided)
        found = everything(picture, model, points_per_side=4)
        missing.append(1 - max(float(region_j(blob, mask.mask)) for mask in found))
        assert all(mask.area == mask.mask.sum() for mask in found)
    assert missing[1] < 0.6 * missing[0] < 0.02


def test_where_no_mask_is_stable_none_is_found():
    black = np.zeros((64, 80, 3), np.uint8)
    assert len(everything(black, points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=1.0)) == 0


def test_the_label_map_has_no_overlaps_and_parts_on_their_wholes():
    whole, part, apart = np.zeros((3, 20, 30), bool)
    whole[2:18, 2:18] = True
    part[6:10, 6:10] = True
    apart[5:12, 20:28] = True
    found = FoundMasks(Size(20, 30), tuple(packed(mask) for mask in (part, whole, apart)))
    np.testing.assert_array_equal(found.label_map(), np.where(part, 1, 2 * whole + 3 * apart))
    np.testing.assert_array_equal(found.masks, [part, whole, apart])
    np.testing.assert_array_equal(found.areas, [16, 256, 56])


def test_points_are_put_only_where_asked(model):
    where = np.zeros((128, 128), bool)
    where[:, 64:] = True
    finder = mask_finder.MaskFinder(model, PRESETS["fast"])
    assert boxes_of(finder.find(paint(THINGS), where)) == {GROUND, THINGS[1][:4]}
    encoded = model.num_encoded
    assert finder.find(paint(THINGS), np.zeros((128, 128), bool)) == []
    assert model.num_encoded == encoded, "a picture without points need not be encoded"


def test_crops_find_small_things_and_each_is_encoded_once(model):
    small = (264, 264, 312, 312, BLUE)  # between the points of a grid on the whole picture
    picture = paint([(24, 24, 120, 120, RED), small], 384, 384)
    assert not has_box(everything(picture, model, points_per_side=4), small[:4])
    model.num_encoded = 0
    found = everything(picture, model, points_per_side=4, crop_n_layers=1, stability_score_thresh=0.9)
    assert model.num_encoded == 1 + 4
    assert has_box(found, small[:4])
    in_crop = found[int(box_iou(np.array(small[:4]), found.boxes).argmax())]
    assert in_crop.crop == (127, 127, 384, 384, 1)
    blue = (picture == BLUE).all(-1)
    assert (in_crop.mask & blue).sum() > 0.7 * blue.sum()


def test_the_best_come_first_wherever_they_were_found(model, monkeypatch):
    found = mask_finder.MaskFinder(model, PRESETS["fast"]).find(paint(THINGS))
    scored = [replace(mask, iou=iou) for mask, iou in zip(found, (0.7, 0.9, 0.6, 0.8), strict=True)]
    monkeypatch.setattr(mask_finder.MaskFinder, "find", lambda *_, **__: scored)
    assert [mask.iou for mask in everything(paint(THINGS), model)] == [0.9, 0.8, 0.7, 0.6]


@pytest.mark.filterwarnings("error")
def test_a_picture_that_cannot_be_written_to_is_searched_without_a_warning(model):
    picture = paint(THINGS)
    picture.flags.writeable = False
    assert len(everything(picture, model, preset="fast")) == 4


def test_masks_cut_off_by_a_crop_are_left_out(model):
    picture = paint([(8, 40, 248, 80, RED)], 256, 256)
    found = everything(picture, model, points_per_side=8, crop_n_layers=1, stability_score_thresh=0.95)
    red = [mask for mask in found if (picture[int(mask.point[1]), int(mask.point[0])] == RED).all()]
    assert [mask.box for mask in red] == [(8, 40, 248, 80)]


def test_full_size_masks_are_made_a_few_at_a_time(model, monkeypatch):
    sizes = []

    def resize(logits, height, width):
        sizes.append(len(logits) * height * width)
        return whole_resize(logits, height, width)

    whole_resize = mask_finder.resize_bilinear
    expected = everything(paint(THINGS), model, points_per_side=8)
    monkeypatch.setattr(mask_finder, "resize_bilinear", resize)
    monkeypatch.setattr(mask_finder, "MAX_LOGITS_AT_ONCE", 3 * 128 * 128)
    found = everything(paint(THINGS), model, points_per_side=8)
    assert max(sizes) == 3 * 128 * 128
    assert [mask.rle for mask in found] == [mask.rle for mask in expected]


def test_refining_and_single_masks_find_the_same(model):
    expected = boxes_of(everything(paint(THINGS), model, points_per_side=8))
    assert boxes_of(everything(paint(THINGS), model, points_per_side=8, use_m2m=True)) == expected
    assert boxes_of(everything(paint(THINGS), model, points_per_side=8, multimask_output=False)) == expected


def test_masks_are_given_back_to_be_refined_within_the_range_of_earlier_answers(model, monkeypatch):
    given = []
    decode = model.decode
    monkeypatch.setattr("colour_network.SURE", 5 * FED_BACK_LIMIT)
    monkeypatch.setattr(model, "decode", lambda *args, **options: (given.append(args[3]), decode(*args, **options))[1])
    everything(paint(THINGS), model, points_per_side=4, use_m2m=True)
    first, *again = given
    assert first is None
    assert {float(logits.abs().max()) for logits in again} == {FED_BACK_LIMIT}


def test_no_second_look_is_taken_at_the_points_of_a_grid():
    """Refining is that, where it is asked for."""
    plain = tiny_model(replace(TINY_CONVNET, stability_fallback=False))
    looking = tiny_model(replace(TINY_CONVNET, stability_fallback=False, second_look=True))
    looking.load_state_dict(plain.state_dict())
    options = EverythingOptions(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0)
    found = [mask_finder.MaskFinder(one, options).find(paint(THINGS)) for one in (plain, looking)]
    assert found[0] and [mask.rle for mask in found[0]] == [mask.rle for mask in found[1]]


def test_boxes_overlap_from_the_first_to_the_last_pixel_s_centre():
    """Squares of 3 pixels and of 3 x 2 share 2/3 of their pixels and, between the centres, 1/2."""
    square = np.zeros((8, 8), bool)
    square[2:5, 2:5] = True
    part = square.copy()
    part[4] = False
    both = [packed(square), packed(part)]
    assert mask_finder._without_doubles(both, [0.9, 0.8], 0.6) == both
    assert mask_finder._without_doubles(both, [0.8, 0.9], 0.4) == both[1:]


def test_filters_leave_out_the_unsure_and_the_small(model):
    nothing = everything(paint(THINGS), model, points_per_side=8, pred_iou_thresh=0.96)
    assert len(nothing) == 0
    assert nothing.masks.shape == (0, 128, 128)
    assert nothing.boxes.shape == (0, 4)
    assert not nothing.label_map().any()
    large = everything(paint(THINGS), model, points_per_side=8, min_area=1100)
    assert boxes_of(large) == {GROUND, THINGS[1][:4]}


def test_grids_of_ones_own(model):
    grid = np.array([(0.2, 0.2), (0.7, 0.3)])
    found = everything(paint(THINGS), model, point_grids=[grid])
    assert boxes_of(found) == {THINGS[0][:4], THINGS[1][:4]}


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_presets_find_everything(model, preset):
    things = [(2 * x0, 2 * y0, 2 * x1, 2 * y1, colour) for x0, y0, x1, y1, colour in THINGS]
    found = everything(paint(things, 256, 256), model, preset=preset, points_per_side=12)
    assert len(found) == 4
    for thing in [*things, (0, 0, 256, 256)]:
        assert has_box(found, thing[:4])


def test_thresholds_suit_the_model_unless_they_are_given():
    small = choose_options("default", {}, CONFIGS["nano"])
    released = choose_options("default", {}, CONFIGS["sam2.1-tiny"])
    assert (released.pred_iou_thresh, released.stability_score_thresh) == (0.8, 0.95)
    assert small.pred_iou_thresh < released.pred_iou_thresh
    assert small.stability_score_thresh < released.stability_score_thresh
    assert choose_options("default", {"pred_iou_thresh": 0.6}, CONFIGS["nano"]).pred_iou_thresh == 0.6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "quick"}, "unknown preset 'quick'; there are fast, default, thorough"),
        ({"points": 3}, "unknown option 'points'; there are points_per_side"),
        ({"points_per_side": 0}, "points_per_side must be 1 or more; got 0"),
        ({"pred_iou_thresh": 80}, "pred_iou_thresh must be at most 1.*got 80"),
        ({"box_nms_thresh": -0.1}, "box_nms_thresh must be 0 or more"),
        ({"crop_n_layers": -1}, "crop_n_layers must be 0 or more; got -1"),
        ({"crop_overlap_ratio": 1.0}, "crop_overlap_ratio must be 0 or more and below 1; got 1.0"),
        ({"point_grids": [np.zeros((4, 2))], "crop_n_layers": 1}, "1 crop layers need 2 grids; got 1"),
        ({"point_grids": [np.full((4, 2), 3.0)]}, "point_grids.0. must hold x, y in 0 to 1"),
    ],
)
def test_options_out_of_range_are_refused(model, changes, message):
    with pytest.raises(InputError, match=message):
        everything(paint(THINGS), model, **changes)


def test_the_official_generator_returns_its_records(model):
    picture = paint(THINGS)
    records = SAM2AutomaticMaskGenerator(model, points_per_side=8).generate(picture)
    assert [set(record) for record in records] == [
        {"segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score", "crop_box"}
    ] * 4
    red = next(record for record in records if record["bbox"] == [8, 8, 31, 31])
    assert red["crop_box"] == [0, 0, 128, 128]
    assert red["area"] == red["segmentation"].sum()
    assert nearly_equal(red["segmentation"], (picture == RED).all(-1), corners=4)


def test_results_have_what_those_of_prompts_have(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))
    found = everything(paint(THINGS), model, points_per_side=8)
    assert found.iou.tolist() == pytest.approx([mask.iou for mask in found])
    assert np.array_equal(np.stack([decode_rle(rle) for rle in found.rle()]), found.masks)
    detections = found.to_supervision()
    assert np.array_equal(detections.mask, found.masks) and np.array_equal(detections.confidence, found.iou)
    assert np.array_equal(detections.xyxy, found.boxes)


def test_the_official_generator_s_options_may_be_changed_between_pictures(model):
    picture = paint(THINGS)
    generator = SAM2AutomaticMaskGenerator(model, points_per_side=8)
    assert generator.generate(picture)
    generator.pred_iou_thresh = 1.0
    assert not generator.generate(picture)
    generator.pred_iou_thresh = 0.8
    generator.points_per_side, generator.point_grids = None, [np.array([[0.25, 0.25]])]
    assert {tuple(record["point_coords"][0]) for record in generator.generate(picture)} == {(32, 32)}
    generator.box_nms_thresh = -1
    with pytest.raises(InputError, match="box_nms_thresh must be 0 or more"):
        generator.generate(picture)


@pytest.mark.parametrize(("mode", "kind"), [("uncompressed_rle", list), ("coco_rle", str)])
def test_run_lengths_are_ready_for_json(model, mode, kind):
    binary = SAM2AutomaticMaskGenerator(model, points_per_side=8).generate(paint(THINGS))
    packed = SAM2AutomaticMaskGenerator(model, points_per_side=8, output_mode=mode).generate(paint(THINGS))
    for record, expected in zip(json.loads(json.dumps(packed)), binary, strict=True):
        assert isinstance(record["segmentation"]["counts"], kind)
        np.testing.assert_array_equal(decode_rle(record["segmentation"]), expected["segmentation"])


def test_the_official_generator_takes_points_from_one_place(model):
    with pytest.raises(InputError, match="either points_per_side or"):
        SAM2AutomaticMaskGenerator(model, point_grids=[np.full((1, 2), 0.5)])
    with pytest.raises(InputError, match="either points_per_side or"):
        SAM2AutomaticMaskGenerator(model, points_per_side=None)
    with pytest.raises(InputError, match="output_mode is one of binary_mask.*'png'"):
        SAM2AutomaticMaskGenerator(model, output_mode="png")
    own = SAM2AutomaticMaskGenerator(model, points_per_side=None, point_grids=[np.full((1, 2), 0.2)])
    assert len(own.generate(paint(THINGS))) == 1
