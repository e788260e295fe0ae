"""An ordered map on all cores of this process; how many there are changes no result.

What is mapped spends its time in Arrow and NumPy, which let other threads work.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tabular.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
WORKERS = "TABULAR_WORKERS"  # of the environment
MOST = 8  # items at a time, each of which may be a part of a table in memory


def workers() -> int:
    """How many items are worked on at a time: `TABULAR_WORKERS`, or as many as there are cores.

    Raises:
        UserError: the variable is no number above 0.
    """
    said = os.environ.get(WORKERS)
    if said is None:
        return len(os.sched_getaffinity(0))
    if not said.isascii() or not said.isdigit() or not 0 < int(said[:9]) <= 1024:
        raise UserError(f"{WORKERS} in the environment: found {said!r}; expected 1 to 1024")
    return int(said)


def ordered_map(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """The results for the items, in their order; few of them wait at a time.

    An item is taken when there is a worker for it. An error comes where its result would; nothing
    is taken after it.
    """
    count = min(workers(), MOST)
    waiting: deque[Future[Result]] = deque()
    threads = ThreadPoolExecutor(count)
    try:
        for item in items:
            waiting.append(threads.submit(function, item))
            if len(waiting) >= max(count, 2):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        threads.shutdown(cancel_futures=True)
