"""What must hold however objects are prompted: a stream is a session, an object never depends on its company, and
constant memory changes nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from masklet.errors import InputError, PromptError
from masklet.predict.stream import Stream
from masklet.predict.video import VideoSession
from masklet.tracking.memory import MAX_POINTERS, plan_recall
from masklet.tracking.policy import DEFAULT, OFFICIAL
from tiny import TINY_CONVNET, TINY_HIERA, tiny_clip, tiny_model

CLOSE = 1e-4
FIRST, LATE, MASKED = 1, 9, 4


@pytest.fixture(scope="module", params=[TINY_CONVNET, TINY_HIERA], ids=lambda config: config.name)
def model(request):
    return tiny_model(request.param)


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(40)


def disc(height=48, width=72):
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - 20, x - 30) < 9


PROMPTS = {
    0: (FIRST, {"points": [[10, 20]], "labels": [1]}),
    3: (MASKED, {"mask": disc()}),
    6: (LATE, {"box": [20, 8, 44, 30]}),
    11: (FIRST, {"points": [[50, 40], [20, 20]], "labels": [0, 1]}),  # a correction on a tracked frame
}


def run_stream(model, clip, prompts, policy=DEFAULT):
    stream = Stream(model, policy=policy)
    results = []
    for number, frame in enumerate(clip):
        result = stream.step(frame)
        if number in prompts:
            object_id, prompt = prompts[number]
            result = stream.add(object_id, **prompt)
        results.append(result)
    return results


def run_session(model, clip, prompts, keep="all", policy=DEFAULT):
    session = VideoSession(model, clip, keep=keep, policy=policy)
    object_id, prompt = prompts[0]
    results = [session.add(object_id, 0, **prompt)]
    frames = session.propagate()
    next(frames)
    for result in frames:
        if result.frame in prompts:
            object_id, prompt = prompts[result.frame]
            result = session.add(object_id, result.frame, **prompt)
        results.append(result)
    return results


def assert_same(one, other, object_ids=None):
    assert one.frame == other.frame
    if object_ids is None:
        assert one.object_ids == other.object_ids
    for object_id in object_ids or one.object_ids:
        a = one.logits[one.object_ids.index(object_id)]
        b = other.logits[other.object_ids.index(object_id)]
        assert (a - b).abs().max() < CLOSE, f"object {object_id} differs on frame {one.frame}"


@pytest.mark.parametrize("stride", [1, 3])
def test_a_stream_equals_a_session(model, clip, stride):
    policy = replace(DEFAULT, memory_stride=stride)
    streamed = run_stream(model, clip, PROMPTS, policy)
    offline = run_session(model, clip, PROMPTS, policy=policy)
    for one, other in zip(streamed, offline, strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("stride", [1, 3])
def test_a_window_equals_everything_kept(model, clip, stride):
    policy = replace(DEFAULT, memory_stride=stride)
    everything = run_session(model, clip, PROMPTS, "all", policy)
    window = run_session(model, clip, PROMPTS, "window", policy)
    for one, other in zip(everything, window, strict=True):
        assert_same(one, other)


def test_a_window_equals_everything_kept_backwards(model, clip):
    def backward(keep):
        session = VideoSession(model, clip, keep=keep)
        session.add(FIRST, 30, points=[[10, 20]])
        return list(session.propagate(direction="backward"))

    everything, window = backward("all"), backward("window")
    assert [(result.frame, result.object_ids) for result in window] == [(n, (FIRST,)) for n in range(30, -1, -1)]
    for one, other in zip(everything, window, strict=True):
        assert_same(one, other)


def test_an_object_alone_equals_the_object_in_company(model, clip):
    company = run_session(model, clip[:24], PROMPTS)
    session = VideoSession(model, clip[:24])
    session.add(LATE, 6, **PROMPTS[6][1])
    for result in session.propagate():
        assert result.object_ids == (LATE,)
        assert_same(result, company[result.frame], [LATE])
    assert result.frame == 23


def test_adding_and_removing_an_object_leaves_the_others_untouched(model, clip):
    session = VideoSession(model, clip[:20])
    session.add(FIRST, 0, points=[[10, 20]])
    alone = {result.frame: result for result in session.propagate()}
    session.reset()
    session.add(FIRST, 0, points=[[10, 20]])
    for result in session.propagate():
        if result.frame == 4:
            session.add(LATE, 4, box=[20, 8, 44, 30])
        if result.frame == 9:
            session.remove(LATE)
        assert_same(alone[result.frame], result, [FIRST])
    assert session.object_ids == (FIRST,)


def test_a_correction_holds_when_propagated(model, clip):
    session = VideoSession(model, clip[:16])
    session.add(FIRST, 0, points=[[10, 20]])
    list(session.propagate())
    corrected = session.add(FIRST, 8, points=[[60, 40]], labels=[0])
    again = {result.frame: result for result in session.propagate()}
    assert_same(corrected, again[8])


def test_the_official_policy_drops_a_correction(model, clip):
    session = VideoSession(model, clip[:16], policy=OFFICIAL)
    session.add(FIRST, 0, points=[[10, 20]])
    before = {result.frame: result for result in session.propagate()}
    corrected = session.add(FIRST, 8, points=[[60, 40]], labels=[0])
    again = {result.frame: result for result in session.propagate()}
    assert (corrected.logits - again[8].logits).abs().max() > 0.01
    assert_same(before[8], again[8])


@pytest.mark.parametrize("stride", [1, 2])
def test_history_bytes_are_constant_from_frame_16(model, clip, stride):
    stream = Stream(model, policy=replace(DEFAULT, memory_stride=stride))
    stream.step(clip[0])
    stream.add(FIRST, points=[[10, 20]])
    stream.add(LATE, box=[20, 8, 44, 30])
    held = []
    for frame in np.concatenate((clip, clip))[1:]:
        stream.step(frame)
        held.append(stream.history_bytes)
    settled = held[MAX_POINTERS * stride - 1 :: stride]
    assert len(set(settled)) == 1
    assert settled[0] > 0


def corrected(source, clip, every):
    """Masks of all frames of a stream, or a session over the clip, prompted every so many frames."""
    for frame in range(len(clip)):
        point = [[10 + frame % 30, 20]]
        if isinstance(source, Stream):
            masks = source.step(clip[frame])
            yield source.add(FIRST, points=point) if frame % every == 0 else masks
        else:
            source.settle()
            masks = source.advance(frame)
            yield source.add(FIRST, frame, points=point) if frame % every == 0 else masks


@pytest.mark.parametrize("every", [3, 7])
@pytest.mark.parametrize("most", [None, 2, 4])
def test_a_stream_corrected_often_equals_a_session(model, clip, every, most):
    policy = replace(DEFAULT, max_conditioning=most)
    long = np.concatenate((clip, clip))
    stream, session = Stream(model, policy=policy), VideoSession(model, long, policy=policy)
    for streamed, whole in zip(corrected(stream, long, every), corrected(session, long, every), strict=True):
        assert_same(streamed, whole)


@pytest.mark.parametrize("most", [2, 4])
def test_a_stream_stays_bounded_however_often_it_is_corrected(model, clip, most):
    stream = Stream(model, policy=replace(DEFAULT, max_conditioning=most))
    held = [stream.history_bytes for _ in corrected(stream, np.concatenate((clip, clip, clip)), 3)]
    assert len(set(held[len(clip) :: 3])) == 1
    track = stream._session.tracks[FIRST]
    assert len(track.conditioning) == most
    assert max(map(len, (track.history, track.prompts, track.visited))) <= MAX_POINTERS + most
    free = Stream(model)
    assert [free.history_bytes for _ in corrected(free, np.concatenate((clip, clip, clip)), 3)][-1] > 2 * held[-1]


def test_a_window_in_which_a_prompt_ahead_is_taken_back_equals_everything_kept(model, clip):
    """Prompts ahead take none of the room for those that have passed, which may be all that are left."""
    passes = []
    for keep in ("all", "window"):
        session = VideoSession(model, clip[:24], keep=keep, policy=replace(DEFAULT, max_conditioning=2))
        for frame in (0, 2, 20, 22):
            session.add(FIRST, frame, points=[[10 + frame, 20]])
        results = list(session.propagate(num_frames=14))
        for frame in (20, 22):
            session.clear(FIRST, frame)
        passes.append(results + list(session.propagate(start=14)))
    for one, other in zip(*passes, strict=True):
        assert_same(one, other)


def test_both_directions_cover_the_clip_once_for_each_object(clip):
    session = VideoSession(tiny_model(), clip[:12])
    session.add(FIRST, 3, points=[[10, 20]])
    session.add(LATE, 7, points=[[30, 20]])
    seen = [(result.frame, i) for result in session.propagate(direction="both") for i in result.object_ids]
    assert sorted(seen) == sorted((frame, i) for frame in range(12) for i in (FIRST, LATE))


def test_prompting_what_a_window_let_go_is_an_error(clip):
    session = VideoSession(tiny_model(), clip, keep="window")
    session.add(FIRST, 0, points=[[10, 20]])
    for result in session.propagate(num_frames=20):
        assert result.object_ids == (FIRST,)
    with pytest.raises(PromptError, match="keep='all'"):
        session.add(FIRST, 5, points=[[10, 20]])
    with pytest.raises(PromptError, match="keep='all'"):
        next(session.propagate(start=3))


def test_a_stream_wants_frames_of_one_size(clip):
    stream = Stream(tiny_model())
    with pytest.raises(PromptError, match="call step"):
        stream.add(FIRST, points=[[1, 1]])
    stream.step(clip[0])
    with pytest.raises(InputError, match="different sizes"):
        stream.step(clip[1][:20])


@given(
    frame=st.integers(0, 60),
    conditioning=st.sets(st.integers(0, 60), min_size=1, max_size=4),
    stride=st.integers(1, 5),
)
@settings(max_examples=200)
def test_backward_plans_mirror_forward_ones(frame, conditioning, stride):
    tracked = set(range(61)) - conditioning
    forward = plan_recall(frame, conditioning=conditioning, tracked=tracked, num_frames=None, stride=stride)
    backward = plan_recall(
        -frame,
        conditioning={-past for past in conditioning},
        tracked={-past for past in tracked},
        num_frames=None,
        reverse=True,
        stride=stride,
    )
    assert set(forward.maps) == {(-past, slot) for past, slot in backward.maps}
    assert set(forward.pointers) == {(-past, offset) for past, offset in backward.pointers}
