"""A Ray cluster that works on the items of a map; `RAY_ADDRESS` names it, as Ray itself reads it.

Its processes have one core each. All machines see the project's folder under the same path, with
the environment in it.
"""

import os
import re
import signal
import socket
from collections.abc import Callable, Collection
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from keras_tabular.core.errors import UserError

WORKERS, RAY_ADDRESS = "TABULAR_WORKERS", "RAY_ADDRESS"  # names of environment variables
RETRIES = 5  # of an item whose process or machine was lost
TIMEOUT = 10  # seconds until a cluster answers
MAX_CALLS_PER_PROCESS = 40  # of a process of Ray: what XLA compiles stays in memory until it ends
IN_WORKER: ContextVar[bool] = ContextVar("IN_WORKER", default=False)  # an item of a map


def workers_from_environment() -> int | None:
    """Return the value of `TABULAR_WORKERS` in the environment; None if it is not set.

    Raises:
        UserError: It is not a number from 1 to 1024.
    """
    value = os.environ.get(WORKERS)
    if value is None:
        return None
    if not value.isdecimal() or not 0 < int(value) <= 1024:
        raise UserError(f"{WORKERS} in the environment: found {value!r}; expected 1 to 1024")
    return int(value)


def uses_ray() -> bool:
    """Return whether a Ray cluster works on the items of maps."""
    return bool(os.environ.get(RAY_ADDRESS))


class Tasks:
    """Calls of one function by processes of the cluster.

    Args:
        function: Takes an item. Ray pickles it, the items and the results, and calls it again for
            an item whose process is lost.
        count: Number of calls that run at the same time.
        name: The name of the calls in Ray's lists.
    """

    def __init__(self, function: Callable[[Any], Any], count: int, name: str) -> None:
        self._ray = ray = _connect()
        task = ray.remote(max_calls=MAX_CALLS_PER_PROCESS)(_call)
        self._task = task.options(max_retries=RETRIES, name=f"tabular.{name}")
        self._function = ray.put(ray.cloudpickle.dumps(function))
        self.count, self._running = count, list[Any]()

    def submit(self, item: Any) -> Any:
        """Call the function for an item, when fewer calls run than may; return a reference."""
        while len(self._running) >= self.count:
            self._running = self._ray.wait(self._running)[1]
        pickled = self._ray.cloudpickle.dumps(item)
        self._running.append(self._task.remote(self._function, pickled, str(Path.cwd())))
        return self._running[-1]

    def result(self, reference: Any) -> Any:
        """Wait for the result of a call."""
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error.cause):
                raise UserError(
                    f"a machine of the Ray cluster does not see {Path.cwd()} as this one does; put "
                    "the project, with its environment, on a file system that all of them mount"
                ) from None
            raise error.cause if isinstance(error.cause, UserError | OSError) else error from None
        except exceptions.RayError as error:
            raise UserError(f"Ray: {error}") from None

    def close(self, references: Collection[Any]) -> None:
        """End the calls that were submitted and whose results nobody takes."""
        for reference in references:
            with suppress(Exception):
                self._ray.cancel(reference, force=True)


def _call(function: bytes, item: bytes, project: str) -> Any:
    from ray import cloudpickle

    os.chdir(project)
    IN_WORKER.set(True)  # also while the function is unpickled
    return cloudpickle.loads(function)(cloudpickle.loads(item))


@cache
def _connect() -> Any:
    """Connect to the cluster that `RAY_ADDRESS` names; "local" starts one on this machine.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    address = os.environ[RAY_ADDRESS]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address != "local" and (Path.home() / ".ray/auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # as `ray start` does then
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            f"{RAY_ADDRESS} is set in the environment, and Ray is not installed; run "
            "`make .venv/installed-ray`, or unset it"
        ) from None
    local = {"num_cpus": workers_from_environment(), "include_dashboard": False}
    options: dict[str, Any] = local if address == "local" else {}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if (end := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address)) is not None:
            socket.create_connection((end[1], int(end[2])), TIMEOUT).close()  # Ray waits minutes
        ray.init(address, log_to_driver=False, logging_level="error", **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"{RAY_ADDRESS} in the environment: {address}: {error}") from None
    for number, handler in handlers.items():  # Ray has its own
        signal.signal(number, handler)
    return ray


def core_count() -> int:
    """Return the number of cores of the cluster."""
    return max(int(_connect().cluster_resources().get("CPU", 1)), 1)
