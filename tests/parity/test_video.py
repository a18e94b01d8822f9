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
from numpy.typing import NDArray
from PIL import Image

from masklet.sam2.build_sam import build_sam2_video_predictor
from parity import scenes
from parity.goldens import MEMORY_STEP, Golden, load_golden
from parity.scripts import carry_out

MEAN_TOLERANCE = 0.03  # of any mask
MEDIAN_TOLERANCE = 5e-3  # of the median mask of a script
SURE = 0.1  # golden logits beyond this must have our sign
ROUNDING = 2.0**-7  # one step of bfloat16, relative, where its steps are widest

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
        self.predictor = build_sam2_video_predictor(
            golden.config_file, str(checkpoint), device="cpu", hydra_overrides_extra=golden.asked["overrides"]
        )
        self.predictor.fill_hole_area = 0
        self.state = self.predictor.init_state(str(clip))
        self.answers: dict[str, NDArray[Any]] = {}
        carry_out(self.predictor, self.state, golden.asked["script"], self.answers)

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
    """Within one bfloat16 step, in the mean of the mean value, anywhere of the largest."""
    difference, scale = np.abs(golden - ours), np.abs(golden)
    assert difference.mean() <= ROUNDING * scale.mean(), f"{what}: {difference.mean():.3g} apart in the mean"
    assert difference.max() <= ROUNDING * scale.max(), f"{what}: up to {difference.max():.3g} apart"
