"""How a stage or a command ends: with exit code 1 and one message, whatever went wrong.

`stages` and `commands` import this module first, so that Ctrl-C ends them with one line while
they still import their libraries.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from types import FrameType, TracebackType

from tabular.core.errors import UserError, bounded

# The digits of OpenBLAS's sums depend on its number of threads, which it reads when it is imported.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
OWN_PACKAGES = ("", "commands", "stages", "tabular")  # "" is an error without a module's name
NO_MEMORY = (
    "error: there is not enough memory. Close other programs or raise the limit; or lower, in "
    "params.yaml, the units and the batch_size of train.networks, or ingest.rows_per_part, the "
    "rows that are in memory at a time"
)
NO_ROOM = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # a write does not say for which file
BROKEN_PIPE = 141  # the exit code of a Unix tool whose reader went away


def cores() -> int:
    """Return the number of cores that this process may use; on macOS, all of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def without_packages(*names: str) -> Iterator[None]:
    """Let libraries do without optional packages: importing one of them fails in the block."""
    finder = _Refusal(names)
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _Refusal(MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, name: str, *_: object) -> None:
        if name in self._names:
            raise ImportError(name)


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, MemoryError):
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


def run(main: Callable[[], None]) -> None:
    """Call `main`; end with exit code 1 and one message on stderr if it fails.

    A failure is a `UserError`, an `OSError`, a lack of memory, Ctrl-C or SIGTERM. Any other
    exception is a mistake of the code and keeps its traceback.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
            signal.signal(number, _interrupt)
    try:
        main()
        sys.stdout.flush()  # which may fail as any write
    except BrokenPipeError:
        _drop_stdout()
        sys.exit(BROKEN_PIPE)
    except (UserError, OSError) as error:  # also a full disk, a folder that may not be written
        message = bounded(str(error))
        if isinstance(error, OSError) and error.errno in NO_ROOM and not error.filename:
            message = f"stdout, or a temporary file: {message}"
            _drop_stdout()
        sys.exit(f"error: {message}")
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
    """Write what can be written, so that the flush at the end of Python shows no traceback."""
    with suppress(OSError):
        sys.stdout.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_interrupt(error: BaseException) -> bool:
    """Return whether an error began with Ctrl-C, which native code answers with other errors."""
    while error.__context__ is not None:
        error = error.__context__
    return isinstance(error, KeyboardInterrupt)


def _interrupt(_: int, frame: FrameType | None) -> None:
    """Raise `KeyboardInterrupt`; if Python is in a `__del__`, try again a moment later.

    Python prints and drops an exception that a `__del__` raises: one of 40 trainings that were
    interrupted at random times went on to its end. The alarm calls this function again.
    """
    while frame:
        if frame.f_code.co_name == "__del__":
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            return
        frame = frame.f_back
    raise KeyboardInterrupt
