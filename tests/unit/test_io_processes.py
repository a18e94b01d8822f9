"""Work that several processes share: handed back as it is done, broken off where nobody waits for it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from masklet.errors import InputError
from masklet.io.processes import num_cores, work_through


def note(folder: Path, number: int) -> int:
    """Leave a file and stay for long; the second item is bad at once."""
    if number == 1:
        raise InputError("the second is bad")
    (folder / f"begun-{number}").touch()
    time.sleep(60)
    return number * number


def square(number: int) -> int:
    return number * number


def stay(number: int) -> int:
    time.sleep(0.5)
    return number


@pytest.mark.parametrize("processes", [1, 2])
def test_every_result_comes_with_its_item(processes):
    assert sorted(work_through(square, range(5), processes)) == [(number, number**2) for number in range(5)]


def test_after_an_error_nothing_goes_on(tmp_path):
    with pytest.raises(InputError, match="the second is bad"):
        list(work_through(partial(note, tmp_path), range(40), 2))
    # joining would not do: the pool's own thread waits for them too, and of two that wait only one is told at once
    end = time.monotonic() + 20
    while multiprocessing.active_children() and time.monotonic() < end:
        time.sleep(0.01)
    assert not multiprocessing.active_children()
    assert len(list(tmp_path.glob("begun-*"))) <= 2, "one for each process"


def test_what_others_began_goes_on():
    first = work_through(stay, range(40), 2)
    next(first)
    second = work_through(stay, range(3), 2)
    assert next(second)[1] in range(3)
    first.close()
    assert len(list(second)) == 2


WORKED_THROUGH = """
import sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_io_processes import note, work_through
if __name__ == "__main__":
    list(work_through(partial(note, Path({folder!r})), range(2, 40), 2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed otherwise")
def test_processes_go_with_the_first_one_even_if_it_is_killed(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(WORKED_THROUGH.format(tests=str(Path(__file__).parent), folder=str(tmp_path)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, start_new_session=True) as parent:
        try:
            end = time.monotonic() + 60
            while len(list(tmp_path.glob("begun-*"))) < 2 and time.monotonic() < end:
                time.sleep(0.01)
            parent.kill()
            parent.communicate(timeout=30)  # until all processes are gone: each holds the other end of the output
        finally:
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)
    assert len(list(tmp_path.glob("begun-*"))) == 2


def test_fewer_than_one_process_is_refused():
    with pytest.raises(InputError, match="at least 1, not 0"):
        next(work_through(square, [1], 0))


def test_there_is_a_core_to_work_on():
    assert num_cores() >= 1
