"""Sessions: what is prompted, in which order, and what gradients reach."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from masklet.config import ConvNetConfig, ModelConfig
from masklet.data.batches import ClipBatch
from masklet.data.transforms import Augmentation
from masklet.errors import InputError
from masklet.model.mask_decoder import MaskCandidates
from masklet.model.network import Network
from masklet.ops.coordinates import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, PAD, TOP_LEFT
from masklet.tracking.step import condition_frame, decode_frame
from masklet.train import rollout
from masklet.train.objective import BatchLoss, Chance, moment, session_rows, shrink_masks
from masklet.train.recipe import Part, Source, Stage
from masklet.train.rollout import Annotator, Session, SessionPlan, TrainingDecoding, plan_session

TINY = ModelConfig(
    "tiny",
    ConvNetConfig((8, 8, 16, 16), (1, 1, 1, 1)),
    image_size=64,
    width=64,
    memory_width=16,
    memory_layers=1,
    feedforward=64,
)
PAPER = Annotator()


def draw_plans(num_frames, count=2000, annotator=PAPER):
    generator = np.random.default_rng(0)
    return [plan_session(annotator, num_frames, generator) for _ in range(count)]


def test_first_prompts_come_in_the_papers_shares():
    kinds = Counter(plan.kinds[0] for plan in draw_plans(8))
    assert kinds["mask"] / 2000 == pytest.approx(0.5, abs=0.04)
    assert kinds["box"] / 2000 == pytest.approx(0.25, abs=0.04)


def test_stills_get_boxes_and_clicks_alike_but_never_masks():
    kinds = Counter(plan.kinds[0] for plan in draw_plans(1))
    assert set(kinds) == {"box", "click"}
    assert kinds["box"] / 2000 == pytest.approx(0.5, abs=0.04)


def test_sessions_of_one_batch_share_the_kinds_out():
    generator = np.random.default_rng(0)
    for _ in range(20):
        assert [plan_session(PAPER, 1, generator, part, 2).kinds[0] for part in range(2)] == ["box", "click"]


def test_clips_of_one_object_get_every_kind_of_prompt_though_sessions_share_the_kinds_out():
    model = Network(TINY).eval()
    annotator = Annotator(corrections=0, max_corrected=0)
    part = Part((Source("-"),), frames=2, sessions=2, objects=1, annotator=annotator)
    stage = Stage("-", 1, 1e-3, (part,), Augmentation(64), supervision=4)
    masks = torch.zeros(1, 2, 2, 64, 64, dtype=torch.bool)
    masks[0, 0, :, 10:40, 10:40] = True
    batch = ClipBatch(torch.zeros(1, 2, 3, 64, 64, dtype=torch.uint8), masks, torch.tensor([[True, False]]), ("clip",))
    given = Counter()
    with torch.no_grad():
        for seed in range(40):
            _, scalars = BatchLoss(model)(batch, part, stage, Chance(*map(np.random.default_rng, (seed, 0))))
            prompts = {name for name in ("box", "click") if f"iou/{name}0" in scalars}
            given.update(prompts or {"mask"})
    assert 12 <= given["mask"] <= 28 and given["box"] > 3 and given["click"] > 3


def test_prompted_frames_start_at_the_first_and_come_first():
    plans = draw_plans(8)
    assert all(plan.prompted[0] == 0 for plan in plans)
    assert {len(plan.prompted) for plan in plans} == {1, 2}
    two = next(plan for plan in plans if len(plan.prompted) == 2)
    order = two.order(8)
    assert tuple(order[:2]) == two.prompted
    assert order[2:] == sorted(set(range(8)) - set(two.prompted))


def test_corrections_include_every_prompted_frame_and_never_follow_masks():
    for plan in draw_plans(8):
        assert set(plan.corrected) >= set(plan.prompted) if plan.kinds[0] != "mask" else not plan.corrected
        assert len(plan.corrected) <= 2


@pytest.mark.parametrize("num_frames", [2, 3])
def test_where_masks_are_given_a_frame_is_left_to_be_tracked(num_frames):
    plans = [plan for plan in draw_plans(num_frames) if plan.kinds[0] == "mask"]
    assert {len(plan.prompted) for plan in plans} == set(range(1, num_frames))


def test_every_prompted_frame_draws_a_box_or_a_click_for_itself():
    """As the official trainer does; masks are given on all of them or on none."""
    pairs = Counter(plan.kinds for plan in draw_plans(8) if len(plan.prompted) == 2)
    assert set(pairs) == {("mask", "mask"), *((a, b) for a in ("box", "click") for b in ("box", "click"))}
    mixed = pairs["box", "click"] + pairs["click", "box"]
    assert mixed / (pairs.total() - pairs["mask", "mask"]) == pytest.approx(0.5, abs=0.06)
    plan = next(plan for plan in draw_plans(8) if plan.kinds == ("box", "click"))
    assert [plan.kind(frame) for frame in plan.prompted] == ["box", "click"]
    assert all(plan.kind(frame) is None for frame in range(8) if frame not in plan.prompted)


def test_an_annotator_that_cannot_be_is_refused():
    with pytest.raises(InputError, match=r"parts of one whole; got 0\.8 and 0\.3"):
        Annotator(mask_share=0.8, box_share=0.3)
    for jitter in (-3.0, 0.5, float("nan")):
        with pytest.raises(InputError, match="box_jitter lies in 0 to under 0.5; got"):
            Annotator(box_jitter=jitter)
    with pytest.raises(InputError, match=r"box_share lies in 0 to 1; got 1\.5"):
        Annotator(box_share=1.5)
    with pytest.raises(InputError, match="second_looks lies in 0 to 1; got -1"):
        Annotator(second_looks=-1)
    with pytest.raises(InputError, match="max_prompted 0"):
        Annotator(max_prompted=0)


@pytest.fixture(scope="module")
def model() -> Network:
    torch.manual_seed(0)
    network = Network(TINY)
    # Objects judged absent share one pointer, through which no gradient would flow.
    network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.data.fill_(10.0)
    return network


def make_session(model, plan, annotator, num_frames=3, empty_from=None):
    pixels = torch.randn(num_frames, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    features = model.encode(pixels)
    masks = torch.zeros(2, num_frames, 64, 64, dtype=torch.bool)
    masks[0, :, 8:40, 8:40] = True
    masks[1, :, 30:60, 20:50] = True
    if empty_from is not None:
        masks[1, empty_from:] = False
    views = [features.select(torch.tensor([frame, frame])) for frame in range(num_frames)]
    return Session(model, views, masks, plan, annotator, np.random.default_rng(0))


def test_every_frame_is_decoded_and_prompted_ones_again_for_each_click(model):
    plan = SessionPlan(("click",), prompted=(0,), corrected=(0, 2))
    session = make_session(model, plan, Annotator(corrections=2))
    steps = [(decoding.frame, decoding.correction) for decoding in session.decodings()]
    assert steps == [(0, 0), (0, 1), (0, 2), (1, 0), (2, 0), (2, 1), (2, 2)]
    assert sorted(session.history) == [0, 1], "the last frame in order needs no memory"
    assert session.history[0].conditioning
    assert not session.history[1].conditioning


def test_what_is_recalled_and_remembered_is_the_official_trainers(model, monkeypatch):
    """Prompted frames recall nothing; the others recall prompted ones before and after them with their pointers, and
    corrected ones as prompted ones; masks are remembered soft."""
    plans, remembered, commit = [], {}, rollout.commit

    def record_recall(network, features, recalls):
        plans.append(recalls[0][1] if recalls else None)
        return condition_frame(network, features, recalls)

    def record_memory(network, features, result, **settings):
        remembered[result.frame] = (result.conditioning, settings["binarise"])
        return commit(network, features, result, **settings)

    monkeypatch.setattr(rollout, "condition_frame", record_recall)
    monkeypatch.setattr(rollout, "commit", record_memory)
    plan = SessionPlan(("click", "click"), prompted=(0, 2), corrected=(0, 1, 2))
    list(make_session(model, plan, Annotator(corrections=1), num_frames=5).decodings())
    assert plans[:2] == [None, None]
    assert [(recall.maps, recall.pointers) for recall in plans[2:]] == [
        (((0, 0), (2, 0)), ((0, 1), (2, -1))),
        (((0, 0), (1, 0), (2, 0)), ((0, 3), (1, 2), (2, 1))),
        (((0, 0), (1, 0), (2, 0), (3, 6)), ((0, 4), (1, 3), (2, 2), (3, 1))),
    ]
    assert remembered == {0: (True, False), 2: (True, False), 1: (True, False), 3: (False, False)}


@pytest.mark.parametrize("kind", ["mask", "box", "click"])
def test_what_is_asked_of_a_frame_is_where_its_object_is_then(model, monkeypatch, kind):
    """Two objects that go past each other, prompted on two frames and corrected on a third."""
    num_frames, side = 4, 64
    masks = torch.zeros(2, num_frames, side, side, dtype=torch.bool)
    for frame in range(num_frames):
        masks[0, frame, 4:20, 16 * frame : 16 * frame + 14] = True
        masks[1, frame, 40:60, 48 - 16 * frame : 62 - 16 * frame] = True
    features = model.encode(torch.randn(num_frames, 3, side, side, generator=torch.Generator().manual_seed(1)))
    views = [features.select(torch.tensor([frame, frame])) for frame in range(num_frames)]
    asked, remembered, commit = [], [], rollout.commit

    def record(network, seen, conditioned, cue, **settings):
        asked.append((next(number for number, view in enumerate(views) if view is seen), cue))
        return decode_frame(network, seen, conditioned, cue, **settings)

    def record_memory(network, seen, result, **settings):
        remembered.append((result.frame, next(number for number, view in enumerate(views) if view is seen)))
        return commit(network, seen, result, **settings)

    monkeypatch.setattr(rollout, "decode_frame", record)
    monkeypatch.setattr(rollout, "commit", record_memory)
    corrected = () if kind == "mask" else (0, 1, 2)
    plan = SessionPlan((kind, kind), prompted=(0, 2), corrected=corrected)
    annotator = Annotator(corrections=2, box_jitter=0.0)
    list(Session(model, views, masks, plan, annotator, np.random.default_rng(0)).decodings())

    assert [frame for frame, _ in asked] == ([0, 2, 1, 3] if kind == "mask" else [0] * 3 + [2] * 3 + [1] * 3 + [3])
    assert remembered == [(0, 0), (2, 2), (1, 1)]
    for frame, cue in asked:
        if cue.mask is not None:
            assert torch.equal(cue.mask[:, 0] > 0, masks[:, frame])
        for row in range(2) if cue.points is not None else ():
            ys, xs = masks[row, frame].nonzero(as_tuple=True)
            points = zip(cue.points.xy[row].tolist(), cue.points.label[row].tolist(), strict=True)
            for (x, y), label in points:
                if label in (TOP_LEFT, BOTTOM_RIGHT):
                    corner = min if label == TOP_LEFT else max
                    assert (x, y) == pytest.approx((corner(xs).item(), corner(ys).item()), abs=1)
                elif label in (FOREGROUND, BACKGROUND):
                    assert masks[row, frame, int(y), int(x)].item() is (label == FOREGROUND)


def test_every_frame_is_compared_with_its_own_truth(monkeypatch):
    """An object that moves, and a session that always answers rightly."""
    masks = torch.zeros(1, 1, 3, 64, 64, dtype=torch.bool)
    for frame in range(3):
        masks[0, 0, frame, 8:24, 16 * frame : 16 * frame + 16] = True

    class Right:
        def __init__(self, network, views, truth, *_):
            self.truth = truth

        def decodings(self):
            for frame in range(3):
                logits = shrink_masks(self.truth[:, frame, None], 4).float() * 20 - 10
                ones = torch.ones(1, 1)
                right = MaskCandidates(logits, ones, torch.zeros(1, 1, 64), 10 * ones)
                yield TrainingDecoding(frame, 0, SimpleNamespace(candidates=right))

    monkeypatch.setattr("masklet.train.objective.Session", Right)
    part = Part((Source("-"),), frames=3, annotator=Annotator(mask_share=0.0))
    stage = Stage("-", 1, 1e-3, (part,), Augmentation(64), supervision=4)
    batch = ClipBatch(torch.zeros(1, 3, 3, 64, 64, dtype=torch.uint8), masks, torch.tensor([[True]]), ("clip",))
    loss, scalars = BatchLoss(Network(TINY).eval())(batch, part, stage, Chance(*map(np.random.default_rng, (0, 0))))
    assert scalars["iou/tracked"] == 1
    assert loss < 0.01


@pytest.mark.parametrize(("share", "missed"), [(0.0, 1.0), (1.0, 0.25)])
def test_corrections_ignore_the_errors_as_often_as_asked(model, share, missed):
    """The left quarter of the object is missed: every click falls there, or one in four does by chance."""
    session = make_session(model, SessionPlan(("click",), (0,), (0,)), Annotator(truth_share=share))
    session.masks[:] = False
    session.masks[:, 0, 8:40, 8:40] = True
    predicted = torch.full((2, 1, 16, 16), -10.0)
    predicted[..., 2:10, 4:10] = 10
    clicks = torch.cat([session._correct(0, predicted).xy[:, 0] for _ in range(100)])
    assert ((clicks[:, 0] >= 8) & (clicks[:, 0] < 40)).all()
    assert (clicks[:, 0] < 16.5).float().mean() == pytest.approx(missed, abs=0.1)


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_boxes_are_as_loose_as_asked(model, jitter):
    session = make_session(model, SessionPlan(("box",), (0,), ()), Annotator(box_jitter=jitter))
    boxes = torch.stack([session._first_points(0).xy[0].flatten() for _ in range(50)])
    spread = boxes.std(0)
    assert (spread > 0.5).all() if jitter else (spread == 0).all()


def test_one_click_and_tracking_give_three_masks_and_all_else_one(model):
    plan = SessionPlan(("click",), prompted=(0,), corrected=(0,))
    session = make_session(model, plan, Annotator(corrections=1))
    counts = [d.decoded.candidates.iou.shape[1] for d in session.decodings()]
    assert counts == [3, 1, 3, 3]
    boxed = make_session(model, SessionPlan(("box",), (0,), ()), Annotator()).decodings()
    assert next(boxed).decoded.candidates.iou.shape[1] == 1


@pytest.mark.parametrize("kind", ["click", "box"])
def test_second_looks_add_no_click_and_give_the_answer_back(model, monkeypatch, kind):
    """Where the object is judged present, a model with `second_look` does by itself what the session did."""
    cues = []

    def decode(network, features, conditioned, cue, **settings):
        cues.append((features, conditioned, cue))
        return decode_frame(network, features, conditioned, cue, **settings)

    monkeypatch.setattr("masklet.train.rollout.decode_frame", decode)
    annotator = Annotator(corrections=1, second_looks=1)
    session = make_session(model, SessionPlan((kind,), (0,), (0,)), annotator, num_frames=1)
    first, again = session.decodings()
    assert not torch.equal(first.decoded.logits, again.decoded.logits)
    (features, conditioned, cue), (_, _, looked) = cues
    assert torch.equal(cue.points.xy, looked.points.xy) and torch.equal(looked.earlier_logits, first.decoded.logits)
    at_once = decode_frame(model, features, conditioned, cue, stability_fallback=False, second_look=True)
    assert torch.equal(at_once.logits, again.decoded.logits) and torch.equal(at_once.iou, again.decoded.iou)
    assert torch.equal(at_once.pointer, again.decoded.pointer)


def test_second_looks_wait_for_a_prompt(model):
    """Corrections of a tracked frame begin with a click."""
    annotator = Annotator(corrections=2, second_looks=1)
    session = make_session(model, SessionPlan(("box",), (0,), (0, 1)), annotator, num_frames=2)
    counts = [decoding.decoded.candidates.iou.shape[1] for decoding in session.decodings()]
    assert counts == [1, 1, 1, 3, 3, 3], "a tracked frame, one click, and a second look at what that gave"


def test_a_given_mask_is_adopted_without_a_decoding_to_learn_from(model):
    session = make_session(model, SessionPlan(("mask",), prompted=(0,), corrected=()), Annotator())
    assert [decoding.frame for decoding in session.decodings()] == [1, 2]
    truth = session.masks[:, 0, None].float()
    low = torch.nn.functional.avg_pool2d(truth, 4) > 0.5
    assert ((session.history[0].logits > 0) == low).float().mean() > 0.99


def test_gradients_reach_back_through_the_memories(model):
    model.zero_grad()
    session = make_session(model, SessionPlan(("mask",), prompted=(0,), corrected=()), Annotator())
    last = [decoding.decoded.candidates.logits for decoding in session.decodings()][-1]
    last.sum().backward()
    for name in ("memory_encoder.out_proj.weight", "maskmem_tpos_enc", "mask_downsample.weight"):
        assert model.get_parameter(name).grad.abs().sum() > 0, name


def test_an_absent_object_is_answered_with_a_click_on_the_background(model):
    for kind in ("click", "box"):
        session = make_session(model, SessionPlan((kind,), (0,), ()), Annotator(), num_frames=1, empty_from=0)
        points = session._first_points(0)
        assert points.label[1, 0] == BACKGROUND
        assert (points.label[1, 1:] == PAD).all()


def test_rows_of_sessions_part_the_objects():
    valid = torch.tensor([[True, True, True, True], [True, False, True, False]])
    first, second = session_rows(valid, 0, 2), session_rows(valid, 1, 2)
    assert list(zip(*(rows.tolist() for rows in first))) == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert list(zip(*(rows.tolist() for rows in second))) == [(0, 1), (0, 3)]


def test_a_batch_without_objects_gives_one_empty_row():
    clips, objects = session_rows(torch.zeros(2, 4, dtype=torch.bool), 1, 2)
    assert (clips.tolist(), objects.tolist()) == ([0], [1])


def test_a_session_that_the_objects_do_not_reach_has_no_rows():
    valid = torch.tensor([[True, False]])
    assert [session_rows(valid, number, 2)[1].tolist() for number in range(2)] == [[0], []]


def test_an_object_too_thin_to_survive_shrinking_is_not_lost():
    masks = torch.zeros(2, 1, 8, 8, dtype=torch.bool)
    masks[0, 0, 3] = True
    thin, absent = shrink_masks(masks, 4)
    assert thin.tolist() == [[[True, True], [False, False]]]
    assert not absent.any()


def test_decodings_are_watched_by_their_prompt_and_corrections():
    plan = SessionPlan(("box",), (0,), (0, 2))
    moments = [moment(plan, TrainingDecoding(frame, correction, None)) for frame, correction in
               ((0, 0), (0, 1), (1, 0), (2, 0), (2, 1))]  # fmt: skip
    assert moments == ["box0", "box1", "tracked", "tracked", "corrected1"]


def test_masks_shrink_by_majority():
    mask = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    mask[..., :2, :2] = True
    mask[..., 2, 2] = True
    assert shrink_masks(mask, 2).tolist() == [[[[True, False], [False, False]]]]
