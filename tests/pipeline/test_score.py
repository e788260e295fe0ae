"""Any labelled file is scored as evaluate scores the test rows."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tabular.metrics import TASKS
from tabular.schema import load_schema
from tests.helpers import PROJECT, must, read_scores, run

SCORE = ("python", "-m", "commands.score")


@pytest.fixture(scope="module")
def rows(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test rows of the run as a CSV."""
    schema = load_schema(reproduced / "data/schema.yaml")
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    pa_csv.write_csv(
        pq.read_table(reproduced / "data/split/test").select(list(schema.columns)), file
    )
    return file


def test_the_test_rows_get_the_scores_that_evaluate_gave(
    reproduced: Path, rows: Path, tmp_path: Path
) -> None:
    said = must(reproduced, *SCORE, str(rows), "-o", str(tmp_path / "scores.json"))
    found, expected = json.loads((tmp_path / "scores.json").read_text()), read_scores(reproduced)
    assert found["test"] == expected["test"]
    for name, of in found["baseline"].items():
        assert of == {key: expected["baseline"][name][key] for key in of}
    assert found["paired_difference"]["test"] == expected["paired_difference"]["test"]
    header, *lines = said.splitlines()[1:]
    assert header.split("  ")[0] == "score"
    assert len(lines) == len(TASKS["binary"].scores)
    assert "within chance" in said


def test_training_rows_are_told_and_bad_rows_named(
    reproduced: Path, rows: Path, tmp_path: Path
) -> None:
    whole = run(reproduced, *SCORE, "data/raw/diabetes.csv")
    assert "warn: 514 of 768 rows are training rows, so these scores are too good" in whole.stderr
    frame = pd.read_csv(rows)
    frame.loc[3, "Age"] = 500
    frame.to_csv(tmp_path / "bad.csv", index=False)
    bad = run(reproduced, *SCORE, str(tmp_path / "bad.csv"))
    assert bad.returncode == 1
    assert "bad.csv: line 5, column Age: found '500'; expected 18 to 120" in bad.stderr
    frame.drop(columns="Outcome").to_csv(tmp_path / "bad.csv", index=False)
    assert "missing: Outcome" in run(reproduced, *SCORE, str(tmp_path / "bad.csv")).stderr


def test_a_model_alone_is_scored_without_baselines(
    reproduced: Path, rows: Path, tmp_path: Path
) -> None:
    shutil.copy(reproduced / "models/model.keras", tmp_path / "m.keras")
    done = run(tmp_path, *SCORE, str(rows), "--model", "m.keras", PYTHONPATH=str(PROJECT))
    assert done.returncode == 0, done.stderr
    assert "nothing for baselines to learn from" in done.stderr
    accuracy = read_scores(reproduced)["test"]["accuracy"]
    assert f"\nAccuracy           {accuracy:.2f}  " in done.stdout
