"""A search prints a command, and this command gets the score that the search reports."""

from pathlib import Path

import pytest

from tests.commands import call_command, check_output
from tests.projects import change_settings, copy_project, read_scores

# Trainings of about a second, which diverge with one of the learning rates.
PLAIN = {"epochs": 40, "learning_rate": 0.00001}
TRAIN = {"members": [{"network": "plain", "count": 2}], "networks": {"plain": PLAIN}}
SEARCH = {
    "trials": 4,
    "seed": 10,
    "space": {
        "networks.plain.units": [[8], [12]],
        "networks.plain.learning_rate": [0.001, 0.002, 1e30],
    },
}


@pytest.mark.slow
def test_the_printed_command_gets_the_printed_score(short_run: Path, tmp_path: Path) -> None:
    project = copy_project(short_run, tmp_path / "project")
    change_settings(project, train=TRAIN, search=SEARCH)
    output = call_command(project, "search")
    command = output.splitlines()[-1]
    assert command.startswith("dvc exp run -S ")
    check_output(project, "bash", "-c", command)
    loss = read_scores(project).value("cross_validation", "loss")
    assert f"has the best cross-validated loss, {loss:.6f}." in output
