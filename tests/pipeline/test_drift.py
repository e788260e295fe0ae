"""New rows are held against the training rows that the model's file remembers."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.helpers import PROJECT, run, table_of, trained_project

DRIFT = ("python", "-m", "commands.drift")


@pytest.fixture(scope="module")
def alone(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in it and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(reproduced / "models/model.keras", folder / "m.keras")
    return folder


def verdict(
    folder: Path, rows: pd.DataFrame, *arguments: str
) -> tuple[int, str, dict[str, object]]:
    """The exit code, the last line, and what the JSON says of some rows."""
    rows.to_csv(folder / "new.csv", index=False)
    command = (*DRIFT, "m.keras", "new.csv", "--json", "drift.json")
    done = run(folder, *command, PYTHONPATH=str(PROJECT))
    assert done.stderr == ""
    return (
        done.returncode,
        done.stdout.splitlines()[-1],
        json.loads((folder / "drift.json").read_text()),
    )


def training_rows(reproduced: Path) -> pd.DataFrame:
    return pd.read_parquet(reproduced / "data/split/train").drop(columns="Outcome")


def test_random_halves_of_the_training_rows_are_silent(reproduced: Path, alone: Path) -> None:
    rows = training_rows(reproduced)
    for seed in range(20):
        code, line, found = verdict(alone, rows.sample(frac=0.5, random_state=seed))
        assert (code, found["verdict"]) == (0, "pass"), line


@pytest.mark.parametrize("column", ["Glucose", "BMI", "Age", "Pregnancies", "BloodPressure"])
def test_a_shifted_column_is_loud_and_named(reproduced: Path, alone: Path, column: str) -> None:
    rows = training_rows(reproduced).sample(frac=0.5, random_state=1)
    rows[column] += rows[column].std().astype(rows[column].dtype)
    code, line, found = verdict(alone, rows)
    assert (code, found["verdict"]) == (1, "fail")
    assert line.startswith(f"Drift: fail: {column} moved; it carries ")
    columns = found["columns"]
    assert isinstance(columns, dict)
    assert [name for name, of in columns.items() if of["moved"]] == [column]
    assert columns[column]["distance"] > columns[column]["by_chance"]


def test_gaps_and_wrong_cells_are_told_and_the_policy_decides_the_exit_code(
    workspace: Path,
) -> None:
    rows = training_rows(workspace)
    rows.loc[::2, "Glucose"] = np.nan
    rows["Age"] = rows["Age"].astype(str)
    rows.loc[5, "Age"] = "old"
    rows.to_csv(workspace / "new.csv", index=False)
    params = workspace / "params.yaml"
    text = params.read_text()
    assert "policy: error" in text
    params.write_text(text.replace("policy: error", "policy: warn"))
    done = run(workspace, *DRIFT, "new.csv")
    assert (done.returncode, done.stderr) == (0, "")
    (glucose,) = [line for line in done.stdout.splitlines() if line.startswith("Glucose")]
    assert "missing 50.2% (training 0.8%)" in glucose
    assert "1 cells not as declared" in done.stdout
    assert "Drift: fail: Glucose moved" in done.stdout
    assert "Glucose" in (workspace / "drift.html").read_text()


def test_one_row_and_no_row(reproduced: Path, alone: Path) -> None:
    rows = training_rows(reproduced)
    assert verdict(alone, rows[:1])[0] == 0
    rows[:0].to_csv(alone / "new.csv", index=False)
    done = run(alone, *DRIFT, "m.keras", "new.csv", PYTHONPATH=str(PROJECT))
    assert (done.returncode, done.stderr) == (
        1,
        "error: new.csv: found no row; expected one at least\n",
    )
    table_of("wine").to_csv(alone / "new.csv", index=False)
    done = run(alone, *DRIFT, "m.keras", "new.csv", PYTHONPATH=str(PROJECT))
    assert done.returncode == 1
    assert "the header is not as declared" in done.stderr


def test_a_new_category_is_named_and_later_dates_are_no_failure(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta(np.sort(rng.integers(0, 90, 600)), "D")
    frame = pd.DataFrame({"x": rng.normal(size=600), "day": days})
    frame["carrier"] = rng.choice(["post", "bike"], 600)
    frame["y"] = frame["x"] + (frame["carrier"] == "bike") + rng.normal(size=600) / 2
    folder = trained_project(tmp_path / "project", frame)
    new = frame.drop(columns="y").assign(day=days + pd.Timedelta(200, "D"))
    new.to_csv(folder / "new.csv", index=False)
    later = run(folder, *DRIFT, "new.csv")
    assert later.returncode == 0
    assert "Drift: warn: day moved" in later.stdout
    assert "dates not counted, since new rows are later" in later.stdout
    new.loc[::2, "carrier"] = "Velo Express"
    new.to_csv(folder / "new.csv", index=False)
    named = run(folder, *DRIFT, "new.csv")
    assert named.returncode == 1
    assert "unknown category 50.0% (training 0.0%): Velo Express" in named.stdout
    assert "Velo Express" in (folder / "drift.html").read_text()
