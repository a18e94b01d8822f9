"""Pictures in, masks out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from masklet.errors import InputError, OutputError, PromptError
from masklet.model.network import FED_BACK_LIMIT, Network
from masklet.predict.image import MAX_TOGETHER, ImageEmbedding, ImagePredictor, encoder_fingerprint
from masklet.predict.stream import Stream
from masklet.predict.video import VideoSession
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


@pytest.mark.parametrize(
    ("prompt", "readings"),
    [
        ({"points": [10, 20]}, 3),
        ({"points": [10, 20], "multimask": False}, 1),
        ({"points": [[10, 20], [12, 20]]}, 1),
        ({"box": [4, 10, 30, 30]}, 1),
        ({"box": [4, 10, 30, 30], "points": []}, 1),
        ({"box": [4, 10, 30, 30], "multimask": True}, 3),
        ({"boxes": [[4, 10, 30, 30]]}, 1),
        ({"mask": np.ones(SIZE)}, 1),
        ({"points": [10, 20], "mask_logits": np.zeros((1, 16, 16))}, 1),
    ],
)
def test_a_single_point_alone_is_read_in_three_ways(predictor, embedding, prompt, readings):
    assert predictor.predict(embedding, **prompt).iou.shape == (1, readings)


def test_tensors_are_prompts_whatever_their_type(predictor, embedding):
    box = torch.tensor([[4.0, 10.0, 30.0, 30.0]])
    expected = predictor.predict(embedding, boxes=box.numpy())
    assert close(predictor.predict(embedding, boxes=box.bfloat16()), expected)
    assert close(predictor.predict(embedding, boxes=box.requires_grad_()), expected)


def test_a_mask_alone_comes_with_the_box_around_it(predictor, embedding):
    """At whatever scale it is given; a mask that marks nothing says nothing."""
    mask = np.zeros(SIZE, bool)
    mask[10:30, 12:42] = True
    given = predictor.predict(embedding, mask=mask)
    assert close(given, predictor.predict(embedding, mask=mask, box=[12, 10, 42, 30]))
    assert close(given, predictor.predict(embedding, mask=mask[::2, ::2], box=[12, 10, 42, 30]))
    assert not close(given, predictor.predict(embedding, mask=mask, points=[[20, 20]]))
    with pytest.raises(PromptError, match="the mask is empty"):
        predictor.predict(embedding, mask=np.zeros(SIZE, bool))


def test_a_name_is_no_model_and_a_picture_no_embedding(predictor, picture):
    for make in (ImagePredictor, Stream, lambda name: VideoSession(name, picture[None])):
        with pytest.raises(InputError, match=r"a model is needed, not its name: masklet\.load\('nano'\)"):
            make("nano")
    with pytest.raises(InputError, match=r"predict takes what embed\(picture\) gives, not ndarray"):
        predictor.predict(picture, points=[(1, 2)])


def test_many_boxes_at_once_equal_one_by_one(predictor, embedding):
    boxes = [[4, 10, 30, 30], [20, 5, 60, 44], [0, 0, 72, 48]]
    together = predictor.predict(embedding, boxes=boxes, multimask=False)
    for row, box in enumerate(boxes):
        alone = predictor.predict(embedding, box=box, multimask=False)
        assert torch.allclose(together.logits[row], alone.logits[0], atol=1e-4)


def test_hundreds_of_boxes_are_decoded_a_few_at_a_time_and_in_order(predictor, embedding, monkeypatch):
    boxes = [(x, x + 1, x + 20, x + 16) for x in range(5)]
    whole = predictor.predict(embedding, boxes=boxes, multimask=True)
    asked = []
    decode = predictor.model.decode
    monkeypatch.setattr("masklet.predict.image.MAX_PROMPTS_TOGETHER", 2)
    monkeypatch.setattr(
        predictor.model, "decode", lambda *given, **more: asked.append(len(given[2].xy)) or decode(*given, **more)
    )
    parts = predictor.predict(embedding, boxes=boxes, multimask=True)
    assert asked == [2, 2, 1]
    for one, other in zip((parts.logits, parts.iou, parts.low_res), (whole.logits, whole.iou, whole.low_res)):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-4)


def test_a_batch_of_pictures_of_different_sizes_equals_one_by_one(predictor, picture):
    pictures = [picture, picture[:30, :41], np.repeat(picture, 2, axis=0)]
    for image, embedded in zip(pictures, predictor.embed_batch(pictures), strict=True):
        assert embedded.size == image.shape[:2]
        one, other = (predictor.predict(e, points=[[9, 9]]) for e in (embedded, predictor.embed(image)))
        assert close(one, other)
    assert predictor.embed_batch([]) == []


def test_many_pictures_are_embedded_a_few_at_a_time_and_in_order(predictor):
    pictures, together = tiny_clip(MAX_TOGETHER + 2, seed=3), []
    hook = predictor.model.image_encoder.register_forward_pre_hook(lambda _, inputs: together.append(len(inputs[0])))
    embedded = predictor.embed_batch(list(pictures))
    hook.remove()
    assert together == [MAX_TOGETHER, 2]
    for one, image in zip(embedded, pictures, strict=True):
        alone = predictor.embed(image)
        for name, maps in vars(alone.features).items():
            torch.testing.assert_close(vars(one.features)[name], maps, rtol=0, atol=1e-5)


def test_an_embedding_that_is_kept_does_not_keep_its_batch(predictor, picture):
    alone, batch = predictor.embed(picture), predictor.embed_batch([picture] * 3)
    sizes = [one.features.stride4.untyped_storage().nbytes() for one in (alone, batch[1])]
    assert sizes[0] == sizes[1]


def test_an_embedding_survives_its_file(predictor, embedding, tmp_path):
    embedding.save(tmp_path / "picture.safetensors")
    loaded = ImageEmbedding.load(tmp_path / "picture.safetensors")
    assert loaded.size == embedding.size
    assert close(predictor.predict(loaded, points=[[10, 20]]), predictor.predict(embedding, points=[[10, 20]]))


def test_an_embedding_of_another_model_is_refused(embedding):
    other = ImagePredictor(Network(TINY_HIERA).eval())
    with pytest.raises(InputError, match="made by tiny-convnet, the model here is tiny-hiera"):
        other.predict(embedding, points=[[1, 1]])


def test_an_embedding_of_other_weights_is_refused(predictor, embedding):
    model = tiny_model()
    same, first = (each.predict(embedding, points=[[1, 1]]) for each in (ImagePredictor(model), predictor))
    assert close(same, first)
    with torch.no_grad():
        model.image_encoder.neck.convs[0].conv.weight.mul_(1.01)
    with pytest.raises(InputError, match="other weights of tiny-convnet"):
        ImagePredictor(model).predict(embedding, points=[[1, 1]])


@pytest.mark.parametrize("part", ["image_encoder.trunk", "image_encoder.neck", "sam_mask_decoder.conv_s0"])
def test_a_fingerprint_tells_weights_that_make_embeddings_and_no_others(part):
    model = tiny_model()
    before = encoder_fingerprint(model)
    assert encoder_fingerprint(tiny_model().bfloat16()) == before
    with torch.no_grad():
        model.memory_encoder.out_proj.weight.mul_(1.01)
        assert encoder_fingerprint(model) == before
        for weight in model.get_submodule(part).parameters():
            weight.mul_(1.01)
    assert encoder_fingerprint(model) != before


def test_an_embedding_that_cannot_be_written_is_an_error(embedding, tmp_path, monkeypatch):
    with pytest.raises(OutputError, match=r"cannot write .*nowhere"):
        embedding.save(tmp_path / "nowhere" / "x.safetensors")

    def full(tensors, path, metadata):
        path.write_bytes(b"half of")
        raise OSError("No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        embedding.save(tmp_path / "x.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_embedding_that_does_not_name_its_weights_is_refused(embedding, tmp_path):
    notes = {"height": "48", "width": "72", "model": "tiny-convnet"}
    save_file(vars(embedding.features), tmp_path / "x.safetensors", metadata=notes)
    with pytest.raises(InputError, match="it lacks 'weights'; embed the picture again"):
        ImageEmbedding.load(tmp_path / "x.safetensors")


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


@pytest.mark.parametrize("close_look", [False, True])
def test_logits_for_further_prompts_are_clamped(picture, close_look):
    model = tiny_model()
    with torch.no_grad():
        for layers in model.sam_mask_decoder.output_hypernetworks_mlps:
            layers.layers[-1].weight.mul_(100)
    predictor = ImagePredictor(model, close_look=close_look)
    found = predictor.predict(predictor.embed(picture), box=[4, 10, 30, 30])
    assert found.logits.max() > 2 * FED_BACK_LIMIT
    assert found.low_res.abs().max() == FED_BACK_LIMIT


def test_a_boolean_mask_of_the_pictures_size_is_a_prompt(predictor, embedding):
    mask = np.zeros(SIZE, bool)
    mask[10:30, 10:40] = True
    with_mask = predictor.predict(embedding, mask=mask)
    assert with_mask.logits.shape == (1, 1, *SIZE)
    assert not close(with_mask, predictor.predict(embedding, mask=~mask))


@pytest.mark.parametrize("size", [(96, 144), (24, 36), (17, 25), (17, 26), (48, 71)])
def test_a_mask_of_the_pictures_proportions_is_a_prompt(predictor, embedding, size):
    mask = np.zeros(SIZE, bool)
    mask[12:36, 18:54] = True
    resized = np.asarray(Image.fromarray(mask).resize((size[1], size[0]))) > 0
    one, other = (predictor.predict(embedding, mask=given).masks for given in (mask, resized))
    assert (one == other).mean() > 0.9


@pytest.mark.parametrize("size", [(72, 48), (64, 64), (48, 60), (5, 5)])
def test_a_mask_of_other_proportions_is_refused(predictor, embedding, size):
    height, width = size
    with pytest.raises(PromptError, match=f"the mask is {width} x {height} pixels .* the picture 72 x 48"):
        predictor.predict(embedding, mask=np.ones(size, bool))


def test_a_mask_too_thin_for_the_model_is_warned_of_and_its_box_asked_for(predictor):
    embedding = predictor.embed(np.zeros((600, 600, 3), np.uint8))
    line = np.zeros((600, 600), bool)
    line[300:302, 100:500] = True
    with pytest.warns(UserWarning, match="no part thick enough") as caught:
        found = predictor.predict(embedding, mask=line)
    assert caught[0].filename == __file__
    boxed = predictor.predict(embedding, box=(100, 300, 500, 302), multimask=False)
    torch.testing.assert_close(found.low_res, boxed.low_res)


def test_earlier_masks_are_one_for_each_object(predictor, embedding):
    boxes = [[4, 10, 30, 30], [20, 5, 60, 44], [0, 0, 72, 48]]
    found = predictor.predict(embedding, boxes=boxes)
    several = predictor.predict(embedding, boxes=boxes, multimask=True)
    assert predictor.predict(embedding, boxes=boxes, mask_logits=found.low_res).iou.shape == (3, 1)
    for prompt, rows, objects in (
        ({"points": [[10, 20]], "mask_logits": several.low_res[0]}, 3, 1),
        ({"boxes": boxes, "mask_logits": found.low_res[:2]}, 2, 3),
        ({"boxes": boxes, "mask": np.ones(SIZE, bool)}, 1, 3),
    ):
        with pytest.raises(PromptError, match=f"{rows} earlier masks for {objects} objects; give one for each"):
            predictor.predict(embedding, **prompt)
    for prompt in ({"points": [[10, 20]]}, {"boxes": boxes}):
        with pytest.raises(PromptError, match="mask_logits hold 3 readings of each object; give one for each"):
            predictor.predict(embedding, mask_logits=several.low_res[:1], **prompt)


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
        ({"boxes": [[1, 2, 30, 40]], "points": [[1, 1]]}, "several boxes are an object each"),
        ({"boxes": [[1, 2, 30, 40]], "labels": [1]}, "labels belong to points"),
        ({"mask": np.ones(SIZE, bool), "labels": [1]}, "labels belong to points"),
        ({"mask_logits": np.zeros((1, 5, 5))}, "mask_logits are 16 x 16"),
        ({"mask_logits": "found"}, "mask_logits are numbers"),
        ({"mask_logits": 5.0}, "mask_logits are 16 x 16"),
        ({"boxes": "abc"}, "boxes must be numbers"),
        ({"boxes": [[1, 2, 3, 4], [1]]}, "boxes must be numbers"),
        ({"mask": "mask.png"}, "a mask is an array .* got 'mask.png'"),
        ({"mask": [[1, 0], [1]]}, "a mask is an array"),
        ({"points": []}, "an empty prompt"),
    ],
)
def test_bad_prompts(predictor, embedding, prompt, message):
    with pytest.raises(PromptError, match=message):
        predictor.predict(embedding, **prompt)


def test_pictures_come_in_any_row_but_not_as_one_path(predictor, picture):
    assert len(predictor.embed_batch(picture for _ in range(3))) == 3
    with pytest.raises(InputError, match=r"embed_batch takes several pictures; for one: embed\('a\.jpg'\)"):
        predictor.embed_batch("a.jpg")
