"""An ordered map on all cores of this machine or of a Ray cluster; neither changes a result.

On one machine, the items are worked on in threads: most of the time is spent in Arrow, NumPy and
TensorFlow, which let other threads work. See `cluster` for Ray.
"""

import multiprocessing
import os
import shutil
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from contextvars import ContextVar
from functools import partial
from itertools import chain, islice
from time import monotonic
from typing import Any, TypeVar

from keras_tabular.core import cluster
from keras_tabular.core.cluster import IN_WORKER, uses_ray, workers_from_environment
from keras_tabular.core.process import core_count

Call = Future[Any] | cluster.RemoteCall
Report = Callable[..., None] | None
Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_CONCURRENT = 8  # items in threads; each may be a part of a table in memory
SUBMITTED_PER_WORKER = 2  # so that a worker finds its next item at once
SECONDS_BETWEEN_LOG_LINES = 10.0  # shorter work writes none
PROGRESS: ContextVar[Report] = ContextVar("PROGRESS", default=None)


def worker_count() -> int:
    """Return how many items are worked on at the same time; within one of several items, 1.

    This is `TABULAR_WORKERS`, or the number of cores of the cluster or of this machine.

    Raises:
        UserError: `TABULAR_WORKERS` is not a number above 0, or the cluster cannot be reached.
    """
    if IN_WORKER.get():
        return 1
    return workers_from_environment() or (cluster.core_count() if uses_ray() else core_count())


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    max_concurrent: int = MAX_CONCURRENT,
    report: Report = None,
    stop: Callable[[], None] = lambda: None,
    use_threads: bool = True,
) -> Iterator[Result]:
    """Yield the results for the items in the order of the items; few results wait at a time.

    An item is taken when there is a worker for it. An error of the items is raised at once, and one
    of the function in place of its result; no further item is taken. A single item is worked on in
    this thread, and a map within it may use all workers. Within one of several items, a map works
    on its items one after the other.

    Args:
        function: Takes an item. On Ray, the function, the items and the results are pickled, and
            the call is repeated if its process is lost.
        max_concurrent: Maximum number of items at the same time in threads, which share the memory.
        report: Is called with the arguments of `report_progress`; on Ray when the result for the
            item arrives.
        stop: Is called if the results are not all taken, so that running threads may end early.
        use_threads: Whether the function may run in several threads. If not, and without Ray, the
            items are worked on one after the other, and each may use all workers.
    """
    remaining = iter(items)
    one_by_one = IN_WORKER.get() or not (use_threads or uses_ray())
    first = [] if one_by_one else list(islice(remaining, 2))
    items = chain(first, remaining)
    if len(first) < 2:
        previous = PROGRESS.set(report or PROGRESS.get())
        try:
            yield from map(function, items)
        finally:
            PROGRESS.reset(previous)
    elif uses_ray():
        count = worker_count()
        remote = cluster.remote_function(partial(_run_and_record, function), count)
        for result, reports in _results_in_order(remote, items, count, stop):
            if report:
                for arguments in reports:
                    report(*arguments)
            yield result
    else:
        count = min(worker_count(), max_concurrent)
        with ThreadPoolExecutor(count) as pool:
            submit = partial(pool.submit, partial(_run_in_worker, function, report))
            yield from _results_in_order(submit, items, count, stop)


def _run_in_worker(function: Callable[[Item], Result], report: Report, item: Item) -> Result:
    IN_WORKER.set(True)
    PROGRESS.set(report)
    return function(item)


def _run_and_record(function: Callable[[Item], Result], item: Item) -> tuple[Result, list[Any]]:
    reports: list[Any] = []
    return _run_in_worker(function, lambda *arguments: reports.append(arguments), item), reports


def _results_in_order(
    submit: Callable[[Any], Call], items: Iterable[Any], count: int, stop: Callable[[], None]
) -> Iterator[Any]:
    """Submit the items, a few at a time, and yield their results in order."""
    calls = deque[Call]()
    try:
        for item in items:
            calls.append(submit(item))
            if len(calls) >= SUBMITTED_PER_WORKER * count:
                yield calls[0].result()
                calls.popleft()
        while calls:
            yield calls[0].result()
            calls.popleft()
    except Exception:  # as with one worker, the results and errors of earlier items come first
        while calls:
            yield calls[0].result()
            calls.popleft()
        raise
    finally:
        if calls:
            stop()
        for call in calls:
            call.cancel()


def report_progress(*arguments: Any) -> None:
    """Call the `report` of the map that works on this item, if it has one."""
    if report := PROGRESS.get():
        report(*arguments)


class Progress(AbstractContextManager["Progress"]):
    """Progress of a long work on stderr, round by round.

    A terminal shows a line that changes, and is removed at the end. Elsewhere, a line is written
    every ten seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_terminal = sys.stderr.isatty()
        self._start = self._written = monotonic()

    def start_round(self, title: str, total: float, parts: int) -> None:
        """Begin a round.

        Args:
            total: Amount of work of the round.
            parts: Number of consecutive parts of the round that take about equally long; 1 if this
                is not known.
        """
        self._title, self._total, self._part = title, total, total / parts
        self._points = [(monotonic(), 0.0)]  # times, and the amount of work done until then

    def advance(self, amount: float, last: str) -> None:
        """Add to the amount of work done, and show what was done last; from any thread."""
        with self._lock:
            now = monotonic()
            self._points.append((now, self._points[-1][1] + amount))
            pause = 0.1 if self._is_terminal else SECONDS_BETWEEN_LOG_LINES
            if now - self._written >= pause:
                self._written = now
                share, remaining = self._points[-1][1] / self._total, self._remaining_seconds()
                more = "" if remaining is None else f", about {remaining:.0f} s left"
                line = f"{now - self._start:.0f} s; {self._title}: {share:.0%}{more}; {last}"
                if self._is_terminal:
                    self.__exit__()
                    line = line[: shutil.get_terminal_size().columns - 1]  # a row of the terminal
                end = "" if self._is_terminal else "\n"
                print(line, end=end, file=sys.stderr, flush=True)

    def _remaining_seconds(self) -> float | None:
        """Estimate the remaining time of the round from the time of its last part.

        It is not known before the second part: in the first one, functions are compiled.
        """
        now, done = self._points[-1]
        before = [point for point in self._points if point[1] <= done - self._part]
        if not before or before[-1][1] < self._part:
            return None
        time, done_before = before[-1]
        return (self._total - done) * (now - time) / (done - done_before)

    def __exit__(self, *_: object) -> None:
        if self._is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def run_in_background(function: Callable[..., Result], *args: Any) -> Callable[[], Result]:
    """Call a function in another process, and return a function that waits for its result.

    This is for work in Python itself, such as imports, which threads cannot do at the same time. On
    one core, or with a cluster, the function is called when its result is asked for.

    Args:
        function: The function, its arguments, its result and its exceptions are pickled.
    """
    if worker_count() < 2 or uses_ray():
        return partial(function, *args)
    process = ProcessPoolExecutor(1, initializer=_end_with_parent)
    future = process.submit(function, *args)
    process.shutdown(wait=False)  # when the function has ended
    return future.result


def _end_with_parent() -> None:
    """End this process when its parent ends; it would keep the pipes of stdout and stderr open."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
