"""Measuring a run, as it goes, on data that it does not learn from, and keeping the model that is best there."""

from __future__ import annotations

import json
import zlib
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from masklet.checkpoints import save
from masklet.data.transforms import Augmentation
from masklet.errors import InputError, OutputError
from masklet.train.feed import Feed
from masklet.train.objective import BatchLoss, Chance
from masklet.train.recipe import HeldOut, Recipe, Stage
from masklet.train.watch import forget_after, mean_scalars

if TYPE_CHECKING:
    from pathlib import Path

    from masklet.data.batches import ClipBatch
    from masklet.model.network import Network

HELD_OUT_CHANCE = 6
"""Sets the generators of held-out prompts apart from those of `train.loop`, `train.feed` and `data.mix`."""


class Examiner:
    """Asks a run's model the same questions again and again.

    The run's folder gets `held-out.jsonl`, a line for each time, and `best.safetensors`, the model at its best since
    training began. Where the recipe was edited to ask of other data, or otherwise (the number `questions` in each line
    tells), marks given before do not count: the model is measured at once, and what was best is
    `best-before.safetensors`.
    """

    def __init__(self, held_out: HeldOut, recipe: Recipe, folder: Path, step: int = 0) -> None:
        """step: that the run goes on from. Raises `InputError` where the data cannot be used, or show no object."""
        seen = recipe.stages[-1].augmentation
        as_it_is = Augmentation(seen.size, flip=0.0, close=seen.close, min_area=seen.min_area)
        self.recipe = recipe
        self.folder = folder
        self._every = held_out.every
        forget_after(folder / "held-out.jsonl", step)
        self._stage = Stage("held out", 1, 0.0, (held_out.part,), as_it_is, supervision=recipe.stages[-1].supervision)
        self._questions = zlib.crc32(repr(_told((held_out.part, held_out.batches, as_it_is, recipe.seed))).encode())
        self._has_begun = bool(self.entries())
        feed = Feed(self._stage, recipe.seed, folder / "cache")
        self._batches = [batch for _, batch in map(feed.__getitem__, range(held_out.batches)) if batch.valid.any()]
        if not self._batches:
            raise InputError(f"the data held out, {_paths(held_out)}, show no object to be asked for")

    def is_due(self, step: int) -> bool:
        """Whether it is time to measure, after so many steps, and that has not been done."""
        its_turn = step % self._every == 0 or step == self.recipe.num_steps or not self._has_begun
        return its_turn and all(entry["step"] != step for entry in self.entries())

    def ask(self, model: Network, step: int) -> None:
        """Measure a model, tell of it, and keep it if it is the best so far. Raises `OutputError`."""
        means = measure(model, self._batches, self._stage, self.recipe)
        entry = {"step": step, "questions": self._questions, **means, "mean": sum(means.values()) / len(means)}
        earlier, best_file = self.entries(), self.folder / "best.safetensors"
        best = max(earlier, key=lambda line: line["mean"], default=entry)
        is_best = bool(earlier) and entry["mean"] > best["mean"]  # the first is what training starts from
        verdict = "  best so far" if is_best else ""
        if step == self.recipe.num_steps and earlier and not is_best:
            first = int(earlier[0]["step"])
            verdict = f"  never better than {f'after {first} steps' if first else 'what it started from'}"
            if best is not earlier[0]:
                verdict = f"  best after {best['step']} steps: {best_file}"
        self._has_begun = True
        figures = " ".join(f"{name} {value:.3f}" for name, value in sorted(means.items()))
        if len(means) > 1:
            figures += f" mean {entry['mean']:.3f}"
        print(f"{step}/{self.recipe.num_steps} held out  {figures}{verdict}", flush=True)
        if not earlier and best_file.exists():  # best at other questions
            best_file.replace(self.folder / "best-before.safetensors")
        if is_best:
            save(model, best_file)
        try:
            with open(self.folder / "held-out.jsonl", "a") as file:
                file.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.folder / 'held-out.jsonl'}: {error.strerror or error}") from error

    def entries(self) -> list[dict[str, float]]:
        """What was measured so far, on the questions that are asked now: a recipe may have been edited since."""
        path = self.folder / "held-out.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [entry for entry in map(json.loads, lines) if entry.get("questions", self._questions) == self._questions]


@torch.no_grad()
def measure(model: Network, batches: list[ClipBatch], stage: Stage, recipe: Recipe) -> dict[str, float]:
    """The mean IoU of each kind of prompt, by the names that a run's log has for them."""
    (part,) = stage.parts
    ask = BatchLoss(model.eval(), precision=recipe.precision)
    found = []
    for number, batch in enumerate(batches):
        chance = Chance(*(np.random.default_rng((recipe.seed, HELD_OUT_CHANCE, which, number)) for which in range(2)))
        found.append(ask(batch.to(model.device), part, stage, chance)[1])
    return {name: value for name, value in mean_scalars(found).items() if name.startswith("iou/")}


def _told(value: object) -> object:
    """What of a recipe's part somebody has set, so that fields which come later leave it what it is."""
    if isinstance(value, tuple):
        return [_told(entry) for entry in value]
    if not is_dataclass(value):
        return value
    set_here = ((entry.name, getattr(value, entry.name), entry.default) for entry in fields(value))
    return type(value).__name__, [(name, _told(given)) for name, given, default in set_here if given != default]


def _paths(held_out: HeldOut) -> str:
    return ", ".join(getattr(source, "path", "scenes") for source in held_out.part.sources)
