"""Automatic masks through the drop-in generator, against the official package's records.

On seeded weights nearly every box is the whole picture, so suppression was off in the official run; boxes and crops
have property tests of their own.
"""

from __future__ import annotations

import numpy as np
import pytest

from masklet.sam2.automatic_mask_generator import SAM2AutomaticMaskGenerator
from masklet.sam2.build_sam import build_sam2
from parity import scenes
from parity.goldens import Golden, load_golden

AREA_TOLERANCE = 0.002  # of the area
BOX_TOLERANCE = 1.0  # pixels
SCORE_TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def case() -> Golden:
    return load_golden("amg_all_sam2.1_hiera_t")


@pytest.fixture(scope="module")
def records(case: Golden, seeded_checkpoint) -> list[dict]:
    model = build_sam2(case.config_file, str(seeded_checkpoint(case.checkpoint)), device="cpu")
    generator = SAM2AutomaticMaskGenerator(model, **case.asked["options"])
    return generator.generate(scenes.picture(*case.asked["picture"]))


def column(records: list[dict], key: str) -> np.ndarray:
    return np.array([record[key] for record in records])


def by_point_and_area(points: np.ndarray, areas: np.ndarray) -> np.ndarray:
    """The order that pairs two sets of masks: by the point they come from, [n, 1, 2], then by area."""
    return np.lexsort((areas, points[:, 0, 1], points[:, 0, 0]))


def test_the_same_masks_are_found(case: Golden, records: list[dict]):
    expected = case.answers
    assert len(records) == len(expected["area"])
    theirs = by_point_and_area(expected["point"], expected["area"])
    ours = by_point_and_area(column(records, "point_coords"), column(records, "area"))

    def differences(key: str, golden: str) -> np.ndarray:
        return np.abs(column(records, key)[ours] - expected[golden][theirs])

    assert differences("point_coords", "point").max() == 0
    assert differences("crop_box", "crop").max() == 0
    assert (differences("area", "area") / expected["area"][theirs]).max() <= AREA_TOLERANCE
    assert differences("bbox", "bbox").max() <= BOX_TOLERANCE
    assert differences("predicted_iou", "iou").max() <= SCORE_TOLERANCE
    assert differences("stability_score", "stability").max() <= SCORE_TOLERANCE


def test_records_describe_their_masks(records: list[dict]):
    for record in records:
        mask = record["segmentation"]
        rows, columns = np.nonzero(mask)
        assert mask.dtype == bool
        assert mask.sum() == record["area"]
        extent = [columns.min(), rows.min(), columns.max() - columns.min(), rows.max() - rows.min()]
        assert record["bbox"] == extent
