"""A labelled file gets the scores that the stage `evaluate` gives the same rows."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from keras_tabular.core.files import md5_hash
from tests.commands import call_command
from tests.helpers import BINARY
from tests.projects import (
    change_settings,
    copy_project,
    read_gate,
    read_json,
    read_scores,
    run_stages,
)


@pytest.fixture(scope="module")
def project(binary_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a rule for the threshold, and with a file of additional test rows.

    The file `rows.csv` contains the test rows. The additional test rows are every second one of
    them, and 20 training rows.
    """
    folder = copy_project(binary_project, tmp_path_factory.mktemp("scored") / "project")
    rows, train = (pd.read_parquet(folder / f"data/split/{name}") for name in ("test", "train"))
    rows.to_csv(folder / "rows.csv", index=False)
    (folder / "data/tests").mkdir()
    newer = pd.concat([rows[::2], train[:20]])
    newer[rows.columns].to_csv(folder / "data/tests/newer.csv", index=False)
    settings = {"threshold": {"recall": 0.95}, "tests": ["newer.csv"]}
    limits = {"tests": {"newer": {"accuracy": 0.99}}}
    change_settings(folder, evaluate=settings, gate={"lowest": limits})
    run_stages(folder, first="calibrate")
    write_lock(folder, (folder / "models/model.keras").read_bytes())
    return folder


def write_lock(folder: Path, model: bytes) -> None:
    """Write the part of dvc.lock that says which model has the scores in `metrics`."""
    stages = {"evaluate": {"deps": [{"path": "models/model.keras", "md5": md5_hash(model)}]}}
    (folder / "dvc.lock").write_text(yaml.safe_dump({"stages": stages}))


def score(folder: Path, *arguments: str | Path) -> tuple[dict[str, Any], str]:
    """Call the command in a folder, and return the scores that it writes and what it prints."""
    output = call_command(folder, "score", *arguments, "-o", "written.json")
    return read_json(folder / "written.json"), output


def scores_of_rows(folder: Path, row_set: str = "test") -> list[dict[str, Any]]:
    """Return the scores of the last run in a folder for a set of rows, as those of test rows."""
    scores = read_json(folder / "metrics/scores.json")["scores"]
    return [each | {"row_set": "test"} for each in scores if each["row_set"] == row_set]


def test_labelled_rows_get_the_scores_of_evaluate(project: Path) -> None:
    scores, output = score(project, "rows.csv")
    assert scores["scores"] == scores_of_rows(project)
    assert len(output.splitlines()) == len(BINARY.metrics) + 2
    assert "not significant" in output
    scores, output = score(project, "data/tests/newer.csv")
    assert scores["scores"] == scores_of_rows(project, "tests.newer")
    assert "warn: 20 of 119 rows are training rows" in output


def test_the_gate_limits_the_scores_of_files_in_data_tests(project: Path) -> None:
    evaluation, metrics = read_scores(project), read_json(project / "metrics/metrics.json")
    assert (evaluation.rows("tests.newer"), evaluation.training_rows["newer"]) == (119, 20)
    assert metrics["tests"]["newer"]["accuracy"] == evaluation.value("tests.newer", "accuracy")
    gate = read_gate(project)
    assert gate["status"] == gate["checks"]["lowest tests.newer.accuracy"]["status"] == "fail"


def test_baselines_belong_to_the_model_that_is_scored(project: Path, tmp_path: Path) -> None:
    """They have the thresholds of this model's scores, and learn from its training rows."""
    folder = copy_project(project, tmp_path / "project")
    write_lock(folder, b"another model")
    scores, _ = score(folder, "rows.csv")
    differing = [each for each in scores["scores"] if each not in scores_of_rows(folder)]
    assert {"recall", "precision"} <= {each["metric"] for each in differing}
    assert {each["model"] for each in differing} == {"logistic_regression", "gradient_boosting"}
    shutil.copytree(folder / "data/split/test", folder / "data/split/train", dirs_exist_ok=True)
    of_other_rows = score(folder, "rows.csv")
    shutil.rmtree(folder / "data")
    for scores, output in (of_other_rows, score(folder, "rows.csv")):
        assert {each["model"] for each in scores["scores"]} == {"model"}
        assert "No baselines, because data/split/train does not contain the " in output


def test_a_threshold_is_in_the_saved_model_and_in_all_scores(
    binary_project: Path, project: Path
) -> None:
    scores, changed = read_scores(binary_project), read_scores(project)
    assert set(changed.predicted_positives) == {"test", "cross_validation"}
    for rows in ("test", "cross_validation"):
        assert changed.value(rows, "recall") != scores.value(rows, "recall")
        assert changed.value(rows, "loss") == scores.value(rows, "loss")
    recall, threshold = changed.value("cross_validation", "recall"), changed.threshold
    assert recall
    assert recall >= 0.85  # the threshold of each row is chosen on other folds
    assert threshold
    assert threshold < 0.45
    call_command(project, "predict", "data/raw/t.csv", "-o", "new.csv")
    by_class = pd.read_csv(project / "new.csv").groupby("predicted")["probability_pos"]
    assert by_class.max()["neg"] < threshold + 1e-6
    assert by_class.min()["pos"] > threshold - 1e-6
