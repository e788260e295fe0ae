"""What a user relies on when the whole pipeline runs."""

import json
import platform
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.model_selection import train_test_split

from stages.train import SHOWN
from tabular.metrics import TASKS, flatten
from tests.helpers import PROJECT, SHORT, must, needs_x86, read_scores, run, stages_that_ran


def test_a_second_run_has_nothing_to_do_and_leaves_git_clean(reproduced: Path) -> None:
    assert "up to date" in must(reproduced, "dvc", "repro")
    assert must(reproduced, "git", "status", "--porcelain") == ""


def outs(lock: Path) -> dict[str, str]:
    """The hash of each output that a lock names."""
    stages = yaml.safe_load(lock.read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


@needs_x86
def test_the_committed_results_are_those_of_a_fresh_clone(origin: Path, reproduced: Path) -> None:
    """If not: `dvc repro --force`, and commit. The linear baseline is not ours to repeat."""
    committed, fresh = outs(origin / "dvc.lock"), outs(reproduced / "dvc.lock")
    for lock in (committed, fresh):
        for name in ("metrics", "scores", "gate"):
            del lock[f"metrics/{name}.json"]
    assert committed == fresh


def test_the_same_bytes_in_another_folder_and_at_any_thread_count(
    origin: Path, reproduced: Path, tmp_path: Path
) -> None:
    """By force in one clone with one thread, from nothing in another with two.

    The gate's verdict names the run before, which the short history of these clones has not.
    """
    expected = outs(reproduced / "dvc.lock") | {"metrics/gate.json": ""}
    for threads, folder in (("1", tmp_path / "one"), ("2", tmp_path / "elsewhere" / "two")):
        must(tmp_path, "git", "clone", "-q", str(origin), str(folder))
        several = {"TF_NUM_INTRAOP_THREADS": threads, "TABULAR_WORKERS": threads}
        must(folder, "dvc", "repro", "--force", **several)
        assert outs(folder / "dvc.lock") | {"metrics/gate.json": ""} == expected


def test_a_changed_parameter_reruns_only_what_it_touches(workspace: Path) -> None:
    output = must(workspace, "dvc", "exp", "run", *SHORT)
    assert stages_that_ran(output) == ["train", "calibrate", "evaluate", "gate"]
    assert "train.networks.plain.epochs" in must(workspace, "dvc", "params", "diff")
    changed = json.loads(must(workspace, "dvc", "metrics", "diff", "--json"))
    accuracy = changed["metrics/metrics.json"]["test.accuracy"]
    assert accuracy["diff"] == pytest.approx(accuracy["new"] - accuracy["old"])
    page = must(workspace, "dvc", "metrics", "diff", "--all").splitlines()
    assert len(page) <= 30
    assert max(map(len, page)) <= 100

    output = must(workspace, "dvc", "exp", "run", "-S", "split.seed=10", *SHORT)
    assert stages_that_ran(output) == ["split", "train", "calibrate", "evaluate", "gate"]


def test_only_the_files_that_the_schema_names_are_dependencies(workspace: Path) -> None:
    table = workspace / "data/raw/diabetes.csv"
    shutil.copy(table, workspace / "data/raw/other.csv")
    assert stages_that_ran(must(workspace, "dvc", "repro", "--dry")) == []

    # A folder is all of its files.
    (workspace / "data/parts").mkdir()
    shutil.move(table, workspace / "data/parts/a.csv")
    schema = workspace / "data/schema.yaml"
    schema.write_text(schema.read_text().replace("data/raw/diabetes.csv", "data/parts"))
    assert stages_that_ran(must(workspace, "dvc", "repro", "split"))[:2] == ["ingest", "validate"]
    rows = json.loads((workspace / "metrics/profile.json").read_text())["rows"]
    shutil.copy(workspace / "data/parts/a.csv", workspace / "data/parts/b.csv")
    assert "ingest" in stages_that_ran(must(workspace, "dvc", "repro", "split"))
    assert json.loads((workspace / "metrics/profile.json").read_text())["rows"] == 2 * rows


def test_metrics_hold_scores_interval_and_baselines(reproduced: Path) -> None:
    metrics = read_scores(reproduced)
    scores = {*TASKS["binary"].scores, "rows"}
    of_main = {"accuracy_low", "accuracy_high"}
    ends = {f"{name}_{end}" for name in TASKS["binary"].scores for end in ("low", "high")}
    assert metrics["test"].keys() == scores | ends
    folds = {name: of.pop("cross_validation").keys() for name, of in metrics["baseline"].items()}
    # One constant a fold ranks no rows.
    assert folds == {
        "logistic_regression": scores | of_main,
        "gradient_boosting": scores | of_main,
        "majority": {"accuracy", "loss", "rows"} | of_main,
    }
    assert metrics["train"].keys() == scores
    assert metrics["cross_validation"].keys() == scores | ends
    undefined = {"precision"}  # of what calls no row positive
    for name, baseline in metrics["baseline"].items():
        missing = undefined if name == "majority" else set()
        assert baseline.keys() == (scores | of_main) - missing
    assert (metrics["train"]["rows"], metrics["test"]["rows"]) == (514, 254)
    assert "validation" not in metrics  # each row by a member new to it
    assert metrics["cross_validation"]["rows"] == 514
    assert metrics["repeats"] == ("any_cpu" if platform.machine() in SHOWN else "same_cpu")
    assert metrics["test"]["accuracy_low"] < metrics["test"]["accuracy"]
    assert metrics["test"]["accuracy"] < metrics["test"]["accuracy_high"]
    assert metrics["test"]["accuracy"] > metrics["baseline"]["majority"]["accuracy"]
    assert metrics["baseline"].keys() == folds.keys()
    assert metrics["paired_difference"].keys() == {"test", "cross_validation"}


def test_the_headline_is_short_and_no_score_stands_twice(reproduced: Path) -> None:
    first, rest = (
        dict(flatten(json.loads((reproduced / f"metrics/{name}.json").read_text())))
        for name in ("metrics", "scores")
    )
    assert len(first) <= 12
    assert not first.keys() & rest.keys()
    shown = json.loads(must(reproduced, "dvc", "metrics", "show", "--json"))
    assert shown[""]["data"].keys() == {"metrics/metrics.json"}


def test_the_shares_are_those_of_train_test_split(reproduced: Path) -> None:
    table = pd.read_csv(reproduced / "data/raw/diabetes.csv")
    train, test = train_test_split(table, test_size=0.33, random_state=9)
    for name, expected in {"train": train, "validation": train[:0], "test": test}.items():
        rows = pd.read_parquet(reproduced / "data/split" / name)
        np.testing.assert_array_equal(rows, expected)
    assert len(test) == 254


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


def test_plain_keras_loads_the_model_and_takes_raw_rows(reproduced: Path, tmp_path: Path) -> None:
    """In a folder without this project, the five lines of the manual give finite probabilities."""
    pages = [PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")]
    blocks = re.findall(r"```python\n(.*?)```", "".join(p.read_text() for p in pages), re.DOTALL)
    (code,) = [block for block in blocks if "load_model" in block]
    for name in ("models/model.keras", "data/raw/diabetes.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(reproduced / name, tmp_path / name)
    check = "\nimport sys\nassert not any(name.startswith('tabular') for name in sys.modules)"
    check += "\np = model.predict(dict(rows), verbose=0)\nassert p.shape == (768, 1)"
    check += "\nassert ((p > 0) & (p < 1)).all()"
    must(tmp_path, sys.executable, "-c", code + check)


@pytest.mark.parametrize("command", ["repro", "exp"])
def test_a_wrong_parameter_fails_through_dvc_without_a_traceback(
    workspace: Path, command: str
) -> None:
    if command == "exp":
        done = run(workspace, "dvc", "exp", "run", "-S", "train.networks.plain.epochs=many")
    else:
        params = workspace / "params.yaml"
        params.write_text(params.read_text().replace("epochs: 100", "epoch: 5"))
        done = run(workspace, "dvc", "repro")
    assert done.returncode in (1, 255)
    message = done.stdout + done.stderr
    assert "params.yaml: train.networks.plain.epoch" in message
    assert ("git restore params.yaml" in message) == (command == "exp")
    assert "Traceback" not in message
