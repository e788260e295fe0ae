"""A labelled file gets the scores that the stage `evaluate` gives the same rows."""

import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.commands import call_command, run_command
from tests.helpers import BINARY, PROJECT
from tests.projects import (
    change_settings,
    copy_project,
    read_gate,
    read_json,
    read_scores,
    run_stages,
)


@pytest.fixture(scope="module")
def project(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of `short_run` with its test rows in the file `rows.csv`."""
    folder = copy_project(short_run, tmp_path_factory.mktemp("scored") / "project")
    pd.read_parquet(folder / "data/split/test").to_csv(folder / "rows.csv", index=False)
    return folder


def score(folder: Path, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Call the command in a folder, and return the scores that it writes and what it prints."""
    output = call_command(folder, "score", *arguments, "-o", "written.json")
    return read_json(folder / "written.json"), output


def scores_of_rows(folder: Path, row_set: str = "test") -> list[dict[str, Any]]:
    """Return the scores of the last run in a folder for a set of rows, as those of test rows."""
    scores = read_json(folder / "metrics/scores.json")["scores"]
    return [each | {"row_set": "test"} for each in scores if each["row_set"] == row_set]


def test_the_test_rows_get_the_scores_of_evaluate(project: Path) -> None:
    scores, output = score(project, "rows.csv")
    assert scores["scores"] == scores_of_rows(project)
    assert len(output.splitlines()) == len(BINARY.metrics) + 2
    assert "not significant" in output


def test_training_rows_are_a_warning_and_bad_rows_an_error(project: Path) -> None:
    _, output = score(project, "data/raw/diabetes.csv")
    assert "warn: 514 of 768 rows are training rows" in output
    frame = pd.read_csv(project / "rows.csv")
    frame.loc[3, "Age"] = 500
    for rows, message in (
        (frame, r"bad\.csv, line 5, column Age: "),
        (frame.drop(columns="Outcome"), "missing: Outcome"),
    ):
        rows.to_csv(project / "bad.csv", index=False)
        with pytest.raises(SystemExit, match=message):
            score(project, "bad.csv")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_have_scores_without_intervals(project: Path, count: int) -> None:
    """All rows are negative here, so the recall is undefined and not 0."""
    frame = pd.read_csv(project / "rows.csv")
    frame[frame["Outcome"] == 0][:count].to_csv(project / "few.csv", index=False)
    scores, output = score(project, "few.csv")
    assert f"warn: {scores['warnings'][-1]}\n" in output
    assert all(each.keys() & {"interval", "difference"} == set() for each in scores["scores"])
    assert {"recall", "roc_auc"}.isdisjoint(each["metric"] for each in scores["scores"])
    assert re.search(r"^Recall +– ", output, re.MULTILINE)
    assert not re.search(r"^\w.*(\d to |better|worse|chance)", output, re.MULTILINE)


def test_a_model_alone_is_scored_without_baselines(project: Path, tmp_path: Path) -> None:
    shutil.copy(project / "models/model.keras", tmp_path / "m.keras")
    command = f"python -m keras_tabular score m.keras < {project}/rows.csv"
    done = run_command(tmp_path, "bash", "-c", command, PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    assert "No baselines, because data/split/train does not contain the" in done.stderr
    accuracy = read_scores(project).value("test", "accuracy")
    assert f"\nAccuracy           {accuracy:.3f}  " in done.stdout


def test_baselines_belong_to_the_model_that_is_scored(workspace: Path, project: Path) -> None:
    """Another model has other thresholds, and a model of other training rows has no baselines."""
    rows = project / "rows.csv"
    change_settings(workspace, evaluate={"threshold": 0.8})
    run_stages(workspace, "calibrate", "calibrate")  # dvc.lock contains the hash of the old model
    scores, _ = score(workspace, rows)
    run_stages(workspace, "evaluate", "evaluate")
    assert scores["scores"] == scores_of_rows(workspace)
    change_settings(workspace, split={"seed": 7})
    run_stages(workspace, "split", "split")
    scores, output = score(workspace, rows)
    assert {each["model"] for each in scores["scores"]} == {"model"}
    assert "No baselines, because data/split/train does not " in output


def test_evaluate_scores_files_of_data_tests_and_the_gate_limits_them(
    workspace: Path, project: Path
) -> None:
    """The scores are those of the command. A wrong header or path is an error."""
    file = workspace / "data/tests/newer.csv"
    pd.read_csv(project / "rows.csv")[::2].to_csv(file, index=False)
    limits = {"tests": {"newer": {"accuracy": 0.99}}}
    change_settings(workspace, evaluate={"tests": ["newer.csv"]}, gate={"lowest": limits})
    run_stages(workspace, "evaluate")
    evaluation, (expected, _) = read_scores(workspace), score(workspace, file)
    assert expected["scores"] == scores_of_rows(workspace, "tests.newer")
    assert (evaluation.rows("tests.newer"), evaluation.training_rows["newer"]) == (127, 0)
    metrics = read_json(workspace / "metrics/metrics.json")
    assert metrics["tests"]["newer"]["accuracy"] == evaluation.value("tests.newer", "accuracy")
    gate = read_gate(workspace)
    assert gate["status"] == gate["checks"]["lowest tests.newer.accuracy"]["status"] == "fail"

    file.write_text("Age,Outcome\n")
    with pytest.raises(SystemExit, match=r"newer\.csv, line 1: "):
        run_stages(workspace, "evaluate")
    for name, message in (
        ("../raw/diabetes.csv", r"evaluate\.tests"),
        ("old.csv", r"old\.csv does not exist, but evaluate\.tests in params\.yaml lists it"),
    ):
        change_settings(workspace, evaluate={"tests": [name, "newer.csv"]})
        with pytest.raises(SystemExit, match=message):
            run_stages(workspace, "evaluate")
