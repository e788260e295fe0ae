"""A command that fails ends with one message."""

import re
import sys
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from keras_tabular.cli import COMMANDS
from keras_tabular.core import process
from tests.commands import check_output, run_command
from tests.helpers import PROJECT

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
def test_an_error_that_is_not_a_bug_ends_with_one_message(error: Exception, message: str) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit, match=message):
        process.run(main)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the Python of a virtual environment without packages."""
    folder = tmp_path_factory.mktemp("bare")
    check_output(folder, sys.executable, "-m", "venv", "--without-pip", ".")
    return str(folder / "bin/python")


STAGES = [(f"stages.{file.stem}",) for file in sorted((PROJECT / "stages").glob("[!_]*.py"))]
NEEDS_NO_PACKAGE = ("docs", "new", "upgrade")


@pytest.mark.parametrize(
    "arguments",
    [*STAGES, *(("keras_tabular", name) for name in COMMANDS if name not in NEEDS_NO_PACKAGE)],
)
def test_without_its_packages_a_script_says_how_to_install_them(
    arguments: tuple[str, ...], bare_python: str
) -> None:
    done = run_command(PROJECT, bare_python, "-m", *arguments, PYTHONPATH="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f" is not installed in {bare_python}. Run `make repro` and " in line
    assert "`pip install -r requirements.txt`" in line


@pytest.mark.parametrize("text", [None, "CHECKS = []\n"])
def test_a_stage_says_what_custom_py_has_to_define(text: str | None, tmp_path: Path) -> None:
    for name in ("keras_tabular", "stages"):
        (tmp_path / name).symlink_to(PROJECT / name)
    if text:
        (tmp_path / "custom.py").write_text(text)
    done = run_command(tmp_path, sys.executable, "-m", "stages.evaluate", PYTHONPATH="")
    assert done.stderr.startswith("error: custom.py: expected this file with the lists CHECKS and ")


def test_the_folder_runs_without_packages_from_another_folder(
    bare_python: str, tmp_path: Path
) -> None:
    command = (bare_python, str(PROJECT / "keras_tabular"))
    version = check_output(tmp_path, *command, "--version")
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?\n", version)
    assert check_output(tmp_path, *command, "docs", "splits").startswith("# Splits\n")
