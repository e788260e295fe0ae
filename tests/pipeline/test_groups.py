"""Groups of rows are compared as fairlearn does, also by a column that the model does not read."""

from pathlib import Path

import pandas as pd
from statsmodels.datasets import anes96

from keras_tabular.config.schema import load_schema
from tests.commands import call_command, check_output, stages_that_ran
from tests.projects import (
    LONGER_TRAINING,
    change_settings,
    create_project,
    read_gate,
    read_output_hashes,
    read_scores,
    run_stages,
)
from tests.subgroups import assert_equals_fairlearn


def test_groups_of_a_trained_model_equal_those_of_fairlearn(tmp_path: Path) -> None:
    """The table has answers to a survey before an election. The model does not read `educ`."""
    frame = anes96.load_pandas().data.drop(columns=["popul", "selfLR"])
    frame["vote"], columns = frame.pop("vote"), ["educ", "PID"]
    folder = create_project(tmp_path / "project", frame)
    value = frame["educ"].tolist()[0]
    declared = {"groups": columns, "slices": {"first": {"educ": [value]}}}
    change_settings(folder, {"ignore": ["educ"]}, train=LONGER_TRAINING, evaluate=declared)
    run_stages(folder)

    evaluation = read_scores(folder)
    test = pd.read_parquet(folder / "data/split/test")
    predictions = pd.read_parquet(folder / "data/predictions")
    positive = load_schema(folder / "data/schema.yaml").positive
    y, predicted = (
        (predictions[name] == positive).to_numpy().astype(float) for name in ("actual", "predicted")
    )
    for column in columns:
        values = test[column].astype("string").str.removesuffix(".0").fillna("missing")
        assert_equals_fairlearn(evaluation.subgroups[column], y, predicted, values, y * 0 + 1)
    assert evaluation.rows("slices.first") == (test["educ"] == value).sum() > 0
    call_command(folder, "report")
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
    checks = read_gate(workspace)["checks"]
    assert checks["groups Age.selection_rate_difference"]["status"] == "pass"
    assert checks["lowest slices.older.f1"]["status"] == "fail"
    after = read_output_hashes(workspace, "metrics/gate.json")
    changed = {path for path, md5 in after.items() if before[path] != md5}
    assert changed == {"metrics/scores.json", "metrics/slices.json"}
    added = read_scores(workspace)
    assert added.subgroups.keys() == {"Age"}
    assert {s.row_set for s in added.scores if s not in scores.scores} == {"slices.older"}
    update = {"subgroups": {}, "scores": scores.scores}
    assert added.model_copy(update=update) == scores
