"""SA-V's annotation files: what is read is written again field for field."""

from __future__ import annotations

import json

import numpy as np
import pytest

from masklet.errors import InputError
from masklet.io.sav import SavMasklets, masklet_figures, read_sav, size_bucket, write_sav
from masklet.ops.rle import encode_rle
from masklet.types import Size

SIZE = Size(20, 30)


def block(side: int) -> dict:
    mask = np.zeros(SIZE, bool)
    mask[:side, :side] = True
    return encode_rle(mask)


def masklets(**changes) -> SavMasklets:
    masks = tuple((block(first), block(second)) for first, second in ((0, 4), (3, 4), (5, 0), (0, 4)))
    return SavMasklets("sav_1", "manual", SIZE, 13, (0, 1), masks, **changes)


def test_figures_are_computed_over_the_frames_where_an_object_shows():
    figures = masklet_figures(masklets())
    assert figures.mean_area == (17, 16)
    assert figures.visibility_changes == (1, 2), "an object's first appearance is no change"
    assert figures.first_frame == (1, 0)


@pytest.mark.parametrize(("area", "bucket"), [(1, "small"), (1024, "medium"), (9215.9, "medium"), (9216, "large")])
def test_buckets(area, bucket):
    assert size_bucket(area) == bucket


def test_written_files_come_back(tmp_path):
    before = masklets(edited=(2, 0), environment="Indoor")
    write_sav(before, tmp_path / "sav_1_manual.json")
    after = read_sav(tmp_path / "sav_1_manual.json")
    assert vars(after) == vars(before)


@pytest.mark.parametrize("kind", ["manual", "auto"])
def test_an_official_file_is_written_again_field_for_field(kind, shared_dir, tmp_path):
    path = shared_dir / f"data/clips/sav_000001_{kind}.json"
    write_sav(read_sav(path), tmp_path / "again.json")
    official, again = json.loads(path.read_text()), json.loads((tmp_path / "again.json").read_text())
    assert list(again) == list(official)
    for key in official:
        if key.startswith("masklet_size_") and key != "masklet_size_bucket":
            assert again[key] == pytest.approx(official[key], abs=1e-8)
        else:
            assert again[key] == official[key], key


def test_lists_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="annotated frame 0 has 2 masks for 1 objects"):
        SavMasklets("sav_1", "manual", SIZE, 13, (0,), ((block(1), block(2)),))
    with pytest.raises(InputError, match="masklet ids must differ"):
        SavMasklets("sav_1", "manual", SIZE, 13, (1, 1), ((block(1), block(2)),))
    with pytest.raises(InputError, match="3 counts of edited frames for 2 objects"):
        masklets(edited=(1, 2, 3))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"masklet": [[{"size": [20, 30], "counts": [599]}]]}, "annotated frame 0, object 0: RLE counts add up to 599"),
        ({"masklet": [None]}, "annotated frame 0: expected a list"),
        ({"masklet_type": ["manual", "auto"]}, "must be all manual or all auto"),
        ({"video_height": "tall"}, "'video_height' cannot be 'tall'"),
        ({"video_id": None}, "'video_id' cannot be"),
    ],
)
def test_damage_is_named(tmp_path, change, words):
    write_sav(masklets(), tmp_path / "file.json")
    record = json.loads((tmp_path / "file.json").read_text()) | change
    (tmp_path / "file.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=words):
        read_sav(tmp_path / "file.json")
