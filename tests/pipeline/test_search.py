"""A search repeats, goes on after an interruption, and reports the scores that train then gets."""

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.helpers import PROJECT, begin, change, copy_of, must, read_scores, run, wait_until

# Trainings of a second or so, which diverge with one of the learning rates.
PLAIN = {"epochs": 400, "learning_rate": 0.00001}
SEARCH = {
    "trials": 4,
    "seed": 10,
    "space": {
        "networks.plain.units": [[8], [12]],
        "networks.plain.learning_rate": [0.001, 0.002, 1e30],
    },
}
# Each trial in a process of its own, as after the tenth one by default.
ALONE = "from commands import search; search.TRIALS_A_PROCESS = 1; search.run(search.main)"


@pytest.fixture(scope="module")
def searched(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which a search has run, and what this printed."""
    folder = copy_of(short, tmp_path_factory.mktemp("searched") / "clone")
    change(folder, train={"networks": {"plain": PLAIN}}, search=SEARCH)
    return folder, must(folder, "python", "-m", "commands.search")


def ended(storage: Path) -> int:
    """How many trials an SQLite file holds that were not interrupted."""
    try:
        with closing(sqlite3.connect(f"file:{storage}?mode=ro", uri=True)) as file:
            return file.execute("select count(*) from trials where datetime_complete").fetchone()[0]
    except sqlite3.OperationalError:  # not there yet
        return 0


@pytest.mark.slow
def test_an_interrupted_search_ends_as_one_that_was_not(
    searched: tuple[Path, str], tmp_path: Path
) -> None:
    """Ctrl-C in the second trial or the third, SIGKILL in a later one."""
    folder, expected = searched
    storage = tmp_path / "new" / "trials.db"
    again = ("--storage", str(storage))
    for sent in (signal.SIGINT, signal.SIGKILL):
        before = ended(storage)
        process = begin(folder, "python", "-m", "commands.search", *again)
        wait_until(lambda: ended(storage) > before or process.poll() is not None)  # noqa: B023
        process.send_signal(sent)
        output, errors = process.communicate(timeout=60)
        assert output == ""
        assert "Traceback" not in errors
        if sent == signal.SIGINT:
            assert process.returncode == 1
            assert f"interrupted after {ended(storage)} of 4 trials; the same command" in errors
    assert 2 <= ended(storage) < 4
    done = run(folder, "python", "-c", ALONE, *again)
    assert (done.stdout, done.stderr) == (expected, "")


def test_ctrl_c_counts_while_objects_are_removed() -> None:
    """Python drops an exception there, and a search removes many objects between its trials."""
    code = (
        "import os, signal, time\nfrom tabular.core.process import run\n"
        "class Removed:\n    def __del__(self): os.kill(os.getpid(), signal.SIGINT)\n"
        "def main():\n    Removed()\n    time.sleep(20)\n    print('not interrupted')\n"
        "run(main)"
    )
    process = begin(PROJECT, "python", "-c", code)
    assert process.communicate(timeout=60) == ("", "interrupted\n")
    assert process.returncode == 1


@pytest.mark.slow
def test_the_printed_command_gives_the_printed_score(searched: tuple[Path, str]) -> None:
    folder, output = searched
    assert "given up" in output.splitlines()[0]
    best, command = output.splitlines()[3].split(), output.splitlines()[-1]
    assert command.startswith("dvc exp run -S ")
    must(folder, "bash", "-c", command)
    assert f"{read_scores(folder)['cross_validation']['loss']:.6f}" == best[1]
