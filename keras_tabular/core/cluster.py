"""Calls of a function by the processes of a Ray cluster, which `RAY_ADDRESS` names.

Each of these processes uses one core. Every machine of the cluster has to see the project's folder,
with its virtual environment, under the same path.
"""

import os
import re
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from keras_tabular.core.errors import UserError

WORKERS, RAY_ADDRESS = "TABULAR_WORKERS", "RAY_ADDRESS"  # names of environment variables
MAX_WORKERS = 1024
MAX_RETRIES = 5  # of a call whose process or machine was lost
CONNECT_TIMEOUT = 10  # seconds
MAX_CALLS_PER_PROCESS = 40  # what XLA compiles stays in memory until the process ends
# Whether this thread or process works on one of several items of a map.
IN_WORKER: ContextVar[bool] = ContextVar("IN_WORKER", default=False)


def workers_from_environment() -> int | None:
    """Return the value of `TABULAR_WORKERS` in the environment, or None if it is not set.

    Raises:
        UserError: The value is not a number from 1 to 1024.
    """
    value = os.environ.get(WORKERS)
    if value is None:
        return None
    if not value.isdecimal() or not 0 < int(value) <= MAX_WORKERS:
        raise UserError(f"{WORKERS}: expected a number from 1 to {MAX_WORKERS}, got {value!r}")
    return int(value)


def uses_ray() -> bool:
    """Return whether a Ray cluster works on the items of maps."""
    return bool(os.environ.get(RAY_ADDRESS))


class RemoteCall(NamedTuple):
    """A call by a process of the cluster, with the interface of `concurrent.futures.Future`."""

    reference: Any

    def result(self) -> Any:
        """Wait for the call and return its result."""
        ray = _connect()
        try:
            return ray.get(self.reference)
        except ray.exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error.cause):
                problem = f"A machine of the Ray cluster cannot import the code in {Path.cwd()}"
                advice = "Mount the project's folder on all machines under the same path."
                raise UserError(f"{problem}. {advice}") from None
            raise error.cause if isinstance(error.cause, UserError | OSError) else error from None
        except ray.exceptions.RayError as error:
            raise UserError(f"Ray: {error}") from None

    def cancel(self) -> None:
        """Stop the call, whose result nobody needs."""
        with suppress(Exception):
            _connect().cancel(self.reference, force=True)


def remote_function(function: Callable[[Any], Any], limit: int) -> Callable[[Any], RemoteCall]:
    """Return a function that calls `function` with an item in a process of the cluster.

    It waits while `limit` calls are running.

    Args:
        function: Takes an item. Ray pickles the function, the items and the results, and repeats
            the call if its process is lost.
    """
    ray = _connect()
    task = ray.remote(max_calls=MAX_CALLS_PER_PROCESS)(_call)
    task = task.options(max_retries=MAX_RETRIES, name="tabular.call")
    pickled_function = ray.put(ray.cloudpickle.dumps(function))
    running: list[Any] = []

    def submit(item: Any) -> RemoteCall:
        while len(running) >= limit:
            running[:] = ray.wait(running)[1]
        pickled_item = ray.cloudpickle.dumps(item)
        running.append(task.remote(pickled_function, pickled_item, str(Path.cwd())))
        return RemoteCall(running[-1])

    return submit


def _call(pickled_function: bytes, pickled_item: bytes, project: str) -> Any:
    from ray import cloudpickle

    os.chdir(project)
    IN_WORKER.set(True)  # before the function is unpickled, which may run code of the project
    return cloudpickle.loads(pickled_function)(cloudpickle.loads(pickled_item))


def core_count() -> int:
    """Return the number of cores of the cluster."""
    return max(int(_connect().cluster_resources().get("CPU", 1)), 1)


@cache
def _connect() -> Any:
    """Connect to the cluster that `RAY_ADDRESS` names; "local" starts one on this machine.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    address = os.environ[RAY_ADDRESS]
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address != "local" and (Path.home() / ".ray/auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # `ray start` does the same
    try:
        import ray
    except ModuleNotFoundError:
        advice = f"Run `make .venv/installed-ray`, or unset {RAY_ADDRESS}."
        raise UserError(f"{RAY_ADDRESS} is set, but Ray is not installed. {advice}") from None
    options: dict[str, Any] = {}
    if address == "local":
        options = {"num_cpus": workers_from_environment(), "include_dashboard": False}
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        if host_and_port := re.fullmatch(r"\[?([^/]+?)\]?:(\d+)", address):
            host, port = host_and_port.groups()
            # Ray itself waits minutes for an address that does not answer.
            socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
        ray.init(address, log_to_driver=False, logging_level="error", **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(f"{RAY_ADDRESS} in the environment: {address}: {error}") from None
    for number, handler in handlers.items():  # Ray has replaced them
        signal.signal(number, handler)
    return ray
