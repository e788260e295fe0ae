"""Run commands in a folder, and wait for what they do in the background."""

import importlib
import os
import re
import shlex
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from subprocess import PIPE, CompletedProcess, Popen, run
from tempfile import TemporaryFile
from typing import Any

import pytest

from keras_tabular.core import process

os.environ["TABULAR_STRICT"] = "1"  # an explanation that fails is an error
# `make test` sets the first ones for each `make` that it calls, which would then print
# other lines. With the last one, which some images set, each command would compile the
# library again.
for variable in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHONDONTWRITEBYTECODE"):
    os.environ.pop(variable, None)
# Commands find the Python environment that runs the tests.
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}


def check_output(folder: Path, *command: str, **environment: str) -> str:
    """Run a command that has to succeed, and return its standard output.

    Args:
        command: A command line, or the program and its arguments.
    """
    completed = run_command(folder, *command, **environment)
    output = f"{' '.join(command)}\n{completed.stdout}\n{completed.stderr}"
    assert completed.returncode == 0, output
    return completed.stdout


def run_command(
    folder: Path,
    *command: str,
    **environment: str,
) -> CompletedProcess[str]:
    """Run a command in a folder, and return its output whatever its exit code is.

    The command is a command line, or the program and its arguments.
    The output goes through files: a process that the command leaves in the background
    would keep a pipe open.
    """
    words = command if len(command) > 1 else shlex.split(command[0])
    variables = ENVIRONMENT | environment
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        completed = run(
            words,
            cwd=folder,
            env=variables,
            stdout=out,
            stderr=err,
            timeout=300,
        )
        out.seek(0)
        err.seek(0)
        return CompletedProcess(
            words,
            completed.returncode,
            out.read(),
            err.read(),
        )


def call_main(folder: Path, module: str, *arguments: str) -> None:
    """Call the `main` of a stage or of the commands in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [module, *arguments])
        process.run(importlib.import_module(module).main)


def call_command(
    folder: Path,
    name: str,
    *arguments: str | Path,
    exit_code: int = 0,
) -> str:
    """Call a command of the library in this process, and return what it prints."""
    output = StringIO()
    texts = [str(argument) for argument in arguments]
    end: Any = nullcontext()
    if exit_code:
        end = pytest.raises(SystemExit, match=f"^{exit_code}$")
    with redirect_stdout(output), redirect_stderr(output), end:
        call_main(folder, "keras_tabular.cli", name, *texts)
    return output.getvalue()


def start_command(folder: Path, *command: str, **environment: str) -> Popen[str]:
    """Start a command that a test can stop with Ctrl-C (SIGINT).

    A shell lets the processes that it starts in the background ignore SIGINT, and their
    children inherit that.
    """
    inherited = signal.signal(signal.SIGINT, signal.SIG_DFL)
    variables = ENVIRONMENT | environment
    try:
        return Popen(
            command,
            cwd=folder,
            env=variables,
            stdout=PIPE,
            stderr=PIPE,
            text=True,
        )
    finally:
        signal.signal(signal.SIGINT, inherited)


def wait_until(
    is_true: Callable[[], object],
    pause: float = 0.02,
    seconds: float = 240,
) -> None:
    """Call a function until it returns a true value; fail after a number of seconds."""
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(pause)


def stages_that_ran(output: str) -> list[str]:
    """Return the stages that `dvc repro` or `dvc exp run` says it ran."""
    return re.findall(r"(?m)^Running stage '(\w+)'", output)
