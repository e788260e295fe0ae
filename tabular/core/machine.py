"""The cores and the memory that this machine leaves to this process.

A library that is refused memory ends in a segmentation fault, or tries for ever: `require_memory`
is asked before it is imported.
"""

import ctypes
import math
import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import NamedTuple

from tabular.core.errors import UserError

GB = 10**9
STACK = 2**23  # bytes of addresses that a thread takes
CGROUPS, OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# By the name of the controller, which version 2 leaves out.
CGROUP_LIMITS = {"": ("", "memory.max"), "memory": ("memory", "memory.limit_in_bytes")}
M_ARENA_MAX = -8  # of glibc


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


def require_memory(what: str, more: Memory | None = None, advice: str = "") -> None:
    """Before something takes so much more than now, and a thread for each core.

    Args:
        more: by default what `NEEDED` says.
        advice: what to do where there is not as much.

    Raises:
        UserError: this process may not have them.
    """
    now, most, more = used_memory(), allowed_memory(), more or NEEDED[what]
    needed = math.ceil((now.addresses + more.addresses + STACK * cores()) / GB * 10) / 10
    if needed * GB > most.addresses:
        raise UserError(
            f"{what} would take {needed:,.1f} GB of address space, and this process may have "
            f"{most.addresses / GB:,.2f}: run `ulimit -v {needed * GB / 1024:.0f}`{advice}"
        )
    needed = math.ceil((now.resident + more.resident) / GB * 10) / 10
    if needed * GB > most.resident:
        raise UserError(
            f"{what} would take {needed:,.1f} GB of memory, and this machine or its container has "
            f"{most.resident / GB:,.2f}{advice}"
        )


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
