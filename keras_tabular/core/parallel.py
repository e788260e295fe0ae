"""An ordered map on all cores, of this machine or a Ray cluster, with the same results.

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
from itertools import chain, count, islice
from pathlib import Path
from pkgutil import resolve_name
from time import monotonic
from typing import Any, TypeVar

from keras_tabular.core.process import core_count
from keras_tabular.core.workers import (
    IS_WORKER,
    PROGRESS_CALLBACK,
    cluster_cores,
    enter_worker,
    remote_function,
    uses_ray,
    workers_from_environment,
)

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_CONCURRENT = 8  # items in threads; each may be a part of a table in memory
ITEMS_PER_PROCESS = 10  # of `map_in_processes`; a process keeps what XLA compiles
CALLS_PER_PROCESS = 5  # of `call_in_new_process`
MAX_IDLE_SECONDS = 60  # until a process that waits for a call ends
SUBMITTED_PER_WORKER = 2  # items, so that a worker finds its next one at once
SECONDS_BETWEEN_UPDATES = 0.1  # of the line in a terminal
SECONDS_BETWEEN_LOG_LINES = 10.0  # shorter work writes none
CLEAR_ROW = "\r\x1b[K"  # of a terminal
# The process of `call_in_new_process` that waits for a call, by its origin. A process
# that is no longer here ends by itself.
IDLE_PROCESS: dict[tuple[Any, ...], Any] = {}
CALLS = count()  # of `call_in_new_process`


def worker_count() -> int:
    """Return how many items are worked on at the same time; 1 in a worker.

    This is `TABULAR_WORKERS`, or the number of cores of the cluster or of this machine.

    Raises:
        UserError: `TABULAR_WORKERS` is not a number above 0, or the cluster cannot be
            reached.
    """
    if IS_WORKER.get():
        return 1
    if workers := workers_from_environment():
        return workers
    return cluster_cores() if uses_ray() else core_count()


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    max_concurrent: int = MAX_CONCURRENT,
    cancelled: threading.Event | None = None,
) -> Iterator[Result]:
    """Yield the results for the items in their order; few results wait at a time.

    Two items for each worker are taken first, and then one after each result. An error
    of the items or of the function is raised after the results of the earlier items. A
    single item is worked on in this thread, and a map within it may use all workers.
    Within one of several items, a map works on its items one after the other.

    Args:
        function: Takes an item. On Ray, see `workers.remote_function`.
        max_concurrent: Maximum number of items at the same time in threads, which share
            the memory. If it is 1, and without Ray, the items are worked on one after
            the other.
        cancelled: Is set if the results are not all taken, so that running calls may
            end early. On Ray, this map ends them itself.
    """
    if IS_WORKER.get() or (max_concurrent == 1 and not uses_ray()):
        yield from map(function, items)
        return
    remaining = iter(items)
    first_two = list(islice(remaining, 2))
    if len(first_two) < 2:
        yield from map(function, first_two)
        return
    n_workers = worker_count()
    cancelled = cancelled or threading.Event()
    if uses_ray():
        function = remote_function(function, cancelled)
    else:
        n_workers = min(n_workers, max_concurrent)
    pool = ThreadPoolExecutor(
        n_workers,
        initializer=enter_worker,
        initargs=(PROGRESS_CALLBACK.get(),),
    )
    submitted = (pool.submit(function, item) for item in chain(first_two, remaining))
    calls = deque[Future[Result]]()
    try:
        calls.extend(islice(submitted, SUBMITTED_PER_WORKER * n_workers))
        while calls:
            yield calls[0].result()
            calls.popleft()
            calls.extend(islice(submitted, 1))
    except Exception:
        # An error of the items comes after the results and errors of earlier items.
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
    """Call a function in another process; return a function that waits for its result.

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
    """Yield the results for the items in their order, from processes of one thread.

    This is for work that changes the state of its process, such as the current folder.
    What it prints is not shown. With a cluster, the processes are those of
    `ordered_map`.

    Args:
        function: Takes an item. The function, the items and the results are pickled.
    """
    if uses_ray():
        yield from ordered_map(function, items)
        return
    batch_size = worker_count() * ITEMS_PER_PROCESS
    for start in range(0, len(items), batch_size):
        batch = items[start : start + batch_size]
        n_processes = min(worker_count(), len(batch))
        with ProcessPoolExecutor(n_processes, initializer=_be_worker) as pool:
            yield from pool.map(function, batch)


def call_in_new_process(function: str, *args: Any, is_reusable: bool = True) -> Any:
    """Call a function in a process in which no other code has imported or set anything.

    The process has the environment and the current folder of this one. It then waits
    for another call for a while, since importing TensorFlow takes longer than a small
    training. Calls from several threads have a process each.

    The reusable executor of loky would be the one of joblib as well, which fails if it
    meets the process of another caller there.

    Args:
        function: Name of the function, such as `package.module:function`. Its
            arguments, result and exceptions are pickled.
        is_reusable: Whether the process may answer other calls afterwards.
    """
    from joblib.externals.loky import ProcessPoolExecutor

    origin = (
        os.getpid(),  # a fork of this process does not have its processes
        Path.cwd(),
        next(CALLS) // CALLS_PER_PROCESS,
        is_reusable or object(),
        *sys.path,
        *os.environ.items(),
    )
    process = IDLE_PROCESS.pop(origin, None)
    if not process:
        IDLE_PROCESS.clear()
        one_blas_thread = {"OPENBLAS_NUM_THREADS": "1"}
        process = ProcessPoolExecutor(1, timeout=MAX_IDLE_SECONDS, env=one_blas_thread)
    try:
        result = process.submit(_call_by_name, function, args).result()
    except BaseException:  # also if the caller is interrupted
        process.shutdown(kill_workers=True)
        raise
    IDLE_PROCESS[origin] = process
    return result


def _call_by_name(name: str, args: tuple[Any, ...]) -> Any:
    return resolve_name(name)(*args)


def _be_worker() -> None:
    _end_with_parent()
    enter_worker(None)
    nowhere = Path(os.devnull).open("w")  # noqa: SIM115 - until the process ends
    sys.stdout = nowhere
    sys.stderr = nowhere


def _end_with_parent() -> None:
    """End this process when its parent ends; it would keep the parent's pipes open."""

    def wait() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Progress:
    """Progress of a long work on stderr, round by round, from `report_progress`.

    A terminal shows a line that changes, and is removed at the end. Elsewhere, a line
    is written every ten seconds.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_terminal = sys.stderr.isatty()
        self._start = monotonic()
        self._last_written = self._start

    def __enter__(self) -> "Progress":
        PROGRESS_CALLBACK.set(self.advance)
        return self

    def __exit__(self, *_: object) -> None:
        PROGRESS_CALLBACK.set(None)
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
        """Add to the work done, from any thread, and show what was done last."""
        with self._lock:
            now = monotonic()
            self._done += amount
            pause = (
                SECONDS_BETWEEN_UPDATES
                if self._is_terminal
                else SECONDS_BETWEEN_LOG_LINES
            )
            if now - self._last_written < pause:
                return
            self._last_written = now
            share = self._done / self._total
            status = f"{now - self._start:.0f} s; {self._title}: {share:.0%}"
            if self._is_steady:
                remaining = (now - self._round_start) * (1 / share - 1)
                status += f", about {remaining:.0f} s left"
            text = f"{status}; {last}\n"
            if self._is_terminal:
                width = shutil.get_terminal_size().columns
                text = CLEAR_ROW + text.rstrip()[: width - 1]
            print(text, end="", file=sys.stderr, flush=True)
