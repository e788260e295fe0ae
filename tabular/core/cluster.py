"""A Ray cluster that works on the items of a map; `RAY_ADDRESS` names it, as Ray itself reads it.

Its processes have one core each; they see the project's folder under the same name and have the
same packages.
"""

import os
import re
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from functools import cache, partial
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

from tabular.core.errors import UserError

WORKERS, RAY_ADDRESS = "TABULAR_WORKERS", "RAY_ADDRESS"  # of the environment
RETRIES = 5  # of an item whose process or machine was lost
TIMEOUT = 10  # seconds until a cluster answers
MAX_CALLS_PER_PROCESS = 40  # of a process of Ray: what XLA compiles stays in memory until it ends
POLL = 0.5  # seconds between two looks at what workers say
PACKAGES = ("keras", "numpy", "pandas", "pyarrow", "scikit-learn", "tensorflow")
IN_WORKER: ContextVar[bool] = ContextVar("IN_WORKER", default=False)  # an item of a map


def asked_workers() -> int | None:
    """`TABULAR_WORKERS` of the environment.

    Raises:
        UserError: it is no number above 0.
    """
    said = os.environ.get(WORKERS)
    if said is None:
        return None
    if not said.isascii() or not said.isdigit() or not 0 < int(said[:9]) <= 1024:
        raise UserError(f"{WORKERS} in the environment: found {said!r}; expected 1 to 1024")
    return int(said)


def on_ray() -> bool:
    """Whether maps are worked on by a Ray cluster."""
    return bool(os.environ.get(RAY_ADDRESS))


class Tasks:
    """Calls of one function by processes of the cluster.

    Args:
        function: takes `report`, or None, and an item; it, items and results are pickled. It is
            called again for an item whose process is lost.
        name: as Ray's lists show it.
        report: is called here with what the function reports there.
    """

    def __init__(
        self, function: Callable[..., Any], name: str, report: Callable[..., None] | None
    ) -> None:
        self._ray = ray = _started_ray()
        self._report, self._mail = report, None
        if report:
            here = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=True
            )
            mail = ray.remote(_mail()).options(num_cpus=0, scheduling_strategy=here)
            self._mail = mail.remote()
        task = ray.remote(max_calls=MAX_CALLS_PER_PROCESS)(_work())
        self._task = task.options(max_retries=RETRIES, name=f"tabular.{name}")
        tell = partial(_send, self._mail) if self._mail else None
        self._function = ray.put(ray.cloudpickle.dumps(partial(function, tell)))

    def submit(self, item: Any) -> Any:
        """Call the function for an item; a reference to the result."""
        return self._task.remote(self._function, self._ray.cloudpickle.dumps(item))

    def wait(self, references: Sequence[Any]) -> int:
        """Report what was said, and wait until one of some calls ends, but not for long.

        Returns:
            How many have not ended, of the first one that does.
        """
        if self._mail:
            with suppress(self._ray.exceptions.RayError):  # it is for the eye alone
                for words in self._ray.get(self._mail.take.remote()):
                    self._report(*words)  # type: ignore[misc]
        return len(self._ray.wait(references, num_returns=1, timeout=POLL)[1])

    def running(self, references: Sequence[Any]) -> list[Any]:
        """Those that have not ended."""
        count = len(references)
        return list(self._ray.wait(references, num_returns=count, timeout=0)[1])

    def result(self, reference: Any) -> Any:
        """What a call gave, once it has ended."""
        while self.wait([reference]):
            pass
        ray = self._ray
        try:
            return ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, OSError) and error.cause.errno is None:  # by `_work`
                raise UserError(str(error.cause)) from None
            raise error.cause if isinstance(error.cause, UserError | OSError) else error from None
        except ray.exceptions.RayError as error:
            raise UserError(f"Ray: {error}") from None

    def close(self, left: Sequence[Any]) -> None:
        """Cancel the calls that are `left`."""
        for reference in left:
            with suppress(Exception):
                self._ray.cancel(reference, force=True)
        if self._mail:
            self._ray.kill(self._mail)


# The next two are local to a function, so that Ray pickles them by their content: they run where no
# code of the project is found yet.
def _mail() -> type:
    class Mail:
        """What workers say, until the caller of the map takes it."""

        def __init__(self) -> None:
            self._words: list[tuple[Any, ...]] = []

        def put(self, *words: Any) -> None:
            self._words.append(words)

        def take(self) -> list[tuple[Any, ...]]:
            words, self._words = self._words, []
            return words

    return Mail


def _work() -> Callable[[bytes, bytes], Any]:
    project, packages, marker = str(Path.cwd()), _packages(), _marker().name
    code = str(Path(__file__).parents[2])

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
        from tabular.core.cluster import IN_WORKER

        IN_WORKER.set(True)  # also while the function is unpickled
        return cloudpickle.loads(function)(cloudpickle.loads(item))

    return work


def _send(mail: Any, *words: Any) -> None:
    mail.put.remote(*words)


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
    here = {"num_cpus": asked_workers(), "include_dashboard": False}
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


def cores() -> int:
    """Those of the cluster."""
    return max(int(_started_ray().cluster_resources().get("CPU", 1)), 1)


@cache
def _packages() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in PACKAGES}


@cache
def _marker() -> Any:
    """A file in the project's folder by which a worker knows that it sees the same one."""
    return NamedTemporaryFile(prefix=".ray-", suffix=".partial", dir=Path.cwd())
