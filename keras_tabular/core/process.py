"""How a stage or a command ends: with exit code 1 and one message, whatever went wrong.

The stages and the commands import this module first, so that Ctrl-C ends them with one
line even while they import their libraries. The module needs only the standard library.
"""

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from typing import Any

from keras_tabular.core.errors import UserError

# Packages whose modules are not missing for lack of an installation; "" if the error
# names no module.
PROJECT_PACKAGES = ("", "stages", "network", "keras_tabular")
OWN_MODULES = ("network", "custom")  # of a project
# The target of make, and what pip has to install, for packages that are optional.
INSTALLED_BY = {
    "tensorflow": ("repro", "'keras-tabular[cpu]'"),
    "uvicorn": (".venv/installed-serve", "'keras-tabular[serve]'"),
}
OUT_OF_MEMORY = (
    "error: There is not enough memory. Close other programs or raise the limit, or"
    " lower these values in params.yaml: units and batch_size of train.networks, or"
    " ingest.rows_per_file, the number of rows that are in memory at the same time."
)
# Errors of TensorFlow, and of a process that Linux has killed because it used too much
# memory.
MEMORY_ERRORS = ("ResourceExhaustedError", "BrokenProcessPool")
BROKEN_PIPE = 141  # the exit code of a Unix tool whose output nobody reads any more
SIGNAL_REASONS = {
    "SIGKILL": ", by which Linux also stops a process if memory is short",
    "SIGSEGV": ", after a fault in a library",
    "SIGBUS": ", after a fault in a library",
    "SIGILL": ", after a fault in a library",
    "SIGABRT": ", after a fault in a library",
}
PR_SET_PDEATHSIG = 1  # option of Linux's prctl: the signal to send if the parent ends
# A sentence for the message after Ctrl-C: what is kept, and how to continue.
kept_work = ""


def use_one_blas_thread() -> None:
    """Let OpenBLAS use one thread, since its sums depend on the number of threads.

    OpenBLAS reads the number when NumPy or SciPy is imported. Call this before.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def supervise(stage: str) -> None:
    """Continue in a child process; this process explains a signal that ends the child.

    A process that a signal ends, such as SIGKILL or SIGSEGV, cannot say anything
    itself. The child ends when this process does, whatever ends it. On systems other
    than Linux, this does nothing.
    """
    if sys.platform != "linux":
        return
    on_interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = os.fork()
    if not child:
        signal.signal(signal.SIGINT, on_interrupt)  # Ctrl-C reaches both processes
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return

    def forward(number: int, _: object) -> None:
        with suppress(ProcessLookupError):  # it may have ended by the same signal
            os.kill(child, number)

    signal.signal(signal.SIGTERM, forward)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)  # the number of a signal is negative
    if code < 0:
        name = signal.Signals(-code).name
        reason = SIGNAL_REASONS.get(name, "")
        print(
            f"error: The signal {name} ended stage {stage}{reason}. Run `dvc repro`"
            " again: it repeats no finished stage, and train continues from its"
            " checkpoints.",
            file=sys.stderr,
        )
        code = 1
    os._exit(code)


def run(main: Callable[[], None]) -> None:
    """Call `main`; if it fails, end with exit code 1 and an `explanation` on stderr."""
    sys.excepthook = show_error
    # Otherwise, Ctrl-C is ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGTERM, _interrupt_once)
    try:
        main()
        sys.stdout.flush()  # may fail like any write
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, OSError):
            # It may be a pipe that nobody reads, or a file on a full disk.
            # Write what can be written, so that Python's last flush shows no traceback.
            with suppress(OSError):
                sys.stdout.flush()
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(BROKEN_PIPE)
        if message := explanation(error):
            sys.exit(message)
        raise


def _interrupt_once(number: int, _: Any) -> None:
    """Raise `KeyboardInterrupt`, whose cleanup a second signal must not interrupt."""
    signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def explanation(error: BaseException) -> str | None:
    """Return the message for an error, or None for a bug, which needs its traceback."""
    cause: BaseException | None = error
    while cause and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__  # native code turns Ctrl-C into other errors
    if cause:
        return f"interrupted. {kept_work}".removesuffix(". ")
    if isinstance(error, MemoryError) or type(error).__name__ in MEMORY_ERRORS:
        return OUT_OF_MEMORY
    # An OSError may be a full disk, or a folder that is not writable.
    if isinstance(error, UserError | OSError):
        return f"error: {error}"
    if isinstance(error, ImportError) and error.name == "custom":
        return (
            "error: custom.py: expected this file with the lists CHECKS and METRICS:"
            f" {error}."
        )
    if isinstance(error, ModuleNotFoundError):
        package, _, _ = (error.name or "").partition(".")
        if package not in PROJECT_PACKAGES:
            install = INSTALLED_BY.get(package, ("repro", "-r requirements.txt"))
            target, packages = install
            return (
                f"error: {error.name} is not installed in {sys.executable}. Run `make"
                f" {target}` and `. .venv/bin/activate`, or `pip install {packages}`."
            )
    return None


def show_error(kind: type[BaseException], error: BaseException, trace: Any) -> None:
    """Show the `explanation` of an error or its traceback, as `sys.excepthook`.

    If the error is in a file of the project's owner, the traceback begins there.
    """
    if message := explanation(error):
        print(message, file=sys.stderr)
        return
    start = trace
    while start and start.tb_frame.f_globals.get("__name__") not in OWN_MODULES:
        start = start.tb_next
    sys.__excepthook__(kind, error.with_traceback(start or trace), None)


def core_count() -> int:
    """Return how many cores this process may use, or on macOS those of the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def quick_imports(*without: str) -> Iterator[None]:
    """Speed up the imports in the block.

    TensorFlow and Keras start in 2.3 instead of 4.2 s. Of these 1.9 s, 1.4 s are due to
    the packages that are not imported, and 0.5 s to the garbage collector, which would
    search their objects again and again. The objects stay until the process ends, so it
    never looks at them again.

    Args:
        without: Optional packages whose import fails, so that libraries work without
            them.
    """

    class Blocker(MetaPathFinder):
        def find_spec(self, name: str, *_: object) -> None:
            if name in without:
                raise ImportError(name)

    # None in sys.modules would block an import, too, but PyArrow takes it for pandas.
    finder = Blocker()
    sys.meta_path.insert(0, finder)
    gc.disable()
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        gc.freeze()
        gc.enable()


def hide_pandas() -> None:
    """Make Arrow, if it is imported, believe that pandas is not installed.

    So each stage that has no data frame starts 0.2 s sooner. A call of `to_pandas()`
    ends this. Do not give objects of pandas to `pyarrow.array` before it.
    """
    if "pyarrow" in sys.modules:
        with quick_imports("pandas"):
            sys.modules["pyarrow"].array([])
