"""Tracking into a folder from Python: interrupted runs, arrays as clips, prompts of several objects."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from masklet.errors import InputError, OutputError, PromptError
from masklet.io import frame_source
from masklet.io.formats import read_annotations, write_annotations
from masklet.io.frames import open_frames
from masklet.io.masklets import MaskletsWriter
from masklet.io.palette import read_index_png
from masklet.io.video_writer import VideoWriter
from masklet.ops.index_masks import index_map
from masklet.predict import everything_record, record
from masklet.predict.everything_record import everything_to_folder, everything_video_to_folder
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.record import segment_to_folder, track_to_folder
from masklet.predict.video import VideoSession
from masklet.tracking.policy import TrackingPolicy
from masklet.types import Prompt, Size
from odd_clips import moving_square, write_clip
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


def recorded_frames(folder) -> list[int]:
    """Frames in masklets.json."""
    found = json.loads((folder / "masklets.json").read_text())
    return sorted({record["frame"] for item in found["objects"] for record in item["frames"]})


def test_a_correction_makes_no_frame_come_again(model, tmp_path) -> None:
    correction = PlacedPrompt(6, 1, Prompt.of(points=[(50, 40)], labels=[0]))
    told = []
    track_to_folder(
        model,
        np.stack(moving_square(7)),
        [*PROMPTS, correction],
        tmp_path,
        direction="both",
        on_frame=lambda *now: told.append(now),
    )
    assert told == [(done, 9) for done in range(1, 10)]


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_an_iterator_is_tracked_however_far_apart_its_prompts_are(model, tmp_path, monkeypatch, direction) -> None:
    monkeypatch.setattr(frame_source, "CACHE_FRAMES", 2)
    clip = moving_square(7)
    prompts = [*PROMPTS, PlacedPrompt(6, 1, Prompt.of(points=[(50, 40)], labels=[0]))]
    for name, source in (("passing", iter(clip)), ("kept", open_frames(iter(clip)))):
        track_to_folder(model, source, prompts, tmp_path / name, direction=direction)
    passing, kept = (json.loads((tmp_path / name / "masklets.json").read_text()) for name in ("passing", "kept"))
    assert passing == kept


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_clicks_on_a_later_frame_correct_what_was_tracked_there(model, tmp_path, direction) -> None:
    """As they do in Python while a clip is tracked; a box there is a prompt of its own, from the beginning."""
    clip, order = np.stack(moving_square(7)), 1 if direction == "forward" else -1
    first, later, latest = (2, 4, 5)[::order]
    shown, denied = Prompt.of(box=(2, 8, 18, 22)), Prompt.of(points=[(50, 40)], labels=[0])
    other, moved = Prompt.of(points=[(50, 40)]), Prompt.of(box=(30, 8, 50, 22), points=[(40, 15)])
    prompts = [
        PlacedPrompt(later, 1, denied),
        PlacedPrompt(first, 1, shown),
        PlacedPrompt(latest, 2, Prompt.of(points=[(41, 16)])),
        PlacedPrompt(first, 2, other),
        PlacedPrompt(latest, 2, moved),
    ]
    recorded = track_to_folder(model, clip, prompts, tmp_path, direction=direction)

    session = VideoSession(model, clip)
    for frame, object_id, prompt in (
        (first, 1, shown),
        (first, 2, other),
        (latest, 2, prompts[2].prompt),
        (latest, 2, moved),
    ):
        session.prompt(object_id, frame, prompt)
    for masks in session.propagate(direction=direction):
        expected = session.prompt(1, later, denied) if masks.frame == later else masks
        found = read_index_png(recorded.masks / f"{masks.frame:05d}.png")
        assert (found == index_map(expected.masks, expected.object_ids)).all(), masks.frame


def test_a_later_run_replaces_an_earlier_one_and_touches_no_other_file(model, tmp_path) -> None:
    track_to_folder(model, np.stack(moving_square(6)), PROMPTS[:1], tmp_path)
    (tmp_path / "masks" / "mine.png").touch()
    with pytest.raises(PromptError, match="outside"):
        track_to_folder(model, np.stack(moving_square(4)), [PlacedPrompt(0, 1, Prompt.of((99, 0)))], tmp_path)
    assert len(list((tmp_path / "masks").iterdir())) == 1 + 4
    assert recorded_frames(tmp_path) == [2, 3, 4, 5]
    recorded = track_to_folder(model, np.stack(moving_square(2)), [PlacedPrompt(0, 1, Prompt.of((9, 9)))], tmp_path)
    assert sorted(file.name for file in recorded.masks.iterdir()) == ["00000.png", "00001.png", "mine.png"]
    assert recorded_frames(tmp_path) == [0, 1]


@pytest.mark.parametrize("write", [partial(segment_to_folder, points=[(9, 9)]), everything_to_folder])
def test_results_for_something_else_are_not_replaced(model, tmp_path, write) -> None:
    track_to_folder(model, np.stack(moving_square(6)), PROMPTS[:1], tmp_path / "clip")
    for name in ("picture.png", "other.png"):
        Image.fromarray(moving_square(1)[0]).save(tmp_path / name)
    write(model, tmp_path / "picture.png", tmp_path / "picture")
    for folder in ("clip", "picture"):
        before = {path: path.read_bytes() for path in (tmp_path / folder).rglob("*.*")}
        with pytest.raises(OutputError, match="holds the results for .*; name another .* for the picture other.png"):
            write(model, tmp_path / "other.png", tmp_path / folder)
        assert {path: path.read_bytes() for path in (tmp_path / folder).rglob("*.*")} == before


def test_results_of_another_file_of_the_same_name_are_not_replaced(model, tmp_path) -> None:
    """As of two cameras' `clip.mp4`; nothing changes where both, or all, are moved together."""
    for camera in ("a", "b"):
        (tmp_path / camera).mkdir()
        write_clip(tmp_path / camera / "clip.mp4", moving_square(4))
        Image.fromarray(moving_square(1)[0]).save(tmp_path / camera / "picture.png")
    prompts = [PlacedPrompt(0, 1, Prompt.of((9, 9)))]
    track = partial(track_to_folder, model, prompts=prompts)
    for write, name, again in (
        (track, "clip.mp4", partial(everything_video_to_folder, model)),
        (partial(segment_to_folder, model, points=[(9, 9)]), "picture.png", partial(everything_to_folder, model)),
    ):
        out = tmp_path / "out" / name
        write(tmp_path / "a" / name, out=out)
        before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
        for replace in (write, again):
            with pytest.raises(
                OutputError, match=f"holds the results for another .* {name}, which lies elsewhere, or lay there"
            ):
                replace(tmp_path / "b" / name, out=out)
        assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before
        write(tmp_path / "a" / name, out=out)
    (tmp_path / "moved").mkdir()
    for part in ("a", "out"):
        (tmp_path / part).rename(tmp_path / "moved" / part)
    track(tmp_path / "moved" / "a" / "clip.mp4", out=tmp_path / "moved" / "out" / "clip.mp4")


def test_a_glob_is_what_the_folder_is_that_it_finds(model, tmp_path) -> None:
    (tmp_path / "shots").mkdir()
    for number, frame in enumerate(moving_square(2)):
        Image.fromarray(frame).save(tmp_path / "shots" / f"{number}.png")
    prompts = [PlacedPrompt(0, 1, Prompt.of((9, 9)))]
    for source in ("shots", "shots/*.png", "*ots/*.png"):
        track_to_folder(model, str(tmp_path / source), prompts, tmp_path / "out")


@pytest.mark.parametrize("make", [np.stack, iter], ids=["array", "iterator"])
def test_a_click_beyond_the_clip_is_told(model, tmp_path, make) -> None:
    prompts = [
        PlacedPrompt(0, 1, Prompt.of(box=(2, 8, 18, 22))),
        PlacedPrompt(99, 1, Prompt.of(points=[(50, 40)], labels=[0])),
    ]
    with pytest.raises(PromptError, match="no frame 99: the clip has frames 0 to 6"):
        track_to_folder(model, make(moving_square(7)), prompts, tmp_path / "out")
    if make is np.stack:
        assert not (tmp_path / "out").exists(), "it is known beforehand"
    before = [prompts[0], PlacedPrompt(-1, 1, prompts[1].prompt)]
    with pytest.raises(PromptError, match="no frame -1"):
        track_to_folder(model, np.stack(moving_square(7)), before, tmp_path / "backward", direction="backward")


def test_masks_of_a_run_that_was_killed_are_not_given_to_another_clip(model, tmp_path) -> None:
    for name in ("one", "two"):
        write_clip(tmp_path / f"{name}.mp4", moving_square(4))
    track_to_folder(model, tmp_path / "one.mp4", PROMPTS[:1], tmp_path / "out")
    masks = tmp_path / "out/masks"
    (masks / ".unfinished").write_text("".join(f"{file.name}\tone.mp4\n" for file in masks.glob("*.png")))
    (tmp_path / "out/masklets.json").unlink()
    with pytest.raises(OutputError, match=r"the clip one\.mp4; name another folder for those for the clip two\.mp4"):
        track_to_folder(model, tmp_path / "two.mp4", PROMPTS[:1], tmp_path / "out")
    track_to_folder(model, tmp_path / "one.mp4", PROMPTS[:1], tmp_path / "out")
    assert not (masks / ".unfinished").exists()


def test_masks_that_no_earlier_run_wrote_are_not_written_over(model, tmp_path) -> None:
    """Such as those drawn by hand that a clip is prompted with."""
    (tmp_path / "masks").mkdir()
    drawn = tmp_path / "masks" / "00004.png"
    drawn.write_bytes(b"by hand")
    with pytest.raises(OutputError, match=r"00004\.png is not known to be of an earlier run"):
        track_to_folder(model, np.stack(moving_square(6)), PROMPTS[:1], tmp_path)
    assert drawn.read_bytes() == b"by hand"
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["00004.png"]


@pytest.mark.parametrize("name", ["masks.png", "overlay.png", "masklets.json"])
@pytest.mark.parametrize("write", [partial(segment_to_folder, points=[(9, 9)]), everything_to_folder])
def test_a_picture_s_results_spare_what_no_earlier_run_wrote(model, tmp_path, write, name) -> None:
    Image.fromarray(moving_square(1)[0]).save(tmp_path / "picture.png")
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(OutputError, match=f"{name} is not known to be of an earlier run"):
        write(model, tmp_path / "picture.png", tmp_path)
    (tmp_path / name).unlink()
    for _ in range(2):  # its own results may be replaced
        write(model, tmp_path / "picture.png", tmp_path)


@pytest.mark.parametrize("write", [partial(segment_to_folder, points=[(9, 9)]), everything_to_folder])
def test_a_picture_s_results_that_were_broken_off_are_replaced(model, tmp_path, monkeypatch, write) -> None:
    """As by Ctrl-C: they are our own."""
    Image.fromarray(moving_square(1)[0]).save(tmp_path / "picture.png")
    with monkeypatch.context() as patched:
        for room in (record, everything_record):
            patched.setattr(room, "draw_masks", lambda *_, **__: [][0])
            patched.setattr(room, "write_picture", lambda *_: [][0])
        with pytest.raises(IndexError):
            write(model, tmp_path / "picture.png", tmp_path / "out")
    assert (tmp_path / "out/masks.png").exists() and not (tmp_path / "out/overlay.png").exists()
    write(model, tmp_path / "picture.png", tmp_path / "out")
    assert (tmp_path / "out/overlay.png").exists()


def test_results_of_a_folder_of_pictures_name_its_files(model, tmp_path) -> None:
    """However these are numbered, `masklet convert` must give each picture its own masks."""
    folder = tmp_path / "shots.v2"
    folder.mkdir()
    for number, frame in enumerate(moving_square(4)):
        Image.fromarray(frame).save(folder / f"shot_{3 * number + 8}.png")
    recorded = track_to_folder(model, folder, [PlacedPrompt(1, 1, Prompt.of((9, 9)))], tmp_path / "out")
    assert sorted(file.stem for file in recorded.masks.glob("*.png")) == ["shot_11", "shot_14", "shot_17"]
    read = read_annotations(recorded.masklets)
    assert [frame.path for frame in read.frames] == [f"shots.v2/shot_{number}.png" for number in (11, 14, 17)]
    for frame in read.frames:
        shown = read_index_png(recorded.masks / frame.name) > 0
        assert np.array_equal(frame.masks[0].mask if frame.masks else np.zeros_like(shown), shown)
    write_annotations(read, tmp_path / "again", "masklets")
    assert [frame.path for frame in read_annotations(tmp_path / "again").frames] == [f.path for f in read.frames]


def test_frames_of_a_clip_whose_rate_varies_keep_their_times(model, tmp_path) -> None:
    """As phones and screen recorders write them; the overlay would run out of step with the clip."""
    times = [0, 100, 200, 300, 3500, 3600, 3700]
    clip = write_clip(tmp_path / "screen.mp4", moving_square(7), times=times)
    recorded = track_to_folder(model, clip, [PlacedPrompt(1, 1, Prompt.of((9, 9)))], tmp_path / "out")
    with av.open(str(recorded.overlay)) as container:
        shown = [frame.time for frame in container.decode(video=0)]
    assert shown == pytest.approx([(time - times[1]) / 1000 for time in times[1:]], abs=0.002)
    told = json.loads(recorded.masklets.read_text())["times"]
    assert told == {str(number): pytest.approx(times[number] / 1000, abs=0.002) for number in range(1, 7)}
    even = write_clip(tmp_path / "even.mp4", moving_square(3))
    recorded = track_to_folder(model, even, [PlacedPrompt(0, 1, Prompt.of((9, 9)))], tmp_path / "even")
    with av.open(str(recorded.overlay)) as container:
        assert [frame.time for frame in container.decode(video=0)] == pytest.approx([0, 1 / 24, 2 / 24], abs=0.002)
    assert "times" not in json.loads(recorded.masklets.read_text())


def test_a_single_picture_tracked_as_a_clip_stays_one(model, tmp_path) -> None:
    Image.fromarray(moving_square(1)[0]).save(tmp_path / "still.png")
    clip = track_to_folder(model, tmp_path / "still.png", [PlacedPrompt(0, 1, Prompt.of((9, 9)))], tmp_path / "clip")
    still = segment_to_folder(model, tmp_path / "still.png", tmp_path / "still", points=[(9, 9)])
    assert list(read_annotations(clip.masklets).clips) == ["still"]
    assert [frame.name for frame in read_annotations(still.masklets).stills] == ["still.png"]


KILLED = """
import os, signal, sys
import numpy as np
sys.path[:0] = sys.argv[2:]
from odd_clips import moving_square, write_clip
from masklet.predict.prompt_files import PlacedPrompt
from masklet.predict.record import track_to_folder
from masklet.types import Prompt
from tiny import tiny_model

def die(done, total):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

prompts = [PlacedPrompt(0, 1, Prompt.of((9, 9)))]
track_to_folder(tiny_model(), np.stack(moving_square(6)), prompts, sys.argv[1], on_frame=die)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is killed so on Windows")
def test_what_a_killed_run_left_is_replaced_too(model, tmp_path) -> None:
    """As where memory runs out: no `masklets.json` names its masks."""
    tests = str(Path(__file__).parents[1])
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), tests], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "masks").glob("*.png"))) == 4 and not (tmp_path / "masklets.json").exists()
    (tmp_path / "masks" / "mine.png").touch()
    track_to_folder(model, np.stack(moving_square(2)), [PlacedPrompt(0, 1, Prompt.of((9, 9)))], tmp_path)
    assert sorted(file.name for file in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png", "mine.png"]


def test_an_object_hidden_by_another_is_not_said_to_be_absent(model, tmp_path) -> None:
    """Where masks are kept apart, the worse of two alike has none, though it is judged present."""
    prompts = [PlacedPrompt(0, object_id, Prompt.of(box=(2, 8, 18, 22))) for object_id in (1, 2)]
    policy = TrackingPolicy(non_overlapping=True)
    recorded = track_to_folder(model, np.stack(moving_square(2)), prompts, tmp_path, policy=policy)
    objects = json.loads(recorded.masklets.read_text())["objects"]
    records = [record for item in objects for record in item["frames"]]
    assert any(record["area"] == 0 and record["presence"] > 0.5 for record in records)
    absent = {item["id"] for item in objects if any(record["presence"] <= 0.5 for record in item["frames"])}
    assert set(recorded.unseen) == absent


def test_a_run_that_fails_before_its_first_frame_leaves_the_earlier_one(model, tmp_path, monkeypatch) -> None:
    track_to_folder(model, np.stack(moving_square(4)), PROMPTS[:1], tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    monkeypatch.setattr(record.VideoSession, "advance", lambda *_, **__: [][0])
    with pytest.raises(IndexError):
        track_to_folder(model, np.stack(moving_square(2)), [PlacedPrompt(0, 1, Prompt.of((9, 9)))], tmp_path)
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("direction", ["forward", "both"])
@pytest.mark.parametrize(
    ("place", "name", "calls"),
    [(record, "write_index_png", 3), (VideoWriter, "write", 3), (MaskletsWriter, "add", 6)],
    ids=["mask", "overlay", "masklets"],
)
def test_a_frame_that_cannot_be_written_is_in_neither_masks_nor_masklets(
    model, tmp_path, monkeypatch, direction, place, name, calls
) -> None:
    work, left = getattr(place, name), [None] * (calls - 1)

    def fills_the_disk(*given, **named):
        if not left:
            raise OutputError("no space left on device")
        left.pop()
        return work(*given, **named)

    monkeypatch.setattr(place, name, fills_the_disk)
    prompts = [PlacedPrompt(0, placed.object_id, placed.prompt) for placed in PROMPTS]
    with pytest.raises(OutputError, match="no space"):
        track_to_folder(model, np.stack(moving_square(7)), prompts, tmp_path, direction=direction)
    assert recorded_frames(tmp_path) == [0, 1]
    assert sorted(file.name for file in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png"]
    assert json.loads((tmp_path / "masklets.json").read_text())["masks"] == ["00000.png", "00001.png"]


@pytest.mark.parametrize("direction", ["forward", "backward", "both"])
def test_an_interrupted_run_leaves_files_that_agree(model, tmp_path, direction) -> None:
    def stop(done: int, total: int | None) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track_to_folder(model, np.stack(moving_square(7)), PROMPTS, tmp_path, direction=direction, on_frame=stop)
    frames = recorded_frames(tmp_path)
    assert len(frames) == 3
    assert sorted(int(file.stem) for file in (tmp_path / "masks").iterdir()) == frames
    assert len(open_frames(tmp_path / "overlay.mp4")) == 3
    for file in (tmp_path / "masks").iterdir():
        assert set(np.unique(read_index_png(file))) <= {0, 1, 2}


def test_nothing_to_track_and_a_folder_that_is_a_file_are_errors_before_any_work(model, tmp_path) -> None:
    with pytest.raises(PromptError, match="nothing to track"):
        track_to_folder(model, np.stack(moving_square(2)), [], tmp_path / "out")
    numbered = [PlacedPrompt(0, 70000, Prompt.of((1, 1)))]
    with pytest.raises(PromptError, match="from 1 to 65535; got 70000"):
        track_to_folder(model, np.stack(moving_square(2)), numbered, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        with pytest.raises(OutputError, match="file is a file; name a folder"):
            track_to_folder(model, np.stack(moving_square(2)), PROMPTS, out)


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_names_need_not_be_text(model, tmp_path) -> None:
    clip = tmp_path / os.fsdecode(b"cl\xfc")
    clip.mkdir()
    for number, frame in enumerate(moving_square(3)):
        Image.fromarray(frame).save(clip / f"{number}.png")
    for _ in range(2):  # into the same folder
        track_to_folder(model, clip, PROMPTS[:1], tmp_path / "out")
    assert len(list((tmp_path / "out" / "masks").glob("*.png"))) == 1


def test_a_refusal_leaves_no_folder_that_was_not_there(model, tmp_path) -> None:
    Image.fromarray(moving_square(1)[0]).save(tmp_path / "picture.png")
    (tmp_path / "mine").mkdir()
    for out in (tmp_path / "new" / "out", tmp_path / "mine"):
        with pytest.raises(PromptError, match="no frame 2"):
            track_to_folder(model, np.stack(moving_square(2)), PROMPTS, out)
        with pytest.raises(PromptError, match="outside"):
            segment_to_folder(model, tmp_path / "picture.png", out, points=[(999, 9)])
        with pytest.raises(InputError, match="points_per_side"):
            everything_to_folder(model, tmp_path / "picture.png", out, points_per_side=-1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "picture.png"]
    assert not list((tmp_path / "mine").iterdir())


def test_a_stack_is_not_taken_for_its_first_picture_without_a_word(model, tmp_path) -> None:
    pages = [Image.new("RGB", (64, 48), (40 * number, 0, 0)) for number in range(3)]
    pages[0].save(tmp_path / "stack.tif", save_all=True, append_images=pages[1:])
    with pytest.warns(UserWarning, match=r"stack\.tif holds 3 pictures.*`masklet track`"):
        segment_to_folder(model, tmp_path / "stack.tif", tmp_path, points=[(8, 8)])


def test_what_is_read_is_not_written_over(model, tmp_path) -> None:
    with VideoWriter(tmp_path / "overlay.mp4", Size(48, 64), 24) as writer:
        for frame in moving_square(7):
            writer.write(frame)
    before = (tmp_path / "overlay.mp4").read_bytes()
    with pytest.raises(OutputError, match=r"overlay\.mp4 would be written over, and it is what is read"):
        track_to_folder(model, tmp_path / "overlay.mp4", PROMPTS, tmp_path)
    assert (tmp_path / "overlay.mp4").read_bytes() == before

    Image.fromarray(moving_square(1)[0]).save(tmp_path / "masks.png")
    for write in (partial(segment_to_folder, boxes=[(2, 8, 18, 22)]), everything_to_folder):
        with pytest.raises(OutputError, match=r"masks\.png would be written over"):
            write(model, tmp_path / "masks.png", tmp_path)
    (tmp_path / "masks").mkdir(exist_ok=True)
    with pytest.raises(OutputError, match=r"masks would be written over"):
        everything_video_to_folder(model, tmp_path / "masks", tmp_path)
