"""An ordered map on all cores of this machine, or of a Ray cluster; neither changes a result.

Here it is threads: what is mapped spends its time in Arrow, NumPy and TensorFlow, which let other
threads work. See `cluster` for the other.
"""

import sys
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from tqdm import tqdm

from keras_tabular.core import cluster
from keras_tabular.core.cluster import IN_WORKER, uses_ray, workers_from_environment
from keras_tabular.core.process import core_count

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_CONCURRENT = 8  # items at a time, each of which may be a part of a table in memory
QUEUE_FACTOR = 2  # times as many are given out, so that a worker finds the next one
PROGRESS: ContextVar[Callable[..., None] | None] = ContextVar("PROGRESS", default=None)


def worker_count() -> int:
    """Return how many items are worked on at a time: `TABULAR_WORKERS`, or the number of cores.

    It is one within an item. If there is a cluster, its cores count.

    Raises:
        UserError: The variable is no number above 0, or there is no such cluster.
    """
    if IN_WORKER.get():
        return 1
    return workers_from_environment() or (cluster.core_count() if uses_ray() else core_count())


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    most: int = MAX_CONCURRENT,
    report: Callable[..., None] | None = None,
    stop: Callable[[], None] = lambda: None,
    threads: bool = True,
) -> Iterator[Result]:
    """Yield the results for the items, in their order; few of them wait at a time.

    An item is taken when there is a worker for it. An error is raised where its result would be
    yielded, and no item is taken after it. A single item is worked on in this thread, and a map
    within it may use all workers. Within one of several items, a map works on one after the other.

    Args:
        function: Is pickled on Ray, as are items and results. An item whose process was lost is
            worked on again.
        most: Maximum number of items at a time in threads, which share a memory.
        report: Is called with the arguments of `report_progress`; on Ray when the result for the
            item comes.
        stop: Is called if not all results are taken, so that the running threads may end.
        threads: Whether the function may run in several threads. If not, then without Ray one item
            follows the other, and each may use all workers.
    """
    remaining = iter(items)
    first = [] if IN_WORKER.get() or not (threads or uses_ray()) else list(islice(remaining, 2))
    if len(first) < 2:
        before = PROGRESS.set(report or PROGRESS.get())
        try:
            yield from map(function, chain(first, remaining))
        finally:
            PROGRESS.reset(before)
        return
    items = chain(first, remaining)
    if not uses_ray():
        pool = _Threads(function, min(worker_count(), most), report, stop)
        yield from _in_order(pool, items)
        return
    name = getattr(function, "func", function).__name__
    tasks = cluster.Tasks(partial(_run_and_record, function), worker_count(), name)
    for result, reports in _in_order(tasks, items):
        if report:
            for words in reports:
                report(*words)
        yield result


def begin(function: Callable[..., Result], *args: Any) -> Callable[[], Result]:
    """Call a function in another process while this one goes on, and return a getter of its result.

    This is for work of Python itself, such as imports, which threads do one after the other. On one
    core, or with a cluster, the function is called when its result is asked for.

    Args:
        function: Its arguments, its result and its exceptions are pickled.
    """
    if worker_count() < 2 or uses_ray():
        return partial(function, *args)
    process = ProcessPoolExecutor(1)
    future = process.submit(function, *args)
    process.shutdown(wait=False)  # when the function has ended

    def result() -> Result:
        try:
            return future.result()
        except BrokenProcessPool:
            raise MemoryError(f"{function.__name__} ended without a result") from None

    return result


def report_progress(*words: Any) -> None:
    """Call the `report` of the map that works on this item, if there is one."""
    if report := PROGRESS.get():
        report(*words)


def _run_in_worker(
    function: Callable[[Item], Result], report: Callable[..., None] | None, item: Item
) -> Result:
    IN_WORKER.set(True)
    PROGRESS.set(report)
    return function(item)


def _run_and_record(function: Callable[[Item], Result], item: Item) -> tuple[Result, list[Any]]:
    reports: list[Any] = []
    return _run_in_worker(function, lambda *words: reports.append(words), item), reports


class _Threads:
    """Calls of one function by threads, with the interface of `cluster.Tasks`."""

    def __init__(
        self, function: Callable[[Any], Any], count: int, report: Any, stop: Callable[[], None]
    ) -> None:
        self.count, self._threads = count, ThreadPoolExecutor(count)
        self._call, self._stop = partial(_run_in_worker, function, report), stop

    def submit(self, item: Any) -> Future[Any]:
        return self._threads.submit(self._call, item)

    def result(self, future: Future[Any]) -> Any:
        return future.result()

    def close(self, waiting: Collection[Future[Any]]) -> None:
        if waiting:
            self._stop()
        self._threads.shutdown(cancel_futures=True)


def _in_order(pool: _Threads | cluster.Tasks, items: Iterable[Any]) -> Iterator[Any]:
    """Submit items and yield their results in order, with a few submitted at a time."""
    waiting: deque[Any] = deque()
    failures: list[Exception] = []
    try:
        for item in _until_failure(items, failures):
            waiting.append(pool.submit(item))
            if len(waiting) >= QUEUE_FACTOR * pool.count:
                yield pool.result(waiting[0])
                waiting.popleft()
        while waiting:
            yield pool.result(waiting[0])
            waiting.popleft()
        if failures:
            raise failures[0]
    finally:
        pool.close(waiting)


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """Yield the items; an error waits in `failures` until the results before it are taken."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)


SECONDS = 10.0  # between two lines of a log; a shorter work writes none


class ProgressBar(tqdm):
    """ProgressBar on stderr with the amount of work done, what was done last, and the time left.

    Args:
        total: Amount of work.
    """

    def __init__(self, total: float) -> None:
        pause = 0.1 if sys.stderr.isatty() else SECONDS
        super().__init__(
            total=total,
            leave=False,
            mininterval=pause,
            delay=pause,
            bar_format="{percentage:3.0f}% |{bar}| {elapsed} of about {remaining} more{postfix}",
        )

    def advance(self, by: float, last: str) -> None:
        """Add to the amount of work done, and show what was done last; from any thread."""
        self.set_postfix_str(last, refresh=False)
        self.update(by)
