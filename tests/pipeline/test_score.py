"""Any labelled file is scored as evaluate scores the test rows."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from keras_tabular.config.schema import load_schema
from keras_tabular.core.metrics import TASKS
from tests.commands import call_main, check_output, run_command, stages_that_ran
from tests.helpers import PROJECT
from tests.projects import change_settings, read_scores, run_stages

SCORE = "keras_tabular.cli.score"


@pytest.fixture(scope="module")
def rows(short_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test rows of the run as a CSV."""
    schema = load_schema(short_run / "data/schema.yaml")
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    pa_csv.write_csv(
        pq.read_table(short_run / "data/split/test").select(list(schema.columns)), file
    )
    return file


def test_the_test_rows_get_the_scores_that_evaluate_gave(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(short_run, SCORE, str(rows), "-o", str(tmp_path / "scores.json"))
    said = capsys.readouterr().out
    found, expected = json.loads((tmp_path / "scores.json").read_text()), read_scores(short_run)
    assert found["test"] == expected["test"]
    for name, of in found["baseline"].items():
        assert of == {key: expected["baseline"][name][key] for key in of}
    assert found["paired_difference"]["test"] == expected["paired_difference"]["test"]
    header, *lines = said.splitlines()[1:]
    assert header.split("  ")[0] == "score"
    assert len(lines) == len(TASKS["binary"].scores)
    assert "not significant" in said


def test_training_rows_are_told_and_bad_rows_named(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_main(short_run, SCORE, "data/raw/diabetes.csv")
    told = "warn: 514 of 768 rows are training rows, so these scores are too good"
    assert told in capsys.readouterr().err
    frame, bad = pd.read_csv(rows), tmp_path / "bad.csv"
    frame.loc[3, "Age"] = 500
    frame.to_csv(bad, index=False)
    with pytest.raises(SystemExit, match=r"bad\.csv: line 5, column Age: found '500'; expected 18"):
        call_main(short_run, SCORE, str(bad))
    frame.drop(columns="Outcome").to_csv(bad, index=False)
    with pytest.raises(SystemExit, match="missing: Outcome"):
        call_main(short_run, SCORE, str(bad))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("count", [1, 9])
def test_few_rows_have_scores_without_intervals_and_no_score_of_nothing(
    short_run: Path, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    """Of negative rows alone: their recall is not 0, there is none."""
    frame, few, out = pd.read_csv(rows), tmp_path / "few.csv", tmp_path / "scores.json"
    frame[frame["Outcome"] == 0][:count].to_csv(few, index=False)
    call_main(short_run, SCORE, str(few), "-o", str(out))
    said, found = capsys.readouterr(), json.loads(out.read_text())
    assert f"warn: found {count} rows to score; intervals take 10 or more\n" in said.err
    assert found["warnings"][-1].startswith(f"found {count} rows to score")
    assert found["primary_metrics"] == ["accuracy"]
    assert found["test"].keys() == {"rows", *TASKS["binary"].scores}
    assert not any("_low" in key for of in found["baseline"].values() for key in of)
    assert found["paired_difference"] == {"test": {}}
    undefined = {key for key, value in found["test"].items() if value is None}
    assert undefined >= {"recall", "roc_auc", "average_precision"}
    assert re.search(r"^Recall +– ", said.out, re.MULTILINE)
    assert not any(word in said.out for word in (" to ", "better", "worse", "chance"))


def test_a_model_alone_is_scored_without_baselines(
    short_run: Path, rows: Path, tmp_path: Path
) -> None:
    shutil.copy(short_run / "models/model.keras", tmp_path / "m.keras")
    command = ("python", "-m", "keras_tabular", "score", str(rows), "--model", "m.keras")
    done = run_command(tmp_path, *command, PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    assert "nothing for baselines to learn from" in done.stderr
    accuracy = read_scores(short_run)["test"]["accuracy"]
    assert f"\nAccuracy           {accuracy:.3f}  " in done.stdout


def test_other_files_are_scored_by_evaluate_and_held_by_the_gate(
    workspace: Path, rows: Path, tmp_path: Path
) -> None:
    """As `keras_tabular.cli.score` scores them; a wrong row or name ends it."""
    pd.read_csv(rows)[::2].to_csv(workspace / "data/tests/newer.csv", index=False)
    changes = ("evaluate.tests=[newer.csv]", "-S", "+gate.lowest.tests.newer.accuracy=0.99")
    check_output(workspace, "dvc", "exp", "run", "-S", *changes)
    scores = read_scores(workspace)
    tested = scores["tests"]["newer"]
    assert (tested["rows"], tested["training_rows"]) == (127, 0)
    found = tmp_path / "found.json"
    call_main(workspace, SCORE, "data/tests/newer.csv", "-o", str(found))
    expected = json.loads(found.read_text())
    assert {key: tested[key] for key in expected["test"]} == expected["test"]
    assert tested["paired_difference"] == expected["paired_difference"]["test"]
    headline = json.loads((workspace / "metrics/metrics.json").read_text())
    assert headline["tests"]["newer"]["accuracy"] == tested["accuracy"]
    gate = json.loads((workspace / "metrics/gate.json").read_text())
    assert gate["verdict"] == "fail"
    accuracy = f"tests.newer.accuracy is {tested['accuracy']:.3f}"
    assert f"{accuracy} but has to be at least 0.990" in gate["reason"]

    (workspace / "data/tests/newer.csv").write_text("Age,Outcome\n")
    assert stages_that_ran(check_output(workspace, "dvc", "repro", "--dry"))[0] == "evaluate"
    with pytest.raises(SystemExit, match=r"newer\.csv: line 1: the header is not as declared"):
        run_stages(workspace, "evaluate")
    change_settings(workspace, evaluate={"tests": ["../raw/diabetes.csv"]})
    with pytest.raises(SystemExit, match=r"evaluate\.tests"):
        run_stages(workspace, "evaluate")
