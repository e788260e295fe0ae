"""What a command may have of this machine, and how it ends: one message, whenever it comes.

`stages` and `commands` import this module first, so that Ctrl-C ends them with one line while
they still import their libraries.
"""

import ctypes
import errno
import math
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import FrameType, TracebackType
from typing import NamedTuple, NoReturn

from tabular.core.errors import UserError, bounded

GB = 10**9
STACK = 2**23  # bytes of addresses that a thread takes
CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# By the name of the controller, which version 2 leaves out.
CGROUP_LIMITS = {"": ("", "memory.max"), "memory": ("memory", "memory.limit_in_bytes")}
M_ARENA_MAX = -8  # of glibc
OWN_PACKAGES = ("", "commands", "stages", "tabular")  # "" is an error without a module's name


class Memory(NamedTuple):
    """Bytes of memory, and of addresses, of which libraries reserve many that they never use."""

    resident: float
    addresses: float


# Measured on the default table, what `reserve_little` spares not counted; without threads.
NEEDED = {
    "This command": Memory(0.1 * GB, 0.6 * GB),  # with Arrow and pandas
    "scikit-learn": Memory(0.15 * GB, 0.4 * GB),
    "TensorFlow": Memory(0.6 * GB, 1.6 * GB),
    "Drawing pictures": Memory(0.1 * GB, 70 * GB),  # by V8, which uses 0.2 of it
}


def cores() -> int:
    """Those of this machine that the process may use; macOS does not say which, so all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def allowed_memory() -> Memory:
    """What this process may have: of the machine or its container, and by `ulimit -v`."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    # macOS does not hold a process to it.
    return Memory(_resident(), limit if limit >= 0 and sys.platform == "linux" else math.inf)


def _resident() -> int:
    """Of this machine, or less where a control group (a container, a batch job) has less."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    for line in OWN_GROUPS.read_text().splitlines() if OWN_GROUPS.exists() else []:
        _, controllers, path = line.split(":", 2)
        for name in CGROUP_LIMITS.keys() & controllers.split(","):
            folder, file = CGROUP_LIMITS[name]
            # In a container the path can be the host's, and the limit stands at the top.
            for group in [Path(path), *Path(path).parents]:
                with suppress(OSError, ValueError):  # no such file, or "max"
                    limit = CGROUPS / folder / group.relative_to("/") / file
                    found = min(found, int(limit.read_text()))
    return found


def used_memory() -> Memory:
    """What this process has now; 0 where the system does not tell."""
    pages = Path("/proc/self/statm")
    addresses, resident = pages.read_text().split()[:2] if pages.exists() else (0, 0)
    return Memory(*(int(number) * resource.getpagesize() for number in (resident, addresses)))


def require_memory(what: str) -> None:
    """Raise a `UserError` where this process may not have the memory that `NEEDED` names."""
    if problem := memory_problem(what, NEEDED[what]):
        raise UserError(problem)


def memory_problem(what: str, more: Memory) -> str:
    """Return why this process may not have so much more memory; nothing if it may.

    Args:
        what: The subject of the message, which takes the memory and a thread for each core.
    """
    now, most = used_memory(), allowed_memory()
    needed = math.ceil((now.addresses + more.addresses + STACK * cores()) / GB * 10) / 10
    if needed * GB > most.addresses:
        return (
            f"{what} would take {needed:,.1f} GB of address space, and this process may have "
            f"{most.addresses / GB:,.2f}: run `ulimit -v {needed * GB / 1024:.0f}`"
        )
    needed = math.ceil((now.resident + more.resident) / GB * 10) / 10
    if needed * GB > most.resident:
        return (
            f"{what} would take {needed:,.1f} GB of memory, and this machine or its container has "
            f"{most.resident / GB:,.2f}"
        )
    return ""


def reserve_little() -> None:
    """Before other imports: let libraries reserve what they use, where addresses are limited.

    OpenBLAS reserves memory for each of its threads when it is imported, and the digits of its sums
    hang on their number. glibc takes 128 MB for each thread, and Arrow 1 GB at once.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    if allowed_memory().addresses < math.inf:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
        os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"


class _Hidden(MetaPathFinder):
    def __init__(self, packages: tuple[str, ...]) -> None:
        self._packages = packages

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._packages:
            raise ImportError(name)


@contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Let none of these packages be imported in the block, unless it was before."""
    finder = _Hidden(packages)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, UserError):  # of memory, before an import
        print(f"error: {bounded(str(error))}", file=sys.stderr)
    elif issubclass(kind, MemoryError) or "failed to map segment" in str(error):  # of a library
        print(NO_MEMORY, file=sys.stderr)
    elif (
        isinstance(error, ModuleNotFoundError)
        and (error.name or "").partition(".")[0] not in OWN_PACKAGES
    ):
        print(
            f"error: {error.name} is not installed in {sys.executable}: run `make repro` and "
            "`. .venv/bin/activate`, or `pip install -r requirements.txt`",
            file=sys.stderr,
        )
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _show
reserve_little()
require_memory("This command")
NO_MEMORY = (
    f"error: the {min(allowed_memory()) / GB:.1f} GB of memory that this process may use are not "
    "enough. Close other programs or raise the limit; or lower, in params.yaml, the units and the "
    "batch_size of train.networks, or ingest.rows_per_part, the rows that are in memory at a time"
)
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # a write does not say for which file
BROKEN_PIPE = 141  # the exit code of a Unix tool whose reader went away


def run(main: Callable[[], None]) -> None:
    """Call `main`; end with exit code 1 and one message on stderr when it raises an error.

    That is a `UserError`, an `OSError`, a lack of memory, Ctrl-C or SIGTERM; others are mistakes of
    the code.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, _interrupt)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])  # which `restart` blocked
    try:
        main()
        sys.stdout.flush()  # which may fail as any write
    except BrokenPipeError:
        _drop_stdout()
        sys.exit(BROKEN_PIPE)
    except (UserError, OSError) as error:  # also a full disk, a folder that may not be written
        said = bounded(str(error))
        if isinstance(error, OSError) and error.errno in NO_ROOM and not error.filename:
            said = f"stdout, or a temporary file: {said}"
            _drop_stdout()
        sys.exit(f"error: {said}")
    except MemoryError:
        sys.exit(NO_MEMORY)
    except SystemExit:
        raise
    except BaseException as error:
        if is_interrupt(error):
            sys.exit("interrupted")
        if type(error).__name__ == "ResourceExhaustedError":  # TensorFlow's
            sys.exit(NO_MEMORY)
        raise


def _drop_stdout() -> None:
    """Write what can be written; the last flush, as Python ends, would fail with a traceback."""
    with suppress(OSError):
        sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_interrupt(error: BaseException) -> bool:
    """Whether Ctrl-C is what came first: native code answers it with errors of its own."""
    while error.__context__ is not None:
        error = error.__context__
    return isinstance(error, KeyboardInterrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`, but a moment later where Python is in a `__del__`.

    Python prints and drops an exception that a `__del__` raises: of 40 trainings interrupted at
    random times one went on to its end. The alarm calls this again.
    """
    while frame:
        if frame.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        frame = frame.f_back
    raise KeyboardInterrupt


def restart() -> NoReturn:
    """Run the same command again in this process, which frees all memory.

    Ctrl-C waits until the new `run` can report it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    os.execv(sys.executable, sys.orig_argv)
