"""The training loop: one process or many, killed and resumed as often as need be."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from masklet.checkpoints import choose_device, save
from masklet.data.clips import holds_stills
from masklet.errors import DivergedError, InputError, MaskletError, OutputError
from masklet.io.output import new_folder, undivided
from masklet.io.processes import num_cores
from masklet.model.network import Network
from masklet.train.feed import Feed, batches, check_sources
from masklet.train.folder import alone_in, check_unused
from masklet.train.held_out import Examiner
from masklet.train.lora import train_mode
from masklet.train.objective import BatchLoss, Chance, Scalars
from masklet.train.optimiser import MovingAverage, make_optimiser, set_learning_rate
from masklet.train.recipe import Part, Recipe, Stage, save_recipe
from masklet.train.saved import for_use, load_weights, make_model, read_run
from masklet.train.watch import StepReport, Watch, find_tensorboard, mean_scalars

if TYPE_CHECKING:
    from masklet.data.batches import ClipBatch


ANNOTATOR_CHANCE, PLAN_CHANCE = 3, 5
"""Set the annotator's generators apart from those of `data.mix` and `train.feed`."""

REPLACEMENTS, REPLACEMENT_SECONDS = 10, 0.5
"""Windows refuses to replace a file that another process reads, such as an export: how often and when to try again."""

STOPPING = "masklet: stopping after this step, which is then saved; Ctrl-C once more stops at once"
"""What is said at Ctrl-C, as a large model's step may take a minute on a CPU."""

MOST_WORKERS = 8
"""Processes that prepare batches beside a GPU, where the processor has so many cores."""


@dataclass(frozen=True)
class Pace:
    """How a run is watched and saved; none of it changes what is learned.

    save_every, print_every, picture_every: in steps; save_minutes: the state is saved after so long in any case, for
    models whose steps are slow; workers: processes that prepare batches, which a script may ask for only under
    `if __name__ == "__main__":`, None for one on the CPU and up to eight beside a GPU; tensorboard: also write
    TensorBoard files, with pictures. Raises `InputError` for numbers out of range.
    """

    save_every: int = 200
    print_every: int = 20
    picture_every: int = 200
    save_minutes: float = 3.0
    workers: int | None = None
    tensorboard: bool = False

    def __post_init__(self) -> None:
        steps = (self.save_every, self.print_every, self.picture_every)
        if min(steps) < 1 or min(self.save_minutes, self.workers or 0) < 0:
            raise InputError(
                "a run saves, prints and draws every so many steps, at least 1, saves after minutes and has workers, 0 "
                f"or more; got {self.save_every}, {self.print_every}, {self.picture_every}, {self.save_minutes:g} and "
                f"{self.workers}"
            )


EVERY_DAY = Pace()
"""What runs go at where nobody says otherwise."""


class Run:
    """A training run in a folder of its own.

    The folder holds `recipe.json`, `state.pt` (everything needed to go on, replaced as a whole), `log.jsonl` (one line
    of scalars every few steps), what an `Examiner` writes and, with `Pace.tensorboard`, TensorBoard files.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: str | os.PathLike[str],
        pace: Pace,
        device: torch.device | str = "cpu",
        *,
        started: bool = True,
    ) -> None:
        """started: take the weights that the recipe starts from, which a state to be loaded would only replace.

        Raises `DeviceError` for a device that is not there, and where TensorBoard is wanted and not installed.
        """
        self.recipe = recipe
        self.folder = Path(folder)
        self.pace = pace
        self.owns_processes = not torch.distributed.is_initialized()  # or whoever called has joined them
        self.rank, self.world_size = _join_processes(str(device))
        if pace.tensorboard and self.rank == 0:
            find_tensorboard()
        self.device = choose_device(device)
        self.workers = _usual_workers(self.device) if pace.workers is None else pace.workers
        with torch.random.fork_rng(devices=[]):  # or beginning a run would seed the caller's own chance
            torch.default_generator.manual_seed(recipe.seed)
            model = make_model(recipe, started=started).to(self.device)
        if self.device.type != "mps":  # where such layouts have given wrong results before
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model = model
        self.optimiser = make_optimiser(self.model, recipe.optimiser)
        self.average = MovingAverage(self.model, recipe.optimiser.ema) if recipe.optimiser.ema else None
        self.blended: dict[str, dict[str, Tensor]] = {}  # by stage
        self.step = 0
        self._stepping = False  # within a step, when weights and statistics are of no use
        self._examiner: Examiner | None = None
        self._saved_at = time.monotonic()
        self._processes = self.world_size  # that trained this run so far
        self.batch_loss: BatchLoss | nn.parallel.DistributedDataParallel = BatchLoss(
            self.model, recipe.checkpointing, recipe.precision
        )
        if self.world_size > 1:
            # It costs a copy of a few small gradients, and there is nothing that anybody could do about it.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            # A batch need not touch every part of the network: stills leave the memory alone.
            self.batch_loss = nn.parallel.DistributedDataParallel(self.batch_loss, find_unused_parameters=True)

    @staticmethod
    def begin(
        recipe: Recipe, folder: str | os.PathLike[str], pace: Pace = EVERY_DAY, device: torch.device | str = "cpu"
    ) -> Run:
        """Start a new run. Raises `MaskletError` where `folder` holds anything of one, `InputError` for unusable data.

        A run whose data, device or weights to start from are refused leaves no run behind. Pictures and masks are
        read while it trains; before, only the sizes of pictures with masks beside them. Raises `OutputError` where the
        folder cannot be written.
        """
        opened = check_sources(recipe)
        data = [source.path for source in opened]
        check_unused(folder, data)
        run = Run(recipe, folder, pace, device)
        if run.rank != 0:
            return run
        with new_folder(folder) as place, alone_in(place):
            check_unused(folder, data)  # another one may have begun meanwhile
            run._open_held_out()
            save_recipe(recipe, place / "recipe.json")
            for source, dataset in opened.items():
                kind = "picture" if holds_stills(dataset) else "clip"
                part = f" ({source.split})" if data.count(source.path) > 1 else ""
                print(f"{source.path}{part}: {len(dataset)} {kind}{'s' * (len(dataset) != 1)}", flush=True)
            run.save_state()
        return run

    @staticmethod
    def resume(folder: str | os.PathLike[str], pace: Pace = EVERY_DAY, device: torch.device | str | None = None) -> Run:
        """Go on with the run in `folder`, as if it had never been interrupted.

        device: None for the kind that it ran on. Raises `InputError` where the folder holds no run, or a recipe that
        was edited beyond what a run can bear.
        """
        recipe, state = read_run(Path(folder))
        run = Run(recipe, folder, pace, device or state.get("device", "cpu"), started=False)
        run._load_state(state)
        return run

    def train(self) -> Network:
        """Train to the end of the recipe. Returns the model as `result` gives it.

        Raises `DivergedError` at the first loss or gradient that is not finite; the state last saved stays. Raises
        `InputError` where another number of processes trained the run so far, since batches would change.
        """
        if self._processes != self.world_size:
            raise InputError(
                f"{self.folder} was trained by {self._processes} processes so far and goes on with as many: "
                f"torchrun --nproc-per-node {self._processes} (here: {self.world_size}); or export its model and train "
                "on from that"
            )
        if self.step == self.recipe.num_steps and self.rank == 0:
            print(
                f"{self.folder} has come to its end, after {self.step} steps: to train on, give a stage in its "
                "recipe.json more, then resume",
                flush=True,
            )
        try:
            with alone_in(self.folder) if self.rank == 0 else nullcontext(), closing(Watch(self)) as watch:
                self._train(watch)
        except RuntimeError as error:
            if (explained := self._explained(str(error))) is None:
                raise
            raise MaskletError(explained) from error
        return self.result()

    def _explained(self, words: str) -> str | None:
        """What to do about the commonest of PyTorch's own errors, which may come at any line of a step."""
        if "out of memory" in words or "DefaultCPUAllocator" in words:  # as CUDA and MPS call it, and the CPU
            return (
                f"{self.device} ran out of memory at step {self.step}: lower clips and objects in "
                f"{self.folder / 'recipe.json'} and resume, or begin anew, into another folder, with smaller pictures "
                "(--image-size) or fewer frames (--frames)"
            )
        if "DataLoader worker" in words:
            return (
                "a process that prepares batches was killed, most often for want of memory or, in a container, of "
                "shared memory (docker run --shm-size 2g): resume with fewer workers (--workers), 0 for none. Or it "
                'ended as it began, as it does where a script trains outside of `if __name__ == "__main__":`'
            )
        return None

    def _train(self, watch: Watch) -> None:
        if self.rank == 0:
            self._open_held_out()
            self._measure()  # what it starts from
        try:
            self._take_steps(watch)
        except KeyboardInterrupt:
            if not self._stepping:
                watch.write()
                self.save_state()
            raise

    def _open_held_out(self) -> None:
        if self.recipe.held_out and self._examiner is None:
            self._examiner = Examiner(self.recipe.held_out, self.recipe, self.folder, self.step)

    def _take_steps(self, watch: Watch) -> None:
        while self.step < self.recipe.num_steps:
            stage, offset = self.recipe.stage_at(self.step)
            first = self.step - offset
            last = first + stage.steps
            stream = self._batches(stage, first)
            while self.step < last:
                rate = stage.lr * stage.schedule(self.step - first)
                drawn = list(islice(stream, self.recipe.accumulate))
                with self._step_as_a_whole():
                    report = self._optimise(drawn, stage, rate)
                    self.step += 1
                    if self.step == last and stage.name in {share.stage for share in self.recipe.blended}:
                        self.blended[stage.name] = {
                            name: value.to("cpu", copy=True) for name, value in self._weights().items()
                        }
                    watch.note(stage, rate, report)
                overdue = time.monotonic() - self._saved_at > 60 * self.pace.save_minutes
                if overdue or self.step % self.pace.save_every == 0 or self.step == last:
                    watch.write()
                    self.save_state()
                self._measure()

    @contextmanager
    def _step_as_a_whole(self) -> Iterator[None]:
        """Ctrl-C waits for the end of a step, so that it can be saved; not among several processes, which would wait
        for each other."""
        with undivided(STOPPING) if self.world_size == 1 else nullcontext():
            self._stepping = True
            yield
            self._stepping = False

    def _batches(self, stage: Stage, first: int) -> Iterator[tuple[Part, ClipBatch]]:
        """The batches of a stage, which began at step `first`, from where the run is on."""
        accumulate, last = self.recipe.accumulate, first + stage.steps
        try:
            feed = Feed(stage, self.recipe.seed, self.folder / "cache", first, self.rank, self.world_size)
            yield from batches(feed, self.step * accumulate, last * accumulate, self.workers)
        except InputError as error:
            raise InputError(f"{error}. Once that is mended, go on: masklet train resume {self.folder}") from error

    def result(self) -> Network:
        """A copy of the model with the weights that the recipe blends, or the averaged or last ones, for use."""
        return for_use(self.recipe, self._weights(), self.blended)

    def _measure(self) -> None:
        if self._examiner and self._examiner.is_due(self.step):
            self._examiner.ask(self.result().to(self.device), self.step)

    def _weights(self) -> dict[str, Tensor]:
        return self.model.state_dict() | (self.average.weights if self.average else {})

    def _optimise(self, drawn: Sequence[tuple[Part, ClipBatch]], stage: Stage, rate: float) -> StepReport:
        """One optimiser step over the batches that were drawn for it."""
        train_mode(self.model, stage.fixed_statistics)
        set_learning_rate(self.optimiser, rate)
        reports: list[Scalars] = []
        names: list[str] = []
        num_pictures = 0
        for turn, (part, batch) in enumerate(drawn):
            names += batch.names
            num_pictures += batch.pixels.shape[:2].numel()
            reports.append(self._forward_backward(part, batch.to(self.device), stage, turn))
        parameters = [parameter for parameter in self.model.parameters() if parameter.grad is not None]
        norm = float(nn.utils.clip_grad_norm_(parameters, self.recipe.optimiser.clip))
        scalars = {**mean_scalars(reports), "gradient": norm}
        if not (math.isfinite(scalars["loss"]) and math.isfinite(norm)):
            self._give_up(scalars, names)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update(self.model)
        return StepReport(scalars, num_pictures, batch)

    def _forward_backward(self, part: Part, batch: ClipBatch, stage: Stage, turn: int) -> Scalars:
        """Add the gradient of one batch. All chance is seeded by the step, so nothing of it needs saving."""
        number = self.step * self.recipe.accumulate + turn
        chance = Chance(
            plans=np.random.default_rng((self.recipe.seed, PLAN_CHANCE, number)),
            clicks=np.random.default_rng((self.recipe.seed, ANNOTATOR_CHANCE, self.rank, number)),
        )
        with self._gradients_apart(turn):
            loss, scalars = self.batch_loss(batch, part, stage, chance)
            (loss / self.recipe.accumulate).backward()
        return {"loss": float(loss.detach()), **scalars}

    def _gradients_apart(self, turn: int) -> AbstractContextManager[None]:
        """Processes exchange gradients on the last batch of a step only."""
        if isinstance(self.batch_loss, nn.parallel.DistributedDataParallel) and turn + 1 < self.recipe.accumulate:
            return self.batch_loss.no_sync()
        return nullcontext()

    def _give_up(self, scalars: Scalars, names: list[str]) -> NoReturn:
        """Stop without saving: the batch may already have spoilt the running statistics of batch normalisation."""
        others = "" if self.world_size == 1 or not math.isfinite(scalars["loss"]) else " (or on another process's)"
        raise DivergedError(
            f"step {self.step}: loss {scalars['loss']:g}, norm of the gradient {scalars['gradient']:g}, on the batch "
            f"{', '.join(names)}{others}. {self.folder / 'state.pt'} keeps the last good state; look at these data, or "
            "lower the learning rate in recipe.json, then resume"
        )

    def save_state(self) -> None:
        """Replace `state.pt` as a whole, so that no crash leaves half a file. Raises `OutputError`."""
        self._saved_at = time.monotonic()
        if self.rank != 0:
            return
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "blended": self.blended,
            "device": self.device.type,
            "processes": self.world_size,
        }
        partial = self.folder / "state.pt.partial"
        try:
            with open(partial, "wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            _replace(partial, self.folder / "state.pt")
        except (OSError, RuntimeError) as error:  # torch's own, where a disk is full
            raise OutputError(
                f"cannot write {self.folder / 'state.pt'}: {error}. The one before is kept; make room, then resume"
            ) from error

    def _load_state(self, state: dict[str, Any]) -> None:
        self._processes = state.get("processes", self.world_size)
        self.blended = state["blended"]
        self.step = state["step"]
        if self.step > self.recipe.num_steps:
            raise InputError(
                f"{self.folder} was trained for {self.step} steps, and its recipe.json now says "
                f"{self.recipe.num_steps}: to go on, say more; for the model as it is, masklet train export "
                f"{self.folder} model.safetensors"
            )
        load_weights(self.model, state["model"], self.folder)
        self._load_optimiser(state["optimiser"])
        if self.average and state["average"]:
            self.average.load_state_dict(state["average"])
        elif self.average:  # asked for since
            self.average = MovingAverage(self.model, self.recipe.optimiser.ema)

    def _load_optimiser(self, state: dict[str, Any]) -> None:
        """The moments that were saved, with the recipe's settings, which may have been edited since."""
        settings = [{key: group[key] for key in group if key != "params"} for group in self.optimiser.param_groups]
        try:
            self.optimiser.load_state_dict(state)
        except ValueError as error:
            raise InputError(
                f"{self.folder / 'recipe.json'} groups the weights otherwise than {self.folder / 'state.pt'}: which "
                "parts are frozen or learn at rates of their own (layer_decay, vision_lr_factor) cannot be edited "
                "within a run; undo that edit, or export the model and train on from it"
            ) from error
        for group, setting in zip(self.optimiser.param_groups, settings):
            group.update(setting)


def begin(
    recipe: Recipe, folder: str | os.PathLike[str], pace: Pace = EVERY_DAY, device: torch.device | str = "cpu"
) -> Path:
    """Train by a recipe in a new folder; the file the model is in at the end."""
    return _train_to_file(Run.begin(recipe, folder, pace, device))


def resume(folder: str | os.PathLike[str], pace: Pace = EVERY_DAY, device: torch.device | str | None = None) -> Path:
    """Train on in the folder of a run; the file the model is in at the end."""
    return _train_to_file(Run.resume(folder, pace, device))


def _train_to_file(run: Run) -> Path:
    model = run.train()
    path = run.folder / "model.safetensors"
    if run.rank == 0:
        save(model, path)
    if run.owns_processes and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return path


def _replace(new: Path, path: Path) -> None:
    for tries_left in reversed(range(REPLACEMENTS)):
        try:
            os.replace(new, path)
            break
        except PermissionError:
            if not tries_left:
                raise
            time.sleep(REPLACEMENT_SECONDS)


def _usual_workers(device: torch.device) -> int:
    """How many processes prepare batches where nobody says: a GPU would wait for one; on a CPU they take from it."""
    if device.type == "cpu":
        return 1
    cores = num_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, cores))


def _join_processes(device: str) -> tuple[int, int]:
    """This process's rank and the number of processes; `torchrun` says through the environment, otherwise 0 and 1."""
    if "RANK" not in os.environ:
        return 0, 1
    if device.startswith("cuda"):
        own = f"cuda:{os.environ.get('LOCAL_RANK', os.environ['RANK'])}"
        if device not in ("cuda", own):
            raise InputError(f"each process takes a GPU of its own: name the device cuda, not {device}")
        torch.cuda.set_device(choose_device(own))  # what "cuda" means from here on
    if not torch.distributed.is_initialized():
        on_gpus = device.startswith("cuda") and torch.distributed.is_nccl_available()  # Windows has none
        torch.distributed.init_process_group("nccl" if on_gpus else "gloo")
    return torch.distributed.get_rank(), torch.distributed.get_world_size()
