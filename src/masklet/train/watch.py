"""Watching a run: a progress line, a log of scalars, and TensorBoard where it is asked for."""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from masklet.errors import DeviceError, OutputError
from masklet.io.output import atomic_file
from masklet.train.pictures import compare

if TYPE_CHECKING:
    from pathlib import Path

    from torch.utils.tensorboard import SummaryWriter

    from masklet.data.batches import ClipBatch
    from masklet.train.loop import Run
    from masklet.train.recipe import Recipe, Stage


QUIET_SECONDS = 60.0
"""Slow models are heard of after so long, too."""


@dataclass(frozen=True, eq=False)
class StepReport:
    """One optimiser step: the means of its scalars, how many pictures this process saw, and the last of its batches."""

    scalars: dict[str, float]
    num_pictures: int
    batch: ClipBatch


class Watch:
    """Collects what each step reports and writes the means every `Pace.print_every` steps, and when it is asked to."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.writer = open_tensorboard(run) if run.pace.tensorboard and run.rank == 0 else None
        self._collected: list[dict[str, float]] = []
        self._num_pictures = 0
        self._since = time.monotonic()
        if run.rank == 0:
            forget_after(run.folder / "log.jsonl", run.step)

    def close(self) -> None:
        """Write out what TensorBoard's writer still holds."""
        if self.writer:
            self.writer.close()

    def note(self, stage: Stage, rate: float, report: StepReport) -> None:
        """Take down one step; print and write when it is time."""
        run = self.run
        if run.rank != 0:
            return
        self._collected.append(report.scalars)
        self._num_pictures += report.num_pictures * run.world_size
        self._stage, self._rate = stage, rate
        if self.writer and run.step % run.pace.picture_every == 0:
            picture = compare(run.model, report.batch.to(run.device))
            self.writer.add_image("truth above, prediction below", picture, run.step, dataformats="HWC")
        if time.monotonic() - self._since > QUIET_SECONDS or run.step % run.pace.print_every == 0:
            self.write()

    def write(self) -> None:
        """Print and write what was collected, as before the state is saved: a run that goes on from there notes nothing
        twice. Raises `OutputError`."""
        if not self._collected:
            return
        means = mean_scalars(self._collected)
        seconds = time.monotonic() - self._since
        speed = self._num_pictures / seconds
        left = steps_left(self.run.recipe, self.run.step) * seconds / len(self._collected)
        step = self.run.step
        print(progress_line(step, self.run.recipe.num_steps, self._stage.name, means, speed, left), flush=True)
        entry: dict[str, float | int | str] = {
            "step": step,
            "stage": self._stage.name,
            "rate": self._rate,
            "pictures_per_second": speed,
            **means,
        }
        log = self.run.folder / "log.jsonl"
        try:
            with open(log, "a") as file:
                file.write(json.dumps({name: _short(value) for name, value in entry.items()}) + "\n")
        except OSError as error:
            raise OutputError(
                f"cannot write {log}: {error.strerror or error}; make room, then go on: masklet train resume "
                f"{self.run.folder}"
            ) from error
        if self.writer:
            for name, value in {**means, "rate": self._rate, "pictures_per_second": speed}.items():
                self.writer.add_scalar(name, value, step)
        self._collected, self._num_pictures, self._since = [], 0, time.monotonic()


def forget_after(log: Path, step: int) -> None:
    """Leave out of a log what a killed run noted after `step`, its last state: it is done again, and noted again."""
    if not log.exists():
        return
    lines = log.read_text().splitlines(keepends=True)
    kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
    if len(kept) < len(lines):
        with atomic_file(log) as file:
            file.writelines(kept)


def steps_left(recipe: Recipe, step: int) -> float:
    """The steps after `step`, counted in steps like the last one: those of stages with more pixels count for more."""
    done, left = 0, 0.0
    last = _pixels(recipe.stage_at(step - 1)[0])
    for stage in recipe.stages:
        to_come = min(stage.steps, max(0, done + stage.steps - step))
        left += to_come * _pixels(stage) / last
        done += stage.steps
    return left


def _pixels(stage: Stage) -> float:
    """What a step of a stage sees, on average over its parts."""
    weights = sum(part.weight for part in stage.parts)
    pictures = sum(part.weight * part.clips * part.frames for part in stage.parts) / weights
    return pictures * stage.augmentation.size**2


def progress_line(step: int, steps: int, stage: str, means: dict[str, float], speed: float, left: float) -> str:
    """Where a run stands, for a person: step, loss, IoU of the main kinds of decoding, pictures a second, time left."""
    overlaps = " ".join(f"{name} {value:.3f}" for name, value in sorted(means.items()) if name.startswith("iou/"))
    hours, minutes = divmod(math.ceil(left / 60), 60)
    time_left = f"{hours} h {minutes:02d} min left" if hours else f"{minutes} min left"
    return f"{step}/{steps} {stage}  loss {means['loss']:.4f}  {overlaps}  {speed:.1f} img/s  {time_left}"


def mean_scalars(steps: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each scalar over the steps that reported it."""
    names = dict.fromkeys(name for step in steps for name in step)
    return {name: _mean([step[name] for step in steps if name in step]) for name in names}


def find_tensorboard() -> type[SummaryWriter]:
    """TensorBoard's writer. Raises `DeviceError` where it is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise DeviceError("TensorBoard is not installed: pip install 'masklet[train]'") from error
    return SummaryWriter


def open_tensorboard(run: Run) -> SummaryWriter:
    """A writer into the run's folder."""
    return find_tensorboard()(run.folder, purge_step=run.step + 1)  # hides what a killed run wrote after its last state


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _short(value: float | str | int) -> float | str | int:
    """Six digits are plenty for a curve, and keep the log small."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
