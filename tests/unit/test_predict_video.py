"""Passes of a session: what they cover, what they refuse, and what they need not compute."""

from __future__ import annotations

from unittest.mock import Mock

import numpy as np
import pytest
import torch

from masklet.errors import InputError, PromptError
from masklet.io import frame_source
from masklet.model.compiled import compile_model
from masklet.predict import track, video
from masklet.predict.image import ImagePredictor
from masklet.predict.stream import Stream
from masklet.predict.video import VideoSession
from masklet.tracking.memory import FrameResult
from masklet.tracking.policy import TrackingPolicy
from masklet.tracking.step import objects_in_step
from masklet.types import Prompt
from tiny import TINY_HIERA, tiny_clip, tiny_model

POINT = {"points": [[10, 20]]}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(14)


def frames_of(results, object_id):
    return [result.frame for result in results if object_id in result.object_ids]


def test_both_directions_from_a_given_frame_leave_no_hole(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 3, **POINT)
    session.add(2, 10, **POINT)
    results = list(session.propagate(start=5, direction="both"))
    assert frames_of(results, 1) == [*range(5, 14), 2, 1, 0]
    assert frames_of(results, 2) == [*range(10, 14), *range(9, -1, -1)]
    assert [result.frame for result in session.propagate(start=5, num_frames=2, direction="both")] == [5, 6, 9, 8]


def test_the_second_pass_begins_before_the_latest_first_prompt_even_one_of_the_first_pass(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 3, **POINT)
    results = []
    for result in session.propagate(direction="both"):
        if not results:
            session.add(2, 9, **POINT)
            session.add(1, 12, points=[[50, 40]], labels=[0])  # a correction is no reason to begin there
        results.append(result)
    assert [result.frame for result in results] == [*range(3, 14), *range(8, -1, -1)]
    assert frames_of(results, 2) == [*range(9, 14), *range(8, -1, -1)]
    assert all(result.object_ids for result in results)


def test_an_iterable_is_tracked_the_same_once_its_end_is_known(model, clip):
    session = VideoSession(model, (frame for frame in clip[:8]))
    session.add(1, 0, **POINT)
    first, second = ([found.logits for found in session.propagate()] for _ in range(2))
    assert len(first) == session.num_frames == 8
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_many_prompts_are_placed_without_a_picture_of_each(model, clip, monkeypatch):
    session = VideoSession(model, clip)
    monkeypatch.setattr(session, "preview", lambda frame: pytest.fail("masks were brought to full size"))
    session.place(1, 3, Prompt.of(**POINT))
    assert session.object_ids == (1,)


def test_clicks_from_one_array_stay_as_they_were_given(model, clip):
    session = VideoSession(model, clip)
    click = np.array([[10, 20]], np.float32)
    session.add(1, 0, points=click)
    click[:] = 50, 40
    session.add(1, 0, points=click)
    assert session.tracks[1].prompts[0].points.tolist() == [[10, 20], [50, 40]]


@pytest.mark.parametrize(
    "points",
    [
        np.array([[20, 10]], np.float32)[:, ::-1],
        torch.tensor([[10, 20]], dtype=torch.bfloat16),
        torch.tensor([[10.0, 20.0]], requires_grad=True),
    ],
    ids=["turned round", "bfloat16", "with a gradient"],
)
def test_points_of_every_kind_are_read(model, clip, points):
    expected = VideoSession(model, clip).add(1, 0, points=[[10, 20]]).logits
    assert torch.equal(VideoSession(model, clip).add(1, 0, points=points).logits, expected)


def test_a_first_pass_that_ends_without_objects_is_the_only_one(model, clip):
    session = VideoSession(model, clip[:4])
    session.add(1, 2, **POINT)
    frames = []
    for result in session.propagate(direction="both"):
        session.reset()
        frames.append(result.frame)
    assert frames == [2, 3]


@pytest.mark.parametrize("object_id", ["dog", 1.5, [1], None])
def test_objects_are_known_by_whole_numbers(model, clip, object_id):
    with pytest.raises(PromptError, match="an object's id must be a whole number"):
        VideoSession(model, clip).add(object_id, points=[[9, 9]])


@pytest.mark.parametrize("frame", ["1", 1.5])
def test_frames_are_known_by_whole_numbers(model, clip, frame):
    session = VideoSession(model, clip)
    with pytest.raises(PromptError, match="a frame must be a whole number; got"):
        session.add(1, frame, points=[[9, 9]])
    session.add(np.int64(1), np.int64(0), points=[[9, 9]])
    session.add(1, torch.tensor(0), points=[[12, 9]])
    assert [type(number) for number in (*session.tracks, *session.tracks[1].prompts)] == [int, int]
    with pytest.raises(PromptError, match="a frame must be a whole number; got"):
        session.propagate(frame)


def test_what_is_wrong_with_a_propagation_is_said_at_once(model, clip):
    session = VideoSession(model, clip)
    with pytest.raises(InputError, match="not 'sideways'"):
        session.propagate(direction="sideways")
    with pytest.raises(PromptError, match="no frame 99"):
        session.propagate(99)
    with pytest.raises(PromptError, match=r"num_frames must be a whole number; got 2\.5"):
        session.propagate(num_frames=2.5)


def test_a_mask_of_another_size_is_taken_if_its_proportions_are_the_video_s(model, clip):
    session = VideoSession(model, clip)
    mask = np.zeros((24, 36), bool)
    mask[6:18, 6:24] = True
    large = mask.repeat(2, 0).repeat(2, 1)
    found = session.add(1, mask=mask).masks[0]
    assert (found & large).sum() / (found | large).sum() > 0.9


def test_a_window_refuses_both_directions_before_the_first_frame(model, clip):
    session = VideoSession(model, clip, keep="window")
    session.add(1, 3, **POINT)
    with pytest.raises(PromptError, match="direction='both' needs keep='all'"):
        next(session.propagate(direction="both"))
    assert next(session.propagate()).frame == 3


def test_a_window_can_do_its_last_frame_again(model, clip):
    answers = []
    for keep in ("all", "window"):
        session = VideoSession(model, clip, keep=keep)
        session.add(1, 0, **POINT)
        list(session.propagate(num_frames=10))
        answers.append([result.logits for result in session.propagate(start=9)])
    assert [one.equal(other) for one, other in zip(*answers, strict=True)] == [True] * 5


def test_a_mask_prompt_on_a_tracked_frame_looks_nothing_up(model, clip, monkeypatch):
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=5))
    monkeypatch.setattr(video, "condition_frame", lambda *_: pytest.fail("conditioned for nothing"))
    assert session.add(1, 3, mask=np.eye(48, 72, dtype=bool)).frame == 3
    assert session.add(1, 3, mask=np.eye(48, 72) * 255.0).frame == 3
    with pytest.raises(PromptError, match=r"numbers such as 0\.25: say where the object begins, as in mask > 0\.5"):
        session.add(1, 3, mask=np.full((48, 72), 0.25))


class Unlisted(dict):
    """A history of which single frames may be looked up."""

    def __iter__(self):
        pytest.fail("the whole history was walked through")

    items = keys = values = __iter__


def test_tracking_a_frame_does_not_walk_through_all_before_it(model, clip):
    session = VideoSession(model, clip)
    session.add(1, 2, **POINT)
    list(session.propagate(num_frames=8))
    expected = [result.logits for result in session.propagate(start=10, num_frames=2)]
    track = session.tracks[1]
    track.history = Unlisted(track.history)
    again = list(session.propagate(start=10, num_frames=2))
    assert [one.equal(other.logits) for one, other in zip(expected, again, strict=True)] == [True] * 2
    assert session.add(1, 11, points=[[50, 40]], labels=[0]).object_ids == (1,)


def test_conditioning_frames_are_known_in_order_as_prompts_come_and_go(model, clip):
    session = VideoSession(model, clip)
    for frame in (8, 2, 5, 8):
        session.add(1, frame, **POINT)
        session.settle()
    track = session.tracks[1]
    assert track.conditioning == [2, 5, 8]
    session.clear(1, 5)
    list(session.propagate(num_frames=3))
    assert track.conditioning == [2, 8] == sorted(n for n, result in track.history.items() if result.conditioning)


@pytest.mark.parametrize("order", [lambda key: key, lambda key: (key[1], key[0])], ids=["by object", "by frame"])
def test_a_frame_is_encoded_once_for_all_objects_prompted_on_it(model, clip, monkeypatch, order):
    session = VideoSession(model, clip)
    for object_id, frame in sorted(((i, frame) for i in range(1, 4) for frame in range(0, 12, 2)), key=order):
        session.place(object_id, frame, Prompt.of(points=(10, 20)))
    encoded, encode = [], model.encode
    monkeypatch.setattr(model, "encode", lambda pixels: encoded.append(1) or encode(pixels))
    session.features.clear()
    session.settle()
    assert len(encoded) == 6


def test_a_frame_is_conditioned_once_however_often_it_is_clicked(model, clip, monkeypatch):
    session, anew = VideoSession(model, clip), VideoSession(model, clip)
    for one in (session, anew):
        one.add(1, 0, **POINT)
        list(one.propagate(num_frames=6))
    calls, conditioned = [], video.condition_frame
    monkeypatch.setattr(video, "condition_frame", lambda *args: calls.append(1) or conditioned(*args))

    def click(one, x):
        calls.clear()
        found = one.add(1, 4, points=[[x, 20]]).logits
        return found, len(calls)

    for x, times in ((10, 1), (20, 0), (30, 0)):
        anew.tracks[1].conditioned = None
        (found, number), (expected, _) = click(session, x), click(anew, x)
        assert torch.equal(found, expected)
        assert number == times
    list(session.propagate(start=2, num_frames=2))
    assert click(session, 12)[1] == 1, "what it recalls has changed since"


def test_a_click_after_a_backward_pass_looks_ahead_as_that_pass_did(model, clip, monkeypatch):
    session = VideoSession(model, clip)
    session.add(1, 10, **POINT)
    list(session.propagate(direction="backward"))
    plans, plan = [], track.plan_recall
    monkeypatch.setattr(track, "plan_recall", lambda *args, **how: plans.append(plan(*args, **how)) or plans[-1])
    session.add(1, 5, points=[[50, 40]], labels=[0])
    assert [frame for frame, _ in plans[0].pointers] == [10, 6, 7, 8, 9]


@pytest.mark.parametrize("offload", [False, True])
def test_prompted_and_tracked_frames_are_remembered_where_the_policy_says(model, clip, monkeypatch, offload):
    """`cpu:0` stands for a GPU: PyTorch tells it from `cpu`."""
    gpu, kept = torch.device("cpu", 0), {}
    monkeypatch.setattr(type(model), "device", gpu)
    monkeypatch.setattr(FrameResult, "to", lambda self, device: kept.update({self.frame: device}) or self)
    session = VideoSession(model, clip, policy=TrackingPolicy(offload=offload))
    session.add(1, 0, **POINT)
    list(session.propagate(num_frames=3))
    assert kept == dict.fromkeys(range(3), torch.device("cpu") if offload else gpu)


def test_apples_gpus_take_few_memories_at_once():
    assert objects_in_step(7, torch.device("cuda")) == 16
    assert [objects_in_step(number, torch.device("mps")) for number in (0, 1, 7, 30)] == [16, 16, 2, 1]


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_a_window_that_has_gone_through_the_clip_says_so(model, clip, direction):
    session = VideoSession(model, clip, keep="window")
    session.add(1, 0, points=[(20, 20)])
    assert len(list(session.propagate())) == len(clip)
    with pytest.raises(PromptError, match="gone through the clip"):
        list(session.propagate(direction=direction))
    assert not list(session.propagate(num_frames=5)), "which ends a loop that asks for so many at a time"


def test_a_window_says_that_a_prompt_it_let_go_cannot_be_taken_back(model, clip):
    session = VideoSession(model, clip, keep="window", policy=TrackingPolicy(max_conditioning=2))
    for frame in (0, 2, 4):
        session.add(1, frame, **POINT)
    list(session.propagate(num_frames=9))
    with pytest.raises(PromptError, match="frame 0 has passed"):
        session.clear(1, 0)
    assert 0 in session.tracks[1].prompts


@pytest.mark.parametrize("prompt", [POINT, {"mask": np.pad(np.ones((20, 20), bool), ((8, 20), (8, 44)))}])
def test_what_waits_becomes_a_first_prompt_when_the_one_before_is_taken_back(model, clip, prompt):
    session = VideoSession(model, clip, policy=TrackingPolicy(corrections_condition=False))
    session.add(1, 0, **POINT)
    list(session.propagate())
    session.add(1, 5, **prompt)
    session.clear(1, 0)
    assert frames_of(session.propagate(), 1) == list(range(5, 14))


def test_taking_a_prompt_back_loses_no_other_one_when_it_is_interrupted(model, clip, monkeypatch):
    session = VideoSession(model, clip)
    session.add(1, 0, **POINT)
    list(session.propagate())
    for frame in (5, 8):
        session.add(1, frame, **POINT)
    with monkeypatch.context() as patched:
        patched.setattr(session, "_answer", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            session.clear(1, 0)
    assert sorted(session.tracks[1].drafts) == [5, 8]


@pytest.mark.parametrize("guided", [False, True])
def test_a_filled_hole_stays_filled_where_edges_follow_the_picture(model, guided):
    """A hole of another colour than the object, which the guide alone would open again."""
    picture = np.zeros((96, 96, 3), np.uint8)
    picture[20:76, 20:76] = (200, 30, 30)
    picture[44:52, 44:52] = (0, 255, 0)
    session = VideoSession(model, [picture], policy=TrackingPolicy(fill_hole_area=8, guided_edges=guided))
    logits = torch.full((1, 1, 16, 16), -8.0)
    logits[..., 3:13, 3:13] = 8.0
    logits[..., 7:9, 7:9] = -8.0
    result = FrameResult(0, session._cleaned(logits), torch.zeros(1, 8), torch.ones(1, 1))
    masks = session._frame_masks(0, {1: result}).masks[0]
    assert masks[44:52, 44:52].all()


def test_a_window_goes_on_from_where_it_stopped(model, clip):
    """After a break, from the frame that was corrected or the one after; as a session that keeps all would."""
    window, whole = VideoSession(model, clip, keep="window"), VideoSession(model, clip)
    passed = []
    for session in (window, whole):
        session.add(1, 0, **POINT)
        for _ in zip(range(4), session.propagate()):
            pass
    assert [found.frame for found in window.propagate(num_frames=2)] == [4, 5]
    list(whole.propagate(start=4, num_frames=2))
    for session, start in ((window, None), (whole, 5)):
        session.add(1, 5, points=[[50, 40]], labels=[0])
        passed.append(list(session.propagate(start=start)))
    assert [found.frame for found in passed[0]] == list(range(5, 14))
    assert all(torch.equal(a.logits, b.logits) for a, b in zip(*passed, strict=True))


@pytest.mark.parametrize("shape", [(72, 48), (10, 500)])
def test_a_mask_of_other_proportions_is_refused_wherever_it_comes_from(model, clip, shape):
    with pytest.raises(PromptError, match="of those proportions"):
        VideoSession(model, clip).prompt(1, 0, Prompt.of(mask=np.ones(shape)))


def test_a_mask_too_small_for_the_model_is_warned_of(model):
    session = VideoSession(model, np.zeros((2, 600, 600, 3), np.uint8))
    speck = np.zeros((600, 600), bool)
    speck[300:303, 300:303] = True
    with pytest.warns(UserWarning, match=r"the mask given on frame 0 is lost: its 9 pixels .* 600 x 600 at 64"):
        session.add(1, mask=speck)


def test_a_model_in_training_mode_is_refused_before_it_changes(clip):
    """Batch statistics would follow whatever it is shown, and stay so."""
    model = tiny_model().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    session, predictor = VideoSession(model, clip), ImagePredictor(model)
    for predict in (lambda: session.add(1, points=[[10, 20]]), lambda: predictor.embed(clip[0])):
        with pytest.raises(InputError, match=r"in training mode, .*; call model\.eval\(\) first"):
            predict()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    assert session.add(1, points=[[10, 20]]).frame == 0
    assert VideoSession(tiny_model(TINY_HIERA).train(), clip).add(1, points=[[10, 20]]).frame == 0, "it has none"
    model.image_encoder.train()
    with pytest.raises(InputError, match="in training mode"):
        predictor.embed(clip[1])


def test_what_is_no_model_or_policy_is_refused_at_once(model, clip):
    for make in (lambda given: VideoSession(given, clip), Stream, ImagePredictor, compile_model):
        with pytest.raises(InputError, match=r"a model is needed, as masklet\.load gives, not Linear"):
            make(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"not DataParallel: give its \.module"):
        ImagePredictor(torch.nn.DataParallel(model))
    for make in (lambda policy: VideoSession(model, clip, policy=policy), lambda policy: Stream(model, policy=policy)):
        with pytest.raises(InputError, match=r"policy is a masklet\.TrackingPolicy, not 'official'"):
            make("official")


def test_frames_of_a_session_cannot_be_drawn_on(model, clip):
    own = clip.copy()
    session = VideoSession(model, own)
    with pytest.raises(ValueError, match="read-only"):
        session.frames[2][:] = 255
    own[2] = 0
    assert not session.frames[2].any(), "the caller's array stays the caller's"


@pytest.mark.parametrize("ahead", [9, 10])
def test_a_prompt_too_far_ahead_of_a_window_is_refused_before_frames_are_lost(model, monkeypatch, ahead):
    monkeypatch.setattr(frame_source, "CACHE_FRAMES", 10)
    clip = tiny_clip(14)
    session = VideoSession(model, iter(clip), keep="window")
    session.add(1, 0, points=[[10, 20]])
    if ahead == 10:
        with pytest.raises(
            PromptError, match=r"frame 10 is too far ahead of frame 0, where .* 10 of this size are held"
        ):
            session.add(2, ahead, points=[[50, 30]])
    else:
        session.add(2, ahead, points=[[50, 30]])
    tracked = session.propagate()
    found = [next(tracked) for _ in range(4)]
    if ahead == 10:
        found.append(session.add(2, ahead, points=[[50, 30]]))
    else:
        session.add(2, 12, points=[[50, 30]])
    found += tracked
    numbers = [result.frame for result in found]
    assert sorted(set(numbers)) == list(range(14)), "no frame between was let go"
