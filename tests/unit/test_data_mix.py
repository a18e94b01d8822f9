"""The mix: samples depend on their number alone."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from masklet.data.clips import Clip
from masklet.data.mix import Batches, Mix, MixSource, start_worker
from masklet.data.transforms import Augmentation
from masklet.errors import InputError

PLAIN = Augmentation(16)


class Squares:
    """Endless random squares; the name tells the dataset and the entry."""

    def __init__(self, name, length=5):
        self.name = name
        self.length = length

    def __len__(self):
        return self.length

    def clip(self, index, generator, num_frames):
        masks = np.zeros((num_frames, 20, 20), np.uint8)
        x, y = generator.integers(0, 10, 2)
        masks[:, y : y + 8, x : x + 8] = 1 + index
        masks[:, 18:, 18:] = 100
        frames = generator.integers(0, 255, (num_frames, 20, 20, 3)).astype(np.uint8)
        return Clip(frames, masks, f"{self.name} {index}")


def mix(seed=0, series=(), num_frames=1):
    often, seldom = MixSource(Squares("often"), 3, PLAIN), MixSource(Squares("seldom"), 1, PLAIN)
    never = MixSource(Squares("never"), 0, PLAIN)
    return Mix([often, seldom, never], num_frames=num_frames, seed=seed, series=series)


def same(a, b):
    return (
        a.names == b.names
        and torch.equal(a.pixels, b.pixels)
        and torch.equal(a.masks, b.masks)
        and torch.equal(a.valid, b.valid)
    )


def test_samples_come_by_weight_from_all_entries():
    names = [mix().sample(i).name for i in range(400)]
    share = np.mean([name.startswith("seldom") for name in names])
    assert 0.18 < share < 0.32
    assert {name.split()[0] for name in names} == {"often", "seldom"}
    assert {name.split()[1] for name in names} == {"0", "1", "2", "3", "4"}


def test_a_sample_depends_on_seed_and_number_alone():
    one, other = mix(), mix()
    for i in (7, 3, 7):
        other.sample(i)
    assert (one.sample(3).frames == other.sample(3).frames).all()
    for another in (mix(seed=1), mix(series=(1,)), mix(series=(0, 1))):
        assert not any((another.sample(i).frames == one.sample(i).frames).all() for i in range(10))


def test_clips_have_the_frames_asked_for():
    batch = Batches(mix(num_frames=3), clips_per_batch=4, num_objects=2)[0]
    assert batch.pixels.shape[:2] == (4, 3) and batch.masks.shape[:3] == (4, 2, 3) and batch.valid.all()


def test_resuming_in_worker_processes_goes_on_exactly():
    batches = Batches(mix(), clips_per_batch=2, num_objects=2)
    loader = DataLoader(
        batches,
        batch_size=None,
        sampler=range(5, 9),
        num_workers=2,
        worker_init_fn=start_worker,
        multiprocessing_context="spawn",
    )
    assert all(same(loaded, batches[step]) for loaded, step in zip(loader, range(5, 9), strict=True))


def test_processes_share_one_batch_between_them():
    whole = Batches(mix(), clips_per_batch=4, num_objects=2)
    parts = [Batches(mix(), clips_per_batch=2, num_objects=2, rank=rank, world_size=2) for rank in (0, 1)]
    for step in range(6):
        first, second = (part[step] for part in parts)
        assert torch.equal(torch.cat([first.pixels, second.pixels]), whole[step].pixels)
        assert torch.equal(torch.cat([first.masks, second.masks]), whole[step].masks)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MixSource(Squares("a"), -1, PLAIN), "weight"),
        (lambda: mix(num_frames=0), "at least 1 frame"),
        (lambda: MixSource(Squares("a", 0), 1, PLAIN), "empty Squares"),
        (lambda: Mix([]), "at least one source"),
        (lambda: Mix([MixSource(Squares("a"), 0, PLAIN)]), "at least one source"),
    ],
)
def test_senseless_mixes_are_errors(make, message):
    with pytest.raises(InputError, match=message):
        make()
