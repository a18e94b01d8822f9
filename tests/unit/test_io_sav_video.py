"""SA-V folders: listing, counting, extracting frames, drawing, and writing clips of one's own."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from masklet.cli.sav import app
from masklet.errors import InputError, MaskletWarning, OutputError
from masklet.io.annotations import Annotations, Frame, ObjectMask
from masklet.io.frames import open_frames
from masklet.io.sav import SavMasklets, read_sav, write_sav
from masklet.io.sav_folder import SavCount, choose_videos, count_video, find_videos
from masklet.io.sav_video import Extraction, draw_video, write_sav_video
from masklet.io.video_writer import VideoWriter
from masklet.ops.rle import encode_rle
from masklet.types import Size

SIZE = Size(32, 48)
NUM_FRAMES = 13
INSIDE = np.zeros(SIZE, bool)
INSIDE[8:24, 10:30] = True


@pytest.fixture
def training_folder(tmp_path):
    """Two videos; the first with manual and automatic masklets, the second with manual ones only."""
    folder = tmp_path / "sav_000"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for video_id in ("sav_1", "sav_2"):
        with VideoWriter(folder / f"{video_id}.mp4", SIZE, 24) as writer:
            for _ in range(NUM_FRAMES):
                writer.write(generator.integers(0, 255, (*SIZE, 3), dtype=np.uint8))
        masks = ((encode_rle(INSIDE),),) * 4
        write_sav(SavMasklets(video_id, "manual", SIZE, NUM_FRAMES, (0,), masks), folder / f"{video_id}_manual.json")
    two = tuple((encode_rle(INSIDE), encode_rle(~INSIDE)) for _ in range(4))
    auto = SavMasklets("sav_1", "auto", SIZE, NUM_FRAMES, (0, 1), two, stability=((1.0, 0.9),) * 4)
    write_sav(auto, folder / "sav_1_auto.json")
    return folder


def test_training_videos_are_found_and_counted(training_folder):
    videos = find_videos(training_folder.parent)
    assert [video.video_id for video in videos] == ["sav_1", "sav_2"]
    assert count_video(videos[0]) == SavCount(1, NUM_FRAMES, 4, manual=1, auto=2)
    assert sum((count_video(video) for video in videos), SavCount(0)) == SavCount(2, 26, 8, manual=2, auto=2)
    with pytest.raises(InputError, match="no video 'sav_3'"):
        choose_videos(videos, ["sav_3"])


def test_validation_videos_are_found_and_counted(tmp_path):
    for number in range(9):
        path = tmp_path / "JPEGImages_24fps/sav_7" / f"{number:05d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    for object_id, numbers in (("000", (0, 4, 8)), ("001", (4, 8))):
        for number in numbers:
            path = tmp_path / "Annotations_6fps/sav_7" / object_id / f"{number:05d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", (4, 4)).save(path)
    (video,) = find_videos(tmp_path)
    assert count_video(video) == SavCount(1, 9, 3, manual=2)


def test_a_folder_without_videos_says_what_was_looked_for(tmp_path):
    with pytest.raises(InputError, match=r"ID\.mp4.*JPEGImages_24fps"):
        find_videos(tmp_path)


@pytest.mark.parametrize(("fps", "numbers"), [(24, list(range(NUM_FRAMES))), (6, [0, 4, 8, 12])])
def test_frames_are_extracted_once(training_folder, tmp_path, fps, numbers):
    extract = Extraction(tmp_path / "frames", fps)
    video = training_folder / "sav_1.mp4"
    assert extract(video) == len(numbers)
    assert extract(video) == 0, "whole folders are kept"
    written = sorted((tmp_path / "frames/sav_1").iterdir())
    assert [int(path.stem) for path in written] == numbers
    decoded = open_frames(video)[numbers[1]].astype(int)
    assert np.abs(np.array(Image.open(written[1])).astype(int) - decoded).mean() < 20


def test_extraction_broken_off_is_done_again(training_folder, tmp_path):
    half = tmp_path / "frames/.sav_1.part"
    half.mkdir(parents=True)
    for number in (0, 1):  # as a run at 24 a second leaves them
        (half / f"{number:05d}.jpg").write_bytes(b"half")
    assert Extraction(tmp_path / "frames", 6)(training_folder / "sav_1.mp4") == 4
    assert Image.open(tmp_path / "frames/sav_1/00000.jpg").size == (SIZE.width, SIZE.height)
    assert len(list((tmp_path / "frames/sav_1").iterdir())) == 4
    assert not half.exists()


def test_frames_at_one_rate_are_not_taken_for_those_at_the_other(training_folder, tmp_path):
    video = training_folder / "sav_1.mp4"
    Extraction(tmp_path / "frames", 6)(video)
    with pytest.raises(InputError, match="holds frames at 6 a second; name another folder for 24"):
        Extraction(tmp_path / "frames", 24)(video)


def test_other_rates_are_refused(tmp_path):
    with pytest.raises(InputError, match="24 or 6 a second, not 12"):
        Extraction(tmp_path, 12)


def test_masklets_are_drawn_where_they_are(training_folder, tmp_path):
    video = training_folder / "sav_1.mp4"
    masklets = read_sav(training_folder / "sav_1_manual.json")
    assert draw_video(video, [masklets], tmp_path / "drawn.mp4") == 4
    drawn, plain = open_frames(tmp_path / "drawn.mp4"), open_frames(video)
    change = np.abs(drawn[1].astype(int) - plain[4].astype(int)).mean(2)
    assert change[10:22, 12:28].mean() > change[:6].mean() + 10
    assert drawn.fps == 6


def test_drawing_refuses_masklets_of_another_video(training_folder, tmp_path):
    video = training_folder / "sav_1.mp4"
    wide = SavMasklets("x", "manual", Size(8, 8), 1, (0,), ((encode_rle(np.ones((8, 8), bool)),),))
    with pytest.raises(InputError, match="video of 8 x 8 pixels"):
        draw_video(video, [wide], tmp_path / "drawn.mp4")
    long = SavMasklets("x", "manual", SIZE, 40, (0,), ((encode_rle(INSIDE),),) * 9)
    asked = pytest.warns(MaskletWarning, match=r"sav_1\.mp4 gets the manual masklets of x: is it that video\?")
    with asked, pytest.raises(InputError, match="ends before annotated frame 4"):
        draw_video(video, [long], tmp_path / "drawn.mp4")


def test_masklets_of_another_length_are_drawn_as_far_as_they_go(training_folder, tmp_path):
    both = [read_sav(training_folder / f"sav_1_{kind}.json") for kind in ("manual", "auto")]
    short = replace(both[0], masks=both[0].masks[:2])
    assert draw_video(training_folder / "sav_1.mp4", [short, both[1]], tmp_path / "drawn.mp4") == 4


def test_two_videos_of_one_id_are_refused(training_folder, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(training_folder / "sav_1.mp4", tmp_path / folder / "sav_1.mp4")
    with pytest.raises(InputError, match=r"a.sav_1\.mp4 and .*b.sav_1\.mp4 are of one name"):
        find_videos(tmp_path)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_damaged_video_keeps_no_other_from_being_extracted(training_folder, tmp_path, processes):
    whole = (training_folder / "sav_2.mp4").read_bytes()
    for name, contents in (("cut", whole[: len(whole) * 2 // 3]), ("empty", b""), ("sav_3", whole)):
        (training_folder / f"{name}.mp4").write_bytes(contents)
    arguments = ["frames", training_folder, "--out", tmp_path / "f", "--processes", processes]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, InputError)
    message = str(result.exception)
    assert message.startswith("2 of 5 videos not extracted:")
    assert "cut.mp4" in message and "empty.mp4" in message
    assert {path.name for path in (tmp_path / "f").glob("[!.]*")} == {"sav_1", "sav_2", "sav_3"}


def test_a_video_is_not_written_over_by_what_is_made_of_it(training_folder):
    video = training_folder / "sav_1.mp4"
    before = video.read_bytes()
    with pytest.raises(OutputError, match=r"sav_1\.mp4 is there already"):
        write_sav_video(video, own_clip([0, 1]), training_folder, "sav_1")
    (training_folder / "mine_manual.json").write_text("{}")
    with pytest.raises(OutputError, match=r"mine_manual\.json is there already"):
        write_sav_video(video, own_clip([0, 1]), training_folder, "mine")
    with pytest.raises(InputError, match=r"the name of its files; it cannot be '\.\./mine'"):
        write_sav_video(video, own_clip([0, 1]), training_folder, "../mine")
    with pytest.raises(OutputError, match=r"sav_1\.mp4 would be written over"):
        draw_video(video, [read_sav(training_folder / "sav_1_manual.json")], video)
    assert video.read_bytes() == before


def own_clip(numbers: list[int]) -> Annotations:
    masks = (ObjectMask(3, encode_rle(INSIDE)),)
    return Annotations(tuple(Frame(f"{number:05d}.jpg", SIZE, masks, "mine") for number in numbers))


def test_own_data_in_savs_format_keeps_every_fourth_frame(tmp_path):
    frames = np.zeros((NUM_FRAMES, *SIZE, 3), np.uint8)
    video, document = write_sav_video(frames, own_clip(list(range(5, 12))), tmp_path, "mine_1")
    masklets = read_sav(document)
    assert (masklets.num_frames, masklets.object_ids, len(masklets.masks)) == (NUM_FRAMES, (3,), 4)
    assert (masklets.areas[:, 0] > 0).tolist() == [False, False, True, False]
    assert len(open_frames(video)) == NUM_FRAMES
    (found,) = find_videos(tmp_path)
    assert found.video == video and found.manual == document


def test_masks_of_pictures_are_placed_by_the_pictures_names(tmp_path):
    """Pictures are often numbered from 1, and the first of them is the video's frame 0."""
    (tmp_path / "shots").mkdir()
    for number in range(1, 6):
        Image.new("RGB", (SIZE.width, SIZE.height)).save(tmp_path / f"shots/{number:05d}.png")
    _, document = write_sav_video(tmp_path / "shots", own_clip([1]), tmp_path / "out", "mine_1")
    assert (read_sav(document).areas[:, 0] > 0).tolist() == [True, False]
    with pytest.raises(InputError, match=r"mine/00006\.jpg is no frame of folder .*shots"):
        write_sav_video(tmp_path / "shots", own_clip([1, 6]), tmp_path / "other", "mine_1")
    assert not list((tmp_path / "other").iterdir()), "no video that nothing belongs to"


@pytest.mark.parametrize("fps", [24, 25])
def test_a_video_that_breaks_off_is_not_taken_into_a_data_set(tmp_path, fps):
    noise = np.random.default_rng(0).integers(0, 255, (40, *SIZE, 3), np.uint8)
    with VideoWriter(tmp_path / "whole.mp4", SIZE, fps) as writer:
        for frame in noise:
            writer.write(frame)
    whole = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="breaks off|cut off|cut"):
        write_sav_video(tmp_path / "cut.mp4", own_clip([4]), tmp_path / "out", "mine_1")
    assert not list((tmp_path / "out").rglob("*.mp4"))


def test_a_video_asked_for_by_name_must_be_there(training_folder, tmp_path):
    (training_folder / "sav_2.mp4").unlink()
    arguments = ["frames", training_folder, "--out", tmp_path / "f", "--video", "sav_1", "--video", "sav_2"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(result.exception, InputError) and "sav_2 has no mp4 file" in str(result.exception)


def test_a_video_with_odd_sides_and_its_masks_stay_of_one_size(tmp_path):
    mask = np.zeros((31, 47), bool)
    mask[20:, 40:] = True
    annotations = Annotations((Frame("00000.png", Size(31, 47), (ObjectMask(1, encode_rle(mask)),), "mine"),))
    video, document = write_sav_video(np.zeros((5, 31, 47, 3), np.uint8), annotations, tmp_path, "mine_1")
    masklets = read_sav(document)
    assert masklets.size == open_frames(video).size == Size(32, 48)
    assert masklets.areas[0, 0] == 12 * 8
    assert draw_video(video, [masklets], tmp_path / "drawn.mp4") == 2


@pytest.mark.parametrize(
    ("numbers", "words"),
    [([5, 6], "none of the frames 0, 4, 8"), ([4, 20], "frame 20 is annotated, but the video has 13")],
)
def test_own_data_that_does_not_fit_is_refused(tmp_path, numbers, words):
    with pytest.raises(InputError, match=words):
        write_sav_video(np.zeros((NUM_FRAMES, *SIZE, 3), np.uint8), own_clip(numbers), tmp_path, "mine_1")


def test_the_commands_do_the_same(training_folder, tmp_path):
    def run(*arguments) -> str:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert "sav_1\t13 frames\t1 manual\t2 auto" in run("list", training_folder)
    assert "2 videos, 26 frames (8 annotated)" in run("count", training_folder)
    assert "8 frames of 2 videos" in run(
        "frames", training_folder, "--out", tmp_path / "f", "--fps", 6, "--processes", 2
    )
    assert "4 frames drawn" in run("draw", training_folder / "sav_1.mp4", "--out", tmp_path / "drawn.mp4")
    document = training_folder / "sav_1_manual.json"
    assert "again_manual.json" in run(
        "write", training_folder / "sav_1.mp4", document, "--out", tmp_path / "own", "--id", "again"
    )
    assert read_sav(tmp_path / "own/again_manual.json").masks == read_sav(document).masks
