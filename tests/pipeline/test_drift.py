"""New rows are compared with the summaries of the training rows in the model's file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.commands import call_command
from tests.projects import change_settings, read_json, run_stages


@pytest.fixture(scope="module")
def model_folder(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that contains only a model."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copy(reproduced / "models/model.keras", folder / "m.keras")
    return folder


@pytest.fixture(scope="module")
def training_rows(reproduced: Path) -> pd.DataFrame:
    """The training rows without their target."""
    return pd.read_parquet(reproduced / "data/split/train").drop(columns="Outcome")


def test_only_a_shifted_column_has_drifted(model_folder: Path, training_rows: pd.DataFrame) -> None:
    rows, arguments = training_rows.sample(frac=0.5, random_state=1), ("m.keras", "new.csv")
    rows.to_csv(model_folder / "new.csv", index=False)
    assert "\nDrift: pass: " in call_command(model_folder, "drift", *arguments)
    rows["Pregnancies"] += rows["Pregnancies"].std().astype(int)
    rows.to_csv(model_folder / "new.csv", index=False)
    output = call_command(model_folder, "drift", *arguments, "--json", "drift.json", exit_code=1)
    assert "\nDrift: fail: Pregnancies has drifted; it has " in output
    columns = read_json(model_folder / "drift.json")["columns"]
    assert [name for name in columns if columns[name]["moved"]] == ["Pregnancies"]
    assert columns["Pregnancies"]["distance"] > 0.1
    assert columns["Pregnancies"]["p_value"] < 0.001


def test_missing_values_and_invalid_cells_are_reported(
    workspace: Path, training_rows: pd.DataFrame
) -> None:
    """With the policy `warn`, the exit code is 0 although the verdict is `fail`."""
    rows = training_rows.astype({"Age": str})
    rows.loc[::2, "Glucose"] = np.nan
    rows.loc[5, "Age"] = "old"
    rows.to_csv(workspace / "new.csv", index=False)
    change_settings(workspace, drift={"policy": "warn", "attribution": 0.0001})
    run_stages(workspace, "calibrate", "calibrate")
    output = call_command(workspace, "drift", "new.csv")
    (glucose,) = [line for line in output.splitlines() if line.startswith("Glucose")]
    assert "missing 50.2% (training 0.8%)" in glucose
    assert "failed checks: 1" in output
    assert "Drift: fail: Glucose has drifted" in output


def test_a_file_without_rows_is_an_error(model_folder: Path, training_rows: pd.DataFrame) -> None:
    training_rows[:0].to_csv(model_folder / "none.csv", index=False)
    with pytest.raises(SystemExit, match=r"^error: none\.csv: expected at least one row"):
        call_command(model_folder, "drift", "m.keras", "none.csv")


def test_a_new_category_is_named_and_later_dates_are_only_a_warning(
    trained_project: Callable[[str], Path], tmp_path: Path
) -> None:
    project, file, page = trained_project("shops"), tmp_path / "new.csv", tmp_path / "drift.html"
    new = pd.read_parquet(project / "data/split/train")[["day", "review", "shop_id"]]
    new["day"] = (new["day"] + pd.Timedelta(2000, "D")).dt.strftime("%d.%m.%Y")
    new.to_csv(file, index=False)
    later = call_command(project, "drift", file, "-o", page)
    assert "Drift: warn: day has drifted" in later
    assert "dates do not count, because new rows are usually later" in later
    new.loc[::2, "shop_id"] = "Velo Express"
    new.to_csv(file, index=False)
    output = call_command(project, "drift", file, "-o", page, exit_code=1)
    assert "unknown category 50.0% (training 0.0%): Velo Express" in output
    assert "Velo Express" in page.read_text()
