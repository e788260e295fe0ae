"""New rows are compared with the summaries of the training rows in the model's file."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.commands import call_command
from tests.projects import change_settings, copy_project, read_json, run_stages


def read_training_rows(project: Path) -> pd.DataFrame:
    return pd.read_parquet(project / "data/split/train").drop(columns="y")


def test_only_a_shifted_column_has_drifted(binary_project: Path, tmp_path: Path) -> None:
    """The file of the model is all that is needed."""
    shutil.copy(binary_project / "models/model.keras", tmp_path / "m.keras")
    rows = read_training_rows(binary_project).sample(frac=0.5, random_state=1)
    files = "m.keras", "new.csv"
    rows.to_csv(tmp_path / "new.csv", index=False)
    assert "\nDrift: pass: " in call_command(tmp_path, "drift", *files)
    rows["cast"] += 1
    rows.to_csv(tmp_path / "new.csv", index=False)
    output = call_command(tmp_path, "drift", *files, "--json", "drift.json", exit_code=1)
    assert "\nDrift: fail: cast has drifted; it has " in output
    columns = read_json(tmp_path / "drift.json")["columns"]
    assert [name for name in columns if columns[name]["moved"]] == ["cast"]
    assert columns["cast"]["distance"] > 0.1
    assert columns["cast"]["p_value"] < 0.001
    rows[:0].to_csv(tmp_path / "new.csv", index=False)
    with pytest.raises(SystemExit, match=r"^error: new\.csv: expected at least one row"):
        call_command(tmp_path, "drift", *files)


def test_missing_values_and_invalid_cells_are_reported(
    binary_project: Path, tmp_path: Path
) -> None:
    """With the policy `warn`, the exit code is 0 although the verdict is `fail`."""
    project = copy_project(binary_project, tmp_path / "project")
    change_settings(project, drift={"policy": "warn", "attribution": 0.0001})
    run_stages(project, "calibrate", "calibrate")
    rows = read_training_rows(project).astype({"count": object})
    before = rows["cast"].isna().mean()
    rows.loc[::2, "cast"] = np.nan
    rows.loc[5, "count"] = "old"
    rows.to_csv(project / "new.csv", index=False)
    output = call_command(project, "drift", "new.csv")
    after = rows["cast"].isna().mean()
    assert re.search(
        rf"^cast .* missing {after:.1%} \(training {before:.1%}\)$", output, re.MULTILINE
    )
    assert re.search(r"^count .* failed checks: 1$", output, re.MULTILINE)
    assert "Drift: fail: cast has drifted" in output


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
