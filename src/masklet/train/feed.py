"""The training data of a stage: batch number i is a function of the recipe and i alone, so that runs resume exactly."""

from __future__ import annotations

import signal
import time
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from masklet.data.batches import ClipBatch
from masklet.data.cache import build_cache
from masklet.data.clips import ClipDataset, Joined, Merged, holds_stills
from masklet.data.layouts import open_dataset
from masklet.data.layouts.annotated import AnnotatedPictures
from masklet.data.layouts.pairs import PairFolder
from masklet.data.layouts.pictures import PictureFolder
from masklet.data.mix import Batches, Mix, MixSource, start_worker
from masklet.data.synthetic import Actors, Assemblies, CutOuts, Disguises, Glyphs, SceneRange, Shapes, SyntheticClips
from masklet.data.synthetic.motion import MotionRange
from masklet.data.synthetic.sprites import MovingSource, SpriteSource
from masklet.data.transforms import Augmentation
from masklet.errors import InputError, MaskletError, format_warning
from masklet.train.recipe import Part, Recipe, Source, Stage, Synthetic

CACHE_SCALE = 2
"""Stills are cached at twice the training size: a crop may show half of one without blur."""

PACKING_SECONDS = 5.0
"""Packing stills is heard of after so long."""

MOST_EMPTY = 20
"""So many batches in a row without an object, or as many as a shorter stage has steps, are no chance any more."""

PART_CHANCE = 4
"""Sets the generators that choose parts apart from those of `data.mix` and `train.loop`."""

EXTENT = 0.6
"""Procedural shapes are drawn this large, relative to the frame."""


class Feed(Dataset[tuple[Part, ClipBatch]]):
    """Item i is the part of the stage that batch i belongs to, and the batch.

    first_step: of the stage, so that none gets the samples of another (nor does a part); rank, world_size: this process
    among those that train together; they get the same part and different clips.
    """

    def __init__(
        self, stage: Stage, seed: int, cache: Path, first_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        self.stage = stage
        self.seed = seed
        self.first_step = first_step
        self._batches = [self._open(part, number, cache, rank, world_size) for number, part in enumerate(stage.parts)]

    def __getitem__(self, index: int) -> tuple[Part, ClipBatch]:
        weights = np.array([part.weight for part in self.stage.parts])
        generator = np.random.default_rng((self.seed, PART_CHANCE, self.first_step, index))
        number = int(generator.choice(len(weights), p=weights / weights.sum()))
        return self.stage.parts[number], self._batches[number][index]

    def _open(self, part: Part, number: int, cache: Path, rank: int, world_size: int) -> Batches:
        return Batches(
            Mix(
                [open_mix_source(source, self.stage.augmentation, cache) for source in part.sources],
                num_frames=part.frames,
                seed=self.seed,
                series=(self.first_step, number),
            ),
            clips_per_batch=part.clips,
            num_objects=part.objects * part.sessions,
            repeat=part.frames == 1,
            min_area=self.stage.augmentation.min_area,
            rank=rank,
            world_size=world_size,
        )


def open_mix_source(source: Source | Synthetic, augmentation: Augmentation, cache: Path) -> MixSource:
    """A source as a part of a mix. Synthetic scenes are of the right size already and varied enough, but that stills
    are cut out as a close look has them as often as others."""
    side = CACHE_SCALE * augmentation.size
    if isinstance(source, Synthetic):
        plain = Augmentation(augmentation.size, close=augmentation.close, min_area=augmentation.min_area)
        return MixSource(open_synthetic(source, augmentation.size, cache / str(side), side), source.weight, plain)
    return MixSource(open_source(source, cache / str(side), side), source.weight, augmentation)


def open_source(source: Source, cache: Path, side: int) -> ClipDataset:
    """The data set of a source; stills that are `cached` are packed once, at most `side` pixels long, under `cache`."""
    dataset = open_bare(source)
    if source.cached and holds_stills(dataset):
        folder = Path(source.path).resolve()
        # Two folders may have one name, and an annotation file pictures in two places.
        place = str(folder) if source.images is None else f"{folder} {Path(source.images).resolve()}"
        if source.split != "train":
            place += f" {source.split}"
        if source.value_range is not None:
            place += f" {source.value_range}"
        dataset = _pack(dataset, folder, place, cache, side)
    return Merged(dataset, source.merge) if source.merge else dataset


def open_scenery(path: str, cache: Path, side: int) -> ClipDataset:
    """The pictures of a folder as places without objects, packed as `open_source` does it."""
    folder = Path(path).resolve()
    # The same folder may be open as a source with its masks, too.
    return _pack(PictureFolder(path), folder, f"{folder} without masks", cache, side)


def _pack(dataset: ClipDataset, folder: Path, place: str, cache: Path, side: int) -> ClipDataset:
    """place: what tells these stills from all others."""
    packed = cache / f"{folder.name}-{zlib.crc32(place.encode()):08x}"
    return build_cache(dataset, packed, side, on_progress=_Packing(folder))


class _Packing:
    """Says every few seconds how far the packing of a folder's stills has come."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._said = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._said > PACKING_SECONDS:
            print(f"packing the pictures of {self.folder}: {done}/{total}", flush=True)
            self._said = time.monotonic()


def open_bare(source: Source) -> ClipDataset:
    """The data set of a source as it lies on disk."""
    return open_dataset(
        source.path,
        images=source.images,
        max_stride=source.max_stride,
        kinds=source.kinds,
        split=source.split,
        value_range=source.value_range,
    )


def check_sources(recipe: Recipe) -> dict[Source, ClipDataset]:
    """Open every source of a recipe, and compare the sizes of pictures and masks that lie beside each other.

    Returns what was opened, each once. Raises `InputError` naming the file or folder that cannot be used.
    """
    opened: dict[Source, ClipDataset] = {}
    scenery: set[str] = set()

    def check(entry: Source, frames: int, advice: str) -> None:
        bare = replace(entry, weight=1.0, merge=0.0, cached=False)  # what is opened does not depend on these
        if bare not in opened:
            opened[bare] = open_bare(bare)
            if isinstance(pairs := opened[bare], PairFolder):
                pairs.check()
            if bare.value_range is not None:  # which is for pictures of more than 8 bits
                opened[bare].clip(0, np.random.default_rng(0), 1)
        dataset = opened[bare]
        if frames > 1 and holds_stills(dataset):
            raise InputError(f"{entry.path} holds single pictures, not clips of {frames} frames; {advice}")
        if frames > 1 and isinstance(dataset, AnnotatedPictures) and dataset.still:
            raise InputError(
                f"{entry.path} holds single pictures among its clips, such as {dataset.still}, of which no clip of "
                f"{frames} frames can be drawn; take them out of the file, or train on single frames of all (--frames "
                "1)"
            )
        if frames > 1 and isinstance(dataset, AnnotatedPictures) and not dataset.follows_objects:
            raise InputError(
                f"in {entry.path} no object is on two frames of a clip: its annotations need a track_id, the same for "
                "an object on all frames, so that objects can be followed; add it, or train on single frames (--frames "
                "1)"
            )

    def check_part(part: Part, advice: str) -> None:
        for source in part.sources:
            if isinstance(source, Source):
                check(source, part.frames, advice)
                continue
            for entry in (*source.stills, *source.artwork):
                check(entry, 1, "")
            for entry in source.actors:
                check(entry, part.frames, "actors move: name clips here, and single pictures as stills or artwork")
            scenery.update(source.scenery)
            if source.font:
                Glyphs(source.font)

    for stage in recipe.stages:
        for part in stage.parts:
            check_part(part, "train on them with frames=1 (--frames 1), or beside clips in a part of their own")
    if recipe.held_out:
        try:
            check_part(recipe.held_out.part, "hold out clips, as it is clips that are trained on")
        except InputError as error:
            raise InputError(f"held out: {error}") from error
    for path in sorted(scenery):
        PictureFolder(path)
    return opened


def open_synthetic(source: Synthetic, size: int, cache: Path, side: int) -> SyntheticClips:
    """Scenes of `size` x `size` pixels from the stills of a source."""
    stills = Joined([open_source(entry, cache, side) for entry in source.stills])
    still: list[tuple[SpriteSource, float]] = [
        (CutOuts(stills), source.cut_outs),
        (Disguises(stills), source.disguises),
        (Shapes(int(EXTENT * size), stills), source.shapes),
    ]
    share = source.drawings / (sum(entry.weight for entry in source.artwork) or 1)
    for entry in source.artwork:
        still.append((CutOuts(open_source(entry, cache, side)), share * entry.weight))
    if source.font:
        still.append((Glyphs(source.font), source.glyphs))
    sprites: list[tuple[SpriteSource | MovingSource, float]] = [*still]
    if source.assemblies:
        sprites.append((Assemblies(still), source.assemblies))
    share = source.acting / (sum(entry.weight for entry in source.actors) or 1)
    for entry in source.actors:
        sprites.append((Actors(open_source(entry, cache, side)), share * entry.weight))
    usual = MotionRange()
    motion = replace(
        usual,
        speed=usual.speed * source.motion,
        camera=usual.camera * source.motion,
        turn=usual.turn * source.motion,
        perspective=usual.perspective * source.motion,
        elastic=usual.elastic * source.motion,
    )
    scenery = Joined([open_scenery(entry, cache, side) for entry in source.scenery]) if source.scenery else None
    scene = SceneRange(sides=source.sides, recolour=source.recolour, motion=motion)
    return SyntheticClips(stills, sprites, size, scene, scenery)


def batches(feed: Feed, first: int, last: int, workers: int) -> Iterator[tuple[Part, ClipBatch]]:
    """Items `first` to `last` (exclusive), made ahead of time in `workers` processes (0: in this one).

    Raises the `InputError` that names the file where data cannot be used, and one where they show no object.
    """
    loader = DataLoader(
        _Caught(feed),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        worker_init_fn=_start,
        # A forked worker would inherit OpenCV's and OpenMP's locks without the threads that hold them, and hang.
        multiprocessing_context="spawn" if workers else None,
    )
    empty, most = 0, max(2, min(MOST_EMPTY, feed.stage.steps))
    for item in loader:
        if isinstance(item, MaskletError):
            raise item
        _, batch = item
        empty = 0 if batch.valid.any() else empty + 1
        if empty == most:
            augmentation = feed.stage.augmentation
            raise InputError(
                f"{most} batches in a row show no object to learn from, the last {', '.join(batch.names)}: their "
                f"masks are empty, or things are smaller than {augmentation.min_area} pixels in pictures of "
                f"{augmentation.size} x {augmentation.size} (a run with a larger image_size, --image-size, shows more)"
            )
        yield item


class _Caught(Dataset["tuple[Part, ClipBatch] | MaskletError"]):
    """A feed that hands errors over as items: raised in a worker, they would drown in the worker's traceback."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed

    def __getitem__(self, index: int) -> tuple[Part, ClipBatch] | MaskletError:
        try:
            return self.feed[index]
        except MaskletError as error:
            return error


def _start(worker: int) -> None:
    # Both reach all processes of a run at once, whose first one ends the others: by SIGTERM, where a batch takes long.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _ignore_once)
    warnings.formatwarning = format_warning
    torch.set_num_threads(1)
    start_worker(worker)


def _ignore_once(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_DFL)
