"""Experiments in the queue: run side by side, compared, applied, left again."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import must, wait_for_queue


def shown(folder: Path) -> dict[str, dict[str, Any]]:
    """State, parameters and metrics of each queued experiment on the last commit, by name."""
    commit = json.loads(must(folder, "dvc", "exp", "show", "--json"))[1]
    return {
        experiment["name"]: {
            "state": experiment["executor"]["state"],
            "params": experiment["revs"][0]["data"]["params"]["params.yaml"]["data"],
            "metrics": experiment["revs"][0]["data"]["metrics"]["metrics/metrics.json"]["data"],
        }
        for experiment in commit["experiments"]
    }


def test_a_queued_grid_runs_side_by_side_and_one_result_is_taken(workspace: Path) -> None:
    params, metrics = workspace / "params.yaml", workspace / "metrics/metrics.json"
    before = json.loads(metrics.read_text())
    grid = ["-S", "train.units=[4],[8,4]", "-S", "train.epochs=2", "-S", "train.ensemble=2"]
    must(workspace, "dvc", "exp", "run", "--queue", "--name", "grid", *grid)
    must(workspace, "dvc", "queue", "start", "-j", "2")
    assert wait_for_queue(workspace) == 2
    assert must(workspace, "git", "status", "--porcelain") == ""

    experiments = shown(workspace)
    assert experiments.keys() == {"grid-1", "grid-2"}
    for name, units in (("grid-1", [4]), ("grid-2", [8, 4])):
        experiment = experiments[name]
        assert experiment["state"] == "success"
        train = experiment["params"]["train"]
        assert (train["units"], train["epochs"], train["ensemble"]) == (units, 2, 2)
        log = must(workspace, "dvc", "queue", "logs", name)
        assert f"Accuracy: {experiment['metrics']['test']['accuracy']:.2%}" in log
        assert not any(word in log for word in ("Traceback", "WARNING", "ERROR"))
    losses = [each["metrics"]["test"]["loss"] for each in experiments.values()]
    assert len({*losses, before["test"]["loss"]}) == 3

    must(workspace, "dvc", "exp", "apply", "grid-2")
    assert yaml.safe_load(params.read_text()) == experiments["grid-2"]["params"]
    assert json.loads(metrics.read_text()) == experiments["grid-2"]["metrics"]
    output = must(workspace, "dvc", "repro")
    assert "Running stage" not in output
    assert "up to date" in output

    must(workspace, "git", "checkout", ".")
    must(workspace, "dvc", "checkout")
    assert json.loads(metrics.read_text()) == before
    assert "up to date" in must(workspace, "dvc", "repro")
