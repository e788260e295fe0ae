"""A search goes on after an interruption, and reports the scores that train then gets."""

import signal
from pathlib import Path

import pytest

from tests.helpers import PROJECT, begin, change, copy_of, must, read_scores, wait_until

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


@pytest.fixture(scope="module")
def searched(short: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which a search has run, and what this printed."""
    folder = copy_of(short, tmp_path_factory.mktemp("searched") / "clone")
    change(folder, train={"networks": {"plain": PLAIN}}, search=SEARCH)
    return folder, must(folder, "python", "-m", "commands.search")


def count_ended(journal: Path) -> int:
    """Return how many trials have a score or were given up, as Optuna's journal has it."""
    lines = journal.read_text().splitlines() if journal.exists() else []
    return sum('"state":1' in line or '"state":2' in line for line in lines)


@pytest.mark.slow
def test_an_interrupted_search_continues(searched: tuple[Path, str], tmp_path: Path) -> None:
    """It is ended by Ctrl-C in a trial, then by SIGKILL in a later one."""
    folder, expected = searched
    journal = tmp_path / "new" / "trials.log"
    command = ("python", "-m", "commands.search", "--storage", str(journal))
    for sent, code in ((signal.SIGINT, 1), (signal.SIGKILL, -signal.SIGKILL)):
        before = count_ended(journal)
        process = begin(folder, *command)
        wait_until(lambda: count_ended(journal) > before or process.poll() is not None)  # noqa: B023
        process.send_signal(sent)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output) == (code, "")
        assert errors == ("interrupted\n" if sent == signal.SIGINT else "")
    ended = count_ended(journal)
    assert 2 <= ended < 4
    assert must(folder, *command).splitlines()[0] == expected.splitlines()[0]
    assert count_ended(journal) == 4


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
