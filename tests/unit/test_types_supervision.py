"""Results as `supervision.Detections`, for those who annotate and count with that package."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from masklet.errors import DeviceError
from masklet.types import FrameMasks, ImageMasks

LOGITS = torch.full((2, 6, 8), -1.0)
LOGITS[0, 1:3, 2:5] = 1.0
FRAME = FrameMasks(3, (4, 9), LOGITS, torch.tensor([2.0, -2.0]))
IMAGE = ImageMasks(LOGITS[None], torch.tensor([[0.75, 0.25]]), torch.zeros(1, 2, 4, 4))


@pytest.fixture
def detections(monkeypatch):
    """The fields handed to the package, which need not be there."""
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=SimpleNamespace))


def test_a_frame_hands_over_ids_boxes_and_presence(detections):
    found = FRAME.to_supervision()
    assert found.xyxy.tolist() == [[2, 1, 5, 3], [0, 0, 0, 0]]
    assert found.mask.shape == (2, 6, 8) and found.mask.dtype == bool
    assert found.tracker_id.tolist() == [4, 9]
    assert found.confidence == pytest.approx([0.8808, 0.1192], abs=1e-4)


def test_a_picture_hands_over_every_mask_with_its_iou(detections):
    found = IMAGE.to_supervision()
    assert found.mask.shape == (2, 6, 8)
    assert found.confidence.tolist() == [0.75, 0.25]


def test_the_package_itself_takes_them():
    supervision = pytest.importorskip("supervision")
    found = FRAME.to_supervision()
    assert isinstance(found, supervision.Detections)
    assert len(found) == 2
    assert np.allclose(found.area, [6, 0])


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(DeviceError, match=r"pip install 'masklet\[supervision\]'"):
        FRAME.to_supervision()
