"""An ordered map on all cores of this machine, or of a Ray cluster; neither changes a result.

Here it is threads: what is mapped spends its time in Arrow, NumPy and TensorFlow, which let other
threads work. See `cluster` for the other.
"""

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextvars import ContextVar
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

from tqdm import tqdm

from tabular.core import cluster
from tabular.core.cluster import IN_WORKER, asked_workers, on_ray
from tabular.core.process import cores

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_CONCURRENT = 8  # items at a time, each of which may be a part of a table in memory
QUEUE_FACTOR = 2  # times as many are given out, so that a worker finds the next one
PROGRESS: ContextVar[Callable[..., None] | None] = ContextVar("PROGRESS", default=None)


def workers() -> int:
    """How many items are worked on at a time: `TABULAR_WORKERS`, or as many as there are cores.

    One within an item; cores are those of the cluster where there is one.

    Raises:
        UserError: the variable is no number above 0, or there is no such cluster.
    """
    if IN_WORKER.get():
        return 1
    return asked_workers() or (cluster.cores() if on_ray() else cores())


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    most: int = MAX_CONCURRENT,
    report: Callable[..., None] | None = None,
    stop: Callable[[], None] = lambda: None,
    threads: bool = True,
) -> Iterator[Result]:
    """The results for the items, in their order; few of them wait at a time.

    An item is taken when there is a worker for it. An error comes where its result would; nothing
    is taken after it. A single item is worked on right here, and what is mapped within it may use
    all workers; within one of several, a map does one after the other.

    Args:
        function: on Ray it is pickled, as are items and results; an item whose process was lost is
            worked on again.
        most: items at a time in threads, which share a memory.
        report: is called with what the function says with `report_progress`; on Ray when the
            result for the item comes.
        stop: is called when the results are not all taken, so that what runs in threads may end.
        threads: whether the function may run in several of them; if not, without Ray it is one
            item after the other, each of which may use all workers.
    """
    remaining = iter(items)
    first = [] if IN_WORKER.get() or not (threads or on_ray()) else list(islice(remaining, 2))
    if len(first) < 2:
        before = PROGRESS.set(report or PROGRESS.get())
        try:
            yield from map(function, chain(first, remaining))
        finally:
            PROGRESS.reset(before)
        return
    if on_ray():
        yield from _ray_map(function, chain(first, remaining), workers(), report)
    else:
        count = min(workers(), most)
        yield from _thread_map(function, chain(first, remaining), count, report, stop)


def begin(function: Callable[..., Result], *args: Any) -> Callable[[], Result]:
    """Call a function in another process, while this one goes on; its result when it is asked for.

    For Python's own work, such as imports, of which threads do one after the other. On one core, or
    where there is a cluster, the function is called when its result is asked for.

    Args:
        function: its arguments, its result and what it raises are pickled.
    """
    if workers() < 2 or on_ray():
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
    """Call the `report` of the map that works on this; nothing where there is none."""
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


def _thread_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    count: int,
    report: Callable[..., None] | None,
    stop: Callable[[], None],
) -> Iterator[Result]:
    threads = ThreadPoolExecutor(count)

    def submit(item: Item) -> Future[Result]:
        return threads.submit(_run_in_worker, function, report, item)

    def close(waiting: deque[Future[Result]]) -> None:
        if waiting:
            stop()
        threads.shutdown(cancel_futures=True)

    yield from _in_order(submit, Future.result, close, items, QUEUE_FACTOR * count)


def _ray_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    count: int,
    report: Callable[..., None] | None,
) -> Iterator[Result]:
    name = getattr(function, "func", function).__name__
    tasks = cluster.Tasks(partial(_run_and_record, function), count, name)
    ahead = QUEUE_FACTOR * count
    for result, reports in _in_order(tasks.submit, tasks.result, tasks.cancel, items, ahead):
        if report:
            for words in reports:
                report(*words)
        yield result


def _in_order(
    submit: Callable[[Item], Any],
    result: Callable[[Any], Any],
    close: Callable[[deque[Any]], None],
    items: Iterable[Item],
    ahead: int,
) -> Iterator[Any]:
    """Submit items and yield their results in order, with at most `ahead` submitted at a time.

    Args:
        close: Is called at the end with what was submitted and has no result yet.
    """
    waiting: deque[Any] = deque()
    failures: list[Exception] = []
    try:
        for item in _until_failure(items, failures):
            waiting.append(submit(item))
            if len(waiting) >= ahead:
                yield result(waiting[0])
                waiting.popleft()
        while waiting:
            yield result(waiting[0])
            waiting.popleft()
        if failures:
            raise failures[0]
    finally:
        close(waiting)


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """The items; what ends them waits in `failures` until the results before it are taken."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)


SECONDS = 10.0  # between two lines of a log; a shorter work writes none


class Bar:
    """Shows on stderr how much is done, what was done last, and the time left.

    Args:
        total: Amount of work.
    """

    def __init__(self, total: float) -> None:
        pause = 0.1 if sys.stderr.isatty() else SECONDS
        self._bar = tqdm(
            total=total,
            leave=False,
            mininterval=pause,
            delay=pause,
            bar_format="{percentage:3.0f}% |{bar}| {elapsed} of about {remaining} more{postfix}",
        )

    def advance(self, by: float, last: str) -> None:
        """Show that so much more is done, and what was `last`; from any thread."""
        self._bar.set_postfix_str(last, refresh=False)
        self._bar.update(by)

    def close(self) -> None:
        """Remove the bar."""
        self._bar.close()
