"""A weighted mix of clips, or of stills: a sample depends on its number alone, so that training resumes exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from masklet.data.batches import ClipBatch, collate, join
from masklet.data.clips import Clip, ClipDataset, objects_to_prompt
from masklet.data.transforms import Augmentation
from masklet.errors import InputError

ATTEMPTS = 10
"""Draws of a clip with an object to be asked for, before one without is taken."""

CLIP_CHANCE, OBJECT_CHANCE = 0, 2
"""Set the generators of a mix apart from one another and from those of `masklet.train`, which have other numbers in the
same place of their keys."""


@dataclass(frozen=True, eq=False)
class MixSource:
    """One part of a mix: a dataset, how often it is drawn (relative to the others), and how its clips are varied."""

    dataset: ClipDataset
    weight: float
    augmentation: Augmentation

    def __post_init__(self) -> None:
        if self.weight < 0 or not np.isfinite(self.weight):
            raise InputError(f"a weight must be 0 or more, not {self.weight}")
        if not len(self.dataset):
            raise InputError(f"an empty {type(self.dataset).__name__} cannot be part of a mix; leave it out")


class Mix:
    """Draws clips of one length from several sources by weight, without end.

    sources: at least one of them with a weight above 0; num_frames: of each clip; seed: another seed, another order;
    series: whole numbers that tell this row of samples from others of the same seed. Sample i is a function of seed,
    series and i, whatever was drawn before it and in whichever process.
    """

    def __init__(
        self, sources: Sequence[MixSource], *, num_frames: int = 1, seed: int = 0, series: tuple[int, ...] = ()
    ) -> None:
        self.sources = tuple(sources)
        self.num_frames = num_frames
        self.seed = seed
        self.series = series
        if not sum(source.weight for source in self.sources):
            raise InputError("a mix needs at least one source with a weight above 0")
        if num_frames < 1:
            raise InputError(f"a clip has at least 1 frame, not {num_frames}")

    def sample(self, i: int, min_area: int = 1) -> Clip:
        """Sample number `i`, augmented; of a few draws the first that shows an object of `min_area` pixels at first.

        Data may hold many pictures without one, as those of defects do: taken as they come, they would teach above all
        that nothing is there. Source: the official trainer's sampler, which draws again, too.
        """
        generator = self.generator(CLIP_CHANCE, i)
        weights = np.array([source.weight for source in self.sources], np.float64)
        for _ in range(ATTEMPTS):
            source = self.sources[generator.choice(len(weights), p=weights / weights.sum())]
            entry = int(generator.integers(len(source.dataset)))
            clip = source.augmentation(source.dataset.clip(entry, generator, self.num_frames), generator)
            if len(objects_to_prompt(clip, min_area)):
                break
        return clip

    def generator(self, chance: int, i: int) -> np.random.Generator:
        """What one kind of choice about sample `i` is drawn from."""
        return np.random.default_rng((self.seed, chance, *self.series, i))


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
        first = (step * self.world_size + self.rank) * self.clips_per_batch
        return join([self._single(i) for i in range(first, first + self.clips_per_batch)])

    def _single(self, i: int) -> ClipBatch:
        generator = self.mix.generator(OBJECT_CHANCE, i)
        clip = self.mix.sample(i, self.min_area)
        return collate([clip], self.num_objects, generator, min_area=self.min_area, repeat=self.repeat)


def start_worker(worker: int) -> None:
    """`worker_init_fn` of a data loader: OpenCV keeps to one thread in each of the many processes."""
    cv2.setNumThreads(1)
