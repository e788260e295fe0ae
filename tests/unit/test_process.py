"""A command starts without what it does not need, and ends with one message of a mistake."""

import sys

import pytest

from keras_tabular.cli import COMMANDS
from keras_tabular.core import process
from tests.commands import check_output, run_command
from tests.helpers import PROJECT

# As native code answers Ctrl-C.
INTERRUPTED = SystemError("bad argument to internal function")
INTERRUPTED.__context__ = KeyboardInterrupt()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(28, "No space left", "m.json"), "error: [Errno 28] No space left: 'm.json'"),
        (MemoryError(), process.OUT_OF_MEMORY),
        (INTERRUPTED, "interrupted"),
    ],
)
def test_what_is_no_mistake_of_the_code_ends_with_one_message(error: Exception, said: str) -> None:
    def main() -> None:
        raise error

    with pytest.raises(SystemExit) as end:
        process.run(main)
    assert end.value.code == said


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the Python of a virtual environment without packages."""
    folder = tmp_path_factory.mktemp("bare")
    check_output(folder, sys.executable, "-m", "venv", "--without-pip", ".")
    return str(folder / "bin/python")


STAGES = [(f"stages.{file.stem}",) for file in sorted((PROJECT / "stages").glob("[!_]*.py"))]
NEEDS_NO_PACKAGE = ("docs", "new", "upgrade")


@pytest.mark.parametrize(
    "arguments",
    [*STAGES, *(("keras_tabular", name) for name in COMMANDS if name not in NEEDS_NO_PACKAGE)],
)
def test_outside_of_the_environment_a_script_says_what_to_install(
    arguments: tuple[str, ...], bare_python: str
) -> None:
    done = run_command(PROJECT, bare_python, "-m", *arguments, PYTHONPATH="")
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert f" is not installed in {bare_python}: run `make repro` and " in line
    assert "`pip install -r requirements.txt`" in line
