"""The same work on many items in several processes, results handed back as they are done."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from masklet.errors import InputError, MaskletError

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_ON_WINDOWS = 61
"""More processes than that it cannot wait for."""


def work_through(
    work: Callable[[Item], Result], items: Sequence[Item], processes: int
) -> Iterator[tuple[Item, Result]]:
    """Each item with `work(item)`, in the order in which they are done.

    With one process the work is done in this one. `work` and the items must be picklable: processes are started afresh
    (`spawn`), which is the only way that is safe beside threads and works on every system. Raises what `work` raises,
    `InputError` for fewer than one process, and `MaskletError` where a process is killed; then, and where the results
    are no longer asked for, work that is going on is broken off, and what is not begun is dropped.
    """
    if processes < 1:
        raise InputError(f"processes must be at least 1, not {processes}")
    if processes == 1 or len(items) < 2:
        yield from ((item, work(item)) for item in items)
        return
    earlier = multiprocessing.active_children()
    pool = ProcessPoolExecutor(
        min(processes, len(items), MOST_ON_WINDOWS if sys.platform == "win32" else processes),
        multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(work,),
    )
    waiting: dict[Future[Any], Item] = {}
    ours: list[multiprocessing.process.BaseProcess] = []
    try:
        waiting.update((pool.submit(_do, item), item) for item in items)
        ours = _begun_since(earlier)  # no more of them are begun, but others may be, by others
        for done in as_completed(waiting):
            yield waiting[done], done.result()
    except BrokenProcessPool as error:
        raise MaskletError("a worker process was killed, most often for want of memory; use fewer") from error
    finally:
        is_over = len(waiting) == len(items) and all(future.done() for future in waiting)
        pool.shutdown(wait=False, cancel_futures=True)
        for child in () if is_over else ours or _begun_since(earlier):
            child.terminate()  # or the interpreter would wait at its end for what nobody asks for any more


def _begun_since(earlier: list[multiprocessing.process.BaseProcess]) -> list[multiprocessing.process.BaseProcess]:
    return [child for child in multiprocessing.active_children() if child not in earlier]


_work: Callable[[Any], Any]
"""What a worker process does with each item: handed to it once, as it may hold a whole data set."""


def _begin(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C reaches every process: only the first one tells of it


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    """Go where the first process goes, even if it is killed and cannot say so."""
    parent.join()
    os._exit(1)


def _do(item: Any) -> Any:
    return _work(item)


def num_cores() -> int:
    """How many cores this process may use, which a batch system may have made fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
