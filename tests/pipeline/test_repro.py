"""What a user relies on when the whole pipeline runs."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from keras_tabular.core.nested import flatten
from tests.commands import call_main, check_output, run_command, stages_that_ran
from tests.documentation import code_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import change_settings, copy_project, read_output_hashes

(PLAIN_KERAS,) = code_blocks("README.md", "python")


def test_a_second_run_has_nothing_to_do_and_leaves_git_clean(
    reproduced: Path, tmp_path: Path
) -> None:
    folder = copy_project(reproduced, tmp_path / "project")
    assert "up to date" in check_output(folder, "dvc", "repro")
    assert check_output(folder, "git", "status", "--porcelain") == ""
    metrics = json.loads(check_output(folder, "dvc", "metrics", "show", "--json"))[""]["data"]
    assert [*metrics] == ["metrics/metrics.json"]
    assert len(dict(flatten(metrics["metrics/metrics.json"]["data"]))) <= 12


@needs_committed_bytes
def test_the_committed_results_are_those_of_a_fresh_clone(origin: Path, reproduced: Path) -> None:
    """If this fails, run `dvc repro --force` and commit.

    The results in git come from any number of threads, those of the clone from one thread. The
    files that contain scores of the linear baseline may differ between machines.
    """
    with_baselines = [f"metrics/{name}.json" for name in ("metrics", "scores", "gate")]
    committed = read_output_hashes(origin, *with_baselines)
    assert committed == read_output_hashes(reproduced, *with_baselines)


def test_a_changed_parameter_reruns_only_the_stages_that_use_it(experiment: Path) -> None:
    output = (experiment / "printed").read_text()
    assert stages_that_ran(output) == ["train", "calibrate", "evaluate", "gate"]
    assert "train.networks.plain.epochs" in check_output(experiment, "dvc", "params", "diff")
    differences = json.loads(check_output(experiment, "dvc", "metrics", "diff", "--json"))
    accuracy = differences["metrics/metrics.json"]["test.accuracy"]
    assert accuracy["diff"] == pytest.approx(accuracy["new"] - accuracy["old"])


def test_only_the_files_that_the_schema_names_are_dependencies(workspace: Path) -> None:
    def split_again() -> tuple[list[str], int]:
        """Return the stages that ran, and the number of rows."""
        stages = stages_that_ran(check_output(workspace, "dvc", "repro", "split"))
        return stages, json.loads((workspace / "metrics/profile.json").read_text())["rows"]

    table, parts = workspace / "data/raw/diabetes.csv", workspace / "data/parts"
    shutil.copy(table, workspace / "data/raw/other.csv")
    assert split_again() == ([], 768)
    parts.mkdir()
    shutil.move(table, parts / "a.csv")
    change_settings(workspace, {"source": "data/parts"})
    stages, rows = split_again()
    assert (stages[:2], rows) == (["ingest", "validate"], 768)
    shutil.copy(parts / "a.csv", parts / "b.csv")
    stages, rows = split_again()
    assert (stages[0], rows) == ("ingest", 2 * 768)


def test_plain_keras_loads_the_model_and_takes_raw_rows(reproduced: Path, tmp_path: Path) -> None:
    """The code in the README predicts probabilities in a folder without this project."""
    for name in ("models/model.keras", "data/raw/diabetes.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(reproduced / name, tmp_path / name)
    check = """
import sys
assert not any(name.startswith("keras_tabular") for name in sys.modules)
probabilities = model.predict(columns, verbose=0)
assert probabilities.shape == (768, 1)
assert ((probabilities > 0) & (probabilities < 1)).all()
"""
    check_output(tmp_path, sys.executable, "-c", PLAIN_KERAS + check)


def test_plain_keras_takes_categories_and_missing_values(
    binary_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read as the README says, they get the probabilities of `predict`."""
    table, file, output = (
        binary_project / "data/raw/t.csv",
        tmp_path / "rows.csv",
        tmp_path / "o.csv",
    )
    rows = pd.read_csv(table, dtype=str, na_values="?").drop(columns="y")
    assert rows[["cast", "colour", "count"]].isna().any().all()
    rows.to_csv(file, index=False)
    call_main(binary_project, "keras_tabular.cli.predict", str(file), "-o", str(output))
    rows.rename(columns={"zip/code": "zip_code"}).to_csv(file, index=False)
    monkeypatch.chdir(binary_project)
    names: dict[str, Any] = {}
    exec(PLAIN_KERAS.replace("data/raw/diabetes.csv", str(file)), names)
    probabilities = names["model"].predict(names["columns"], verbose=0)[:, 0]
    expected = pd.read_csv(output)["probability_pos"]
    np.testing.assert_allclose(probabilities, expected, rtol=1e-5)


def test_a_wrong_parameter_fails_through_dvc_without_a_traceback(workspace: Path) -> None:
    completed = run_command(
        workspace, "dvc", "exp", "run", "-S", "train.networks.plain.epochs=many"
    )
    assert completed.returncode in (1, 255)
    output = completed.stdout + completed.stderr
    assert "params.yaml: train.networks.plain.epochs" in output
    assert "git restore params.yaml" in output
    assert "Traceback" not in output
