"""An ordered map on all cores of this machine or of a Ray cluster; neither changes a result.

On one machine, the items are worked on in threads: most of the time is spent in Arrow,
NumPy and TensorFlow, which let other threads work. On Ray, each of these threads waits
for a process.

Why not joblib: while the consumer of its generator is busy, joblib works on more and
more items, and all their results stay in memory. It raises an error before the results
of earlier items, and closing the generator does not wait for running threads. On Ray it
only returns lists, and it does not repeat the call of a lost process.
"""

import multiprocessing
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from itertools import chain, islice
from pathlib import Path
from time import monotonic
from typing import Any, TypeVar

from keras_tabular.core import cluster, process
from keras_tabular.core.cluster import IN_WORKER, REPORT, enter_worker, uses_ray

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_CONCURRENT = 8  # items in threads; each may be a part of a table in memory
ITEMS_PER_PROCESS = 10  # of `map_in_processes`; a process keeps what XLA compiles
SUBMITTED_PER_WORKER = 2  # so that a worker finds its next item at once


def worker_count() -> int:
    """Return how many items are worked on at the same time; within one of several items, 1.

    This is `TABULAR_WORKERS`, or the number of cores of the cluster or of this machine.

    Raises:
        UserError: `TABULAR_WORKERS` is not a number above 0, or the cluster cannot be
            reached.
    """
    if IN_WORKER.get():
        return 1
    count_cores = cluster.cluster_cores if uses_ray() else process.core_count
    return cluster.workers_from_environment() or count_cores()


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    max_concurrent: int = MAX_CONCURRENT,
    cancelled: threading.Event | None = None,
) -> Iterator[Result]:
    """Yield the results for the items in the order of the items; few results wait at a time.

    Two items for each worker are taken first, and then one after each result. An error
    of the items or of the function is raised after the results of the earlier items. A
    single item is worked on in this thread, and a map within it may use all workers.
    Within one of several items, a map works on its items one after the other.

    Args:
        function: Takes an item. On Ray, see `cluster.remote_function`.
        max_concurrent: Maximum number of items at the same time in threads, which share
            the memory. If it is 1, and without Ray, the items are worked on one after
            the other.
        cancelled: Is set if the results are not all taken, so that running calls may
            end early. On Ray, this map ends them itself.
    """
    remaining = iter(items)
    one_by_one = IN_WORKER.get() or (max_concurrent == 1 and not uses_ray())
    first = [] if one_by_one else list(islice(remaining, 2))
    items = chain(first, remaining)
    if len(first) < 2:
        yield from map(function, items)
        return
    cancelled = cancelled or threading.Event()
    if uses_ray():
        count = worker_count()
        function = cluster.remote_function(function, cancelled)
    else:
        count = min(worker_count(), max_concurrent)
    pool = ThreadPoolExecutor(count, initializer=enter_worker, initargs=(REPORT.get(),))
    submitted = (pool.submit(function, item) for item in items)
    calls = deque[Future[Result]]()
    try:
        calls.extend(islice(submitted, SUBMITTED_PER_WORKER * count))
        while calls:
            yield calls[0].result()
            calls.popleft()
            calls.extend(islice(submitted, 1))
    except (
        Exception
    ):  # an error of the items comes after the results and errors of earlier items
        for call in calls:
            yield call.result()
        raise
    finally:
        if calls:
            cancelled.set()
        pool.shutdown(cancel_futures=True)


def run_in_background(
    function: Callable[..., Result],
    *args: Any,
) -> Callable[[], Result]:
    """Call a function in another process, and return a function that waits for its result.

    This is for work in Python itself, such as imports, which threads cannot do at the
    same time. On one core, or with a cluster, the function is called when its result is
    asked for.

    Args:
        function: The function, its arguments, its result and its exceptions are
            pickled.
    """
    if worker_count() < 2 or uses_ray():
        return partial(function, *args)
    process = ProcessPoolExecutor(1, initializer=_end_with_parent)
    future = process.submit(function, *args)
    process.shutdown(wait=False)  # when the function has ended
    return future.result


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
) -> Iterator[Result]:
    """Yield the results for the items in their order, each worked on in a process by one thread.

    This is for work that changes the state of its process, such as the current folder.
    What it prints is not shown. With a cluster, the processes are those of
    `ordered_map`.

    Args:
        function: Takes an item. The function, the items and the results are pickled.
    """
    if uses_ray():
        yield from ordered_map(function, items)
        return
    size = worker_count() * ITEMS_PER_PROCESS
    for batch in (items[start : start + size] for start in range(0, len(items), size)):
        with ProcessPoolExecutor(
            min(worker_count(), len(batch)),
            initializer=_be_worker,
        ) as pool:
            yield from pool.map(function, batch)


def _be_worker() -> None:
    _end_with_parent()
    enter_worker(None)
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    sys.stdout = nowhere
    sys.stderr = nowhere


def _end_with_parent() -> None:
    """End this process when its parent ends; it would keep the pipes of stdout and stderr open."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


SECONDS_BETWEEN_LOG_LINES = 10.0  # shorter work writes none
CLEAR_ROW = "\r\x1b[K"  # of a terminal


class Progress:
    """Progress of a long work on stderr, round by round, as `report_progress` reports it.

    A terminal shows a line that changes, and is removed at the end. Elsewhere, a line
    is written every ten seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_terminal = sys.stderr.isatty()
        self._start = self._written = monotonic()

    def __enter__(self) -> "Progress":
        REPORT.set(self.advance)
        return self

    def __exit__(self, *_: object) -> None:
        REPORT.set(None)
        if self._is_terminal:
            print(CLEAR_ROW, end="", file=sys.stderr, flush=True)

    def start_round(self, title: str, total: float, *, is_steady: bool) -> None:
        """Begin a round.

        Args:
            total: Amount of work of the round.
            is_steady: Whether equal amounts of work take about equally long, and no
                other round follows. Only then is the remaining time known.
        """
        self._title = title
        self._total = total
        self._is_steady = is_steady
        self._round_start = monotonic()
        self._done = 0.0

    def advance(self, amount: float, last: str) -> None:
        """Add to the amount of work done, and show what was done last; from any thread."""
        with self._lock:
            now = monotonic()
            self._done = self._done + amount
            if now - self._written < (
                0.1 if self._is_terminal else SECONDS_BETWEEN_LOG_LINES
            ):
                return
            self._written = now
            share = self._done / self._total
            remaining = (now - self._round_start) * (1 / share - 1)
            more = f", about {remaining:.0f} s left" if self._is_steady else ""
            line = (
                f"{now - self._start:.0f} s; {self._title}: {share:.0%}{more}; {last}"
            )
            if self._is_terminal:
                line = CLEAR_ROW + line[: shutil.get_terminal_size().columns - 1]
            end = "" if self._is_terminal else "\n"
            print(line, end=end, file=sys.stderr, flush=True)
