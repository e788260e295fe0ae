"""An ordered map on all cores of this machine, or of a Ray cluster; neither changes a result.

Here it is threads: what is mapped spends its time in Arrow, NumPy and TensorFlow, which let other
threads work. Where `RAY_ADDRESS` is set, as Ray itself reads it, it is processes of that cluster,
one core each, which see the project's folder under the same name and have the same packages.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial
from itertools import chain, islice
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, TypeVar

from tabular.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
WORKERS, RAY_ADDRESS = "TABULAR_WORKERS", "RAY_ADDRESS"  # of the environment
MOST = 8  # items at a time, each of which may be a part of a table in memory
RETRIES = 5  # of an item whose process or machine was lost
PACKAGES = ("keras", "numpy", "pyarrow", "tensorflow")
INSIDE: ContextVar[bool] = ContextVar("INSIDE", default=False)  # what a map works on


def workers() -> int:
    """How many items are worked on at a time: `TABULAR_WORKERS`, or as many as there are cores.

    One within an item; cores are those of the cluster where there is one.

    Raises:
        UserError: the variable is no number above 0, or there is no such cluster.
    """
    if INSIDE.get():
        return 1
    said = os.environ.get(WORKERS)
    if said is None:
        return _ray_cores() if RAY_ADDRESS in os.environ else len(os.sched_getaffinity(0))
    if not said.isascii() or not said.isdigit() or not 0 < int(said[:9]) <= 1024:
        raise UserError(f"{WORKERS} in the environment: found {said!r}; expected 1 to 1024")
    return int(said)


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], most: int = MOST
) -> Iterator[Result]:
    """The results for the items, in their order; few of them wait at a time.

    An item is taken when there is a worker for it. An error comes where its result would; nothing
    is taken after it. A single item is worked on right here, and what is mapped within it may use
    all workers; within one of several, a map does one after the other.

    Args:
        function: on Ray it is pickled, as are items and results; an item whose process was lost is
            worked on again.
        most: items at a time.
    """
    if INSIDE.get():
        yield from map(function, items)
        return
    taken = iter(items)
    first = list(islice(taken, 2))
    if len(first) < 2:
        yield from map(function, first)
        return
    maps = _ray_map if RAY_ADDRESS in os.environ else _thread_map
    yield from maps(partial(_within, function), chain(first, taken), min(workers(), most))


def _within(function: Callable[[Item], Result], item: Item) -> Result:
    INSIDE.set(True)
    return function(item)


def _thread_map(
    function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
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


def _ray_map(
    function: Callable[[Item], Result], items: Iterable[Item], count: int
) -> Iterator[Result]:
    ray = _started_ray()
    project, packages, marker = str(Path.cwd()), _packages(), _marker().name

    # Pickled by its content, so that it also runs where the project cannot be found.
    def work(packed: bytes) -> Any:
        import os
        import sys
        from importlib.metadata import version

        from ray import cloudpickle

        if not os.path.exists(marker):  # noqa: PTH110
            raise OSError(
                f"a machine of the Ray cluster, {os.uname().nodename}, does not see {project} as "
                "this one does; put the project on a file system that all of them mount there"
            )
        found = {name: version(name) for name in packages}
        if found != packages:
            raise OSError(
                f"a machine of the Ray cluster, {os.uname().nodename}, has {found}; expected "
                f"{packages}: run `ray start` there from the same environment"
            )
        os.chdir(project)
        if project not in sys.path:
            sys.path.insert(0, project)
        task, item = cloudpickle.loads(packed)
        return task(item)

    task = ray.remote(work).options(max_retries=RETRIES)
    waiting: deque[Any] = deque()
    try:
        for item in items:
            waiting.append(task.remote(ray.cloudpickle.dumps((function, item))))
            if len(waiting) >= max(count, 2):
                yield _result(ray, waiting.popleft())
        while waiting:
            yield _result(ray, waiting.popleft())
    finally:
        for reference in waiting:
            with suppress(Exception):
                ray.cancel(reference, force=True)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, UserError | OSError) else error from None
    except ray.exceptions.RayError as error:
        raise UserError(f"Ray: {error}") from None


@cache
def _started_ray() -> Any:
    """Ray, connected to the cluster that `RAY_ADDRESS` names; "local" starts one here.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    address = os.environ[RAY_ADDRESS]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            f"{RAY_ADDRESS} is set in the environment, and Ray is not installed; run "
            "`make .venv/installed-ray`, or unset it"
        ) from None
    said = os.environ.get(WORKERS)
    here = {"num_cpus": workers() if said else None, "include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="error",
            **(here if address == "local" else {}),
        )
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"{RAY_ADDRESS} in the environment: {address}: {error}") from None
    for number, handler in handlers.items():  # Ray has its own
        signal.signal(number, handler)
    return ray


def _ray_cores() -> int:
    return max(int(_started_ray().cluster_resources().get("CPU", 1)), 1)


@cache
def _packages() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


@cache
def _marker() -> Any:
    """A file in the project's folder by which a worker knows that it sees the same one."""
    return NamedTemporaryFile(prefix=".ray-", suffix=".partial", dir=Path.cwd())
