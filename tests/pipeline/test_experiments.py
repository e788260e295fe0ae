"""Experiments change parameters, which stay until they are restored."""

import re
from pathlib import Path

import pytest

from tests.commands import check_output


@pytest.mark.slow
def test_experiments_accumulate_until_one_goes_back(workspace: Path) -> None:
    """A comment in params.yaml reruns no stage."""
    params, metrics = workspace / "params.yaml", workspace / "metrics/metrics.json"
    params.write_text("# A comment\n" + params.read_text())
    assert "up to date" in check_output(workspace, "dvc", "status")
    check_output(workspace, "git", "commit", "-qam", "A comment")
    before = params.read_text(), metrics.read_text()

    def run_experiment(name: str, change: str) -> None:
        check_output(workspace, "dvc", "exp", "run", "--name", name, "-S", change)

    threshold, loss = "evaluate.threshold=0.4", "gate.worse_than_last.test.loss=0.1"
    run_experiment("one", threshold)
    run_experiment("both", loss)
    check_output(workspace, "git", "restore", "params.yaml", "dvc.lock", "metrics")
    check_output(workspace, "dvc", "checkout")
    assert "up to date" in check_output(workspace, "dvc", "status")
    assert (params.read_text(), metrics.read_text()) == before

    table = check_output(workspace, "python", "-m", "keras_tabular", "exp-show").splitlines()
    assert max(map(len, table)) <= 100
    header = r"experiment +test accuracy +test loss +cv accuracy +cv loss +changed"
    assert re.fullmatch(header, table[0])
    rows = [re.split(r" {2,}", line.rstrip()) for line in table[1:]]
    changes = {name: columns[-1] for name, *columns in rows if name}
    assert changes["one"] == changes["both"] == threshold
    (both,) = [number for number, row in enumerate(rows) if row[0] == "both"]
    assert rows[both + 1] == ["", loss]
