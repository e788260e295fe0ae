"""A labelled file gets the scores that the stage `evaluate` gives the same rows."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from keras_tabular.core.metrics import TASKS
from tests.commands import call_main, run_command
from tests.helpers import PROJECT
from tests.projects import change_settings, read_scores, run_stages

SCORE = "keras_tabular.cli.score"


@pytest.fixture(scope="module")
def rows(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test rows of the run as a CSV."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    pd.read_parquet(short_run / "data/split/test").to_csv(file, index=False)
    return file


def test_the_test_rows_get_the_scores_of_evaluate(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(short_run, SCORE, str(rows), "-o", str(tmp_path / "scores.json"))
    output = capsys.readouterr().out
    scores, expected = json.loads((tmp_path / "scores.json").read_text()), read_scores(short_run)
    assert scores["test"] == expected["test"]
    for name, baseline in scores["baseline"].items():
        assert baseline == {key: expected["baseline"][name][key] for key in baseline}
    assert scores["paired_difference"]["test"] == expected["paired_difference"]["test"]
    header, *lines = output.splitlines()[1:]
    assert header.split("  ")[0] == "score"
    assert len(lines) == len(TASKS["binary"].scores)
    assert "not significant" in output


def test_training_rows_are_a_warning_and_bad_rows_an_error(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(short_run, SCORE, "data/raw/diabetes.csv")
    assert "warn: 514 of 768 rows are training rows" in capsys.readouterr().err
    frame, bad = pd.read_csv(rows), tmp_path / "bad.csv"
    frame.loc[3, "Age"] = 500
    frame.to_csv(bad, index=False)
    with pytest.raises(SystemExit, match=r"bad\.csv, line 5, column Age: "):
        call_main(short_run, SCORE, str(bad))
    frame.drop(columns="Outcome").to_csv(bad, index=False)
    with pytest.raises(SystemExit, match="missing: Outcome"):
        call_main(short_run, SCORE, str(bad))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_have_scores_without_intervals(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """All rows are negative here, so the recall is undefined and not 0."""
    frame, few, file = pd.read_csv(rows), tmp_path / "few.csv", tmp_path / "scores.json"
    frame[frame["Outcome"] == 0][:count].to_csv(few, index=False)
    call_main(short_run, SCORE, str(few), "-o", str(file))
    output, scores = capsys.readouterr(), json.loads(file.read_text())
    assert f"warn: {scores['warnings'][-1]}\n" in output.err
    assert scores["primary_metrics"] == ["accuracy"]
    assert scores["test"].keys() == {"rows", *TASKS["binary"].scores}
    assert not any("_low" in key for baseline in scores["baseline"].values() for key in baseline)
    assert scores["paired_difference"] == {"test": {}}
    undefined = {key for key, value in scores["test"].items() if value is None}
    assert undefined >= {"recall", "roc_auc", "average_precision"}
    assert re.search(r"^Recall +– ", output.out, re.MULTILINE)
    assert not any(word in output.out for word in (" to ", "better", "worse", "chance"))


def test_a_model_alone_is_scored_without_baselines(
    short_run: Path, rows: Path, tmp_path: Path
) -> None:
    shutil.copy(short_run / "models/model.keras", tmp_path / "m.keras")
    command = f"python -m keras_tabular score m.keras < {rows}"
    done = run_command(tmp_path, "bash", "-c", command, PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    assert "No baselines, because data/split does not exist" in done.stderr
    accuracy = read_scores(short_run)["test"]["accuracy"]
    assert f"\nAccuracy           {accuracy:.3f}  " in done.stdout


def test_evaluate_scores_files_of_data_tests_and_the_gate_limits_them(
    workspace: Path, rows: Path, tmp_path: Path
) -> None:
    """The scores are those of the command. A wrong header or path is an error."""
    pd.read_csv(rows)[::2].to_csv(workspace / "data/tests/newer.csv", index=False)
    limits = {"tests": {"newer": {"accuracy": 0.99}}}
    change_settings(workspace, evaluate={"tests": ["newer.csv"]}, gate={"lowest": limits})
    run_stages(workspace, "evaluate")
    scores = read_scores(workspace)
    tested = scores["tests"]["newer"]
    assert (tested["rows"], tested["training_rows"]) == (127, 0)
    file = tmp_path / "scores.json"
    call_main(workspace, SCORE, "data/tests/newer.csv", "-o", str(file))
    expected = json.loads(file.read_text())
    assert {key: tested[key] for key in expected["test"]} == expected["test"]
    assert tested["paired_difference"] == expected["paired_difference"]["test"]
    metrics = json.loads((workspace / "metrics/metrics.json").read_text())
    assert metrics["tests"]["newer"]["accuracy"] == tested["accuracy"]
    gate = json.loads((workspace / "metrics/gate.json").read_text())
    assert gate["verdict"] == "fail"
    accuracy = f"tests.newer.accuracy is {tested['accuracy']:.3f}"
    assert f"{accuracy} but has to be at least 0.990" in gate["reason"]

    (workspace / "data/tests/newer.csv").write_text("Age,Outcome\n")
    with pytest.raises(SystemExit, match=r"newer\.csv, line 1: The header is not as declared"):
        run_stages(workspace, "evaluate")
    for name, message in (
        ("../raw/diabetes.csv", r"evaluate\.tests"),
        ("old.csv", r"old\.csv does not exist, but evaluate\.tests in params\.yaml lists it"),
    ):
        change_settings(workspace, evaluate={"tests": [name, "newer.csv"]})
        with pytest.raises(SystemExit, match=message):
            run_stages(workspace, "evaluate")
