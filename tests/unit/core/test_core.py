"""Files, processes, parallel work and progress."""

import errno
import os
import re
import signal
import subprocess
import sys
import threading
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from keras_tabular.cli import COMMANDS
from keras_tabular.core import process
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_json
from keras_tabular.core.parallel import (
    Progress,
    ordered_map,
    run_in_background,
    worker_count,
)
from keras_tabular.core.workers import WORKERS, report_progress
from tests.commands import check_output, run_command
from tests.helpers import PROJECT


# Files are written completely or not at all, with rounded numbers.
def test_json_is_sorted_rounded_and_finite(tmp_path: Path) -> None:
    """Small numbers keep their digits."""
    write_json(tmp_path / "m.json", {"b": 1e-9 / 3, "a": {"c": -0.0}})
    expected = '{\n  "a": {\n    "c": 0.0\n  },\n  "b": 3.33333333e-10\n}\n'
    assert (tmp_path / "m.json").read_text() == expected
    with pytest.raises(
        ValueError,
        match=r"m\.json: a c: expected a finite number, got nan",
    ):
        write_json(tmp_path / "m.json", {"a": {"c": float("nan")}})
    assert (tmp_path / "m.json").read_text() == expected


def test_the_output_does_not_change_if_the_block_fails(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "old").touch()
    (tmp_path / ".out.4194305.partial").touch()  # left by a process that was killed

    with pytest.raises(RuntimeError), atomic_write(out) as partial:  # noqa: PT012
        partial.mkdir()
        raise RuntimeError
    with pytest.raises(UserError, match="Is a directory"), atomic_write(out) as partial:
        partial.touch()  # a file cannot replace a folder
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "old"]
    with atomic_write(out) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "new"]


def test_two_processes_may_write_the_same_path(tmp_path: Path) -> None:
    """If only DVC is killed, its stage goes on while `dvc repro` runs it again."""
    out = tmp_path / "out"
    module = "keras_tabular.core.files"
    write = (
        f"from pathlib import Path; import {module} as f;"
        f" f.write_text(Path({str(out)!r}), 'b')"
    )
    with atomic_write(out) as partial:
        partial.write_text("a")
        subprocess.run(
            [sys.executable, "-c", write],
            cwd=PROJECT,
            check=True,
        )
        assert out.read_text() == "b"
        with partial.open("a") as file:
            file.write("a")
    assert out.read_text() == "aa"
    assert list(tmp_path.iterdir()) == [out]


def test_only_errors_about_the_output_itself_say_that_it_cannot_be_written(
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    with pytest.raises(FileNotFoundError, match="other"), atomic_write(out):
        (tmp_path / "other").read_text()
    (tmp_path / "file").touch()
    cannot_write = pytest.raises(UserError, match=r"out: cannot be written: ")
    with cannot_write, atomic_write(out):  # an error of Arrow
        raise OSError(errno.ENOSPC, "Error writing bytes to file")
    with cannot_write, atomic_write(tmp_path / "file/out") as partial:
        partial.touch()


# A command that fails ends with one message.
# What native code raises after Ctrl-C.
INTERRUPTED = SystemError("bad argument to internal function")
INTERRUPTED.__context__ = KeyboardInterrupt()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(28, "No space left", "m.json"), "error: .*No space left: 'm.json'"),
        (MemoryError(), process.OUT_OF_MEMORY),
        (BrokenProcessPool(), process.OUT_OF_MEMORY),
        (INTERRUPTED, "interrupted"),
    ],
)
def test_an_error_that_is_not_a_bug_ends_with_one_message(
    error: Exception,
    message: str,
) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit, match=message):
        process.run(main)


def test_a_traceback_begins_in_the_file_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "network.py").write_text("def build():\n    return 1 / 0\n")
    command = "from network import build; from keras_tabular.core.process import run"
    done = run_command(
        tmp_path,
        sys.executable,
        "-c",
        f"{command}; run(build)",
        PYTHONPATH=f"{PROJECT}:.",
    )
    first, place, *_ = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):"
    assert place == f'  File "{tmp_path / "network.py"}", line 2, in build'


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the Python of a virtual environment without packages."""
    folder = tmp_path_factory.mktemp("bare")
    check_output(folder, sys.executable, "-m", "venv", "--without-pip", ".")
    return str(folder / "bin/python")


STAGES = [
    (f"stages.{file.stem}",) for file in sorted((PROJECT / "stages").glob("[!_]*.py"))
]
NEEDS_NO_PACKAGE = ("docs", "new", "upgrade")


@pytest.mark.parametrize(
    "arguments",
    [
        *STAGES,
        *(("keras_tabular", name) for name in COMMANDS if name not in NEEDS_NO_PACKAGE),
    ],
)
def test_without_its_packages_a_script_says_how_to_install_them(
    arguments: tuple[str, ...],
    bare_python: str,
) -> None:
    done = run_command(PROJECT, bare_python, "-m", *arguments, PYTHONPATH="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f" is not installed in {bare_python}. Run `make repro` and " in line
    assert "`pip install -r requirements.txt`" in line


@pytest.mark.parametrize("text", [None, "CHECKS = []\n"])
def test_a_stage_says_what_custom_py_has_to_define(
    text: str | None,
    tmp_path: Path,
) -> None:
    for name in ("keras_tabular", "stages"):
        (tmp_path / name).symlink_to(PROJECT / name)
    if text:
        (tmp_path / "custom.py").write_text(text)
    done = run_command(tmp_path, sys.executable, "-m", "stages.evaluate", PYTHONPATH="")
    assert done.stderr.startswith(
        "error: custom.py: expected this file with the lists CHECKS and ",
    )


def test_the_folder_runs_without_packages_from_another_folder(
    bare_python: str,
    tmp_path: Path,
) -> None:
    command = (bare_python, str(PROJECT / "keras_tabular"))
    version = check_output(tmp_path, *command, "--version")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?\n", version)
    assert check_output(tmp_path, *command, "docs", "splits").startswith("# Splits\n")


# `ordered_map` yields results in order, and `run_in_background` runs in another
# process.
TIMEOUT = 60  # seconds to wait for what should happen at once


@pytest.fixture(autouse=True)
def two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, "2")


def test_results_come_in_order_although_items_are_worked_on_at_the_same_time() -> None:
    done = [threading.Event() for _ in range(40)]

    def square(number: int) -> int:
        """Finish an even number only after the next odd one."""
        assert number % 2 or done[number + 1].wait(TIMEOUT)
        done[number].set()
        return number * number

    assert list(ordered_map(square, range(40))) == [
        number * number for number in range(40)
    ]


def test_running_threads_are_stopped_and_no_item_is_taken_after_an_error() -> None:
    running = threading.Event()
    cancelled = threading.Event()
    stopped = []
    numbers = count()

    def work(number: int) -> None:
        if number == 0:
            assert running.wait(TIMEOUT)
            raise KeyboardInterrupt
        running.set()
        stopped.append(cancelled.wait(TIMEOUT))

    with pytest.raises(KeyboardInterrupt):
        list(ordered_map(work, numbers, cancelled=cancelled))
    assert stopped
    assert all(stopped)
    assert next(numbers) == 4  # two for each worker


@pytest.mark.parametrize("value", ["0", "two", "²", "99999999999"])
def test_invalid_number_of_workers_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
    value: str,
) -> None:
    monkeypatch.setenv(WORKERS, value)
    with pytest.raises(
        UserError,
        match=f"^TABULAR_WORKERS: expected a .* 1024, got '{value}'",
    ):
        worker_count()


def process_and_thread() -> tuple[int, bool]:
    return os.getpid(), threading.current_thread() is threading.main_thread()


def test_a_function_in_the_background_runs_in_another_process_if_there_are_two_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process, is_main_thread = run_in_background(process_and_thread)()
    assert process != os.getpid()
    assert is_main_thread is True
    with pytest.raises(BrokenProcessPool):
        run_in_background(partial(signal.raise_signal, signal.SIGKILL))()
    monkeypatch.setenv(WORKERS, "1")
    assert run_in_background(process_and_thread)() == (os.getpid(), True)


# `Progress` shows how long a work will take, in lines of a log or in one row of a
# terminal.
MONOTONIC = "keras_tabular.core.parallel.monotonic"


def test_the_remaining_time_is_shown_if_it_is_known(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = [0]
    monkeypatch.setattr(MONOTONIC, lambda: seconds[0])
    with Progress() as progress:
        for is_steady in (True, False):
            progress.start_round("training", total=3, is_steady=is_steady)
            for number, duration in enumerate([30, 50, 4]):
                seconds[0] += duration
                report_progress(1, f"network {number}")
    assert capsys.readouterr().err.splitlines() == [
        "30 s; training: 33%, about 60 s left; network 0",
        "80 s; training: 67%, about 40 s left; network 1",
        "114 s; training: 33%; network 0",
        "164 s; training: 67%; network 1",
    ]


def test_the_progress_is_one_row_of_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(MONOTONIC, count().__next__)
    with Progress() as progress:
        progress.start_round("cycle 1", total=2, is_steady=False)
        report_progress(1, "a network with a long name")
    _, row, end = capsys.readouterr().err.split("\r\x1b[K")
    assert row == "2 s; cycle 1: 50%; a network with a lon"
    assert end == ""
