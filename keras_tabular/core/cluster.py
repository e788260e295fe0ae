"""Calls of a function by the processes of a Ray cluster, which `RAY_ADDRESS` names.

Each of these processes uses one core. Every machine of the cluster has to see the
project's folder, with its virtual environment, under the same path.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Any

from keras_tabular.core.errors import UserError

Report = Callable[[float, str], None] | None
REPORT: ContextVar[Report] = ContextVar("REPORT", default=None)


def report_progress(amount: float, last: str) -> None:
    """Advance the `Progress` of this thread or process, or of the one that waits for its result."""
    if report := REPORT.get():
        report(amount, last)


# names of environment variables
WORKERS = "TABULAR_WORKERS"
RAY_ADDRESS = "RAY_ADDRESS"
MAX_WORKERS = 1024
MAX_RETRIES = 5  # of a call whose process or machine was lost
CONNECT_TIMEOUT = 10  # seconds
SECONDS_BETWEEN_CHECKS = 0.2  # whether a call is cancelled
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
        raise UserError(
            f"{WORKERS}: expected a number from 1 to {MAX_WORKERS}, got {value!r}",
        )
    return int(value)


def uses_ray() -> bool:
    """Return whether a Ray cluster works on the items of maps."""
    return bool(os.environ.get(RAY_ADDRESS))


def enter_worker(report: Report) -> None:
    """Mark this thread or process as a worker, whose progress is reported to `report`."""
    IN_WORKER.set(True)
    REPORT.set(report)


def remote_function(
    function: Callable[[Any], Any],
    cancelled: threading.Event,
) -> Callable[[Any], Any]:
    """Return a function that calls `function` in a process of the cluster, and waits for it.

    Args:
        function: Takes an item. The function, the items and the results are pickled. A
            call is repeated if its process is lost.
        cancelled: An event that ends the running calls, whose results nobody needs.
    """
    ray = _connect()
    task = ray.remote(max_calls=MAX_CALLS_PER_PROCESS)(_call)
    task = task.options(max_retries=MAX_RETRIES, name="tabular.call")
    pickled_function = ray.put(ray.cloudpickle.dumps(function))

    def call(item: Any) -> Any:
        pickled_item = ray.cloudpickle.dumps(item)
        reference = task.remote(pickled_function, pickled_item, str(Path.cwd()))
        while not ray.wait([reference], timeout=SECONDS_BETWEEN_CHECKS)[0]:
            if cancelled.is_set():
                ray.cancel(reference, force=True)
        try:
            result, reports = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if "failed to import on the worker" in str(error.cause):
                problem = (
                    "A machine of the Ray cluster cannot import the code in"
                    f" {Path.cwd()}"
                )
                advice = (
                    "Mount the project's folder on all machines under the same path."
                )
                raise UserError(f"{problem}. {advice}") from None
            raise (
                error.cause if isinstance(error.cause, UserError | OSError) else error
            ) from None
        except ray.exceptions.RayError as error:
            raise UserError(f"Ray: {error}") from None
        for arguments in reports:
            report_progress(*arguments)
        return result

    return call


def _call(
    pickled_function: bytes,
    pickled_item: bytes,
    project: str,
) -> tuple[Any, list[Any]]:
    from ray import cloudpickle

    os.chdir(project)
    reports: list[Any] = []
    # Unpickling the function may run code of the project, which has to know that it is
    # in a worker.
    enter_worker(lambda *arguments: reports.append(arguments))
    return cloudpickle.loads(pickled_function)(cloudpickle.loads(pickled_item)), reports


def cluster_cores() -> int:
    """Return the number of cores of the cluster."""
    return max(int(_connect().cluster_resources().get("CPU", 1)), 1)


@cache
def _connect() -> Any:
    """Connect to the cluster that `RAY_ADDRESS` names; "local" starts one on this machine.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    address = os.environ[RAY_ADDRESS]
    if address != "local" and (Path.home() / ".ray/auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # `ray start` does the same
    try:
        import ray
    except ModuleNotFoundError:
        advice = f"Run `make .venv/installed-ray`, or unset {RAY_ADDRESS}."
        raise UserError(
            f"{RAY_ADDRESS} is set, but Ray is not installed. {advice}",
        ) from None
    cores = workers_from_environment() if address == "local" else None
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        host, _, port = address.rpartition(":")
        if port.isdecimal() and "/" not in host:
            # Ray itself waits minutes for an address that does not answer.
            socket.create_connection(
                (host.strip("[]"), int(port)),
                CONNECT_TIMEOUT,
            ).close()
        options = {
            "log_to_driver": False,
            "logging_level": "error",
            "include_dashboard": False,
        }
        ray.init(address, num_cpus=cores, **options)
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(
            f"{RAY_ADDRESS} in the environment: {address}: {error}",
        ) from None
    signal.signal(signal.SIGTERM, on_termination)  # Ray has replaced it
    return ray
