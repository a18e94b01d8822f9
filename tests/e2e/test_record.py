"""Tracking into a folder from Python: interrupted runs, arrays as clips, prompts of several objects."""

from __future__ import annotations

import json

import numpy as np
import pytest

from masklet.errors import OutputError, PromptError
from masklet.io.frames import open_frames
from masklet.io.palette import read_index_png
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.record import track_to_folder
from masklet.types import Prompt
from odd_clips import moving_square
from tiny import tiny_model


@pytest.fixture(scope="module")
def model():
    return tiny_model()


PROMPTS = [
    PlacedPrompt(2, 1, Prompt.of(box=(2, 8, 18, 22))),
    PlacedPrompt(4, 2, Prompt.of(points=[(50, 40)])),
]


@pytest.mark.parametrize(
    ("direction", "numbers", "total"),
    [("forward", range(2, 7), 5), ("backward", range(5), 5), ("both", range(7), 9)],
)
def test_every_direction_records_each_frame_once_and_tells_how_many_there_are(
    model, tmp_path, direction, numbers, total
) -> None:
    told = []
    recorded = track_to_folder(
        model,
        np.stack(moving_square(7)),
        PROMPTS,
        tmp_path,
        direction=direction,
        on_frame=lambda *now: told.append(now),
    )
    assert told == [(done, total) for done in range(1, total + 1)]
    assert sorted(file.stem for file in recorded.masks.iterdir()) == [f"{number:05d}" for number in numbers]
    assert len(open_frames(recorded.overlay)) == len(numbers)


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_an_interrupted_run_leaves_files_that_agree(model, tmp_path, direction) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track_to_folder(model, np.stack(moving_square(7)), PROMPTS, tmp_path, direction=direction, on_frame=stop)
    found = json.loads((tmp_path / "masklets.json").read_text())
    frames = sorted({record["frame"] for item in found["objects"] for record in item["frames"]})
    assert len(frames) == 3
    assert sorted(int(file.stem) for file in (tmp_path / "masks").iterdir()) == frames
    assert len(open_frames(tmp_path / "overlay.mp4")) == 3
    for file in (tmp_path / "masks").iterdir():
        assert set(np.unique(read_index_png(file))) <= {0, 1, 2}


def test_nothing_to_track_and_a_folder_that_is_a_file_are_errors_before_any_work(model, tmp_path) -> None:
    with pytest.raises(PromptError, match="nothing to track"):
        track_to_folder(model, np.stack(moving_square(2)), [], tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write to the folder"):
        track_to_folder(model, np.stack(moving_square(2)), PROMPTS, tmp_path / "file")
