"""One metric decides, and the gate gives a verdict with reasons."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.evaluation.scores import Predictions
from keras_tabular.tasks.metrics import CustomMetric
from tests import projects
from tests.commands import call_command, check_output, run_command, stages_that_ran
from tests.documentation import MAKE_VARIABLES
from tests.projects import change_settings, copy_project, read_gate, read_scores


def let_metric_decide(project: Path, key: str, label: str, **evaluate: Any) -> None:
    """Evaluate a model again, and check that all that is printed names a metric.

    Args:
        project: A copy of a trained project.
        evaluate: The settings by which the metric decides.
    """
    change_settings(project, evaluate=evaluate)
    with redirect_stdout(StringIO()) as output:
        projects.run_stages(project, first="calibrate")
    rows = read_scores(project).rows("test")
    assert re.search(
        rf"^{label}: [\d.]+ on {rows} test rows",
        output.getvalue(),
        re.MULTILINE,
    )
    gate = read_gate(project)
    assert gate["headline"].startswith(f"{label} ")
    for check in gate["checks"].values():
        assert check["metric"] == key
        assert f"({label.lower()} " in check["reason"].lower()
    call_command(project, "report", "-o", "page.html")
    first_row = re.compile(rf'<tbody>\s*<tr><th scope="row">\s*{label}')
    assert first_row.search((project / "page.html").read_text())
    assert read_scores(project).value("cross_validation", key) is not None


def compute_profit(rows: Predictions) -> float:
    gain = np.where(rows.y == 1, 3.0, -1.0) * rows.predicted_classes
    return float(np.average(gain, weights=rows.weight))


def test_a_metric_of_the_project_decides(
    binary_project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    project = copy_project(binary_project, tmp_path / "project")
    for module in ("stages.evaluate", "custom"):  # the first one imports the second one
        monkeypatch.setattr(
            f"{module}.METRICS",
            [CustomMetric("profit", compute_profit, True)],
        )
    let_metric_decide(project, "custom.profit", "profit", metric="custom.profit")


def test_the_class_with_the_lowest_expected_cost_is_predicted(
    trained_project: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    """A matrix of costs makes it very expensive to miss class 0 of three."""
    project = copy_project(trained_project("wine"), tmp_path / "wine")
    costs = {
        0: {1: 1000, 2: 1000},
        1: {0: 1},
        2: {0: 1, 1: 1, 2: -1},
    }
    let_metric_decide(project, "cost", "Cost per row", threshold={"cost": costs})
    rows = pd.read_parquet(project / "data/predictions")
    probabilities = rows[[f"probability_{k}" for k in range(3)]].to_numpy(float)
    matrix = np.array([[0, 1000, 1000], [1, 0, 0], [1, 1, -1]])
    assert (rows["predicted"] == (probabilities @ matrix).argmin(axis=1)).all()
    assert (rows["predicted"] != probabilities.argmax(axis=1)).any()
    cost = matrix[rows["actual"], rows["predicted"]].mean()
    scores = read_scores(project)
    assert scores.value("test", "cost") == pytest.approx(cost, abs=1e-6)
    new = project / "data/split/test/part-00000.parquet"
    predicted = project / "new.parquet"
    call_command(project, "predict", new, "-o", str(predicted))
    assert (pd.read_parquet(predicted)["predicted"] == rows["predicted"]).all()


def test_a_failed_gate_fails_only_make_gate_and_a_commit_keeps_the_verdict(
    experiment: Path,
    tmp_path: Path,
) -> None:
    folder = copy_project(experiment, tmp_path / "project")
    call_gate = partial(call_command, folder, "gate", exit_code=1)
    limits = {"test": {"accuracy": 0.5}, "cross_validation": {"roc_auc": 0.99}}
    change_settings(folder, gate={"min": limits, "beat_baselines": []})
    completed = run_command(folder, "make gate BASE=small", **MAKE_VARIABLES)
    assert stages_that_ran(completed.stdout) == ["gate"]
    assert not re.search("dvc push|git add|autostage", completed.stdout)
    assert completed.returncode != 0
    same = "test.loss is 0.0% better than in small on 254 test rows"
    assert same in completed.stdout
    assert re.search(
        r"^fail: cross_validation\.roc_auc is ",
        completed.stdout,
        re.MULTILINE,
    )
    assert "\nGate: fail\n" in completed.stdout
    assert "Traceback" not in completed.stderr
    verdict = (folder / "metrics/gate.json").read_bytes()
    gate = read_gate(folder)
    checks = gate["checks"]
    assert gate["status"] == "fail"
    assert checks["min test.accuracy"]["status"] == "pass"
    assert checks["min cross_validation.roc_auc"]["status"] == "fail"
    assert "worse_than_base test.loss" not in checks  # it depends on the history

    last = check_output(folder, "git log -1 --format=%H -- metrics/metrics.json")
    assert re.search(rf"test.loss is .* in {last[:7]} on 254 test rows", call_gate())
    small = "git for-each-ref --format=%(objectname) refs/exps/*/*/small"
    check_output(folder, f"git tag model#prod#1 {check_output(folder, small)}")
    change_settings(folder, gate={"base": "model#prod"})
    assert same.replace("small", "model#prod") in call_gate()
    projects.run_stages(folder, "gate", "gate")
    assert (folder / "metrics/gate.json").read_bytes() == verdict


def test_limits_of_slices_need_no_training_and_leave_other_results_as_they_are(
    workspace: Path,
) -> None:
    before = projects.read_output_hashes(workspace, "metrics/gate.json")
    scores = read_scores(workspace)
    older = {"slices": {"older": {"Age": {"low": 50}}}}
    change_settings(
        workspace,
        evaluate=older,
        gate={"min": {"slices": {"older": {"f1": 1}}}},
    )
    projects.reproduce(workspace, "calibrate")
    assert read_gate(workspace)["checks"]["min slices.older.f1"]["status"] == "fail"
    after = projects.read_output_hashes(workspace, "metrics/gate.json")
    changed = {path for path, md5 in after.items() if before[path] != md5}
    assert changed == {"metrics/scores.json", "metrics/slices.json"}
    added = read_scores(workspace)
    assert {s.row_set for s in added.scores if s not in scores.scores} == {
        "slices.older",
    }
    (score,) = (s for s in added.scores if s.key == "slices.older.accuracy")
    assert score.interval  # as those of all held-out rows
    assert added.model_copy(update={"scores": scores.scores}) == scores
