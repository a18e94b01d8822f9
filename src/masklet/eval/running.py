"""Work through the clips or pictures of an evaluation: several processes, and nothing done twice after a break."""

from __future__ import annotations

import hashlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from masklet import __version__
from masklet.errors import InputError, OutputError
from masklet.io.documents import read_json, write_json
from masklet.io.output import make_folder
from masklet.io.processes import num_cores, work_through

if TYPE_CHECKING:
    from masklet.model.network import Network

RESULT_FOLDER = "items"
SETTINGS_FILE = "settings.json"
PREDICTION_FOLDER = "predictions"
SUBMISSION_FILE = "submission.zip"
WRITTEN = (SETTINGS_FILE, RESULT_FOLDER, "report.json", "report.csv", "report.html")
"""What every evaluation writes into its folder, and may write over."""


@dataclass(frozen=True)
class ModelChoice:
    """A model by what `masklet.load` takes, so that every worker process loads its own.

    precision: the name of a dtype, None for float32; value_range: of 12- and 16-bit pictures, see `open_frames`;
    threads: of each process on a CPU. It is fixed, because the number of threads moves the last digits of a figure, and
    figures must not depend on how many processes share the work.
    """

    name: str
    image_size: int | None = None
    device: str | None = None
    precision: str | None = None
    value_range: tuple[float, float] | None = None
    threads: int = 1

    @property
    def processes(self) -> int:
        """How many share the work if not said: one for each core, but a GPU is not shared."""
        from masklet.checkpoints import choose_device

        return num_cores() if choose_device(self.device).type == "cpu" else 1

    @contextmanager
    def loaded(self) -> Iterator[Network]:
        """The model, loaded once a process, and for the while of the block the number of threads."""
        import torch

        before = torch.get_num_threads()
        torch.set_num_threads(self.threads)
        try:
            yield _load(self.name, self.image_size, self.device, self.precision)
        finally:
            torch.set_num_threads(before)


class Measure(ABC):
    """One way to measure: picklable, so that worker processes can be handed it."""

    @property
    @abstractmethod
    def items(self) -> list[str]:
        """The names of the clips or pictures, each the name of a result file as well."""

    @property
    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the figures depend on, ready for JSON; "masklet", the version, is among it."""

    @property
    def processes(self) -> int:
        """How many processes share the work if not said: one for each core."""
        return num_cores()

    def state(self, item: str) -> str:
        """What else the result of an item depends on, and may change between runs; "" where nothing does."""
        return ""

    @property
    def written(self) -> tuple[str, ...]:
        """What it writes into its folder."""
        return WRITTEN

    def is_kept(self, item: str) -> bool:
        """Whether what else an item leaves, beside its result, is there."""
        return True

    @abstractmethod
    def __call__(self, item: str) -> dict[str, Any]:
        """Measure one item; the result is ready for JSON."""


class ModelMeasure(Measure):
    """One way to measure a model, which says how many processes can hold it."""

    model: ModelChoice

    @property
    def processes(self) -> int:
        return self.model.processes


def measure_all(
    measure: Measure,
    out: Path,
    processes: int | None = None,
    on_done: Callable[[str], None] = lambda item: None,
) -> tuple[dict[str, dict[str, Any]], float]:
    """The result of every item, in order, and the seconds spent on all of them together.

    out: the folder that keeps each result as it is done; what is there from an earlier run with the same settings is
    not done again; processes: at the same time, None for what the measure says; on_done: told of each item that is
    finished, those found too. Raises `InputError` where the folder is of a run with other settings, `OutputError` where
    it holds what an evaluation would write over and never wrote, and what the measure raises.
    """
    _claim(out, measure)
    folder = make_folder(out / RESULT_FOLDER)
    files = {item: folder / f"{item}.json" for item in measure.items}
    waiting = []
    for item, file in files.items():
        if file.is_file() and measure.is_kept(item) and read_json(file)["state"] == measure.state(item):
            on_done(item)
        else:
            waiting.append(item)
    for item, result in work_through(_Timed(measure), waiting, measure.processes if processes is None else processes):
        write_json(files[item], result)
        on_done(item)
    results = {item: read_json(file) for item, file in files.items()}
    return results, sum(result["seconds"] for result in results.values())


@dataclass(frozen=True)
class _Timed:
    measure: Measure

    def __call__(self, item: str) -> dict[str, Any]:
        begun, state = time.perf_counter(), self.measure.state(item)
        result = self.measure(item)
        return result | {"state": state, "seconds": round(time.perf_counter() - begun, 3)}


@lru_cache(maxsize=1)
def _load(name: str, image_size: int | None, device: str | None, precision: str | None) -> Network:
    from masklet.checkpoints import load

    return load(name, device=device, dtype=precision, image_size=image_size)


def _claim(out: Path, measure: Measure) -> None:
    """Write down what this folder's results are of, or see that they are of the same."""
    file, settings = make_folder(out) / SETTINGS_FILE, measure.settings
    if not is_claimed(out):
        for path in (out / name for name in measure.written):
            if path.exists():
                raise OutputError(f"{path} would be written over, and is not of masklet eval; choose another --out")
    if not file.is_file() or not any((out / RESULT_FOLDER).glob("*.json")):
        write_json(file, settings)
        return
    before = read_json(file)
    for key in settings.keys() | before.keys():
        if before.get(key) != settings.get(key):
            raise InputError(
                f"{out} holds results with {key} = {before.get(key)!r}, now it is {settings.get(key)!r}; "
                "choose another folder with --out, or remove that one"
            )


def is_claimed(folder: Path) -> bool:
    """Whether a folder is an evaluation's, whose settings name masklet's version."""
    if not (folder / SETTINGS_FILE).is_file():
        return False
    settings = read_json(folder / SETTINGS_FILE)
    return isinstance(settings, dict) and "masklet" in settings


def model_settings(model: ModelChoice) -> dict[str, Any]:
    """What of a model choice the figures depend on, the contents of its file too: even a name may come to mean others.

    masklet's own version is among it, so that no run goes on by other rules after an upgrade.
    Raises `CheckpointError` for a model that is not there.
    """
    from masklet.checkpoints import find_checkpoint

    settings = asdict(replace(model, precision=model.precision or "float32"))
    settings["value_range"] = None if model.value_range is None else [*model.value_range]  # as JSON has it
    contents = hashlib.sha256(find_checkpoint(model.name).read_bytes()).hexdigest()[:16]
    return {"model": settings.pop("name"), **settings, "sha256": contents, "masklet": __version__}
