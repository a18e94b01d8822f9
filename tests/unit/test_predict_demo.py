"""The demonstration's clip has true masks, and a run leaves every picture it names."""

from __future__ import annotations

import numpy as np
import pytest

from masklet.errors import DeviceError
from masklet.ops.boxes import mask_boxes
from masklet.predict import demo, demo_scene
from tiny import tiny_model


@pytest.fixture(scope="module")
def scene() -> demo_scene.DemoScene:
    pytest.importorskip("skimage", reason="the demo's photographs come with scikit-image")
    return demo_scene.demo_scene(6)


def test_every_object_is_in_view_moves_and_ends_up_over_the_sky(scene) -> None:
    assert scene.frames.shape == (6, 480, 640, 3)
    assert scene.names == ("astronaut", "shuttle", "saucer")
    for object_id in (1, 2, 3):
        masks = scene.truth == object_id
        assert masks.sum((1, 2)).min() > 1000
        first, last = mask_boxes(masks)[[0, -1]]
        assert np.abs(first - last).max() > 80


def test_masks_fit_the_pixels_they_claim(scene) -> None:
    # the sky is dark and the objects bright: their mean colours are far apart on every frame
    for frame, truth in zip(scene.frames, scene.truth, strict=True):
        assert frame[truth == 0].mean() < 40
        assert frame[truth == 3][:, 0].mean() > 100


def test_a_later_object_hides_an_earlier_one(scene) -> None:
    areas = (scene.truth == 1).sum((1, 2))
    assert areas.min() < 0.8 * areas[0]


def test_a_run_leaves_every_picture_it_names(scene, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(demo, "demo_scene", lambda: scene)
    told = []
    report = demo.run_demo(tiny_model(), tmp_path / "out", on_frame=lambda *now: told.append(now))
    for path in (report.pictures, report.frames, report.clip.overlay, report.clip.masks, report.clip.masklets):
        assert path.exists()
        assert str(path) in report.text
    assert told[-1] == (6, 6)
    assert set(report.iou) == set(scene.names)
    assert all(0 <= value <= 1 for value in report.iou.values())


def test_perfect_masks_reach_an_iou_of_one(scene, tmp_path) -> None:
    from masklet.io.palette import write_index_png

    for number, truth in enumerate(scene.truth):
        write_index_png(tmp_path / f"{number:05d}.png", truth)
    assert demo._mean_iou(scene, tmp_path) == dict.fromkeys(scene.names, 1.0)


def test_without_scikit_image_the_error_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "skimage", None)
    with pytest.raises(DeviceError, match=r"pip install 'masklet\[demo\]'"):
        demo_scene.demo_picture("coffee")
