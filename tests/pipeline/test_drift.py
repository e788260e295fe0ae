"""New rows are held against the training rows that the model's file remembers."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.commands import call_main
from tests.projects import change_settings
from tests.tables import load_table

DRIFT = "keras_tabular.cli.drift"
COMMAND = ("python", "-m", "keras_tabular", "drift")
Verdict = Callable[..., tuple[int, str, dict[str, Any]]]


@pytest.fixture(scope="module")
def alone(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model in it and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copy(reproduced / "models/model.keras", folder / "m.keras")
    return folder


@pytest.fixture(scope="module")
def rows(reproduced: Path) -> pd.DataFrame:
    """The training rows without their target."""
    return pd.read_parquet(reproduced / "data/split/train").drop(columns="Outcome")


@pytest.fixture
def verdict(alone: Path, capsys: pytest.CaptureFixture[str]) -> Verdict:
    """The exit code, the last line, and what the JSON says of some rows."""

    def of(rows: pd.DataFrame) -> tuple[int, str, dict[str, Any]]:
        rows.to_csv(alone / "new.csv", index=False)
        code = 0
        try:
            call_main(alone, DRIFT, "m.keras", "new.csv", "--json", "drift.json")
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        assert said.err == ""
        return code, said.out.splitlines()[-1], json.loads((alone / "drift.json").read_text())

    return of


def test_random_halves_of_the_training_rows_are_silent(
    rows: pd.DataFrame, verdict: Verdict
) -> None:
    for seed in range(5):
        code, line, found = verdict(rows.sample(frac=0.5, random_state=seed))
        assert (code, found["verdict"]) == (0, "pass"), line
    assert verdict(rows[:1])[0] == 0


@pytest.mark.parametrize("column", ["Glucose", "Pregnancies"])
def test_a_shifted_column_is_loud_and_named(
    rows: pd.DataFrame, verdict: Verdict, column: str
) -> None:
    moved = rows.sample(frac=0.5, random_state=1)
    moved[column] += moved[column].std().astype(moved[column].dtype)
    code, line, found = verdict(moved)
    assert (code, found["verdict"]) == (1, "fail")
    assert line.startswith(f"Drift: fail: {column} moved; it has ")
    assert [name for name, of in found["columns"].items() if of["moved"]] == [column]
    assert found["columns"][column]["distance"] > found["columns"][column]["by_chance"]


def test_gaps_and_wrong_cells_are_told_and_the_policy_decides_the_exit_code(
    workspace: Path, rows: pd.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    new = rows.copy()
    new.loc[::2, "Glucose"] = np.nan
    new["Age"] = new["Age"].astype(str)
    new.loc[5, "Age"] = "old"
    new.to_csv(workspace / "new.csv", index=False)
    change_settings(workspace, drift={"policy": "warn", "attribution": 0.0001})
    call_main(workspace, DRIFT, "new.csv")
    printed, errors = capsys.readouterr()
    assert errors == ""
    (glucose,) = [line for line in printed.splitlines() if line.startswith("Glucose")]
    assert "missing 50.2% (training 0.8%)" in glucose
    assert "1 cells not as declared" in printed
    assert "Drift: fail: Glucose moved" in printed
    assert "Glucose" in (workspace / "drift.html").read_text()


def test_a_file_without_rows_or_of_another_table_is_named(alone: Path, rows: pd.DataFrame) -> None:
    rows[:0].to_csv(alone / "none.csv", index=False)
    with pytest.raises(
        SystemExit, match=r"^error: none\.csv: found no row; expected one at least$"
    ):
        call_main(alone, DRIFT, "m.keras", "none.csv")
    load_table("wine").to_csv(alone / "wine.csv", index=False)
    with pytest.raises(SystemExit, match="the header is not as declared"):
        call_main(alone, DRIFT, "m.keras", "wine.csv")


def test_a_new_category_is_named_and_later_dates_are_no_failure(
    trained_project: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new = pd.read_parquet(trained_project("shops") / "data/split/train")[
        ["day", "review", "shop_id"]
    ]
    new["day"] = (new["day"] + pd.Timedelta(2000, "D")).dt.strftime("%d.%m.%Y")
    out = ("-o", str(tmp_path / "drift.html"))
    new.to_csv(tmp_path / "later.csv", index=False)
    call_main(trained_project("shops"), DRIFT, str(tmp_path / "later.csv"), *out)
    later = capsys.readouterr().out
    assert "Drift: warn: day moved" in later
    assert "dates not counted, since new rows are later" in later
    new.loc[::2, "shop_id"] = "Velo Express"
    new.to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(SystemExit, match="1"):
        call_main(trained_project("shops"), DRIFT, str(tmp_path / "new.csv"), *out)
    assert "unknown category 50.0% (training 0.0%): Velo Express" in capsys.readouterr().out
    assert "Velo Express" in (tmp_path / "drift.html").read_text()
