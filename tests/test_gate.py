"""The gate gives a verdict with reasons, and `make gate` alone fails on it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.lib.gate import Run, judge, numbers, run_at
from stages.lib.params import SCORES, Gate, load_params
from stages.lib.scores import score
from tests.conftest import must, run
from tests.test_evaluate import data

MADE = {"MAKEFLAGS": "-o .venv/installed"}  # the environment is the one that runs the tests


def verdicts(metrics: dict[str, Any], gate: Gate, task: str = "binary") -> list[str]:
    last = Run("abc", {"test": {"accuracy": 0.8, "loss": 0.5}})
    return [check["verdict"] for check in judge(metrics, last, gate, data(task))["checks"]]


def test_a_run_fails_the_gate_and_not_the_pipeline_and_the_verdict_outlives_its_commit(
    workspace: Path,
) -> None:
    params = workspace / "params.yaml"
    limits = "lowest: {test: {accuracy: 0.7}, cross_validation: {roc_auc: 0.99}}"
    params.write_text(params.read_text().replace("lowest: {}", limits))
    must(workspace, "dvc", "exp", "run", "-S", "train.epochs=3")

    verdict = (workspace / "metrics" / "gate.json").read_bytes()
    checks = {check["rule"]: check for check in json.loads(verdict)["checks"]}
    assert json.loads(verdict)["verdict"] == "fail"
    assert checks["lowest cross_validation.roc_auc"]["verdict"] == "fail"
    assert "needed at least 0.99" in checks["lowest cross_validation.roc_auc"]["reason"]
    head = must(workspace, "git", "rev-parse", "HEAD~1").strip()[:7]
    assert f"of {head}" in checks["worse_than_last test.loss"]["reason"]
    made = run(workspace, "make", "gate", **MADE)
    assert made.returncode != 0
    assert "Gate: fail" in made.stdout
    assert "Traceback" not in made.stderr

    must(workspace, "git", "commit", "-qam", "A short training")
    must(workspace, "dvc", "repro", "--force", "--single-item", "gate")
    assert (workspace / "metrics" / "gate.json").read_bytes() == verdict
    against = must(
        workspace, "python", "-m", "stages.gate", "metrics/metrics.json", "--against", "HEAD"
    )
    score = json.loads((workspace / "metrics" / "metrics.json").read_text())["test"]["loss"]
    assert f"worse than {score:g} of" in against


def test_the_gate_passes_the_committed_run(workspace: Path) -> None:
    assert "Gate: pass" in must(workspace, "make", "gate", **MADE)


def test_an_unknown_revision_is_named(reproduced: Path) -> None:
    command = ("python", "-m", "stages.gate", "metrics/metrics.json", "--against", "nowhere")
    assert run(reproduced, *command).stderr.startswith("error: nowhere: git knows no such revision")


def test_a_run_of_another_table_or_without_results_is_nothing_to_compare_with(
    reproduced: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(reproduced)
    metrics, params = Path("metrics/metrics.json"), Path("params.yaml")
    table = load_params().data
    assert run_at("HEAD", metrics, params, table).metrics
    other = run_at("HEAD", metrics, params, table.model_copy(update={"source": "data/raw/b.csv"}))
    assert other.metrics == {}
    assert "its data.source is data/raw/diabetes.csv" in other.name
    assert run_at("HEAD", metrics.resolve(), params.resolve(), table).metrics
    for broken in (Path("dvc.yaml"), Path("README.md"), Path("nowhere")):
        assert run_at("HEAD", metrics, broken, table).metrics == {}


def test_limits_and_how_much_worse_a_score_may_get() -> None:
    metrics = {"test": {"accuracy": 0.79, "loss": 0.53}}
    gate = Gate.model_validate(
        {
            "lowest": {"test": {"accuracy": 0.79}},
            "highest": {"test": {"loss": 0.52}},
            "worse_than_last": {"test": {"accuracy": 0.01, "loss": 0.02}},
        }
    )
    assert verdicts(metrics, gate) == ["pass", "fail", "pass", "fail"]
    assert verdicts({}, gate) == ["fail"] * 4
    alone = judge(metrics, Run("no earlier run", {}), gate, data("binary"))["checks"]
    assert [check["verdict"] for check in alone] == ["pass", "fail", "skipped", "skipped"]


@pytest.mark.parametrize(
    ("task", "better", "worse"),
    [("binary", 0.8, 0.7), ("multiclass", 0.8, 0.7), ("regression", 0.7, 0.8)],
)
def test_the_baselines_have_to_be_beaten_and_not_only_met(
    task: str, better: float, worse: float
) -> None:
    name = "mae" if task == "regression" else "accuracy"
    constant, linear = (
        ("mean", "ridge") if task == "regression" else ("majority", "logistic_regression")
    )
    metrics = {
        "test": {name: better},
        "baseline": {constant: {name: worse}, linear: {name: better}},
    }
    assert verdicts(metrics, Gate(beat_baselines=("constant", "linear")), task) == ["pass", "fail"]


@pytest.mark.parametrize("task", SCORES)
def test_the_scores_that_the_gate_knows_are_those_of_the_task(task: str) -> None:
    y = np.array([0.0, 1.0, 2.0, 1.0]) if task == "multiclass" else np.array([0.0, 1.0, 1.0, 0.0])
    found = score(y, np.full((4, 3 if task == "multiclass" else 1), 0.3), data(task), 0.5)
    assert set(SCORES[task]) == set(numbers(found)) - {"rows"}
