"""How a command ends: one message for a mistake or an interrupt, whenever it comes; a fresh start.

`stages` and `commands` import this module first, so that Ctrl-C ends them with one line while
they still import their libraries.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import NoReturn

from tabular.core.errors import UserError, bounded
from tabular.core.machine import GB, allowed_memory, require_memory, reserve_little


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    elif issubclass(kind, UserError):  # of memory, before an import
        print(f"error: {bounded(str(error))}", file=sys.stderr)
    elif issubclass(kind, MemoryError) or "failed to map segment" in str(error):  # of a library
        print(NO_MEMORY, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)


sys.excepthook = _show
reserve_little()
require_memory("This command")
NO_MEMORY = (
    f"error: the {min(allowed_memory()) / GB:.1f} GB of memory that this process may use are not "
    "enough; close other programs or raise the limit; ingest.rows_per_part in params.yaml sets how "
    "many rows are in memory at a time"
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
