"""The prepared cache of stills."""

import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest

from masklet.data.cache import CachedStills, build_cache, shrink
from masklet.data.clips import Clip
from masklet.data.layouts.pairs import PairFolder
from masklet.errors import InputError, OutputError


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
