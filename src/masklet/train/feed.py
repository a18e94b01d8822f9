"""The training data of a stage: batch number i is a function of the recipe and i alone, so that runs resume exactly."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from masklet.data.batches import ClipBatch
from masklet.data.cache import CachedStills, build_cache
from masklet.data.clips import ClipDataset
from masklet.data.layouts.pairs import PairFolder
from masklet.data.mix import Batches, Mix, start_worker
from masklet.data.mix import Source as MixSource
from masklet.train.recipe import Part, Source, Stage

CACHED_SIDE = 512
"""Longest side, in pixels, that stills are shrunk to when they are cached for training."""


class Feed(Dataset[tuple[Part, ClipBatch]]):
    """Item i is the part of the stage that batch i belongs to, and the batch.

    rank, world_size: this process among those that train together; they get the same part and different clips.
    """

    def __init__(self, stage: Stage, seed: int, cache: Path, rank: int = 0, world_size: int = 1) -> None:
        self.stage = stage
        self.seed = seed
        self._batches = [self._open(part, cache, rank, world_size) for part in stage.parts]

    def __getitem__(self, index: int) -> tuple[Part, ClipBatch]:
        weights = np.array([part.weight for part in self.stage.parts])
        generator = np.random.default_rng((self.seed, index))
        number = int(generator.choice(len(weights), p=weights / weights.sum()))
        return self.stage.parts[number], self._batches[number][index]

    def _open(self, part: Part, cache: Path, rank: int, world_size: int) -> Batches:
        augmentation = self.stage.augmentation
        sources = [
            MixSource(open_source(source, cache), source.weight, augmentation, part.frames) for source in part.sources
        ]
        return Batches(
            Mix(sources, seed=self.seed),
            clips_per_batch=part.clips,
            num_objects=part.objects * part.sessions,
            repeat=part.frames == 1,
            min_area=augmentation.min_area,
            rank=rank,
            world_size=world_size,
        )


def open_source(source: Source, cache: Path) -> ClipDataset:
    """The data set of a source; folders of stills are packed once into a folder under `cache`."""
    folder = Path(source.path)
    packed = cache / folder.name
    build_cache(PairFolder(folder), packed, CACHED_SIDE)
    return CachedStills(packed, merge_indices=source.merge)


def batches(feed: Feed, first: int, last: int, workers: int) -> Iterator[tuple[Part, ClipBatch]]:
    """Items `first` to `last` (exclusive), made ahead of time in `workers` processes (0: in this one)."""
    loader = DataLoader(
        feed,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_start,
    )
    yield from loader


def _start(worker: int) -> None:
    torch.set_num_threads(1)
    start_worker(worker)
