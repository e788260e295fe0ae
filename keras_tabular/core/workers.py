"""Workers: the threads and processes that work on the items of a map, on Ray or here.

Each worker knows that it is one, and to whom it reports its progress. The environment
variable `RAY_ADDRESS` names a Ray cluster, whose processes then call the function of a
map. Each of these processes uses one core. Every machine of the cluster has to see the
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
from keras_tabular.core.process import use_one_blas_thread

# Names of environment variables.
WORKERS = "TABULAR_WORKERS"
RAY_ADDRESS = "RAY_ADDRESS"
MAX_WORKERS = 1024
MAX_RETRIES = 5  # of a call whose process or machine was lost
CONNECT_TIMEOUT = 10  # seconds
SECONDS_BETWEEN_CHECKS = 0.2  # whether a call is cancelled
MAX_CALLS_PER_PROCESS = 40  # what XLA compiles stays in memory until the process ends

# Takes the amount of work done and what was done last, see `report_progress`.
ReportProgress = Callable[[float, str], None] | None
# The state of a thread or process: who learns of its progress, and whether it works
# on one of several items of a map.
PROGRESS_CALLBACK: ContextVar[ReportProgress] = ContextVar("callback", default=None)
IS_WORKER: ContextVar[bool] = ContextVar("is_worker", default=False)


def enter_worker(progress_callback: ReportProgress) -> None:
    """Mark this thread or process as a worker, and set who learns of its progress."""
    IS_WORKER.set(True)
    PROGRESS_CALLBACK.set(progress_callback)


def report_progress(amount: float, last: str) -> None:
    """Advance the `Progress` of this worker, or of the one that waits for it."""
    if callback := PROGRESS_CALLBACK.get():
        callback(amount, last)


def workers_from_environment() -> int | None:
    """Return the environment variable `TABULAR_WORKERS`, or None if it is not set.

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


def cluster_cores() -> int:
    """Return the number of cores of the cluster."""
    cores = _connect().cluster_resources().get("CPU", 1)
    return max(int(cores), 1)


def remote_function(
    function: Callable[[Any], Any],
    cancelled: threading.Event,
) -> Callable[[Any], Any]:
    """Return a function that calls `function` in a process of the cluster, and waits.

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
            raise _local_error(error) from None
        except ray.exceptions.RayError as error:
            raise UserError(f"Ray: {error}") from None
        for amount, last in reports:
            report_progress(amount, last)
        return result

    return call


def _local_error(error: Any) -> Exception:
    """Return the error to raise here for a `RayTaskError`."""
    cause: Exception = error.cause
    if "failed to import on the worker" in str(cause):
        return UserError(
            f"A machine of the Ray cluster cannot import the code in {Path.cwd()}."
            " Mount the project's folder on all machines under the same path.",
        )
    return cause if isinstance(cause, UserError | OSError) else error


def _call(
    pickled_function: bytes,
    pickled_item: bytes,
    project: str,
) -> tuple[Any, list[tuple[float, str]]]:
    """Call the function with the item, and return the result and what it reported."""
    from ray import cloudpickle

    os.chdir(project)
    use_one_blas_thread()
    reports = []
    # Unpickling the function may run code of the project, which has to know that it is
    # in a worker.
    enter_worker(lambda amount, last: reports.append((amount, last)))
    function = cloudpickle.loads(pickled_function)
    item = cloudpickle.loads(pickled_item)
    return function(item), reports


@cache
def _connect() -> Any:
    """Connect to the cluster of `RAY_ADDRESS`; "local" starts one on this machine.

    Raises:
        UserError: Ray is not installed, or there is no such cluster.
    """
    address = os.environ[RAY_ADDRESS]
    if address != "local" and (Path.home() / ".ray/auth_token").is_file():
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # `ray start` does the same
    try:
        import ray
    except ModuleNotFoundError:
        raise UserError(
            f"{RAY_ADDRESS} is set, but Ray is not installed. Run `make"
            f" .venv/installed-ray`, or unset {RAY_ADDRESS}.",
        ) from None
    on_termination = signal.getsignal(signal.SIGTERM)
    try:
        _check_that_port_answers(address)
        ray.init(
            address,
            num_cpus=workers_from_environment() if address == "local" else None,
            log_to_driver=False,
            logging_level="error",
            include_dashboard=False,
        )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise UserError(
            f"{RAY_ADDRESS} in the environment: {address}: {error}",
        ) from None
    signal.signal(signal.SIGTERM, on_termination)  # Ray has replaced it
    return ray


def _check_that_port_answers(address: str) -> None:
    """Raise `OSError` if HOST:PORT does not answer; Ray itself would wait minutes."""
    host, _, port = address.rpartition(":")
    if port.isdecimal() and "/" not in host:
        host = host.strip("[]")  # around an IPv6 address
        socket.create_connection((host, int(port)), CONNECT_TIMEOUT).close()
