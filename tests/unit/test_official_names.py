"""The official package's names: signatures, defaults, return shapes, and what scripts do with them."""

from __future__ import annotations

import inspect
from collections import defaultdict
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch

import masklet
from masklet.errors import CheckpointError, DeviceError, InputError, MaskletWarning, MissingCheckpoint, PromptError
from masklet.model.compiled import compile_model, is_compiled
from masklet.model.network import ABSENT_LOGIT, Network
from masklet.sam2 import build_sam
from masklet.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from masklet.sam2.build_sam import (
    build_sam2,
    build_sam2_hf,
    build_sam2_video_predictor,
    build_sam2_video_predictor_hf,
)
from masklet.sam2.overrides import OfficialOptions
from masklet.sam2.sam2_image_predictor import SAM2ImagePredictor
from masklet.sam2.sam2_video_predictor import SAM2VideoPredictor, SAM2VideoPredictorVOS
from tiny import TINY_CONVNET, tiny_clip, tiny_model

POINT = np.array([[10, 20]], np.float32)
LABEL = np.array([1], np.int32)
BOX = np.array([8, 6, 40, 30], np.float32)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(8)


@pytest.fixture
def predictor(model, clip):
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(clip[0])
    return predictor


@pytest.fixture
def tracker(model):
    return build_sam2_video_predictor(model)


# Signatures, as `inspect` shows them in the official package 1.1.0, but for `device`, there "cuda", and for a list of
# overrides, there []. A video predictor is there made of the model's parts, by keyword.
SIGNATURES = {
    build_sam2: "config_file ckpt_path=None device=None mode='eval' hydra_overrides_extra=() apply_postprocessing=True "
    "**kwargs",
    build_sam2_video_predictor: "config_file ckpt_path=None device=None mode='eval' hydra_overrides_extra=() "
    "apply_postprocessing=True vos_optimized=False **kwargs",
    build_sam2_hf: "model_id **kwargs",
    build_sam2_video_predictor_hf: "model_id **kwargs",
    SAM2AutomaticMaskGenerator.__init__: "self model points_per_side=32 points_per_batch=64 pred_iou_thresh=0.8 "
    "stability_score_thresh=0.95 stability_score_offset=1.0 mask_threshold=0.0 box_nms_thresh=0.7 crop_n_layers=0 "
    "crop_nms_thresh=0.7 crop_overlap_ratio=0.3413333333333333 crop_n_points_downscale_factor=1 point_grids=None "
    "min_mask_region_area=0 output_mode='binary_mask' use_m2m=False multimask_output=True **kwargs",
    SAM2AutomaticMaskGenerator.from_pretrained: "model_id **kwargs",
    SAM2AutomaticMaskGenerator.generate: "self image",
    SAM2ImagePredictor.__init__: "self sam_model mask_threshold=0.0 max_hole_area=0.0 max_sprinkle_area=0.0 **kwargs",
    SAM2ImagePredictor.from_pretrained: "model_id **kwargs",
    SAM2ImagePredictor.set_image: "self image",
    SAM2ImagePredictor.set_image_batch: "self image_list",
    SAM2ImagePredictor.get_image_embedding: "self",
    SAM2ImagePredictor.reset_predictor: "self",
    SAM2ImagePredictor.predict: "self point_coords=None point_labels=None box=None mask_input=None "
    "multimask_output=True return_logits=False normalize_coords=True",
    SAM2ImagePredictor.predict_batch: "self point_coords_batch=None point_labels_batch=None box_batch=None "
    "mask_input_batch=None multimask_output=True return_logits=False normalize_coords=True",
    SAM2VideoPredictor.__init__: "self sam_model options=None",
    SAM2VideoPredictorVOS.__init__: "self *args **kwargs",
    SAM2VideoPredictor.from_pretrained: "model_id **kwargs",
    SAM2VideoPredictor.init_state: "self video_path offload_video_to_cpu=False offload_state_to_cpu=False "
    "async_loading_frames=False",
    SAM2VideoPredictor.add_new_points_or_box: "self inference_state frame_idx obj_id points=None labels=None "
    "clear_old_points=True normalize_coords=True box=None",
    SAM2VideoPredictor.add_new_points: "self *args **kwargs",
    SAM2VideoPredictor.add_new_mask: "self inference_state frame_idx obj_id mask",
    SAM2VideoPredictor.propagate_in_video_preflight: "self inference_state",
    SAM2VideoPredictor.propagate_in_video: "self inference_state start_frame_idx=None max_frame_num_to_track=None "
    "reverse=False",
    SAM2VideoPredictor.clear_all_prompts_in_frame: "self inference_state frame_idx obj_id need_output=True",
    SAM2VideoPredictor.remove_object: "self inference_state obj_id strict=False need_output=True",
    SAM2VideoPredictor.reset_state: "self inference_state",
    SAM2VideoPredictor._apply_non_overlapping_constraints: "self pred_masks",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_arguments_and_defaults_are_the_official_ones(function):
    parameters = inspect.signature(function).parameters.values()
    found = [str(parameter.replace(annotation=parameter.empty)) for parameter in parameters]
    assert " ".join(found) == SIGNATURES[function]


@pytest.mark.parametrize("adapter", [SAM2AutomaticMaskGenerator, SAM2ImagePredictor, SAM2VideoPredictor])
def test_no_public_method_is_left_out_of_the_table(adapter):
    methods = {name for name, member in vars(adapter).items() if not isinstance(member, property)}
    public = {name for name in methods if not name.startswith("_")}
    assert public <= {function.__name__ for function in SIGNATURES}


# Builders


def test_all_eight_releases_are_known_by_configuration_file_and_repository():
    assert len(build_sam.HF_MODEL_ID_TO_FILENAMES) == 8
    assert build_sam.HF_MODEL_ID_TO_FILENAMES["facebook/sam2.1-hiera-base-plus"] == (
        "configs/sam2.1/sam2.1_hiera_b+.yaml",
        "sam2.1_hiera_base_plus.pt",
    )


def test_a_configuration_without_a_checkpoint_is_random_and_says_so():
    with pytest.warns(UserWarning, match="random weights"):
        model = build_sam2("configs/sam2.1/sam2.1_hiera_t.yaml", device="cpu")
    assert model.image_size == 1024


def test_unknown_configurations_name_the_known_ones():
    with pytest.raises(InputError, match=r"unknown configuration 'sam3.yaml'.*sam2.1_hiera_t.yaml"):
        build_sam2("sam3.yaml")
    with pytest.raises(InputError, match="unknown model 'facebook/sam3'"):
        SAM2ImagePredictor.from_pretrained("facebook/sam3")


def test_a_checkpoint_of_another_size_than_the_configuration_asks_for_is_an_error(tmp_path, model):
    from masklet.checkpoints import save

    save(model, tmp_path / "tiny.pt")
    with pytest.raises(CheckpointError, match=r"is a tiny-convnet model, but .*sam2_hiera_l.yaml asks for sam2-large"):
        build_sam2("configs/sam2/sam2_hiera_l.yaml", tmp_path / "tiny.pt", device="cpu")


def test_a_device_that_is_not_there_is_an_error_and_none_takes_what_there_is(model):
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="'cuda'"):
            build_sam2(model, device="cuda")
    assert build_sam2(model, device=None).device == model.device


def shares_weights(one, other):
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(mine.data_ptr() == theirs.data_ptr() for mine, theirs in pairs)


def test_a_predictor_that_is_cast_leaves_the_model_it_was_made_from(model, clip):
    model = tiny_model()
    model.no_obj_ptr.requires_grad_(False)
    tracker = build_sam2_video_predictor(model)
    assert not tracker.no_obj_ptr.requires_grad, "what was frozen stays so"
    tracker.double()
    kinds = {tensor.dtype for tensor in model.state_dict().values() if tensor.is_floating_point()}
    assert kinds == {torch.float32}
    masklet.VideoSession(model, clip).add(1, 0, points=[(8, 8)])


def test_a_network_and_a_checkpoint_are_one_too_many(model, tmp_path):
    with pytest.raises(InputError, match=r"a network has its weights; load .*mine\.pt by masklet\.load"):
        build_sam2(model, tmp_path / "mine.pt")


def test_an_end_and_padding_as_scripts_give_them(model, clip):
    tracker = build_sam2_video_predictor(model)
    tracker.max_cond_frames_in_attn = -1
    state = tracker.init_state(clip)
    padded = tracker.add_new_points_or_box(state, 0, 1, points=[[10, 20], [0, 0]], labels=[1, -1])[2]
    alone = tracker.add_new_points_or_box(state, 0, 2, points=[[10, 20]], labels=[1])[2]
    assert torch.equal(padded[0], alone[1])
    assert list(tracker.propagate_in_video(state, start_frame_idx=len(clip))) == []


def test_what_official_models_say_of_themselves_can_be_read_and_not_changed(model):
    tracker = build_sam2_video_predictor(model)
    assert (tracker.num_maskmem, tracker.max_obj_ptrs_in_encoder, tracker.backbone_stride) == (7, 16, 16)
    assert (tracker.hidden_dim, tracker.mem_dim) == (model.config.width, model.config.memory_width)
    tracker.num_maskmem = 7
    for name, value in {"num_maskmem": 4, "clear_non_cond_mem_around_input": True}.items():
        with pytest.raises(InputError, match=f"{name} can only be (7|False), as in every release; got {value}"):
            setattr(tracker, name, value)
    with pytest.raises(AttributeError, match="no attribute 'num_masks'"):
        tracker.num_masks  # noqa: B018


def test_a_configuration_file_s_contents_are_not_read_and_that_is_said(tmp_path):
    config = tmp_path / "sam2.1_hiera_t.yaml"
    config.write_text("model:\n  image_size: 512\n")
    with pytest.warns(MaskletWarning, match="stands for sam2.1-tiny as released"), pytest.raises(MissingCheckpoint):
        build_sam2(config, tmp_path / "gone.pt")


def test_errors_that_scripts_catch_are_of_the_kinds_that_they_catch(model, tracker, clip, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*gone\.pt"):
        build_sam2("sam2.1_hiera_t.yaml", tmp_path / "gone.pt")
    with pytest.raises(RuntimeError, match="unknown device 'gpu'"):
        build_sam2(model, device="gpu")
    with pytest.raises(RuntimeError, match="call set_image first"):
        SAM2ImagePredictor(model).predict(POINT, LABEL)
    state = tracker.init_state(clip)
    with pytest.raises(RuntimeError, match="nothing to propagate for any object"):
        next(tracker.propagate_in_video(state))
    with pytest.raises(RuntimeError, match=r"no object 7 to remove; there are \[\]"):
        tracker.remove_object(state, 7, strict=True)


def test_a_state_is_its_predictor_s(model, clip):
    one, other = (build_sam2_video_predictor(model) for _ in range(2))
    with pytest.raises(InputError, match="another predictor's"):
        other.add_new_points_or_box(one.init_state(clip), 0, 1, POINT, LABEL)


def test_predictors_share_the_weights_of_a_loaded_model(model):
    tracker = build_sam2_video_predictor(model, hydra_overrides_extra=["++model.image_size=96"])
    assert shares_weights(tracker, model)
    assert tracker.state_dict().keys() == model.state_dict().keys()
    assert (tracker.image_size, model.config.image_size) == (96, TINY_CONVNET.image_size)
    assert isinstance(tracker, Network)


def test_training_mode_on_request(model):
    assert build_sam2(model, mode="train").training
    assert not build_sam2(model).training


# Overrides


def test_overrides_are_read_and_the_last_of_a_key_wins():
    options = OfficialOptions.from_overrides(
        [
            "++model.image_size=512",
            "++model.non_overlap_masks=true",
            "model.add_all_frames_to_correct_as_cond=True",
            "+model.memory_temporal_stride_for_eval=3",
            "++model.max_cond_frames_in_attn=-1",
            "++model.max_cond_frames_in_attn=4",
            "++model.fill_hole_area=4",
            "++model.fill_hole_area=2",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
            "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
        ],
        apply_postprocessing=False,
    )
    assert options == OfficialOptions(
        image_size=512,
        fill_hole_area=2,
        non_overlap_masks=True,
        add_all_frames_to_correct_as_cond=True,
        memory_temporal_stride_for_eval=3,
        max_cond_frames_in_attn=4,
        stability_fallback=True,
    )


def test_post_processing_comes_last_as_officially():
    options = OfficialOptions.from_overrides(["++model.fill_hole_area=0"], apply_postprocessing=True)
    assert (options.fill_hole_area, options.binarize_mask_from_pts_for_mem_enc) == (8, True)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("++model.num_maskmem=3", "num_maskmem can only be 7"),
        ("++model.num_memories=3", "unknown key 'num_memories'; known are add_all_frames"),
        ("image_size=512", "not of the form"),
        ("++model.image_size=big", "'big' should be a whole number"),
        ("++model.image_size=500", "multiple of 32"),
        ("++model.non_overlap_masks=1", "'1' should be true or false"),
        ("++model.memory_temporal_stride_for_eval=0", "at least 1"),
        ("++model.max_cond_frames_in_attn=1", "at least 2 frames, or -1 for all"),
        ("++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.5", "can only be 0.98"),
    ],
)
def test_an_override_that_is_not_understood_is_an_error(model, override, message):
    with pytest.raises(InputError, match=message):
        build_sam2_video_predictor(model, hydra_overrides_extra=[override])


# Pictures


def test_prediction_shapes_and_types_for_one_prompt_and_for_many(predictor, clip):
    side = predictor.model.config.image_size // 4
    for prompt, batch in (
        ({"point_coords": POINT, "point_labels": LABEL}, ()),
        ({"box": BOX}, ()),
        ({"box": np.stack([BOX, BOX + 2])}, (2,)),
        ({"point_coords": np.stack([POINT] * 3), "point_labels": np.stack([LABEL] * 3)}, (3,)),
        ({"point_coords": POINT, "point_labels": LABEL, "box": BOX}, ()),
    ):
        for multimask, count in ((True, 3), (False, 1)):
            masks, iou, low_res = predictor.predict(**prompt, multimask_output=multimask)
            assert masks.shape == (*batch, count, *clip.shape[1:3])
            assert iou.shape == (*batch, count)
            assert low_res.shape == (*batch, count, side, side)
            assert masks.dtype == iou.dtype == low_res.dtype == np.float32
            assert set(np.unique(masks)) <= {0, 1}


def test_earlier_logits_are_a_prompt_with_points_or_alone(predictor):
    _, iou, low_res = predictor.predict(POINT, LABEL)
    earlier = low_res[iou.argmax()][None]
    refined, *_ = predictor.predict(POINT, LABEL, mask_input=earlier, multimask_output=False, return_logits=True)
    plain, *_ = predictor.predict(POINT, LABEL, multimask_output=False, return_logits=True)
    assert not np.allclose(refined, plain)
    alone, *_ = predictor.predict(mask_input=earlier, multimask_output=False)
    assert alone.shape == plain.shape
    with pytest.raises(PromptError, match="mask_input"):
        predictor.predict(mask_input=np.zeros((1, 5, 5)))
    with pytest.raises(PromptError, match=r"such as logits\[best\]\[None\]; got \(3, 16, 16\)"):
        predictor.predict(POINT, LABEL, mask_input=low_res)


def test_earlier_logits_are_one_for_all_prompts_or_one_for_each(predictor):
    boxes = np.stack([BOX, BOX + 1, BOX + 2])
    earlier = predictor.predict(box=boxes, multimask_output=False)[2]
    assert earlier.shape == (3, 1, 16, 16)
    assert len(predictor.predict(box=boxes, mask_input=earlier)[0]) == 3
    assert len(predictor.predict(box=boxes, mask_input=earlier[0])[0]) == 3
    with pytest.raises(PromptError, match="2 rows of mask_input for 3 of prompts"):
        predictor.predict(box=boxes, mask_input=earlier[:2])
    with pytest.raises(PromptError, match="3 rows of mask_input for 1 of prompts"):
        predictor.predict(POINT, LABEL, mask_input=earlier)


@pytest.mark.parametrize("looks_again", [False, True])
@pytest.mark.parametrize("order", [("_features", "_orig_hw"), ("_orig_hw", "_features")])
def test_features_that_a_script_kept_are_put_back(clip, order, looks_again):
    model = tiny_model(replace(TINY_CONVNET, close_look=looks_again, guided_edges=looks_again))
    first, second = SAM2ImagePredictor(model), SAM2ImagePredictor(model)
    first.set_image(clip[0])
    assert first._is_image_set
    kept = {"_features": first._features, "_orig_hw": list(first._orig_hw)}
    second.set_image(clip[3][:40])
    for name in order:
        setattr(second, name, kept[name])
    second._is_image_set, second._is_batch = True, False
    for one, other in zip(first.predict(POINT, LABEL), second.predict(POINT, LABEL)):
        np.testing.assert_allclose(one, other, atol=1e-4)
    second._is_image_set = False
    with pytest.raises(PromptError, match="call set_image first"):
        second.predict(POINT, LABEL)


def test_a_box_may_be_its_two_corners(predictor):
    corners = np.array([[5, 6], [40, 30]])
    for box, flat in ((corners, corners.ravel()), (corners[None], corners.reshape(1, 4))):
        for one, other in zip(predictor.predict(box=box), predictor.predict(box=flat)):
            np.testing.assert_array_equal(one, other)


def test_coordinates_may_be_fractions_of_the_picture(predictor, clip):
    height, width = clip.shape[1:3]
    pixels = predictor.predict(POINT, LABEL, return_logits=True)[0]
    fractions = predictor.predict(POINT / (width, height), LABEL, return_logits=True, normalize_coords=False)[0]
    np.testing.assert_allclose(pixels, fractions, atol=1e-4)


def test_a_batch_of_pictures_of_different_sizes_is_each_picture_alone(model, clip):
    pictures = [clip[0], clip[1][:30, :40]]
    batch = SAM2ImagePredictor(model)
    batch.set_image_batch(pictures)
    masks, ious, _ = batch.predict_batch([POINT] * 2, [LABEL] * 2, return_logits=True)
    for picture, mask, iou in zip(pictures, masks, ious, strict=True):
        alone = SAM2ImagePredictor(model)
        alone.set_image(picture)
        expected, expected_iou, _ = alone.predict(POINT, LABEL, return_logits=True)
        np.testing.assert_allclose(mask, expected, atol=1e-3)
        np.testing.assert_allclose(iou, expected_iou, atol=1e-4)


def test_a_batch_has_pictures_and_prompts_for_each(model, clip):
    batch = SAM2ImagePredictor(model)
    with pytest.raises(InputError, match="got an empty list"):
        batch.set_image_batch([])
    batch.set_image_batch([clip[0], clip[1]])
    with pytest.raises(PromptError, match="2 pictures are set; got prompts for 1 only"):
        batch.predict_batch([POINT], [LABEL])


def test_the_threshold_moves_the_masks(model, clip):
    logits = None
    for threshold in (0.0, 0.5):
        predictor = SAM2ImagePredictor(model, mask_threshold=threshold)
        predictor.set_image(clip[0])
        logits = predictor.predict(POINT, LABEL, return_logits=True)[0]
        assert (predictor.predict(POINT, LABEL)[0] == (logits > threshold)).all()
    with pytest.raises(InputError, match="mask_threshold"):
        SAM2ImagePredictor(model, mask_threshold=0.5, max_hole_area=4)


def test_prediction_without_a_picture_is_an_error(model):
    predictor = SAM2ImagePredictor(model)
    with pytest.raises(PromptError, match="call set_image first"):
        predictor.predict(POINT, LABEL)
    with pytest.raises(PromptError, match="set_image_batch"):
        predictor.predict_batch()


@pytest.mark.parametrize(
    "prompt",
    [
        {"point_coords": POINT},
        {"point_coords": POINT, "point_labels": [1, 0]},
        {"point_coords": [[np.nan, 1]], "point_labels": [1]},
        {"point_coords": POINT, "point_labels": [7]},
        {"point_coords": POINT, "point_labels": [-2]},
        {"point_coords": POINT, "point_labels": [0.5]},
        {"box": [1, 2, 3]},
        {"box": np.zeros((0, 4))},
        {"box": np.stack([BOX, BOX]), "point_coords": POINT, "point_labels": LABEL},
    ],
)
def test_a_bad_prompt_is_an_error(predictor, prompt):
    with pytest.raises(PromptError):
        predictor.predict(**prompt)


# Video


def test_state_answers_to_what_scripts_read(tracker, clip):
    state = tracker.init_state(clip)
    tracker.add_new_points_or_box(state, 0, 7, POINT, LABEL)
    assert (state["num_frames"], state["video_height"], state["video_width"], state["obj_ids"]) == (8, 48, 72, [7])
    assert "num_frames" in state
    assert "output_dict_per_obj" not in state
    assert set(state) == {"num_frames", "video_height", "video_width", "obj_ids", "device", "storage_device"}
    assert len(state) == 6
    with pytest.raises(KeyError, match="inference state has num_frames"):
        state["output_dict_per_obj"]


def test_every_answer_has_all_objects_absent_ones_too(tracker, clip):
    state = tracker.init_state(clip)
    tracker.add_new_points_or_box(state, 0, 7, POINT, LABEL)
    frame, ids, masks = tracker.add_new_points_or_box(state, 4, 2, box=BOX)
    assert (frame, ids, masks.shape) == (4, [7, 2], (2, 1, 48, 72))
    assert (masks[0] == ABSENT_LOGIT).all()
    for _, ids, masks in tracker.propagate_in_video(state):
        assert ids == [7, 2]
        assert masks.shape == (2, 1, 48, 72)


def test_a_frame_that_is_cleared_stays_remembered(tracker, clip):
    """As officially: the answer to the prompts that were taken back is an ordinary memory, and the passes' too."""
    state = tracker.init_state(clip[:6])
    tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
    _, _, answered = tracker.add_new_points_or_box(state, 3, 1, box=BOX)
    list(tracker.propagate_in_video(state))
    _, _, left = tracker.clear_all_prompts_in_frame(state, 3, 1)
    assert torch.equal(left, answered)
    track = state.session.tracks[1]
    assert sorted(track.history) == list(range(6)) and track.conditioning == [0]
    _, _, left = tracker.clear_all_prompts_in_frame(state, 0, 1)
    assert (left > 0).any() and not track.conditioning, "even the last one's"
    with pytest.raises(PromptError, match="nothing to propagate for object 1"):
        next(tracker.propagate_in_video(state))


def test_an_object_prompted_inside_the_loop_joins_at_the_next_frame(tracker, clip):
    state = tracker.init_state(clip[:4])
    tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
    seen = []
    for frame, ids, masks in tracker.propagate_in_video(state):
        assert len(masks) == len(ids)
        seen.append(ids)
        if frame == 1:
            tracker.add_new_points_or_box(state, 1, 2, box=BOX)
    assert seen == [[1], [1], [1, 2], [1, 2]]


def test_a_box_may_come_as_two_labelled_points(tracker, clip):
    corners = BOX.reshape(2, 2)
    _, _, as_box = tracker.add_new_points_or_box(tracker.init_state(clip), 0, 1, box=BOX)
    _, _, as_points = tracker.add_new_points_or_box(tracker.init_state(clip), 0, 1, corners, np.array([2, 3]))
    assert torch.equal(as_box, as_points)


def test_points_may_be_fractions_tensors_and_batched(tracker, clip):
    plain = tracker.add_new_points_or_box(tracker.init_state(clip), 0, 1, POINT, LABEL)[2]
    fractions = torch.from_numpy(POINT / (72, 48))[None]
    labels = torch.from_numpy(LABEL)[None]
    batched = tracker.add_new_points(tracker.init_state(clip), 0, 1, fractions, labels, normalize_coords=False)[2]
    torch.testing.assert_close(plain, batched, atol=1e-3, rtol=0)


def test_points_are_added_where_old_ones_are_not_cleared(tracker, clip):
    state = tracker.init_state(clip)
    tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
    tracker.add_new_points_or_box(state, 0, 1, POINT + 5, LABEL, clear_old_points=False)
    assert len(state.session.tracks[1].prompts[0].points) == 2
    with pytest.raises(PromptError, match="box comes before"):
        tracker.add_new_points_or_box(state, 0, 1, box=BOX, clear_old_points=False)
    with pytest.raises(PromptError, match="come together"):
        tracker.add_new_points_or_box(state, 0, 1, points=POINT)


def test_a_mask_of_any_size_is_taken(tracker, clip):
    small = np.zeros((24, 36), bool)
    small[5:15, 5:20] = True
    _, _, masks = tracker.add_new_mask(tracker.init_state(clip), 0, 1, small)
    found = masks[0, 0].numpy() > 0
    large = small.repeat(2, 0).repeat(2, 1)
    assert (found & large).sum() / (found | large).sum() > 0.8


def test_a_mask_of_other_proportions_is_stretched_over_the_video(tracker, clip):
    """Such as the square masks that the model itself answers with."""
    square = np.zeros((64, 64), bool)
    square[16:48, 8:32] = True
    _, _, masks = tracker.add_new_mask(tracker.init_state(clip), 0, 1, square)
    found = masks[0, 0].numpy() > 0
    expected = np.zeros((48, 72), bool)
    expected[12:36, 9:36] = True
    assert (found & expected).sum() / (found | expected).sum() > 0.8


def test_prompts_of_any_precision_are_taken(tracker, clip):
    plain = tracker.add_new_points_or_box(tracker.init_state(clip), 0, 1, POINT, LABEL)[2]
    halved = torch.from_numpy(POINT).bfloat16()
    assert torch.equal(plain, tracker.add_new_points_or_box(tracker.init_state(clip), 0, 1, halved, LABEL)[2])


def test_a_picture_size_of_nothing_is_refused():
    with pytest.raises(InputError, match="image_size must be"):
        build_sam2_video_predictor(tiny_model(), hydra_overrides_extra=["++model.image_size=0"])


def test_soft_masks_are_cut_as_officially(tracker, clip):
    """Of an array all that is not 0, of a tensor what is 0.5 or more."""
    soft = np.zeros((48, 72), np.float32)
    soft[10:40, 10:60] = 0.3
    soft[10:40, 10:30] = 0.7
    whole = tracker.add_new_mask(tracker.init_state(clip), 0, 1, soft)[2]
    half = tracker.add_new_mask(tracker.init_state(clip), 0, 1, torch.from_numpy(soft))[2]
    assert torch.equal(whole, tracker.add_new_mask(tracker.init_state(clip), 0, 1, soft > 0)[2])
    assert torch.equal(half, tracker.add_new_mask(tracker.init_state(clip), 0, 1, soft > 0.5)[2])


def test_options_may_be_changed_on_the_predictor_at_any_time(tracker, clip):
    assert tracker.fill_hole_area == 8
    state = tracker.init_state(clip)
    tracker.fill_hole_area = 0
    tracker.non_overlap_masks = True
    tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
    _, _, masks = tracker.add_new_points_or_box(state, 0, 2, POINT + 10, LABEL)
    assert (masks > 0).sum(0).max() <= 1
    assert state.session.policy.fill_hole_area == 0


def test_objects_are_cleared_removed_and_reset(tracker, clip):
    state = tracker.init_state(clip)
    tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
    tracker.add_new_points_or_box(state, 0, 2, POINT + 10, LABEL)
    frame, ids, masks = tracker.clear_all_prompts_in_frame(state, 0, 2)
    assert (frame, ids) == (0, [1, 2])
    assert (masks[1] == ABSENT_LOGIT).all()
    with pytest.raises(PromptError, match="object 2"):
        next(tracker.propagate_in_video(state))
    assert tracker.clear_all_prompts_in_frame(state, 0, 2, need_output=False) is None
    assert tracker.clear_all_prompts_in_frame(state, 0, 99)[:2] == (0, [1, 2]), "never prompted"

    ids, updated = tracker.remove_object(state, 1)
    assert ids == [2]
    assert [frame for frame, _ in updated] == [0]
    assert tracker.remove_object(state, 99) == ([2], [])
    with pytest.raises(PromptError, match="no object 99"):
        tracker.remove_object(state, 99, strict=True)
    assert tracker.remove_object(state, 2) == ([], [])
    tracker.add_new_points_or_box(state, 0, 3, POINT, LABEL)
    tracker.reset_state(state)
    assert state["obj_ids"] == []


def test_official_tools_may_separate_overlapping_masks_themselves(tracker):
    scores = torch.randn(3, 1, 6, 6) + 1
    apart = tracker._apply_non_overlapping_constraints(scores)
    assert ((apart > 0).sum(0) <= 1).all()
    assert torch.equal(apart.amax(0), scores.amax(0))


def test_vos_optimized_compiles_all_that_a_frame_goes_through(monkeypatch, model, clip):
    running = []  # compiled functions, the innermost last

    def compiled(function, **options):
        def run(*args, **kwargs):
            running.append(function.__name__)
            try:
                return function(*args, **kwargs)
            finally:
                running.pop()

        return run

    monkeypatch.setattr(torch, "compile", compiled)
    monkeypatch.setattr("masklet.model.compiled.shutil.which", lambda name: name)
    tracker = build_sam2_video_predictor(model, vos_optimized=True)
    assert isinstance(tracker, SAM2VideoPredictorVOS)

    ran_in = defaultdict(set)  # part of the network: the compiled functions that called it, or None
    for name, part in tracker.named_modules():
        ran = ran_in[name.partition(".")[0]]
        part.register_forward_pre_hook(lambda *_, ran=ran: ran.add(running[0] if running else None))
    assert torch.equal(*(tracked(each, clip) for each in (tracker, build_sam2_video_predictor(model))))
    assert {part: ran for part, ran in ran_in.items() if ran} == {
        "image_encoder": {"encode"},
        "memory_attention": {"condition"},
        "sam_prompt_encoder": {"decode"},
        "sam_mask_decoder": {"decode"},
        "obj_ptr_proj": {"decode"},
        "memory_encoder": {"remember"},
        "obj_ptr_tpos_proj": {None},  # times of pointers: a vector per memory, put together beforehand
    }


def test_a_predictor_of_a_compiled_model_is_compiled(monkeypatch, model):
    monkeypatch.setattr(torch, "compile", lambda function: function)
    monkeypatch.setattr("masklet.model.compiled.shutil.which", lambda name: name)
    assert not is_compiled(SAM2VideoPredictor(model))
    assert is_compiled(SAM2VideoPredictor(compile_model(deepcopy(model))))


def test_a_state_of_another_kind_is_refused(model):
    with pytest.raises(InputError, match="an inference state is what init_state gives, not dict"):
        next(build_sam2_video_predictor(model).propagate_in_video({"obj_ids": []}))


def tracked(tracker, clip):
    state = tracker.init_state(clip)
    tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
    return torch.stack([logits for _, _, logits in tracker.propagate_in_video(state)])


def test_everything_works_in_inference_mode_and_autocast(model, clip):
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        predictor = SAM2ImagePredictor(build_sam2(model))
        predictor.set_image(clip[0])
        masks, *_ = predictor.predict(POINT, LABEL)
        tracker = build_sam2_video_predictor(model)
        offload = {"offload_video_to_cpu": True, "offload_state_to_cpu": True}
        state = tracker.init_state(clip, **offload, async_loading_frames=True)
        tracker.add_new_mask(state, 0, 1, masks[0])
        tracked = [logits for _, _, logits in tracker.propagate_in_video(state)]
    assert len(tracked) == 8
    assert all(torch.isfinite(logits).all() for logits in tracked)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_what_began_under_autocast_goes_on_without_and_the_other_way_round(model, clip, dtype):
    tracker, predictor = build_sam2_video_predictor(model), SAM2ImagePredictor(model)
    state, autocast = tracker.init_state(clip), torch.autocast("cpu", dtype=dtype)
    with autocast:
        tracker.add_new_points_or_box(state, 0, 1, POINT, LABEL)
        predictor.set_image(clip[0])
    assert predictor._embeddings[0].features.stride16.dtype == torch.float32, "as officially"
    assert predictor.predict(POINT, LABEL)[0].shape[0] == 3
    outside = [logits for *_, logits in tracker.propagate_in_video(state)]
    with autocast:
        inside = [logits for *_, logits in tracker.propagate_in_video(state)]
    tracker.add_new_points_or_box(state, 4, 1, POINT, LABEL)
    assert len(outside) == len(inside) == len(clip)
    assert all(torch.isfinite(logits).all() for logits in (*outside, *inside))


def test_masklet_names_work_in_official_places(monkeypatch, model):
    monkeypatch.setattr("masklet.sam2.build_sam.load", lambda name, device=None: model)
    assert shares_weights(build_sam2("nano"), model)
    assert shares_weights(SAM2VideoPredictor.from_pretrained("nano"), model)
    assert SAM2ImagePredictor("nano").model is model
    assert masklet.CONFIGS["nano"].name == "nano"
