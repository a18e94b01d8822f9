"""Streams of frames that change under way, and of frames on which something goes wrong."""

from __future__ import annotations

import pytest

from masklet.predict import track, video
from masklet.predict.stream import Stream
from tiny import tiny_clip, tiny_model

POINT = {"points": [[10, 20]]}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def clip():
    return tiny_clip(6)


def test_a_frame_written_into_before_it_is_prompted_is_tracked_as_it_came(model, clip):
    untouched, drawn_on = Stream(model), Stream(model)
    for number in range(2):  # a driver fills one buffer again and again
        buffer = clip[number].copy()
        drawn_on.step(buffer)
        untouched.step(clip[number])
        buffer[:] = 255
    assert drawn_on.add(1, **POINT).logits.equal(untouched.add(1, **POINT).logits)


def test_a_click_on_a_stream_can_be_taken_back_before_the_next_frame(model, clip):
    stream, calm = Stream(model), Stream(model)
    for one in (stream, calm):
        one.step(clip[0])
        one.add(1, **POINT)
        one.step(clip[1])
    stream.add(1, points=[[60, 40]], labels=[0])
    stream.add(2, points=[[60, 40]])
    stream.clear(2)
    stream.clear(1)
    for frame in clip[2:]:
        found, expected = stream.step(frame), calm.step(frame)
        assert found.object_ids == (1,)
        assert found.logits.equal(expected.logits)


class FailsOnce:
    """A function of which one call, the `wait`-th from 0, raises."""

    def __init__(self, work, error, wait):
        self.work, self.error, self.wait = work, error, wait

    def __call__(self, *given, **named):
        self.wait -= 1
        if self.wait == -1:
            raise self.error
        return self.work(*given, **named)


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("room", "step", "wait"),
    [
        (video, "frame_pixels", 0),
        (video, "decode_frame", 0),
        (video, "decode_frame", 1),
        (video, "at_full_size", 0),
        (track, "let_go", 1),
    ],
)
def test_a_stream_goes_on_after_a_frame_that_raised_something(model, clip, monkeypatch, room, step, wait, error):
    calm, disturbed = Stream(model), Stream(model)
    for stream in (calm, disturbed):
        stream.step(clip[0])
        stream.add(1, **POINT)
        stream.step(clip[1])
        stream.add(2, box=[20, 8, 44, 30])  # recalls less than object 1, so that the two are decoded one by one
        stream.step(clip[2])
    with monkeypatch.context() as patch:
        patch.setattr(room, step, FailsOnce(getattr(room, step), error, wait))
        with pytest.raises(error):
            disturbed.step(clip[5])  # which the next frame takes the place of
    assert disturbed.frame == 2
    for stream in (calm, disturbed):
        stream.add(2, points=[[50, 40]], labels=[0])
    for number in (3, 4):
        expected, found = calm.step(clip[number]), disturbed.step(clip[number])
        assert (found.frame, found.object_ids) == (number, (1, 2))
        assert found.logits.equal(expected.logits)
    assert disturbed.history_bytes == calm.history_bytes


def test_a_first_frame_that_fails_can_be_handed_in_again(model, clip, monkeypatch):
    stream = Stream(model)
    with monkeypatch.context() as patch:
        patch.setattr(video.VideoSession, "advance", FailsOnce(None, MemoryError, 0))
        with pytest.raises(MemoryError):
            stream.step(clip[5])
    assert stream.frame == -1
    stream.step(clip[0])
    assert stream.add(1, **POINT).frame == 0
