"""Work that several processes share: handed back as it is done, broken off where nobody waits for it."""

from __future__ import annotations

import multiprocessing
import time
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


def test_fewer_than_one_process_is_refused():
    with pytest.raises(InputError, match="at least 1, not 0"):
        next(work_through(square, [1], 0))


def test_there_is_a_core_to_work_on():
    assert num_cores() >= 1
