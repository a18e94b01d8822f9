"""Each trap of SAM 2's official semantics, held by a test of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from masklet.errors import InputError, PromptError
from masklet.model.network import ABSENT_LOGIT, FED_BACK_LIMIT, NUM_TEMPORAL_SLOTS, PRESENCE_OF_GIVEN_MASK
from masklet.ops.components import fill_holes_and_specks
from masklet.ops.coordinates import Points
from masklet.predict.everything_options import EverythingOptions
from masklet.predict.image import ImagePredictor
from masklet.predict.mask_finder import MaskFinder
from masklet.predict.pixels import frame_pixels, picture_pixels
from masklet.predict.video import VideoSession
from masklet.sam2.build_sam import build_sam2, build_sam2_video_predictor
from masklet.tracking.memory import NUM_RECENT, FrameResult, gather, let_go, nearest_frames, plan_recall
from masklet.tracking.policy import DEFAULT, OFFICIAL, TrackingPolicy
from masklet.tracking.step import Cue, condition_frame, decode_frame
from tiny import TINY_CONVNET, TINY_HIERA, tiny_clip, tiny_model

POINT = {"points": [[10, 20]], "labels": [1]}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(20)


@pytest.fixture(scope="module")
def features(model, clip):
    with torch.no_grad():
        return model.encode(frame_pixels(clip[0], model.config.image_size, model.device))


def masks_by_frame(passing):
    return {result.frame: result.logits for result in passing}


def present(model, is_present):
    """The model with every object judged present, or absent."""
    model = tiny_model(model.config)
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(1e3 if is_present else -1e3)
    return model


def history_of(frames, conditioning=(0,)):
    empty = torch.zeros(1)
    return {
        frame: FrameResult(frame, empty, empty, empty, memory=empty, conditioning=frame in conditioning)
        for frame in frames
    }


def with_memory(history):
    return [frame for frame, result in history.items() if result.memory is not None]


# Memory


@pytest.mark.parametrize(("num_frames", "reach"), [(2, 1), (9, 8), (16, 15), (300, 15), (None, 15)])
def test_pointers_reach_and_are_timed_by_the_video_s_length(num_frames, reach):
    plan = plan_recall(40, conditioning=[0], tracked=range(1, 40), num_frames=num_frames)
    assert plan.longest == reach
    assert len(plan.pointers) == 1 + reach


def test_a_clicked_frame_never_tracked_recalls_nothing(model, clip):
    fresh = VideoSession(model, clip).add(1, 9, **POINT)
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=4))
    assert torch.equal(session.add(1, 9, **POINT).logits, fresh.logits)


def test_conditioning_frames_share_slot_0_the_last_row_of_the_table(model):
    plan = plan_recall(10, conditioning=[0, 7], tracked=[8, 9], num_frames=None)
    assert [slot for frame, slot in plan.maps if frame in (0, 7)] == [0, 0]
    places = [model.memory_positions(2, 2, [slot]) for slot in (0, NUM_TEMPORAL_SLOTS - 1)]
    table = model.maskmem_tpos_enc[:, 0, 0]
    torch.testing.assert_close((places[0] - places[1])[0], table[NUM_TEMPORAL_SLOTS - 1] - table[0])


def test_future_conditioning_frames_are_recalled_but_not_their_pointers():
    plan = plan_recall(10, conditioning=[0, 15], tracked=[9], num_frames=None)
    assert {frame for frame, _ in plan.maps} == {0, 9, 15}
    assert {frame for frame, _ in plan.pointers} == {0, 9}
    backward = plan_recall(10, conditioning=[0, 15], tracked=[11], num_frames=None, reverse=True)
    assert {frame for frame, _ in backward.pointers} == {11, 15}


def test_a_conditioning_frame_that_is_clicked_again_recalls_itself():
    for reverse in (False, True):
        plan = plan_recall(5, conditioning=[5], tracked=(), num_frames=None, reverse=reverse)
        assert plan.maps == plan.pointers == ((5, 0),)


def test_training_recalls_the_pointers_of_prompted_frames_yet_to_come():
    plan = plan_recall(10, conditioning=[0, 15], tracked=[9], num_frames=20, coming_pointers=True)
    assert dict(plan.pointers) == {0: 10, 15: -5, 9: 1}


def test_memories_are_bfloat16_and_work_without_any_pointer_beside_them(model, clip):
    session = VideoSession(model, clip, policy=OFFICIAL)
    session.add(1, 5, **POINT)
    first = next(session.propagate(start=0))  # recalls frame 5, of the future: its memory and no pointer
    assert session.tracks[1].history[5].memory.dtype == torch.bfloat16
    assert first.frame == 0
    assert torch.isfinite(first.logits).all()


@pytest.mark.filterwarnings("ignore::masklet.errors.MaskletWarning")
@pytest.mark.parametrize("prompt", [POINT, {"mask": np.eye(48, 72, dtype=bool)}], ids=["point", "mask"])
@pytest.mark.parametrize("binarise", [True, False])
def test_prompted_masks_are_remembered_as_certain_when_post_processing_is_on(model, clip, features, prompt, binarise):
    session = VideoSession(model, clip, policy=replace(DEFAULT, binarise_prompted=binarise))
    session.add(1, 0, **prompt)
    session.settle()
    result = session.tracks[1].history[0]
    with torch.no_grad():
        expected = model.remember(features, result.logits, result.presence, binarise=binarise)
    assert torch.equal(result.memory, expected.bfloat16())


def test_prompted_memories_come_from_filled_masks_and_tracked_ones_from_unfilled(clip):
    model = present(tiny_model(), True)
    big = model.config.image_size**2
    session = VideoSession(model, clip, policy=replace(DEFAULT, fill_hole_area=big))  # every hole is filled
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=2))
    prompted, tracked = session.tracks[1].history[0], session.tracks[1].history[1]
    for result, certain, same in ((prompted, True, True), (tracked, False, False)):
        assert (result.logits == 0.1).any(), "the clip must show a hole for this test to mean anything"
        features = session.features[result.frame]
        with torch.no_grad():
            from_filled = model.remember(features, result.logits, result.presence, binarise=certain)
        assert torch.equal(result.memory, from_filled.bfloat16()) == same


def test_where_the_object_is_absent_its_memory_is_marked(model, features):
    logits = torch.zeros(3, 1, 16, 16)
    with torch.no_grad():
        memory = model.remember(features, logits, torch.tensor([[2.0], [-2.0], [0.0]]), binarise=False)
    seen, absent, undecided = memory
    mark = model.no_obj_embed_spatial[0, :, None, None].expand_as(seen)
    assert mark.abs().max() > 0.1
    torch.testing.assert_close(absent - seen, mark, rtol=0, atol=1e-5)
    assert torch.equal(undecided, absent)


def test_a_window_evicts_by_frame_number_not_by_count():
    history = history_of((0, 1, 2, 30, 31, 47, 50))  # an object that was not always tracked
    let_go(history, 50)
    assert sorted(history) == [0, 47, 50]
    history = history_of(range(51))
    let_go(history, 50)
    # Six memories and fifteen pointers for frame 51, and those of frame 50, which may be corrected yet.
    assert with_memory(history) == [0, *range(44, 51)]
    assert [frame for frame in history if frame] == list(range(35, 51))


def test_with_a_stride_a_window_keeps_the_memories_of_its_multiples_and_of_the_frame_before():
    history = history_of(range(21))
    let_go(history, 20, stride=2)
    assert with_memory(history) == [0, 10, 12, 14, 16, 18, 19, 20]
    plan = plan_recall(20, conditioning=[0], tracked=range(1, 20), num_frames=None, stride=2)
    assert sorted(frame for frame, _ in plan.maps) == [0, 10, 12, 14, 16, 18, 19]


def test_prompts_ahead_push_none_out_that_a_window_has_passed():
    history = history_of((0, 3, 5, 30, 35), conditioning=(0, 3, 5, 30, 35))
    let_go(history, 25, max_conditioning=2)
    assert [frame for frame, result in history.items() if result.conditioning] == [3, 5, 30, 35]


def test_with_a_stride_the_five_others_are_the_latest_multiples():
    plan = plan_recall(23, conditioning=[0], tracked=range(1, 23), num_frames=None, stride=4)
    assert [frame for frame, slot in plan.maps if slot] == [4, 8, 12, 16, 20, 22]


@pytest.mark.parametrize(
    ("frame", "chosen"),
    [(5, [10, 20, 30]), (21, [10, 20, 30]), (26, [20, 30, 40]), (30, [20, 30, 40]), (70, [40, 50, 60])],
)
def test_of_many_prompted_frames_the_nearest_on_either_side_are_recalled(frame, chosen):
    """As `select_closest_cond_frames` chooses officially; the others count as tracked."""
    prompted = [10, 20, 30, 40, 50, 60]
    assert nearest_frames(frame, prompted, 3) == chosen
    assert nearest_frames(frame, prompted, 6) == nearest_frames(frame, prompted, None) == prompted
    assert nearest_frames(30, prompted, 2) == [20, 30], "the last before, and the first from it on"
    assert nearest_frames(25, [*range(5), 15, 20, 30, 35], 3) == nearest_frames(25, [15, 20, 30, 35], 3) == [15, 20, 30]
    plan = plan_recall(frame, conditioning=prompted, tracked=(), num_frames=None, max_conditioning=3)
    assert [past for past, slot in plan.maps if slot == 0] == chosen
    assert {past for past, _ in plan.pointers} <= {past for past in prompted if past <= frame}


def test_prompted_frames_that_are_too_many_keep_their_recent_slots():
    plan = plan_recall(9, conditioning=range(1, 9), tracked=(), num_frames=None, max_conditioning=2)
    assert plan.maps == ((7, 0), (8, 0), (3, 1), (4, 2), (5, 3), (6, 4))
    assert [past for past, _ in plan.pointers] == [7, 8, 6, 5, 4, 3, 2, 1]
    with pytest.raises(InputError, match="max_conditioning must be at least 2, one frame before and one after, not 1"):
        replace(DEFAULT, max_conditioning=1)


# Prompts


def test_the_official_default_overwrites_a_correction_and_its_override_keeps_it(model, clip):
    for keeps in (False, True):
        override = f"++model.add_all_frames_to_correct_as_cond={str(keeps).lower()}"
        predictor = build_sam2_video_predictor(model, hydra_overrides_extra=[override])
        state = predictor.init_state(clip)
        predictor.add_new_points_or_box(state, 0, 1, [[10, 20]], [1])
        list(predictor.propagate_in_video(state))
        _, _, preview = predictor.add_new_points_or_box(state, 8, 1, [[60, 40]], [0])
        again = {frame: masks for frame, _, masks in predictor.propagate_in_video(state)}
        assert torch.equal(preview, again[8]) == keeps


def test_officially_a_correction_of_the_first_prompt_is_lost_and_ours_holds(model, clip):
    for policy, holds in ((OFFICIAL, False), (DEFAULT, True)):
        session = VideoSession(model, clip, policy=policy)
        session.add(1, 0, **POINT)
        before = masks_by_frame(session.propagate())
        corrected = session.add(1, 0, points=[[60, 40]], labels=[0])
        after = masks_by_frame(session.propagate())
        assert not torch.equal(corrected.logits, before[0])
        assert torch.equal(corrected.logits, after[0]) == holds
        assert torch.equal(before[0], after[0]) != holds


def test_officially_a_late_object_is_tracked_before_its_first_prompt_and_ours_starts_there(model, clip):
    for policy, frames in ((OFFICIAL, range(2, 20)), (DEFAULT, range(7, 20))):
        session = VideoSession(model, clip, policy=policy)
        session.add(1, 2, **POINT)
        session.add(2, 7, points=[[40, 20]])
        assert [result.frame for result in session.propagate() if 2 in result.object_ids] == list(frames)


def test_officially_n_frames_to_track_yield_n_plus_1_and_reverse_from_frame_0_none(model, clip):
    predictor = build_sam2_video_predictor(model)
    state = predictor.init_state(clip)
    predictor.add_new_points_or_box(state, 0, 1, [[10, 20]], [1])
    frames = [frame for frame, *_ in predictor.propagate_in_video(state, max_frame_num_to_track=4)]
    assert frames == [0, 1, 2, 3, 4]
    assert list(predictor.propagate_in_video(state, start_frame_idx=0, reverse=True)) == []
    frames = [frame for frame, *_ in predictor.propagate_in_video(state, 5, max_frame_num_to_track=3, reverse=True)]
    assert frames == [5, 4, 3, 2]


def test_replacing_old_points_still_feeds_the_earlier_mask_back(model, clip):
    session = VideoSession(model, clip)
    first = session.add(1, 0, **POINT)
    again = session.add(1, 0, **POINT, replace=True)
    assert len(session.tracks[1].prompts[0].points) == 1
    assert not torch.equal(first.logits, again.logits)


def test_logits_fed_back_are_clamped(model, features):
    points = Points(torch.tensor([[[10.0, 20.0], [30.0, 20.0]]]), torch.tensor([[1, 0]]))
    side = features.stride4.shape[-1]
    wild = torch.linspace(-900, 900, side * side).reshape(1, 1, side, side)
    with torch.no_grad():
        conditioned = condition_frame(model, features)
        fed = [
            decode_frame(model, features, conditioned, Cue(points, logits)).logits
            for logits in (wild, wild.clamp(-FED_BACK_LIMIT, FED_BACK_LIMIT))
        ]
    assert FED_BACK_LIMIT == 32
    assert torch.equal(*fed)


def test_a_right_prompt_given_before_the_wrong_one_is_taken_back_is_all_that_is_recalled(model, clip):
    """The other order: nothing that was tracked with the wrong prompt in view stays, and what came before it does."""
    session, fresh = VideoSession(model, clip), VideoSession(model, clip)
    session.add(1, 0, points=[[60, 40]])
    list(session.propagate())
    for one in (session, fresh):
        one.add(1, 5, points=[[10, 20]])
    session.tracks[1].drafts[5] = fresh.tracks[1].drafts[5]  # the answer itself was given in view of the wrong one
    session.settle()
    session.clear(1, 0)
    assert list(session.tracks[1].history) == session.tracks[1].conditioning == [5]
    assert not session.preview(3).object_ids
    pairs = zip(session.propagate(), fresh.propagate(), strict=True)
    assert all(torch.equal(found.logits, expected.logits) for found, expected in pairs)


def test_an_answer_that_waits_is_given_again_when_what_it_was_given_in_view_of_is_taken_back(model, clip):
    """The right click, not yet settled, then the wrong one taken back: as if the two had come the other way round."""
    session, fresh = VideoSession(model, clip), VideoSession(model, clip)
    for one in (session, fresh):
        one.add(1, 0, **POINT)
        list(one.propagate())
        one.add(1, 5, points=[[60, 40]])
        list(one.propagate())
    before = session.add(1, 7, points=[[10, 20]])
    session.clear(1, 5)
    fresh.clear(1, 5)
    expected = fresh.add(1, 7, points=[[10, 20]])
    assert not torch.equal(before.logits, expected.logits)
    assert torch.equal(session.preview(7).logits, expected.logits)


def test_what_was_tracked_before_a_prompt_that_was_taken_back_is_kept(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=6))
    session.add(1, 3, points=[[60, 40]])
    list(session.propagate(start=3, num_frames=6))
    session.clear(1, 3)
    assert list(session.tracks[1].history) == [0, 1, 2]
    assert sorted(session.tracks[1].visited) == [0, 1, 2]
    assert session.tracks[1].conditioning == [0]


def test_what_was_tracked_before_a_frame_was_prompted_is_kept_though_it_comes_after_it(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=6))
    session.add(1, 3, points=[[60, 40]])
    list(session.propagate(start=6, num_frames=3))
    session.clear(1, 3)
    assert list(session.tracks[1].history) == [0, 1, 2, 4, 5]


def test_officially_a_frame_that_is_cleared_becomes_an_ordinary_memory(model, clip):
    session = VideoSession(model, clip, policy=OFFICIAL)
    session.add(1, 0, **POINT)
    session.add(1, 6, points=[[30, 20]])
    list(session.propagate())
    session.clear(1, 6)
    track = session.tracks[1]
    assert track.conditioning == [0]
    assert track.history[6].memory is not None


def test_what_was_tracked_from_a_prompt_that_was_taken_back_is_not_recalled(model, clip):
    """A wrong click on frame 0, tracked, taken back, and the right one on frame 5: as if the first had never been."""
    session, fresh = VideoSession(model, clip), VideoSession(model, clip)
    session.add(1, 0, points=[[60, 40]])
    list(session.propagate())
    session.clear(1, 0)
    assert session.history_bytes == 0
    for one in (session, fresh):
        one.add(1, 5, points=[[10, 20]])
    pairs = zip(session.propagate(), fresh.propagate(), strict=True)
    assert all(torch.equal(found.logits, expected.logits) for found, expected in pairs)


def test_clearing_the_only_prompt_leaves_nothing_to_propagate(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    session.clear(1, 0)
    with pytest.raises(PromptError, match="nothing to propagate"):
        next(session.propagate())


def test_a_mask_prompt_s_pointer_sees_features_without_memory_or_its_absence(model, features):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 12:40, 12:40] = 1
    with torch.no_grad():
        adopted = model.adopt(features, mask)
        cue = model.mask_downsample(mask)
        bare = model.decode(features, features.stride16, mask_logits=cue, multimask=False)
        marked = model.decode(features, model.condition(features, None), mask_logits=cue, multimask=False)
    torch.testing.assert_close(adopted.pointer, bare.pointer)
    assert not torch.allclose(adopted.pointer, marked.pointer, atol=1e-3)
    assert torch.equal(adopted.logits > 0, torch.nn.functional.avg_pool2d(mask, 4) >= 0.5)


def test_an_empty_mask_says_that_the_object_is_absent(model, features):
    with torch.no_grad():
        adopted = model.adopt(features, torch.zeros(1, 1, 64, 64))
    assert torch.equal(adopted.pointer, model.no_obj_ptr)
    assert adopted.presence.item() == -PRESENCE_OF_GIVEN_MASK


# Decoding


@pytest.mark.parametrize(("labels", "readings"), [([], 3), ([1], 3), ([2, 3], 1), ([1, 0], 1)])
def test_one_point_or_none_chooses_among_three_masks_and_a_box_counts_as_two_points(model, features, labels, readings):
    points = Points(torch.full((1, len(labels), 2), 20.0), torch.tensor([labels])) if labels else None
    with torch.no_grad():
        decoded = decode_frame(model, features, condition_frame(model, features), Cue(points))
    assert decoded.candidates.iou.shape[1] == readings
    assert decoded.iou == decoded.candidates.iou.max()


def test_the_stability_fallback_changes_the_mask_but_not_the_pointer(features, model):
    points = Points(torch.tensor([[[10.0, 20.0], [30.0, 20.0]]]), torch.tensor([[1, 1]]))
    with torch.no_grad():
        conditioned = condition_frame(model, features)
        plain, fallback = (
            decode_frame(model, features, conditioned, Cue(points), stability_fallback=on) for on in (False, True)
        )
    assert not torch.equal(plain.logits, fallback.logits), "the model must be unstable for this test to mean anything"
    assert torch.equal(plain.pointer, fallback.pointer)


@pytest.mark.parametrize("falls_back", [False, True])
def test_the_models_configuration_says_whether_it_falls_back(falls_back, clip):
    """Pictures, clips, masks everywhere and the official names follow it unless told otherwise."""
    network = tiny_model(replace(TINY_CONVNET, stability_fallback=falls_back))
    two_points = {"points": [(10.0, 20.0), (30.0, 20.0)], "labels": [1, 1]}
    told = {on: ImagePredictor(network, stability_fallback=on) for on in (False, True, None)}
    masks = {on: one.predict(one.embed(clip[0]), **two_points, multimask=False).low_res for on, one in told.items()}
    assert not torch.equal(masks[False], masks[True]), "the model must be unstable for this test to mean anything"
    assert torch.equal(masks[None], masks[falls_back])
    policies = {on: replace(DEFAULT, stability_fallback=on) for on in (None, falls_back, not falls_back)}
    clips = {on: VideoSession(network, clip, policy=one).add(1, 0, **two_points) for on, one in policies.items()}
    assert torch.equal(clips[None].logits, clips[falls_back].logits)
    assert not torch.equal(clips[None].logits, clips[not falls_back].logits)
    options = EverythingOptions(points_per_side=2, pred_iou_thresh=0, stability_score_thresh=0, multimask_output=False)
    finders = {on: MaskFinder(network, options, stability_fallback=on) for on in (None, falls_back, not falls_back)}
    found = {on: [mask.iou for mask in finder.find(clip[0])] for on, finder in finders.items()}
    assert found[None] == found[falls_back] != found[not falls_back]
    override = ["++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true"]
    assert build_sam2(network).stability_fallback == falls_back
    assert not build_sam2(network, apply_postprocessing=False).stability_fallback
    assert build_sam2(network, apply_postprocessing=False, hydra_overrides_extra=override).stability_fallback


def test_a_second_look_follows_the_first_answer_to_points_alone(clip):
    """In pictures and clips; later corrections give the answer back anyway, and tracked frames have no prompt."""
    network = tiny_model(replace(TINY_CONVNET, stability_fallback=False))
    looking = tiny_model(replace(TINY_CONVNET, stability_fallback=False, second_look=True))
    looking.load_state_dict(network.state_dict())
    once, twice = ImagePredictor(network), ImagePredictor(looking)
    embedding = once.embed(clip[0])
    box = {"box": (8.0, 8.0, 40.0, 30.0), "multimask": False}
    first = once.predict(embedding, **box)
    second = once.predict(embedding, **box, mask_logits=first.low_res)
    assert not torch.equal(first.low_res, second.low_res)
    seen = twice.predict(twice.embed(clip[0]), **box)
    assert torch.equal(seen.low_res, second.low_res)
    again = twice.predict(twice.embed(clip[0]), **box, mask_logits=seen.low_res)
    assert torch.equal(again.low_res, once.predict(embedding, **box, mask_logits=second.low_res).low_res)
    sessions = [VideoSession(one, clip[:3]) for one in (network, looking)]
    answers = [session.add(1, 0, box=box["box"]).logits for session in sessions]
    assert not torch.equal(*answers)
    features = network.encode(torch.zeros(1, 3, network.config.image_size, network.config.image_size))
    with torch.no_grad():
        tracked = [decode_frame(one, features, condition_frame(one, features)).logits for one in (network, looking)]
    assert torch.equal(*tracked), "nothing was asked"


def test_absent_objects_are_minus_1024_in_video_and_untouched_in_pictures(model, clip):
    absent = present(model, False)
    answer = VideoSession(absent, clip).add(1, 0, **POINT)
    torch.testing.assert_close(answer.logits, torch.full((1, 48, 72), ABSENT_LOGIT))
    predictor = ImagePredictor(absent)
    assert predictor.predict(predictor.embed(clip[0]), **POINT).logits.min() > ABSENT_LOGIT


@pytest.mark.parametrize("config", [TINY_CONVNET, replace(TINY_CONVNET, signed_pointer_time=False)])
def test_a_clip_of_one_frame_clicked_again_after_propagation_stays_finite(config, clip):
    session = VideoSession(tiny_model(config), clip[:1])
    session.add(1, 0, **POINT)
    list(session.propagate())
    again = session.add(1, 0, points=[[40, 30]], labels=[0])
    assert torch.isfinite(again.logits).all()


def test_holes_are_8_connected_and_filled_with_a_tenth_in_video_and_ten_in_pictures(model, clip):
    logits = torch.ones(1, 8, 8)
    logits[0, 2, 2] = logits[0, 3, 3] = -1  # one hole of two pixels, which touch at a corner
    assert (fill_holes_and_specks(logits, hole_area=1, speck_area=0) == logits).all()
    assert fill_holes_and_specks(logits, hole_area=2, speck_area=0)[0, 2, 2] == pytest.approx(0.1)

    whole = model.config.image_size**2
    session = VideoSession(present(model, True), clip, policy=replace(DEFAULT, fill_hole_area=whole))
    session.add(1, 0, **POINT)
    assert (session.tracks[1].drafts[0].logits == 0.1).any()
    plain, filled = ImagePredictor(model), ImagePredictor(model, fill_hole_area=whole)
    embedding = plain.embed(clip[0])
    change = filled.predict(embedding, **POINT).logits - plain.predict(embedding, **POINT).logits
    assert change.max() > 5


def test_pictures_and_frames_are_resized_differently(clip):
    device = torch.device("cpu")
    picture, frame = picture_pixels(clip[0], 32, device), frame_pixels(clip[0], 32, device)
    assert picture.shape == frame.shape
    assert (picture - frame).abs().max() > 0.05


@pytest.mark.parametrize("config", [TINY_CONVNET, TINY_HIERA], ids=lambda config: config.name)
@pytest.mark.parametrize("image_size", [32, 96, 160])
def test_pictures_and_clips_take_any_image_size(config, image_size, clip):
    model = tiny_model(replace(config, image_size=image_size))
    predictor = ImagePredictor(model)
    assert predictor.predict(predictor.embed(clip[0]), **POINT).logits.shape[-2:] == clip.shape[1:3]
    session = VideoSession(model, clip[:3])
    session.add(1, 0, **POINT)
    assert [result.logits.shape[-2:] == clip.shape[1:3] for result in session.propagate()] == [True] * 3


def test_recalled_pointers_come_after_the_maps_without_a_place_to_rotate_by(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=3))
    track = session.tracks[1]
    tokens = gather(model, track.history, track.recall_plan(3, 20, False, DEFAULT, 6))
    parts = model.config.width // model.config.memory_width
    assert tokens.num_pointer_tokens == 3 * parts  # frames 0, 1 and 2
    assert tokens.tokens.shape[1] == 3 * 4 * 4 + 3 * parts


@pytest.mark.parametrize("recent", [1, 3, NUM_RECENT])
def test_only_so_many_recent_memories_are_recalled_and_kept(recent):
    plan = plan_recall(20, conditioning=[0], tracked=range(1, 20), num_frames=None, recent=recent)
    assert [past for past, _ in plan.maps] == [0, *range(20 - recent, 20)]
    assert [slot for _, slot in plan.maps] == [0, *range(NUM_TEMPORAL_SLOTS - recent, NUM_TEMPORAL_SLOTS)]
    assert len(plan.pointers) == 16, "pointers reach as far as ever"

    history = history_of(range(20))
    let_go(history, 19, recent=recent)
    assert with_memory(history) == [0, *range(19 - recent, 20)], "what frame 19 recalled, and itself"


def test_models_with_a_convolutional_trunk_recall_three_recent_memories_unless_told_otherwise(clip):
    assert (TINY_CONVNET.recent_memories, TINY_HIERA.recent_memories) == (3, NUM_RECENT)
    held = []
    for recent in (None, 5):
        policy = TrackingPolicy(recent_memories=recent)
        session = VideoSession(tiny_model(TINY_CONVNET), clip, keep="window", policy=policy)
        session.add(1, 0, **POINT)
        list(session.propagate(num_frames=12))
        history = session.tracks[1].history
        held.append(sum(result.memory is not None and not result.conditioning for result in history.values()))
    assert held[1] - held[0] == 2
    with pytest.raises(InputError, match="recent_memories lies in 1 to 6, not 7"):
        TrackingPolicy(recent_memories=7)
