"""Everything that decides a training run, as dataclasses that can be written to a file and read back."""

from __future__ import annotations

import json
import os
import types
import typing
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from masklet.config import ModelConfig
from masklet.data.clips import Split
from masklet.data.ranges import check_counts, check_not_negative, check_probabilities
from masklet.data.synthetic import SceneRange
from masklet.data.transforms import Augmentation
from masklet.errors import InputError
from masklet.io.documents import read_json
from masklet.io.sav import Kind
from masklet.train.losses import LossWeights
from masklet.train.optimiser import TRUNK, OptimiserConfig, Schedule
from masklet.train.rollout import Annotator

Precision = Literal["float32", "bfloat16", "bfloat16 encoder"]
"""What the forward pass computes in; weights and losses are float32 always. The last is for CPUs with instructions for
bfloat16, on which convolutions gain by it and the many small steps of prompts and memory do not."""

_PLAIN: dict[type, tuple[type, ...]] = {float: (float, int), int: (int,), bool: (bool,), str: (str,)}
"""What JSON may hold for a field of each type."""

TRUNK_STRIDE = 32
"""Pictures have sides that are multiples of this."""

_PAPER_ANNOTATOR, _PAPER_LOSSES, _PAPER_OPTIMISER = Annotator(), LossWeights(), OptimiserConfig()


@dataclass(frozen=True)
class Source:
    """Annotated pictures or clips on disk.

    path: where they lie, in any layout that `masklet.data.layouts.open_dataset` knows; weight: how often a clip is
    drawn from here, relative to the other sources; merge: the probability with which all objects are taken as one;
    cached: shrink stills and pack them in the run's folder first, which makes them much quicker to read (clips stay as
    they are); images, max_stride, kinds, split, value_range: as `open_dataset` takes them.
    """

    path: str
    weight: float = 1.0
    merge: float = 0.0
    cached: bool = False
    images: str | None = None
    max_stride: int = 1
    kinds: tuple[Kind, ...] = ("manual", "auto")
    split: Split | None = "train"
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        check_counts(self, "max_stride")
        check_not_negative(self, "weight")
        check_probabilities(self, "merge")
        if not self.kinds:
            raise InputError(f"kinds names at least one of {', '.join(typing.get_args(Kind))}; got none")


@dataclass(frozen=True)
class Synthetic:
    """Scenes painted from stills: things cut out of them, disguised, drawn and borrowed, over them as backgrounds.

    stills: backgrounds, and what things are cut out of; cut_outs, disguises, shapes, glyphs, drawings, acting: how
    often a thing is of that kind, relative to the others; assemblies: how often it is put together from two that do
    not act; font: a file with colour glyphs, None to leave them out; artwork: folders of pictures with a transparent
    ground, which share `drawings` by their weights (those of stills do not count), may be none; actors: annotated clips
    whose objects are cut out with their movement, which share `acting` likewise; scenery: folders of pictures without
    masks, backgrounds now and then; motion: how far things and the camera move in a clip, relative to `MotionRange`,
    which suits longer clips; sides: least and most length of a thing as a share of the frame; recolour: how often parts
    of a thing get other colours.
    """

    stills: tuple[Source, ...]
    weight: float = 1.0
    cut_outs: float = 0.45
    disguises: float = 0.25
    shapes: float = 0.2
    glyphs: float = 0.1
    drawings: float = 0.3
    acting: float = 0.3
    assemblies: float = 0.0
    font: str | None = None
    artwork: tuple[Source, ...] = ()
    actors: tuple[Source, ...] = ()
    scenery: tuple[str, ...] = ()
    motion: float = 1.0
    sides: tuple[float, float] = SceneRange.sides
    recolour: float = SceneRange.recolour

    def __post_init__(self) -> None:
        kinds = ("cut_outs", "disguises", "shapes", "glyphs", "drawings", "acting", "assemblies")
        check_not_negative(self, "weight", "motion", *kinds)
        check_probabilities(self, "recolour")
        if not 0 < self.sides[0] <= self.sides[1]:
            raise InputError(f"sides is a range of shares of the frame, such as (0.1, 0.8); got {self.sides}")


@dataclass(frozen=True)
class Part:
    """One kind of batch in a stage: stills, or clips of one length, which cannot share a batch.

    clips: in one batch on one device; frames: of each clip; sessions: annotation sessions on each encoded clip, with
    `objects` objects each; weight: how often a batch is of this kind, relative to the others.
    """

    sources: tuple[Source | Synthetic, ...]
    clips: int = 1
    frames: int = 1
    sessions: int = 1
    objects: int = 3
    weight: float = 1.0
    annotator: Annotator = _PAPER_ANNOTATOR

    def __post_init__(self) -> None:
        check_counts(self, "clips", "frames", "sessions", "objects")
        check_not_negative(self, "weight")
        if not any(source.weight for source in self.sources):
            raise InputError("a part of a batch mix needs a source with a weight above 0")


@dataclass(frozen=True)
class Stage:
    """A stretch of training at one picture size, which `augmentation` sets.

    steps: optimiser steps; lr: peak learning rate; warmup: steps until it is reached; final: the last rate relative to
    the peak; supervision: losses are taken at the picture's size divided by this (1 in the paper); fixed_statistics:
    batch normalisation keeps its running statistics and uses them, as batches of very few pictures want it. Raises
    `InputError` for numbers out of range.
    """

    name: str
    steps: int
    lr: float
    parts: tuple[Part, ...]
    augmentation: Augmentation
    warmup: int = 0
    final: float = 0.1
    supervision: int = 1
    losses: LossWeights = _PAPER_LOSSES
    fixed_statistics: bool = False

    def __post_init__(self) -> None:
        check_counts(self, "steps")
        check_not_negative(self, "lr", "warmup", "final")
        if not any(part.weight for part in self.parts):
            raise InputError(f"the stage {self.name!r} needs a part with a weight above 0")
        if self.augmentation.size % TRUNK_STRIDE:
            raise InputError(
                f"the stage {self.name!r} trains at {self.augmentation.size} pixels, which is no multiple of "
                f"{TRUNK_STRIDE}"
            )
        if self.supervision not in (1, 2, 4):
            raise InputError(
                f"supervision is 1, 2 or 4, as masks are drawn at a quarter of the picture's size; not "
                f"{self.supervision}"
            )

    @property
    def schedule(self) -> Schedule:
        """The learning rate relative to its peak, by step of this stage."""
        return Schedule(self.steps, self.warmup, self.final)


@dataclass(frozen=True)
class HeldOut:
    """What a run is measured on as it goes, and never learns from.

    part: of which the same `batches`, drawn at random, are asked for each time, unvaried but that stills are seen
    closely as often as in training; every: steps from one time to the next.
    """

    part: Part
    batches: int = 16
    every: int = 50

    def __post_init__(self) -> None:
        check_counts(self, "batches", "every")


@dataclass(frozen=True)
class Share:
    """How much the weights at the end of a stage count in a blend, relative to the others."""

    stage: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise InputError(f"the weight of {self.stage!r} in a blend lies above 0; got {self.weight:g}")


@dataclass(frozen=True)
class Recipe:
    """A training run.

    start: a checkpoint's name or path, or None to start from random weights; frozen: prefixes of parameter names that
    stay as they are; lora_rank: train low-rank updates of the trunk's linear layers in place of the trunk; accumulate:
    batches in each optimiser step; precision: see `Precision`; checkpointing: encode pictures again during the
    backward pass rather than keep every activation; blended: the result is the mean of the weights that the run had at
    the ends of these stages, which is often better than any of them (Wortsman et al., 2022), or the last ones if none
    is named; held_out: what to measure it on.
    """

    name: str
    model: ModelConfig
    stages: tuple[Stage, ...]
    optimiser: OptimiserConfig = _PAPER_OPTIMISER
    start: str | None = None
    frozen: tuple[str, ...] = ()
    lora_rank: int = 0
    accumulate: int = 1
    precision: Precision = "float32"
    checkpointing: bool = False
    blended: tuple[Share, ...] = ()
    held_out: HeldOut | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_counts(self, "accumulate")
        check_not_negative(self, "lora_rank", "seed")
        if self.precision not in typing.get_args(Precision):
            raise InputError(f"precision is one of {', '.join(typing.get_args(Precision))}, not {self.precision!r}")
        if self.lora_rank and any(TRUNK.startswith(prefix) or prefix.startswith(TRUNK) for prefix in self.frozen):
            raise InputError(
                f"frozen names parts of the trunk, {', '.join(self.frozen)}, of which lora_rank {self.lora_rank} "
                "trains updates; set lora_rank to 0, or leave them out: all else in the trunk is frozen anyway"
            )
        if not self.stages:
            raise InputError("a recipe needs at least one stage")
        names = [stage.name for stage in self.stages]
        for share in self.blended:
            if names.count(share.stage) != 1:
                raise InputError(f"blended names {share.stage!r}, which is not one of the stages {', '.join(names)}")
        if self.blended and names[-1] not in {share.stage for share in self.blended}:
            raise InputError(f"blended leaves out {names[-1]!r}, the last stage, and all that it learns: name it too")

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)

    def stage_at(self, step: int) -> tuple[Stage, int]:
        """The stage that `step` of the whole run lies in, and the step counted from that stage's beginning."""
        for stage in self.stages:
            if step < stage.steps:
                return stage, step
            step -= stage.steps
        raise InputError(f"the recipe {self.name} ends after {self.num_steps} steps")


def save_recipe(recipe: Recipe, path: str | os.PathLike[str]) -> None:
    """Write a recipe as JSON that a person can read and edit."""
    Path(path).write_text(json.dumps(asdict(recipe), indent=1) + "\n", encoding="utf-8")


def load_recipe(path: str | os.PathLike[str]) -> Recipe:
    """Read what `save_recipe` wrote. Raises `InputError` naming the file and the field that does not fit."""
    try:
        recipe: Recipe = _rebuild(Recipe, read_json(Path(path)), "")
        return recipe
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(f"{path} is not a recipe that this version can read: {error}") from error


def _rebuild(kind: Any, value: Any, place: str) -> Any:
    """The value of type `kind` that `asdict` and JSON turned into plain lists and dictionaries.

    place: where in the recipe it stands, such as `stages[0].augmentation`, for errors.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _rebuild(_matching(arguments, value, place), value, place)
    if origin is tuple:
        return _rebuild_tuple(arguments, value, place)
    if origin is Literal and value not in arguments:
        raise ValueError(f"{place}: {value!r} is none of {', '.join(map(repr, arguments))}")
    if isinstance(kind, type) and is_dataclass(kind):
        return _rebuild_record(kind, value, place)
    if kind in _PLAIN and type(value) not in _PLAIN[kind]:
        raise ValueError(f"{place}: {value!r} is not of the type {kind.__name__}")
    return value


def _rebuild_record(kind: type, value: Any, place: str) -> Any:
    before, hints = f"{place}: " if place else "", typing.get_type_hints(kind)
    if not isinstance(value, dict):
        raise ValueError(f"{before}{value!r} has no fields: {', '.join(hints)}")
    if strange := sorted(set(value) - set(hints)):
        raise ValueError(f"{before}there is no {', '.join(map(repr, strange))} among {', '.join(hints)}")
    if missing := sorted(_required(kind) - set(value)):
        raise ValueError(f"{before}{', '.join(missing)} is missing")
    given = {name: _rebuild(hints[name], item, f"{place}.{name}".lstrip(".")) for name, item in value.items()}
    try:
        return kind(**given)
    except InputError as error:
        raise ValueError(f"{before}{error}") from error


def _rebuild_tuple(arguments: tuple[Any, ...], value: Any, place: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{place}: {value!r} is no list")
    members = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
    if len(value) != len(members):
        raise ValueError(f"{place}: {value!r} has {len(value)} entries in place of {len(members)}")
    return tuple(
        _rebuild(member, item, f"{place}[{number}]") for number, (member, item) in enumerate(zip(members, value))
    )


def _required(kind: Any) -> set[str]:
    return {entry.name for entry in fields(kind) if entry.default is MISSING and entry.default_factory is MISSING}


def _matching(options: tuple[Any, ...], value: Any, place: str) -> Any:
    """The member of a union that `value` came from; dataclasses are told apart by their fields."""
    if not isinstance(value, dict):
        if plain := [option for option in options if option is not type(None) and not is_dataclass(option)]:
            return plain[0]
        kinds = (option.__name__ for option in options if isinstance(option, type) and is_dataclass(option))
        raise ValueError(f"{place}: {value!r} is no {' or '.join(kinds)}")
    for option in options:
        # Files of earlier versions lack the fields that came later, all of which have defaults.
        if is_dataclass(option) and _required(option) <= set(value) <= {entry.name for entry in fields(option)}:
            return option
    raise ValueError(f"{place}: no part of a recipe has the fields {sorted(value)}")
