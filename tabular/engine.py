"""An ordered map on all cores of this machine, or of a Ray cluster; neither changes a result.

Here it is threads: what is mapped spends its time in Arrow, NumPy and TensorFlow, which let other
threads work. Where `RAY_ADDRESS` is set, as Ray itself reads it, it is processes of that cluster,
one core each, which see the project's folder under the same name and have the same packages.
"""

import os
import re
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
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
AHEAD = 2  # times as many are given out, so that a worker finds the next one
RETRIES = 5  # of an item whose process or machine was lost
TIMEOUT = 10  # seconds until a cluster answers
CALLS = 40  # of a process of Ray
POLL = 0.5  # seconds between two looks at what workers say
PACKAGES = ("keras", "numpy", "pandas", "pyarrow", "scikit-learn", "tensorflow")
INSIDE: ContextVar[bool] = ContextVar("INSIDE", default=False)  # what a map works on
SAY: ContextVar[Callable[..., None] | None] = ContextVar("SAY", default=None)


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
        return _ray_cores() if on_ray() else _cores()
    if not said.isascii() or not said.isdigit() or not 0 < int(said[:9]) <= 1024:
        raise UserError(f"{WORKERS} in the environment: found {said!r}; expected 1 to 1024")
    return int(said)


def _cores() -> int:
    """Those of this machine that the process may use; macOS does not say which, so all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_ray() -> bool:
    """Whether maps are worked on by a Ray cluster."""
    return bool(os.environ.get(RAY_ADDRESS))


def ordered_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    most: int = MOST,
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
        report: is called with what the function says with `say`.
        stop: is called when the results are not all taken, so that what runs in threads may end.
        threads: whether the function may run in several of them; if not, without Ray it is one
            item after the other, each of which may use all workers.
    """
    taken = iter(items)
    first = [] if INSIDE.get() or not (threads or on_ray()) else list(islice(taken, 2))
    if len(first) < 2:
        before = SAY.set(report or SAY.get())
        try:
            yield from map(function, chain(first, taken))
        finally:
            SAY.reset(before)
        return
    if on_ray():
        yield from _ray_map(function, chain(first, taken), workers(), report)
    else:
        count = min(workers(), most)
        yield from _thread_map(function, chain(first, taken), count, report, stop)


def say(*words: Any) -> None:
    """Call the `report` of the map that works on this; nothing where there is none."""
    if report := SAY.get():
        report(*words)


def _within(
    function: Callable[[Item], Result], report: Callable[..., None] | None, item: Item
) -> Result:
    INSIDE.set(True)
    SAY.set(report)
    return function(item)


def _thread_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    count: int,
    report: Callable[..., None] | None,
    stop: Callable[[], None],
) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    failures: list[Exception] = []
    threads = ThreadPoolExecutor(count)
    try:
        for item in _until_failure(items, failures):
            waiting.append(threads.submit(_within, function, report, item))
            if len(waiting) >= AHEAD * count:
                yield waiting[0].result()
                waiting.popleft()
        while waiting:
            yield waiting[0].result()
            waiting.popleft()
        if failures:
            raise failures[0]
    finally:
        if waiting:
            stop()
        threads.shutdown(cancel_futures=True)


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """The items; what ends them waits in `failures` until the results before it are taken."""
    try:
        yield from items
    except Exception as error:
        failures.append(error)


def _ray_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    count: int,
    report: Callable[..., None] | None,
) -> Iterator[Result]:
    ray = _started_ray()
    project, packages, marker = str(Path.cwd()), _packages(), _marker().name
    code = str(Path(__file__).parents[1])

    # These two are pickled by their content, so that they also run where no code can be found.
    class Mail:
        """What workers say, until the caller of the map takes it."""

        def __init__(self) -> None:
            self._words: list[tuple[Any, ...]] = []

        def put(self, *words: Any) -> None:
            self._words.append(words)

        def take(self) -> list[tuple[Any, ...]]:
            words, self._words = self._words, []
            return words

    def work(function: bytes, item: bytes) -> Any:
        import os
        import sys
        from importlib.metadata import PackageNotFoundError, version

        from ray import cloudpickle

        if not os.path.exists(marker):  # noqa: PTH110
            raise OSError(
                f"a machine of the Ray cluster, {os.uname().nodename}, does not see {project} as "
                "this one does; put the project on a file system that all of them mount there"
            )
        found = {}
        for name in packages:
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                found[name] = "none"
        if found != packages:
            raise OSError(
                f"a machine of the Ray cluster, {os.uname().nodename}, has {found}; expected "
                f"{packages}: run `ray start` there from the same environment"
            )
        os.chdir(project)
        if code not in sys.path:
            sys.path.insert(0, code)
        from tabular.engine import INSIDE

        INSIDE.set(True)  # also while the task is made again here
        return cloudpickle.loads(function)(cloudpickle.loads(item))

    here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
        ray.get_runtime_context().get_node_id(), soft=True
    )
    mail = (
        ray.remote(Mail).options(num_cpus=0, scheduling_strategy=here).remote() if report else None
    )
    # What XLA compiles stays in memory until its process ends.
    name = getattr(function, "func", function).__name__  # as Ray's lists show it
    task = ray.remote(max_calls=CALLS)(work).options(max_retries=RETRIES, name=f"tabular.{name}")
    tell = partial(_send, mail) if mail else None
    dumps = ray.cloudpickle.dumps
    packed = ray.put(dumps(partial(_within, function, tell)))
    waiting: deque[Any] = deque()
    failures: list[Exception] = []

    def unfinished(some: Sequence[Any]) -> int:
        """Report what was said, and wait until one of some tasks ends, but not for long."""
        if mail:
            with suppress(ray.exceptions.RayError):  # it is for the eye alone
                for words in ray.get(mail.take.remote()):
                    report(*words)  # type: ignore[misc]
        return len(ray.wait(some, num_returns=1, timeout=POLL)[1])

    def first_result() -> Any:
        while unfinished([waiting[0]]):
            pass
        return _result(ray, waiting[0])

    try:
        for item in _until_failure(items, failures):
            waiting.append(task.remote(packed, dumps(item)))
            running = list(waiting)
            while len(running) >= count:
                unfinished(running)
                running = ray.wait(running, num_returns=len(running), timeout=0)[1]
            while waiting and (len(waiting) >= AHEAD * count or waiting[0] not in running):
                yield first_result()
                waiting.popleft()
        while waiting:
            yield first_result()
            waiting.popleft()
        if failures:
            raise failures[0]
    finally:
        for reference in waiting:
            with suppress(Exception):
                ray.cancel(reference, force=True)
        if mail:
            ray.kill(mail)


def _send(mail: Any, *words: Any) -> None:
    mail.put.remote(*words)


def _result(ray: Any, reference: Any) -> Any:
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, OSError) and error.cause.errno is None:  # by `work`
            raise UserError(str(error.cause)) from None
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
    if address != "local" and (Path.home() / ".ray/auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as `ray start` does then
    try:
        import ray
        import ray.util.scheduling_strategies
    except ModuleNotFoundError:
        raise UserError(
            f"{RAY_ADDRESS} is set in the environment, and Ray is not installed; run "
            "`make .venv/installed-ray`, or unset it"
        ) from None
    said = os.environ.get(WORKERS)
    here = {"num_cpus": workers() if said else None, "include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if (end := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)) is not None:
            socket.create_connection((end[1], int(end[2])), TIMEOUT).close()  # Ray waits minutes
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level="error",
            **(here if address == "local" else {}),
        )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"{RAY_ADDRESS} in the environment: {address}: {error}") from None
    for number, handler in handlers.items():  # Ray has its own
        signal.signal(number, handler)
    return ray


def disconnect() -> None:
    """Leave the cluster, and end one that was started here."""
    if _started_ray.cache_info().currsize:
        _started_ray().shutdown()
        _started_ray.cache_clear()


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
