"""Video scripts through the drop-in predictor, against the official package's answers.

A script prompts, propagates, corrects, brings in a late object and a mask, goes backwards and removes an object; the
cases differ in release, size and the official override that makes corrections conditioning frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from masklet.sam2.build_sam import build_sam2_video_predictor
from numpy.typing import NDArray
from PIL import Image

from parity import scenes
from parity.goldens import MASK_STEP, MEMORY_STEP, Golden, load_golden

MEAN_TOLERANCE = 0.03  # of any mask
MEDIAN_TOLERANCE = 5e-3  # of the median mask of a script
SURE = 0.1  # golden logits beyond this must have our sign
ROUNDING = 2.0**-7  # one step of bfloat16, relative

CASES = [
    "video512_correct_as_cond_sam2.1_hiera_t",
    pytest.param("video512_sam2.1_hiera_t", marks=pytest.mark.full),
    pytest.param("video512_sam2_hiera_t", marks=pytest.mark.full),
    pytest.param("video1024_sam2.1_hiera_t", marks=pytest.mark.full),
]


class Run:
    """One script carried out: `answers` has the golden's keys, masks sampled as there."""

    def __init__(self, golden: Golden, checkpoint: Path, clip: Path) -> None:
        self.golden = golden
        self.answers: dict[str, NDArray[Any]] = {}
        self.predictor = build_sam2_video_predictor(
            golden.config_file, str(checkpoint), device="cpu", hydra_overrides_extra=golden.asked["overrides"]
        )
        self.predictor.fill_hole_area = 0
        self.state = self.predictor.init_state(str(clip))
        for number, step in enumerate(golden.asked["script"]):
            if step["op"] == "propagate":
                self._propagate(number, step)
            elif step["op"] == "remove":
                self.predictor.remove_object(self.state, step["obj"])
            else:
                self._keep(f"s{number}", *self._prompt(step))

    def _prompt(self, step: dict[str, Any]) -> tuple[Any, Any]:
        place = {"frame_idx": step["frame"], "obj_id": step["obj"]}
        if step["op"] == "mask":
            mask = scenes.disc_mask(self.state["video_height"], self.state["video_width"], step["phase"])
            _, ids, masks = self.predictor.add_new_mask(self.state, **place, mask=mask)
        else:
            prompt = {key: np.array(step[key], np.float32) for key in ("points", "labels", "box") if key in step}
            _, ids, masks = self.predictor.add_new_points_or_box(self.state, **place, **prompt)
        return ids, masks

    def _propagate(self, number: int, step: dict[str, Any]) -> None:
        order = []
        for frame, ids, masks in self.predictor.propagate_in_video(
            self.state, step.get("start"), step.get("max_frames"), step.get("reverse", False)
        ):
            order.append(frame)
            self._keep(f"s{number}_f{frame}", ids, masks)
        self.answers[f"s{number}_order"] = np.array(order)

    def _keep(self, key: str, ids: Any, masks: Any) -> None:
        self.answers[f"{key}_ids"] = np.array(ids)
        self.answers[f"{key}_masks"] = np.array(masks[:, 0, ::MASK_STEP, ::MASK_STEP])

    def mask_pairs(self) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.float32]]]:
        """Every single mask of the script: where it comes from, the golden's logits, ours."""
        for key in self.golden.answers:
            if key.endswith("_masks"):
                for row, golden in enumerate(self.golden.answers[key]):
                    yield f"{key}[{row}]", golden, self.answers[key][row]


@pytest.fixture(scope="module", params=CASES)
def run(request, tmp_path_factory, seeded_checkpoint) -> Run:
    golden = load_golden(request.param)
    folder = tmp_path_factory.mktemp("clip")
    for number, frame in enumerate(scenes.clip(*golden.asked["clip"])):
        Image.fromarray(frame).save(folder / f"{number:05d}.png")
    return Run(golden, seeded_checkpoint(golden.checkpoint), folder)


def test_objects_and_order_of_frames_agree(run: Run):
    expected = {key for key in run.golden.answers if not key.startswith("end_")}
    assert set(run.answers) == expected
    for key in expected:
        if key.endswith(("_ids", "_order")):
            assert run.answers[key].tolist() == run.golden.answers[key].tolist(), key


def test_masks_agree(run: Run):
    differences = {key: float(np.abs(golden - ours).mean()) for key, golden, ours in run.mask_pairs()}
    worst = max(differences, key=differences.__getitem__)
    assert differences[worst] <= MEAN_TOLERANCE, f"{worst}: mean difference {differences[worst]:.3g}"
    assert np.median(list(differences.values())) <= MEDIAN_TOLERANCE


def test_every_sure_pixel_has_the_official_sign(run: Run):
    for key, golden, ours in run.mask_pairs():
        sure = np.abs(golden) > SURE
        assert ((golden > 0) == (ours > 0))[sure].all(), key


def test_memory_at_the_end_agrees(run: Run):
    objects = [key[len("end_o") : -len("_frame")] for key in run.golden.answers if key.endswith("_frame")]
    assert sorted(map(int, objects)) == sorted(run.state["obj_ids"])
    for number in objects:
        prefix = f"end_o{number}_"
        golden = {key[len(prefix) :]: value for key, value in run.golden.answers.items() if key.startswith(prefix)}
        history = run.state.session.tracks[int(number)].history
        assert max(history) == golden["frame"]
        last = history[max(history)]
        for part, ours in (
            ("pointer", last.pointer[0]),
            ("presence", last.presence),
            ("memory", last.memory[0, :, ::MEMORY_STEP, ::MEMORY_STEP].float()),
        ):
            assert_within_rounding(golden[part], ours.numpy(), f"object {number}, {part}")


def assert_within_rounding(golden: NDArray[np.float32], ours: NDArray[np.float32], what: str) -> None:
    """Within one bfloat16 step of the larger of each value and the tensor's own scale."""
    allowed = ROUNDING * np.maximum(np.abs(golden), np.abs(golden).mean())
    worst = (np.abs(golden - ours) / allowed).max()
    assert worst <= 1, f"{what}: {worst:.2f} bfloat16 steps apart"
