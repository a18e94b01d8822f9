"""Pictures through the drop-in predictor, against the official package's answers."""

from __future__ import annotations

import numpy as np
import pytest

from masklet.sam2.build_sam import build_sam2
from masklet.sam2.sam2_image_predictor import SAM2ImagePredictor
from parity import scenes
from parity.goldens import LOW_RES_STEP, Golden, load_golden
from parity.scripts import MASK_STEP

LOGIT_TOLERANCE = 2e-3
IOU_TOLERANCE = 1e-3
FEATURE_TOLERANCE = 2e-3

LARGE = pytest.mark.full
CASES = [
    "image_sam2.1_hiera_t",
    "image_sam2_hiera_t",
    "image_sam2.1_hiera_s",
    pytest.param("image_sam2.1_hiera_b+", marks=LARGE),
    pytest.param("image_sam2.1_hiera_l", marks=LARGE),
]


@pytest.fixture(scope="module", params=CASES)
def case(request) -> Golden:
    return load_golden(request.param)


@pytest.fixture(scope="module")
def predictor(case: Golden, seeded_checkpoint) -> SAM2ImagePredictor:
    model = build_sam2(case.config_file, str(seeded_checkpoint(case.checkpoint)), device="cpu")
    predictor = SAM2ImagePredictor(model)
    predictor.set_image(scenes.picture(*case.asked["picture"]))
    return predictor


def test_picture_features_agree(case: Golden, predictor: SAM2ImagePredictor):
    embedding = predictor.get_image_embedding()[0, :, ::8, ::8]
    np.testing.assert_allclose(embedding, case.answers["image_embed"], atol=FEATURE_TOLERANCE)
    fine, middle = predictor._features["high_res_feats"]
    np.testing.assert_allclose(fine[0, :, ::32, ::32], case.answers["high_res_0"], atol=FEATURE_TOLERANCE)
    np.testing.assert_allclose(middle[0, :, ::16, ::16], case.answers["high_res_1"], atol=FEATURE_TOLERANCE)


def test_every_prompt_gets_the_official_masks(case: Golden, predictor: SAM2ImagePredictor):
    previous = None
    for number, prompt in enumerate(case.asked["prompts"]):
        question = {key: np.array(prompt[key]) for key in ("point_coords", "point_labels", "box") if key in prompt}
        if prompt.get("mask_input") == "previous":
            question["mask_input"] = previous
        masks, iou, low_res = predictor.predict(
            **question, multimask_output=prompt["multimask_output"], return_logits=True
        )
        previous = low_res[iou.argmax()][None]
        expected = {key: case.answers[f"p{number}_{key}"] for key in ("masks", "iou", "low_res")}
        worst = np.abs(masks[:, ::MASK_STEP, ::MASK_STEP] - expected["masks"]).max()
        assert worst <= LOGIT_TOLERANCE, f"prompt {number}: mask logits differ by {worst:.2g}"
        worst = np.abs(low_res[:, ::LOW_RES_STEP, ::LOW_RES_STEP] - expected["low_res"]).max()
        assert worst <= LOGIT_TOLERANCE, f"prompt {number}: low-resolution logits differ by {worst:.2g}"
        worst = np.abs(iou - expected["iou"]).max()
        assert worst <= IOU_TOLERANCE, f"prompt {number}: predicted IoU differs by {worst:.2g}"
