"""Groups of rows are compared as fairlearn does, also by a column that the model does not read."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from keras_tabular.config.schema import load_schema
from keras_tabular.scoring.evaluation import Evaluation
from tests.commands import call_main, check_output, stages_that_ran
from tests.projects import (
    LONGER_TRAINING,
    change_settings,
    create_project,
    read_output_hashes,
    read_scores,
    run_stages,
)
from tests.subgroups import assert_equals_fairlearn

# The target of each table, and the columns of groups. The model does not read the first of these.
TABLES: dict[str, tuple[str, list[str]]] = {
    "anes96": ("vote", ["educ", "PID"]),
    "credit_data": ("Status", ["Home", "Marital", "Records"]),
}
# A folder with credit_data.csv, from the R package modeldata.
PUBLIC_TABLES = os.environ.get("PUBLIC_TABLES", "")


def load_public_table(name: str) -> pd.DataFrame:
    if name == "anes96":  # answers to a survey before an election; in the public domain
        from statsmodels.datasets import anes96

        return anes96.load_pandas().data.drop(columns=["popul", "selfLR"])
    if not PUBLIC_TABLES:
        pytest.skip("PUBLIC_TABLES is not set to the folder of credit_data.csv")
    return pd.read_csv(Path(PUBLIC_TABLES) / f"{name}.csv")


@pytest.mark.parametrize("name", ["anes96", pytest.param("credit_data", marks=pytest.mark.slow)])
def test_groups_of_a_trained_model_equal_those_of_fairlearn(name: str, tmp_path: Path) -> None:
    frame, (target, columns) = load_public_table(name), TABLES[name]
    frame[target] = frame.pop(target)
    folder = create_project(tmp_path / "project", frame)
    value, ignore = frame[columns[0]].dropna().tolist()[0], {"ignore": columns[:1]}
    declared = {"groups": columns, "slices": {"first": {columns[0]: [value]}}}
    change_settings(folder, ignore, train=LONGER_TRAINING, evaluate=declared)
    run_stages(folder)

    evaluation = Evaluation.model_validate(read_scores(folder))
    test = pd.read_parquet(folder / "data/split/test")
    predictions = pd.read_parquet(folder / "data/predictions")
    positive = load_schema(folder / "data/schema.yaml").positive
    y, predicted = (
        (predictions[name] == positive).to_numpy().astype(float) for name in ("actual", "predicted")
    )
    for column in columns:
        values = test[column].astype("string").str.removesuffix(".0").fillna("missing")
        assert_equals_fairlearn(evaluation.subgroups[column], y, predicted, values, y * 0 + 1)
    rows = (frame[columns[0]] == value).sum()
    assert 0 < evaluation.rows("slices.first") == (test[columns[0]] == value).sum() < rows
    call_main(folder, "keras_tabular.cli.report")
    page = (folder / "report.html").read_text()
    assert all(f"Groups by {column}" in page for column in columns)


def test_groups_and_limits_of_slices_need_no_training_and_leave_other_results_as_they_are(
    workspace: Path,
) -> None:
    before, scores = read_output_hashes(workspace, "metrics/gate.json"), read_scores(workspace)
    older = {"slices": {"older": {"Age": {"low": 50}}}}
    rates, f1 = {"selection_rate_difference": 1}, {"slices": {"older": {"f1": 1}}}
    limits = {"groups": rates, "lowest": f1}
    change_settings(workspace, evaluate={"groups": ["Age"]} | older, gate=limits)
    stages = stages_that_ran(check_output(workspace, "dvc", "repro"))
    assert stages == ["calibrate", "evaluate", "gate"]
    checks = json.loads((workspace / "metrics/gate.json").read_text())["checks"]
    verdicts = {check["rule"]: check["status"] for check in checks}
    assert verdicts["groups Age.selection_rate_difference"] == "pass"
    assert verdicts["lowest slices.older.f1"] == "fail"
    after = read_output_hashes(workspace, "metrics/gate.json")
    changed = {path for path, md5 in after.items() if before[path] != md5}
    assert changed == {"metrics/scores.json", "metrics/slices.json"}
    added = read_scores(workspace)
    assert added.pop("subgroups").keys() == {"Age"}
    names = {score["row_set"] for score in added["scores"] if score not in scores["scores"]}
    assert names == {"slices.older"}
    assert added == scores | {"scores": added["scores"]}
