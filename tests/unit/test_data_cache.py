"""The prepared cache of stills."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from masklet.data.cache import ABANDONED_SECONDS, CachedStills, build_cache, shrink
from masklet.data.clips import Clip, Joined, Merged
from masklet.data.layouts.clip_folders import ClipFolders
from masklet.data.layouts.pairs import PairFolder
from masklet.data.layouts.sa1b import Sa1bFolder
from masklet.errors import InputError, OutputError
from masklet.ops.rle import encode_rle


@pytest.fixture
def pairs(tmp_path):
    """Three pictures of 40 x 60 with an object of 16-bit numbers in the last."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for number in range(3):
        picture = np.zeros((40, 60, 3), np.uint8)
        picture[:20] = (10 * number, 200, 30)
        mask = np.zeros((40, 60), np.uint16)
        mask[:20] = 700 if number == 2 else number + 1
        cv2.imwrite(str(folder / f"{number}.jpg"), picture)
        cv2.imwrite(str(folder / f"{number}.png"), mask)
    return PairFolder(folder)


@pytest.fixture
def nested(tmp_path):
    """Two pictures of SA-1B: in one, object 1 holds object 2, which holds object 3, and 4 is apart; 1 and 2 are apart.

    Objects are numbered from 1, and 5 has no pixels.
    """
    folder = tmp_path / "nested"
    folder.mkdir()
    boxes = {"a": [(0, 30, 0, 30), (0, 20, 0, 20), (0, 10, 0, 10), (30, 40, 30, 60), (0, 0, 0, 0)]}
    boxes["b"] = boxes["a"][2:4]
    for name, rectangles in boxes.items():
        cv2.imwrite(str(folder / f"sa_{name}.jpg"), np.full((40, 60, 3), 90, np.uint8))
        annotations = []
        for top, bottom, left, right in rectangles:
            mask = np.zeros((40, 60), bool)
            mask[top:bottom, left:right] = True
            annotations.append({"segmentation": encode_rle(mask)})
        (folder / f"sa_{name}.json").write_text(json.dumps({"annotations": annotations}))
    return Sa1bFolder(folder)


def test_the_cache_gives_the_same_pictures_smaller(pairs, tmp_path):
    cache = build_cache(pairs, tmp_path / "cache", 30)
    generator = np.random.default_rng(0)
    assert len(cache) == 3
    for number in range(3):
        clip, original = cache.clip(number, generator, 1), pairs.clip(number, generator, 1)
        assert clip.size == (20, 30)
        assert clip.object_ids == original.object_ids
        assert clip.name == original.name
        assert (clip.masks[0, :10] > 0).all()
        assert not clip.masks[0, 10:].any()
        expected = original.frames[0, ::2, ::2].astype(int)
        assert np.abs(clip.frames[0][:9] - expected[:9]).max() < 8


def test_a_cache_that_is_there_is_used_and_another_side_builds_anew(pairs, tmp_path):
    calls = []
    for side in (30, 30, 20):
        build_cache(pairs, tmp_path / "cache", side, on_progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)] * 2
    assert CachedStills(tmp_path / "cache").clip(0, np.random.default_rng(0)).size == (13, 20)


@pytest.mark.parametrize("join", [lambda dataset: dataset, lambda dataset: Joined([Joined([]), dataset])])
def test_objects_that_overlap_all_get_their_turn_in_a_cache(nested, tmp_path, join):
    cache = build_cache(join(nested), tmp_path / "cache", 40)
    generator = np.random.default_rng(0)
    drawn = [cache.clip(0, generator, 1) for _ in range(60)]
    assert {clip.object_ids for clip in drawn} == {(1, 4), (2, 4), (3, 4)}
    assert all((clip.masks == 1).sum() in (0, 20 * 20) for clip in drawn), "every object is whole"
    before = generator.bit_generator.state
    assert cache.clip(1, generator, 1).object_ids == (1, 2)
    assert generator.bit_generator.state == before, "nothing is drawn where nothing overlaps"
    files = [len(entry) - 2 for entry in json.loads((tmp_path / "cache" / "index.json").read_text())["entries"]]
    assert files == [1 + 3, 1 + 1]


def test_no_more_than_four_masks_are_kept_of_a_picture(tmp_path):
    annotations = []
    for side in range(2, 20, 2):
        mask = np.zeros((40, 60), bool)
        mask[:side, :side] = True
        annotations.append({"segmentation": encode_rle(mask)})
    cv2.imwrite(str(tmp_path / "sa_1.jpg"), np.zeros((40, 60, 3), np.uint8))
    (tmp_path / "sa_1.json").write_text(json.dumps({"annotations": annotations}))
    cache = build_cache(Sa1bFolder(tmp_path), tmp_path / "cache", 60)
    generator = np.random.default_rng(0)
    assert len({cache.clip(0, generator, 1).object_ids for _ in range(60)}) == 4


def test_merging_what_overlaps_keeps_all_its_masks(nested, tmp_path):
    cache = build_cache(Merged(nested, 1.0), tmp_path / "cache", 40)
    generator = np.random.default_rng(0)
    drawn = [cache.clip(0, generator, 1) for _ in range(40)]
    assert {clip.object_ids for clip in drawn} == {(1,)}
    assert len({int(clip.masks.sum()) for clip in drawn}) == 3


def test_caches_of_before_are_read_and_built_anew_only_where_objects_overlap(pairs, nested, tmp_path):
    calls = []
    for name, dataset in (("pairs", pairs), ("nested", nested)):
        build_cache(dataset, tmp_path / name, 30)
        index = json.loads((tmp_path / name / "index.json").read_text())
        del index["paintings"]
        index["entries"] = [entry[:4] for entry in index["entries"][:-1]] + index["entries"][-1:]
        (tmp_path / name / "index.json").write_text(json.dumps(index))
        assert CachedStills(tmp_path / name).clip(0, np.random.default_rng(0), 1).object_ids
        build_cache(dataset, tmp_path / name, 30, on_progress=lambda done, total, name=name: calls.append(name))
    assert calls == ["nested"] * 2


class Unsaid:
    """A data set that does not say whether it holds stills."""

    def __len__(self):
        return 1

    def clip(self, index, generator, num_frames):
        return Clip(np.zeros((1, 4, 4, 3), np.uint8), np.ones((1, 4, 4), np.uint8), "unsaid")


def test_clips_are_not_cached(pairs, tmp_path):
    for folder in ("JPEGImages", "Annotations"):
        (tmp_path / folder / "bear").mkdir(parents=True)
    for number in range(2):
        cv2.imwrite(str(tmp_path / "JPEGImages" / "bear" / f"{number}.jpg"), np.zeros((4, 4, 3), np.uint8))
        cv2.imwrite(str(tmp_path / "Annotations" / "bear" / f"{number}.png"), np.ones((4, 4), np.uint8))
    clips = ClipFolders(tmp_path)
    for dataset in (clips, Unsaid(), Joined([pairs, clips]), Merged(clips, 0.5)):
        with pytest.raises(InputError, match=f"cache this {type(dataset).__name__} .*holds clips.*without a cache"):
            build_cache(dataset, tmp_path / "cache", 30)
    assert not (tmp_path / "cache").exists()
    assert len(build_cache(build_cache(pairs, tmp_path / "cache", 30), tmp_path / "again", 20)) == 3


def test_a_second_process_may_build_the_same_cache_meanwhile(pairs, tmp_path):
    build = (
        "from masklet.data.cache import build_cache; from masklet.data.layouts.pairs import PairFolder; "
        f"build_cache(PairFolder({str(pairs.folder)!r}), {str(tmp_path / 'cache')!r}, 30)"
    )

    def interfere(done, total):
        if done == 1:
            subprocess.run([sys.executable, "-c", build], check=True)

    cache = build_cache(pairs, tmp_path / "cache", 30, on_progress=interfere)
    assert [cache.clip(number, np.random.default_rng(0)).size for number in range(3)] == [(20, 30)] * 3
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["index.json", "pictures.bin"]


def cut_short(folder):
    data = (folder / "pictures.bin").read_bytes()
    (folder / "pictures.bin").write_bytes(data[:-5])


def without_an_index(folder):
    (folder / "index.json").unlink()


def with_two_pictures(folder):
    index = json.loads((folder / "index.json").read_text())
    index["entries"] = index["entries"][:2]
    (folder / "index.json").write_text(json.dumps(index))
    with open(folder / "pictures.bin", "r+b") as file:
        file.truncate(index["entries"][-1][-1])


def of_several_masks(folder):
    index = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps({**index, "paintings": 4}))


@pytest.mark.parametrize("spoil", [cut_short, without_an_index, with_two_pictures, of_several_masks])
def test_a_cache_that_is_damaged_or_of_other_pictures_is_built_anew(pairs, tmp_path, spoil):
    build_cache(pairs, tmp_path / "cache", 30)
    spoil(tmp_path / "cache")
    counts = []
    cache = build_cache(pairs, tmp_path / "cache", 30, on_progress=lambda done, _: counts.append(done))
    assert counts == [1, 2, 3]
    assert (len(cache), cache.most_paintings) == (3, 1)
    assert [cache.clip(number, np.random.default_rng(0)).size for number in range(3)] == [(20, 30)] * 3


def test_a_cache_that_another_process_has_open_is_used_if_it_is_whole(pairs, tmp_path, monkeypatch):
    """Windows refuses to replace its files."""
    folder, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
    build_cache(pairs, elsewhere, 30)

    def finished_meanwhile(new, path):
        shutil.copytree(elsewhere, folder, dirs_exist_ok=True)
        raise PermissionError(13, "in use")

    monkeypatch.setattr(os, "replace", finished_meanwhile)
    assert len(build_cache(pairs, folder, 30)) == 3
    with pytest.raises(OutputError, match="cannot write the cache .*in use"):
        build_cache(pairs, folder, 20)


def test_what_a_killed_process_left_half_packed_is_cleared_away(pairs, tmp_path):
    abandoned, at_work = tmp_path / "cache" / "partial-old", tmp_path / "cache" / "partial-new"
    for left in (abandoned, at_work):
        left.mkdir(parents=True)
        (left / "pictures.bin").write_bytes(b"half")
    long_ago = time.time() - ABANDONED_SECONDS - 60
    os.utime(abandoned / "pictures.bin", (long_ago, long_ago))
    build_cache(pairs, tmp_path / "cache", 30)
    assert not abandoned.exists() and at_work.exists()


def test_a_cache_can_be_pickled_after_use(pairs, tmp_path):
    cache = build_cache(pairs, tmp_path / "cache", 30)
    generator = np.random.default_rng(0)
    before = cache.clip(1, generator, 1)
    sent = pickle.dumps(cache)
    assert len(sent) < 4000
    assert (pickle.loads(sent).clip(1, generator, 1).frames == before.frames).all()


def test_small_pictures_are_not_enlarged():
    clip = Clip(np.zeros((1, 10, 20, 3), np.uint8), np.zeros((1, 10, 20), np.uint8), "small")
    assert shrink(clip, 20) is clip
    assert shrink(clip, 10).size == (5, 10)


def test_missing_and_damaged_caches_are_named(pairs, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        CachedStills(tmp_path / "nowhere")
    folder = tmp_path / "cache"
    build_cache(pairs, folder, 30)
    data = (folder / "pictures.bin").read_bytes()
    (folder / "pictures.bin").write_bytes(data[:-5])
    with pytest.raises(InputError, match="damaged"):
        CachedStills(folder)
    (folder / "pictures.bin").write_bytes(b"x" * len(data))
    with pytest.raises(InputError, match="picture 0 .* is damaged"):
        CachedStills(folder).clip(0, np.random.default_rng(0), 1)
    with pytest.raises(InputError, match="ask for 1 frame"):
        CachedStills(folder).clip(0, np.random.default_rng(0), 2)


def test_a_folder_that_cannot_be_written_is_named(pairs, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="file"):
        build_cache(pairs, tmp_path / "file" / "cache", 30)
