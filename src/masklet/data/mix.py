"""A weighted mix of clips and stills: a sample depends on its number alone, so that training resumes exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from masklet.data.batches import ClipBatch, collate, join
from masklet.data.clips import Clip, ClipDataset
from masklet.data.transforms import Augmentation
from masklet.errors import InputError


@dataclass(frozen=True, eq=False)
class MixSource:
    """One part of a mix: a dataset, how often it is drawn (relative to the others), frames of a clip, augmentation."""

    dataset: ClipDataset
    weight: float
    augmentation: Augmentation
    num_frames: int = 1

    def __post_init__(self) -> None:
        if self.weight < 0 or not np.isfinite(self.weight):
            raise InputError(f"a weight must be 0 or more, not {self.weight}")
        if self.num_frames < 1:
            raise InputError(f"a clip has at least 1 frame, not {self.num_frames}")
        if not len(self.dataset):
            raise InputError(f"an empty {type(self.dataset).__name__} cannot be part of a mix; leave it out")


class Mix:
    """Draws clips from several sources by weight, without end.

    sources: at least one of them with a weight above 0; seed: another seed, another order. Sample i is a function of
    the seed and i, whatever was drawn before it and in whichever process.
    """

    def __init__(self, sources: Sequence[MixSource], *, seed: int = 0) -> None:
        self.sources = tuple(sources)
        self.seed = seed
        if not sum(source.weight for source in self.sources):
            raise InputError("a mix needs at least one source with a weight above 0")

    def sample(self, i: int, num_frames: int | None = None) -> Clip:
        """Sample number `i`, augmented; if `num_frames` is given, out of the sources with clips of that length."""
        generator = np.random.default_rng((self.seed, 0, i))
        fitting = [source for source in self.sources if num_frames in (None, source.num_frames)]
        if not fitting:
            raise InputError(f"no source of the mix gives clips of {num_frames} frames")
        source = fitting[_draw([source.weight for source in fitting], generator)]
        entry = int(generator.integers(len(source.dataset)))
        return source.augmentation(source.dataset.clip(entry, generator, source.num_frames), generator)

    def draw_length(self, step: int) -> int:
        """The clip length of batch `step`: clips and stills take turns by weight, since a batch holds one length."""
        generator = np.random.default_rng((self.seed, 1, step))
        return self.sources[_draw([source.weight for source in self.sources], generator)].num_frames


@dataclass(frozen=True, eq=False)
class Batches:
    """Batch after batch of a mix, by step number; a map-style dataset for `torch.utils.data.DataLoader`.

    Use it as `DataLoader(batches, batch_size=None, sampler=range(first_step, last_step), worker_init_fn=start_worker,
    multiprocessing_context="spawn")`: OpenCV's threads do not survive a fork.

    clips_per_batch: on each process; num_objects: rows for objects in each clip; repeat, min_area: see `collate`;
    rank, world_size: this process among those that share a step. The processes' batches joined in order of rank are
    the batch that one process with `world_size` times as many clips would get.
    """

    mix: Mix
    clips_per_batch: int
    num_objects: int
    repeat: bool = False
    min_area: int = 1
    rank: int = 0
    world_size: int = 1

    def __getitem__(self, step: int) -> ClipBatch:
        num_frames = self.mix.draw_length(step)
        first = (step * self.world_size + self.rank) * self.clips_per_batch
        return join([self._single(i, num_frames) for i in range(first, first + self.clips_per_batch)])

    def _single(self, i: int, num_frames: int) -> ClipBatch:
        generator = np.random.default_rng((self.mix.seed, 2, i))
        clip = self.mix.sample(i, num_frames)
        return collate([clip], self.num_objects, generator, min_area=self.min_area, repeat=self.repeat)


def start_worker(worker: int) -> None:
    """`worker_init_fn` of a data loader: OpenCV keeps to one thread in each of the many processes."""
    cv2.setNumThreads(1)


def _draw(weights: Sequence[float], generator: np.random.Generator) -> int:
    shares = np.asarray(weights, np.float64)
    return int(generator.choice(len(shares), p=shares / shares.sum()))
