"""Pictures in, masks out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from masklet.errors import InputError, PromptError
from masklet.model.network import Network
from masklet.predict.image import ImageEmbedding, ImagePredictor
from masklet.types import Size
from tiny import TINY_HIERA, tiny_clip, tiny_model

SIZE = Size(48, 72)


@pytest.fixture(scope="module")
def predictor():
    return ImagePredictor(tiny_model())


@pytest.fixture(scope="module")
def picture():
    return tiny_clip(1)[0]


@pytest.fixture(scope="module")
def embedding(predictor, picture):
    return predictor.embed(picture)


def close(one, other):
    return torch.allclose(one.logits, other.logits, atol=1e-4)


def test_shapes(predictor, embedding):
    masks = predictor.predict(embedding, points=[[10, 20]])
    assert masks.logits.shape == (1, 3, *SIZE)
    assert masks.low_res.shape == (1, 3, 16, 16)
    assert masks.masks.dtype == bool
    assert masks.best().masks.shape == (1, 1, *SIZE)
    assert masks.best().iou == masks.iou.max()
    assert predictor.predict(embedding, box=[4, 10, 30, 30], multimask=False).iou.shape == (1, 1)


def test_many_boxes_at_once_equal_one_by_one(predictor, embedding):
    boxes = [[4, 10, 30, 30], [20, 5, 60, 44], [0, 0, 72, 48]]
    together = predictor.predict(embedding, boxes=boxes, multimask=False)
    for row, box in enumerate(boxes):
        alone = predictor.predict(embedding, box=box, multimask=False)
        assert torch.allclose(together.logits[row], alone.logits[0], atol=1e-4)


def test_a_batch_of_pictures_of_different_sizes_equals_one_by_one(predictor, picture):
    pictures = [picture, picture[:30, :41], np.repeat(picture, 2, axis=0)]
    for image, embedded in zip(pictures, predictor.embed_batch(pictures), strict=True):
        assert embedded.size == image.shape[:2]
        one, other = (predictor.predict(e, points=[[9, 9]]) for e in (embedded, predictor.embed(image)))
        assert close(one, other)
    assert predictor.embed_batch([]) == []


def test_an_embedding_survives_its_file(predictor, embedding, tmp_path):
    embedding.save(tmp_path / "picture.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "picture.safetensors")
    assert loaded.size == embedding.size
    assert close(predictor.predict(loaded, points=[[10, 20]]), predictor.predict(embedding, points=[[10, 20]]))


def test_an_embedding_of_another_model_is_refused(embedding):
    other = ImagePredictor(Network(TINY_HIERA).eval())
    with pytest.raises(InputError, match="made by tiny-convnet, the model here is tiny-hiera"):
        other.predict(embedding, points=[[1, 1]])


def test_a_file_that_is_no_embedding(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match="not a saved image embedding"):
        ImageEmbedding.load(tmp_path / "x.safetensors")


def test_earlier_logits_change_the_answer(predictor, embedding):
    first = predictor.predict(embedding, points=[[10, 20]]).best()
    again = predictor.predict(embedding, points=[[10, 20], [60, 40]], labels=[1, 0], multimask=False)
    refined = predictor.predict(
        embedding, points=[[10, 20], [60, 40]], labels=[1, 0], mask_logits=first.low_res, multimask=False
    )
    assert not close(again, refined)


def test_a_boolean_mask_of_the_pictures_size_is_a_prompt(predictor, embedding):
    mask = np.zeros(SIZE, bool)
    mask[10:30, 10:40] = True
    with_mask = predictor.predict(embedding, mask=mask)
    assert with_mask.logits.shape == (1, 3, *SIZE)
    assert not close(with_mask, predictor.predict(embedding, mask=~mask))


def test_any_multiple_of_32_is_an_image_size(picture):
    from dataclasses import replace

    for config in (TINY_HIERA, replace(TINY_HIERA, image_size=96), replace(TINY_HIERA, image_size=160)):
        predictor = ImagePredictor(tiny_model(config))
        embedding = predictor.embed(picture)
        assert embedding.features.stride16.shape[-1] == config.image_size // 16
        assert predictor.predict(embedding, points=[[10, 20]]).logits.isfinite().all()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "an empty prompt"),
        ({"points": [[10, 20], [3, 4]], "labels": [1]}, "2 points need 2 labels; got 1"),
        ({"points": [[10, 200]]}, r"point \(10, 200\) lies outside the picture of 72 x 48"),
        ({"points": [[np.nan, 2]]}, "finite"),
        ({"points": [[1, 2]], "labels": [5]}, r"got \(5\)"),
        ({"points": [1, 2, 3]}, r"\(n, 2\)"),
        ({"points": "here"}, "must be numbers"),
        ({"box": [30, 30, 4, 10]}, "empty or inverted"),
        ({"box": [1, 2, 3]}, "four numbers"),
        ({"box": [1, 2, 3, 400]}, "reaches outside"),
        ({"boxes": [1, 2, 3, 4]}, r"\(b, 4\)"),
        ({"boxes": [[1, 2, 30, 40]], "points": [[1, 1]]}, "boxes come alone"),
        ({"mask": np.ones((5, 5), bool)}, "the mask is 5 x 5"),
        ({"mask_logits": np.zeros((1, 5, 5))}, "mask_logits are 16 x 16"),
    ],
)
def test_bad_prompts(predictor, embedding, prompt, message):
    with pytest.raises(PromptError, match=message):
        predictor.predict(embedding, **prompt)
