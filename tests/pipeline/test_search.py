"""A search goes on after an interruption, and reports the scores that train then gets."""

from pathlib import Path

import pytest

from tests.commands import check_output
from tests.projects import change_settings, copy_project, read_scores

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
def searched(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A clone in which a search has run, and what this printed."""
    folder = copy_project(short_run, tmp_path_factory.mktemp("searched") / "clone")
    change_settings(folder, train={"networks": {"plain": PLAIN}}, search=SEARCH)
    return folder, check_output(folder, "python", "-m", "keras_tabular", "search")


@pytest.mark.slow
def test_the_printed_command_gives_the_printed_score(searched: tuple[Path, str]) -> None:
    folder, output = searched
    first, *_, command = output.splitlines()
    assert command.startswith("dvc exp run -S ")
    check_output(folder, "bash", "-c", command)
    loss = read_scores(folder)["cross_validation"]["loss"]
    assert f"given up: the best is {loss:.6f}, of trial" in first
