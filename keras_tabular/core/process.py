"""How a stage or a command ends: with exit code 1 and one message, whatever went wrong.

The stages and the commands import this module first, so that Ctrl-C ends them with one line while
they still import their libraries. It needs only the standard library.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from types import TracebackType

from keras_tabular.core.errors import UserError

# The digits of OpenBLAS's sums depend on its number of threads, which it reads when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
OWN_PACKAGES = ("", "stages", "network", "keras_tabular")  # "" is an error without a module's name
OUT_OF_MEMORY = (
    "error: there is not enough memory. Close other programs or raise the limit; or lower, in "
    "params.yaml, the units and the batch_size of train.networks, or ingest.rows_per_part, the "
    "rows that are in memory at a time"
)
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # a write does not say for which file
BROKEN_PIPE = 141  # the exit code of a Unix tool whose reader went away


def core_count() -> int:
    """Return the number of cores that this process may use; on macOS, all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def without_packages(*names: str) -> Iterator[None]:
    """Let libraries do without optional packages: importing one of them fails in the block."""

    class Refusal(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name in names:
                raise ImportError(name)

    finder = Refusal()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def explanation(error: BaseException) -> str | None:
    """Return the message of a failure; None for a mistake of the code, which has a traceback."""
    cause = error
    while cause.__context__ is not None:  # native code answers Ctrl-C with other errors
        cause = cause.__context__
    if isinstance(cause, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return OUT_OF_MEMORY  # also of TensorFlow
    if isinstance(error, UserError | OSError):  # also a full disk, a folder that is not writable
        return f"error: {error}"
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if isinstance(error, ModuleNotFoundError) and package not in OWN_PACKAGES:
        return (
            f"error: {error.name} is not installed in {sys.executable}: run `make repro` and "
            "`. .venv/bin/activate`, or `pip install -r requirements.txt`"
        )
    return None


def install_excepthook() -> None:
    """Show the `explanation` of an error in place of a traceback, also outside of `run`."""
    sys.excepthook = _show


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if message := explanation(error):
        print(message, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


def run(main: Callable[[], None]) -> None:
    """Call `main`; if it fails, end with exit code 1 and its `explanation` on stderr."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        main()
        sys.stdout.flush()  # which may fail as any write
    except BrokenPipeError:
        _drop_stdout()
        sys.exit(BROKEN_PIPE)
    except SystemExit:
        raise
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in NO_ROOM and not error.filename:
            _drop_stdout()
            sys.exit(f"error: stdout, or a temporary file: {error}")
        if message := explanation(error):
            sys.exit(message)
        raise


def _drop_stdout() -> None:
    """Write what can be written, so that the flush at the end of Python shows no traceback."""
    with suppress(OSError):
        sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
