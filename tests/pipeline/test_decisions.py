"""One measure decides: the owner of a table names it, and everything that is said speaks of it."""

import re
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.scoring.scores import Predictions
from keras_tabular.tasks.metrics import CustomMetric
from tests import projects
from tests.commands import call_command
from tests.projects import read_gate, read_scores


def let_metric_decide(project: Path, key: str, label: str, **evaluate: Any) -> None:
    """Evaluate the model of a project again, and check that everything that is said names a metric.

    Args:
        project: A copy of a trained project.
        evaluate: The settings by which the metric decides.
    """
    training = projects.SHORT_TRAINING  # of the search
    projects.change_settings(project, evaluate=evaluate, search={"trials": 1}, train=training)
    with redirect_stdout(StringIO()) as output:
        projects.run_stages(project, first="calibrate")
    rows = read_scores(project).rows("test")
    assert re.search(rf"^{label}: [\d.]+ on {rows} test rows", output.getvalue(), re.MULTILINE)
    gate = read_gate(project)
    assert gate["headline"].startswith(f"{label} ")
    for check in gate["checks"].values():
        assert check["metric"] == key
        assert f"({label.lower()} " in check["reason"].lower()
    call_command(project, "report", "-o", "page.html")
    first_row = re.compile(rf'<tbody>\s*<tr><th scope="row">\s*{label}')
    assert first_row.search((project / "page.html").read_text())
    assert read_scores(project).value("cross_validation", key) is not None
    assert f"has the best cross-validated {key}, " in call_command(project, "search")


def compute_profit(rows: Predictions) -> float:
    gain = np.where(rows.y == 1, 3.0, -1.0) * rows.predicted_classes
    return float(np.average(gain, weights=rows.weight))


def test_a_metric_of_the_project_decides(
    binary_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = projects.copy_project(binary_project, tmp_path / "project")
    for module in ("stages.evaluate", "custom"):  # the first one imports the second one
        monkeypatch.setattr(f"{module}.METRICS", [CustomMetric("profit", compute_profit, True)])
    let_metric_decide(project, "custom.profit", "profit", metric="custom.profit")


def test_the_class_with_the_lowest_expected_cost_is_predicted(
    trained_project: Callable[[str], Path], tmp_path: Path
) -> None:
    """With a utility matrix over three classes, in which it is very expensive to miss class 0."""
    project = projects.copy_project(trained_project("wine"), tmp_path / "wine")
    costs = {0: {1: 1000, 2: 1000}, 1: {0: 1}, 2: {0: 1, 1: 1, 2: -1}}
    let_metric_decide(project, "cost", "Cost per row", threshold={"cost": costs})
    rows = pd.read_parquet(project / "data/predictions")
    probabilities = rows[[f"probability_{k}" for k in range(3)]].to_numpy(float)
    matrix = np.array([[0, 1000, 1000], [1, 0, 0], [1, 1, -1]])
    assert (rows["predicted"] == (probabilities @ matrix).argmin(axis=1)).all()
    assert (rows["predicted"] != probabilities.argmax(axis=1)).any()
    cost, scores = matrix[rows["actual"], rows["predicted"]].mean(), read_scores(project)
    assert scores.value("test", "cost") == pytest.approx(cost, abs=1e-6)
    assert scores.constant_costs["always 0"] == pytest.approx((rows["actual"] > 0).mean(), abs=1e-6)
    new, predicted = project / "data/split/test/part-00000.parquet", project / "new.parquet"
    call_command(project, "predict", new, "-o", str(predicted))
    assert (pd.read_parquet(predicted)["predicted"] == rows["predicted"]).all()
