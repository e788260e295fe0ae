"""Experiments in the queue: run side by side, compared, applied, left again."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helpers import must, wait_for_queue


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    """State, parameters and metrics of each queued experiment on the last commit, by name."""
    commit = json.loads(must(folder, "dvc", "exp", "show", "--json"))[1]
    found = {}
    for experiment in commit["experiments"]:
        data = experiment["revs"][0]["data"]
        found[experiment["name"]] = {
            "state": experiment["executor"]["state"],
            "params": {name: file["data"] for name, file in data["params"].items()},
            "metrics": {name: file["data"] for name, file in data["metrics"].items()},
        }
    return found


def headline(experiment: dict[str, Any]) -> dict[str, Any]:
    return experiment["metrics"]["metrics/metrics.json"]


def test_a_value_stays_until_one_goes_back_and_what_changed_fits_a_terminal(
    workspace: Path,
) -> None:
    """As the pages say of `dvc exp run -S`; a comment in params.yaml changes no stage."""
    params = workspace / "params.yaml"
    params.write_text("# More to say\n" + params.read_text())
    assert "up to date" in must(workspace, "dvc", "status")
    must(workspace, "git", "commit", "-qam", "A comment")
    text, metrics = params.read_text(), (workspace / "metrics/metrics.json").read_text()

    def try_out(name: str, value: str) -> None:
        must(workspace, "dvc", "exp", "run", "--name", name, "-S", value)

    threshold, loss = "evaluate.threshold=0.4", "gate.worse_than_last.test.loss=0.1"
    try_out("one", threshold)
    try_out("both", loss)
    must(workspace, "git", "restore", "params.yaml", "dvc.lock", "metrics")
    must(workspace, "dvc", "checkout")
    assert "up to date" in must(workspace, "dvc", "status")
    assert params.read_text() == text
    assert (workspace / "metrics/metrics.json").read_text() == metrics
    try_out("other", loss)

    shown = must(workspace, "python", "-m", "commands.exp_show").splitlines()
    assert max(map(len, shown)) <= 100
    header = r"experiment +test accuracy +test loss +cv accuracy +cv loss +changed"
    assert re.fullmatch(header, shown[0])
    scores = r"( +0\.\d{1,5}){4} +"
    changed = {line.split()[0]: re.sub(rf"^\w+{scores}", "", line) for line in shown[1:]}
    assert changed["one"] == changed["both"] == threshold
    assert changed["other"] == changed["workspace"] == loss
    assert shown[[line.split()[0] for line in shown].index("both") + 1].strip() == loss


@pytest.mark.slow
def test_a_queued_grid_runs_side_by_side_and_one_result_is_taken(workspace: Path) -> None:
    params, metrics = workspace / "params.yaml", workspace / "metrics/metrics.json"
    before = json.loads(metrics.read_text())
    grid = ["-S", "train.networks.plain.units=[4],[8,4]"]
    must(workspace, "dvc", "exp", "run", "--queue", "--name", "grid", *grid)
    must(workspace, "dvc", "queue", "start", "-j", "2")
    assert wait_for_queue(workspace) == 2
    assert must(workspace, "git", "status", "--porcelain") == ""

    experiments = shown(workspace)
    assert experiments.keys() == {"grid-1", "grid-2"}
    for name, units in (("grid-1", [4]), ("grid-2", [8, 4])):
        experiment = experiments[name]
        assert experiment["state"] == "success"
        # What a person can turn, and which table it is; no column of it, and the headline alone.
        assert experiment["params"].keys() == {"params.yaml", "data/schema.yaml"}
        assert experiment["params"]["data/schema.yaml"] == {"source": "data/raw/diabetes.csv"}
        assert experiment["metrics"].keys() == {"metrics/metrics.json"}
        train = experiment["params"]["params.yaml"]["train"]
        assert (train["networks"]["plain"]["units"], train["folds"]) == (units, 2)
        assert train["members"] == [{"network": "plain"}]
        log = must(workspace, "dvc", "queue", "logs", name)
        assert f"Accuracy: {headline(experiment)['test']['accuracy']:.3f}" in log
        assert not any(word in log for word in ("Traceback", "WARNING", "ERROR"))
    losses = [headline(each)["test"]["loss"] for each in experiments.values()]
    assert len({*losses, before["test"]["loss"]}) == 3

    must(workspace, "dvc", "exp", "apply", "grid-2")
    assert yaml.safe_load(params.read_text()) == experiments["grid-2"]["params"]["params.yaml"]
    assert json.loads(metrics.read_text()) == headline(experiments["grid-2"])
    output = must(workspace, "dvc", "repro")
    assert "Running stage" not in output
    assert "up to date" in output

    must(workspace, "git", "checkout", ".")
    must(workspace, "dvc", "checkout")
    assert json.loads(metrics.read_text()) == before
    assert "up to date" in must(workspace, "dvc", "repro")
