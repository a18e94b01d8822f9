"""Masks decoded again on the part of the picture around them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from colour_network import ColourNetwork, paint
from masklet.config import CONFIGS
from masklet.errors import InputError
from masklet.eval.metrics import region_j
from masklet.ops.coordinates import BACKGROUND, BOTTOM_RIGHT, FOREGROUND, PAD, TOP_LEFT, Points
from masklet.ops.crops import Crop
from masklet.predict.close_look import MARGIN, MAX_WINDOWS, MIN_SIDE, OUTSIDE, _seen_from, look_closer
from masklet.predict.image import ImageEmbedding, ImagePredictor
from masklet.predict.stream import Stream
from masklet.predict.video import VideoSession
from masklet.sam2.build_sam import build_sam2
from masklet.sam2.sam2_image_predictor import SAM2ImagePredictor
from masklet.tracking.policy import DEFAULT
from masklet.types import Size
from tiny import TINY_CONVNET, tiny_clip, tiny_model

SIZE = Size(300, 400)
RED, BLUE = (200, 30, 30), (30, 30, 200)


def points_at(*xy, labels, size=SIZE, image_size=64):
    """Picture pixels as model points, b = 1."""
    scale = torch.tensor([size.width, size.height])
    return Points(torch.tensor([xy], dtype=torch.float32) / scale * image_size, torch.tensor([labels]))


def seen(points, logits=None, size=SIZE):
    """What `look_closer` makes of one mask, empty unless given, on noise."""
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    logits = torch.full((1, 1, 16, 16), -5.0) if logits is None else logits
    with torch.no_grad():
        return look_closer(tiny_model(), picture, points, logits, torch.tensor([0.9]))


def test_a_window_is_a_square_around_the_box():
    window = seen(points_at((100, 120), (200, 160), labels=[TOP_LEFT, BOTTOM_RIGHT])).windows[0]
    assert window == Crop(70, 60, 230, 220, layer=1)
    assert window.size == (MARGIN * 100, MARGIN * 100)


def test_a_window_ends_with_the_picture():
    window = seen(points_at((0, 200), (100, 300), labels=[TOP_LEFT, BOTTOM_RIGHT])).windows[0]
    assert window == Crop(0, 170, 130, 300, layer=1)


def test_a_window_that_is_closer_in_one_direction_is_taken():
    """A wide, low box at the top of a landscape picture: all of its width, and less of its height."""
    window = seen(points_at((75, 5), (325, 25), labels=[TOP_LEFT, BOTTOM_RIGHT])).windows[0]
    assert window == Crop(0, 0, 400, 215, layer=1)


def test_without_a_box_the_mask_is_surrounded_and_the_clicks_on_the_object():
    logits = torch.full((1, 1, 16, 16), -5.0)
    logits[..., 4:8, 4:8] = 5  # x 100 to 200, y 75 to 150
    inside = points_at((150, 100), (390, 10), labels=[FOREGROUND, BACKGROUND])
    assert seen(inside, logits).windows[0] == Crop(70, 32, 230, 193, layer=1)
    beside = points_at((150, 100), (220, 100), labels=[FOREGROUND, FOREGROUND])
    assert seen(beside, logits).windows[0] == Crop(64, 16, 256, 209, layer=1)
    assert seen(None, logits).windows[0] == Crop(70, 32, 230, 193, layer=1)


def test_a_speck_is_not_enlarged_without_end():
    window = seen(points_at((200, 150), (204, 154), labels=[TOP_LEFT, BOTTOM_RIGHT])).windows[0]
    assert window.size == (MIN_SIDE, MIN_SIDE)


@pytest.mark.parametrize(
    "points",
    [
        points_at((10, 10), (390, 290), labels=[TOP_LEFT, BOTTOM_RIGHT]),
        points_at((150, 100), labels=[FOREGROUND]),
    ],
    ids=["a box as large as the picture", "an empty mask"],
)
def test_what_cannot_be_seen_closer_is_left_alone(points):
    logits = torch.full((1, 1, 16, 16), -5.0)
    found = seen(points, logits)
    assert found.windows == (Crop(0, 0, 400, 300),)
    assert torch.equal(found.logits, logits)
    assert found.iou == torch.tensor([0.9])
    assert torch.equal(found.low_res(logits, found.on_picture(found.logits, SIZE, None)), logits)


def test_it_is_what_a_predictor_says_of_the_window_by_itself():
    """The same prompt, moved, with the first answer fed back; clicks outside the window are forgotten."""
    model = tiny_model()
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    plain, closer = (ImagePredictor(model, close_look=on) for on in (False, True))
    prompt = {"points": [(20, 22), (60, 60)], "labels": [1, 0], "box": (14, 16, 34, 36), "multimask": False}
    first = plain.predict(plain.embed(picture), **prompt)
    answer = closer.predict(closer.embed(picture), **prompt)
    inside = np.s_[2:50, 0:48]  # 48 pixels, the least there is, around the box
    cut = torch.nn.functional.interpolate(first.logits, (64, 64))[..., inside[0], inside[1]]
    fed_back = torch.nn.functional.interpolate(cut, (16, 16), mode="bilinear", antialias=True)
    near = plain.predict(
        plain.embed(picture[inside]),
        points=[(20, 20)],
        labels=[1],
        box=(14, 14, 34, 34),
        mask_logits=fed_back,
        multimask=False,
    )
    outside = torch.ones(64, 64, dtype=torch.bool)
    outside[inside] = False
    # A forgotten click leaves its token, which says that it is none.
    assert (answer.logits[0, 0][inside] - near.logits[0, 0]).abs().mean() < 0.1 * near.logits.std()
    assert not torch.allclose(answer.logits[0, 0][inside], first.logits[0, 0][inside], atol=0.1)
    assert (answer.logits[0, 0][outside] == OUTSIDE).all()
    assert answer.iou[0, 0].item() == pytest.approx((2 * first.iou.item() + near.iou.item()) / 3, abs=0.01)


def test_small_things_get_finer_edges():
    """A disc of 12 pixels' radius is 7 cells wide from afar, and 29 from close by."""
    y, x = np.mgrid[:512, :512]
    disc = (x - 200) ** 2 + (y - 300) ** 2 < 12**2
    picture = paint([], 512, 512)
    picture[disc] = RED
    ious = []
    for on in (False, True):
        predictor = ImagePredictor(ColourNetwork(), close_look=on)
        mask = predictor.predict(predictor.embed(picture), points=[(200, 300)], multimask=False).masks[0, 0]
        ious.append(region_j(disc, mask))
    assert ious[0] < 0.5
    assert ious[1] > 0.8


def test_objects_are_looked_at_in_batches_and_one_view_serves_all_readings():
    things = [(16 * i, 16 * j, 16 * i + 8, 16 * j + 8, (10 * i, 20, 10 * j)) for i in range(4) for j in range(3)]
    assert len(things) > MAX_WINDOWS
    model = ColourNetwork()
    predictor = ImagePredictor(model, close_look=True)
    embedding = predictor.embed(paint(things))
    # The colour network sees one picture at a time, so it is asked for one box after the other.
    alone = [predictor.predict(embedding, points=[(x0 + 4, y0 + 4)]) for x0, y0, *_ in things]
    assert all(answer.masks.shape == (1, 3, 128, 128) for answer in alone)
    assert model.num_encoded == 1 + len(things)


def test_many_boxes_at_once_equal_one_by_one():
    predictor = ImagePredictor(tiny_model(), close_look=True)
    embedding = predictor.embed(np.random.default_rng(1).integers(0, 255, (200, 300, 3), dtype=np.uint8))
    boxes = [[20 * i, 10 * i, 20 * i + 50, 10 * i + 40] for i in range(MAX_WINDOWS + 2)] + [[0, 0, 300, 200]]
    together = predictor.predict(embedding, boxes=boxes, multimask=True)
    for row, box in enumerate(boxes):
        alone = predictor.predict(embedding, box=box, multimask=True)
        for field in ("logits", "low_res", "iou"):
            assert torch.allclose(getattr(together, field)[row], getattr(alone, field)[0], atol=1e-3), field


def test_holes_are_mended_in_what_is_seen_close_by():
    picture = paint([(96, 96, 128, 128, RED), (110, 110, 113, 113, BLUE)], 256, 256)
    holes = []
    for area in (0, 64):
        predictor = ImagePredictor(ColourNetwork(), close_look=True, fill_hole_area=area)
        mask = predictor.predict(predictor.embed(picture), points=[(100, 100)], multimask=False).masks[0, 0]
        holes.append(not mask[111, 111])
        assert mask[100, 100]
    assert holes == [True, False]


def test_the_models_configuration_says_whether_it_looks_closer():
    assert [name for name, config in CONFIGS.items() if config.close_look] == ["nano"]
    picture = np.random.default_rng(2).integers(0, 255, (100, 120, 3), dtype=np.uint8)
    network, looking = tiny_model(), tiny_model(replace(TINY_CONVNET, close_look=True))
    plain, closer, told, unlike = (
        ImagePredictor(network),
        ImagePredictor(looking),
        ImagePredictor(network, close_look=True),
        ImagePredictor(looking, close_look=False),
    )
    answers = [one.predict(one.embed(picture), box=(30, 30, 60, 70)).logits for one in (plain, closer, told, unlike)]
    assert torch.equal(answers[0], answers[3])
    assert torch.equal(answers[1], answers[2])
    assert not torch.equal(answers[0], answers[1])
    official = SAM2ImagePredictor(build_sam2(looking))
    official.set_image(picture)
    logits = official.predict(box=(30, 30, 60, 70), return_logits=True, multimask_output=False)[0]
    assert np.allclose(logits, answers[1][0].numpy(), atol=1e-4)


def test_an_embedding_takes_its_picture_along(tmp_path):
    model, file = tiny_model(), tmp_path / "picture.safetensors"
    predictor = ImagePredictor(model, close_look=True)
    embedding = predictor.embed(tiny_clip(1)[0])
    embedding.save(file)
    loaded = ImageEmbedding.load(file)
    box = {"box": (4, 12, 20, 28)}
    assert torch.equal(predictor.predict(loaded, **box).logits, predictor.predict(embedding, **box).logits)
    reused = tiny_clip(1)[0].copy()  # as a camera's buffer is
    kept = predictor.embed(reused)
    reused[:] = 0
    assert torch.equal(predictor.predict(kept, **box).logits, predictor.predict(embedding, **box).logits)
    without = ImagePredictor(model).embed(tiny_clip(1)[0])
    assert without.picture is None
    with pytest.raises(InputError, match="made without; embed the picture again with it, or make it"):
        predictor.predict(without, **box)


def test_the_answer_is_fed_back_at_the_pictures_scale():
    predictor = ImagePredictor(ColourNetwork(), close_look=True)
    embedding = predictor.embed(paint([(32, 64, 64, 96, RED)]))
    low_res = predictor.predict(embedding, points=[(40, 70)], multimask=False).low_res
    cells = np.zeros((32, 32), bool)
    cells[16:24, 8:16] = True
    assert region_j(cells, low_res[0, 0].numpy() > 0) > 0.7


def test_a_prompted_frame_is_looked_at_closely_and_no_other():
    model = ColourNetwork()
    clip = np.stack([paint([(32 + 4 * t, 64, 48 + 4 * t, 80, RED)]) for t in range(3)])
    counts, answers = [], []
    for on in (False, True):
        session = VideoSession(model, clip, policy=replace(DEFAULT, close_look=on))
        before = model.num_encoded
        answers.append(session.add(1, 0, points=[(40, 70)]).mask(1))
        masks = [found.mask(1) for found in session.propagate()]
        counts.append(model.num_encoded - before)
        assert all(region_j((frame == RED).all(-1), mask) > 0.5 for frame, mask in zip(clip, masks, strict=True))
    assert counts == [3, 4]
    assert not np.array_equal(*answers)


def test_in_a_clip_masks_are_taken_as_given_and_absent_objects_stay_absent():
    clip = tiny_clip(1)
    mask = np.zeros(clip.shape[1:3], bool)
    mask[12:28, 4:20] = True
    answers = [
        VideoSession(tiny_model(replace(TINY_CONVNET, close_look=on)), clip).add(1, 0, mask=mask).logits
        for on in (False, True)
    ]
    assert torch.equal(*answers)
    model = tiny_model(replace(TINY_CONVNET, close_look=True))
    with torch.no_grad():
        model.sam_mask_decoder.pred_obj_score_head.layers[2].bias.fill_(-1e6)
    assert not VideoSession(model, clip).add(1, 0, box=(4, 12, 20, 28)).masks.any()


@pytest.mark.parametrize("autocast", [False, True])
def test_short_floats_will_do(autocast):
    """A model in bfloat16, and one in float32 run as the official notebooks do."""
    model = tiny_model(replace(TINY_CONVNET, close_look=True, guided_edges=True))
    if not autocast:
        model.to(torch.bfloat16)
    clip, box = tiny_clip(2), (4, 12, 20, 28)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        predictor = ImagePredictor(model)
        assert predictor.predict(predictor.embed(clip[0]), box=box).logits.isfinite().all()
        session = VideoSession(model, clip)
        session.add(1, 0, box=box)
        assert all(found.logits.isfinite().all() for found in session.propagate())


def test_embeddings_of_another_size_are_looked_at_at_theirs():
    model, other = tiny_model(), tiny_model(replace(TINY_CONVNET, image_size=96))
    picture = np.random.default_rng(3).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    embedding = ImagePredictor(other, close_look=True).embed(picture)
    answers = [
        ImagePredictor(one, close_look=True).predict(embedding, box=(30, 30, 60, 70)).logits for one in (model, other)
    ]
    assert torch.equal(*answers)


@pytest.mark.parametrize("box", [(450, 100, 500, 150), (380, 100, 500, 150), (-50, -50, 20, 20)])
def test_boxes_beyond_the_border_have_a_window_within(box):
    """Which the official names let through."""
    window = seen(points_at(box[:2], box[2:], labels=[TOP_LEFT, BOTTOM_RIGHT])).windows[0]
    assert 0 <= window.x0 < window.x1 <= 400
    assert 0 <= window.y0 < window.y1 <= 300
    assert min(window.size) >= MIN_SIDE / 2


def test_a_corner_beyond_the_window_still_counts_and_a_click_does_not():
    points = Points(torch.tensor([[[-6.0, 3.0], [30.0, 30.0], [40.0, 50.0]]]), torch.tensor([[2, 3, 1]]))
    moved = _seen_from([Crop(0, 0, 200, 200, layer=1)], points, [0], Size(400, 400), 64)
    assert moved.label.tolist() == [[TOP_LEFT, BOTTOM_RIGHT, PAD]]
    assert moved.xy[0].tolist() == [[-12, 6], [60, 60], [80, 100]]


def test_a_stream_and_a_clip_look_alike():
    model, clip = tiny_model(replace(TINY_CONVNET, close_look=True)), tiny_clip(3)
    session = VideoSession(model, clip, keep="window")
    first = session.add(1, 0, box=(4, 12, 20, 28)).logits
    stream = Stream(model)
    stream.step(clip[0])
    assert torch.equal(stream.add(1, box=(4, 12, 20, 28)).logits, first)
