"""What a user relies on when the whole pipeline runs."""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.core.nested import flatten
from tests.commands import call_main, check_output, run_command, stages_that_ran
from tests.documentation import PAGES
from tests.helpers import PROJECT, needs_committed_bytes
from tests.projects import copy_project, read_output_hashes


def test_a_second_run_has_nothing_to_do_and_leaves_git_clean(
    reproduced: Path, tmp_path: Path
) -> None:
    folder = copy_project(reproduced, tmp_path / "project")
    assert "up to date" in check_output(folder, "dvc", "repro")
    assert check_output(folder, "git", "status", "--porcelain") == ""
    shown = json.loads(check_output(folder, "dvc", "metrics", "show", "--json"))
    assert shown[""]["data"].keys() == {"metrics/metrics.json"}
    assert len(dict(flatten(shown[""]["data"]["metrics/metrics.json"]["data"]))) <= 12


@needs_committed_bytes
def test_the_committed_results_are_those_of_a_fresh_clone(origin: Path, reproduced: Path) -> None:
    """If not: `dvc repro --force`, and commit. The linear baseline is not ours to repeat."""
    others = [f"metrics/{name}.json" for name in ("metrics", "scores", "gate")]
    assert read_output_hashes(origin, *others) == read_output_hashes(reproduced, *others)


def test_a_changed_parameter_reruns_only_what_it_touches(experiment: Path, tmp_path: Path) -> None:
    folder = copy_project(experiment, tmp_path / "project")
    output = (folder / "printed").read_text()
    assert stages_that_ran(output) == ["train", "calibrate", "evaluate", "gate"]
    assert "train.networks.plain.epochs" in check_output(folder, "dvc", "params", "diff")
    changed = json.loads(check_output(folder, "dvc", "metrics", "diff", "--json"))
    accuracy = changed["metrics/metrics.json"]["test.accuracy"]
    assert accuracy["diff"] == pytest.approx(accuracy["new"] - accuracy["old"])
    page = check_output(folder, "dvc", "metrics", "diff", "--all").splitlines()
    assert len(page) <= 30
    assert max(map(len, page)) <= 100


def test_only_the_files_that_the_schema_names_are_dependencies(workspace: Path) -> None:
    table = workspace / "data/raw/diabetes.csv"
    shutil.copy(table, workspace / "data/raw/other.csv")
    assert stages_that_ran(check_output(workspace, "dvc", "repro", "--dry")) == []

    # A folder is all of its files.
    (workspace / "data/parts").mkdir()
    shutil.move(table, workspace / "data/parts/a.csv")
    schema = workspace / "data/schema.yaml"
    schema.write_text(schema.read_text().replace("data/raw/diabetes.csv", "data/parts"))
    assert stages_that_ran(check_output(workspace, "dvc", "repro", "split"))[:2] == [
        "ingest",
        "validate",
    ]
    rows = json.loads((workspace / "metrics/profile.json").read_text())["rows"]
    shutil.copy(workspace / "data/parts/a.csv", workspace / "data/parts/b.csv")
    assert "ingest" in stages_that_ran(check_output(workspace, "dvc", "repro", "split"))
    assert json.loads((workspace / "metrics/profile.json").read_text())["rows"] == 2 * rows


def test_the_profile_is_what_pandas_says_of_the_measured_values(reproduced: Path) -> None:
    profile = json.loads((reproduced / "metrics/profile.json").read_text())
    frame = pd.read_csv(PROJECT / "data/raw/diabetes.csv")
    assert (profile["rows"], profile["columns"]) == frame.shape
    assert profile["target"]["1"] == {"rows": 268, "share": 0.348958}
    glucose = frame["Glucose"].replace(0, np.nan)
    assert profile["column"]["Glucose"] == {
        "kind": "real",
        "missing": 5,
        "distinct": glucose.nunique(),
        "mean": round(glucose.mean(), 6),
        "standard_deviation": round(glucose.std(), 6),
        "min": glucose.min(),
        "max": glucose.max(),
    }
    assert profile["column"]["Outcome"]["kind"] == "binary"


(PLAIN_KERAS,) = re.findall(r"```python\n(.*?)```", PAGES["README.md"], re.DOTALL)


def test_plain_keras_loads_the_model_and_takes_raw_rows(reproduced: Path, tmp_path: Path) -> None:
    """In a folder without this project, the lines of the README give finite probabilities."""
    for name in ("models/model.keras", "data/raw/diabetes.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(reproduced / name, tmp_path / name)
    check = "\nimport sys\nassert not any(name.startswith('keras_tabular') for name in sys.modules)"
    check += "\np = model.predict(columns, verbose=0)\nassert p.shape == (768, 1)"
    check += "\nassert ((p > 0) & (p < 1)).all()"
    check_output(tmp_path, sys.executable, "-c", PLAIN_KERAS + check)


def test_plain_keras_takes_categories_and_gaps_as_the_readme_reads_them(
    binary_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pd.read_csv(binary_project / "data/raw/t.csv", dtype=str, na_values="?").drop(
        columns="y"
    )
    assert rows[["cast", "colour", "count"]].isna().any().all()
    rows.to_csv(tmp_path / "rows.csv", index=False)
    call_main(
        binary_project,
        "keras_tabular.cli.predict",
        str(tmp_path / "rows.csv"),
        "-o",
        str(tmp_path / "out.csv"),
    )
    rows.rename(columns={"zip/code": "zip_code"}).to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.chdir(binary_project)
    lines: dict[str, Any] = {}
    exec(PLAIN_KERAS.replace("data/raw/diabetes.csv", str(tmp_path / "rows.csv")), lines)
    probabilities = lines["model"].predict(lines["columns"], verbose=0)[:, 0]
    expected = pd.read_csv(tmp_path / "out.csv")["probability_pos"]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_a_wrong_parameter_fails_through_dvc_without_a_traceback(workspace: Path) -> None:
    done = run_command(workspace, "dvc", "exp", "run", "-S", "train.networks.plain.epochs=many")
    assert done.returncode in (1, 255)
    message = done.stdout + done.stderr
    assert "params.yaml: train.networks.plain.epochs" in message
    assert "git restore params.yaml" in message
    assert "Traceback" not in message
