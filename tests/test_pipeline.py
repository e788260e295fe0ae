"""What a user relies on when the whole pipeline runs."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import must, run


def stages_that_ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


def test_a_second_run_has_nothing_to_do_and_leaves_git_clean(reproduced: Path) -> None:
    assert "up to date" in must(reproduced, "dvc", "repro")
    assert must(reproduced, "git", "status", "--porcelain") == ""


def outs(lock: Path) -> dict[str, str]:
    """The hash of each output that a lock names."""
    stages = yaml.safe_load(lock.read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def test_the_committed_results_are_those_of_a_fresh_clone(origin: Path, reproduced: Path) -> None:
    """If not: `dvc repro --force`, and commit. The linear baseline is not ours to repeat."""
    committed, fresh = outs(origin / "dvc.lock"), outs(reproduced / "dvc.lock")
    for lock in (committed, fresh):
        del lock["metrics/metrics.json"], lock["metrics/gate.json"]
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
        must(folder, "dvc", "repro", "--force", TF_NUM_INTRAOP_THREADS=threads)
        assert outs(folder / "dvc.lock") | {"metrics/gate.json": ""} == expected


def test_a_change_reruns_only_what_it_touches(workspace: Path) -> None:
    output = must(workspace, "dvc", "exp", "run", "-S", "train.epochs=3")
    assert stages_that_ran(output) == ["train", "evaluate", "gate"]
    assert "train.epochs" in must(workspace, "dvc", "params", "diff")
    changed = json.loads(must(workspace, "dvc", "metrics", "diff", "--json"))
    accuracy = changed["metrics/metrics.json"]["test.accuracy"]
    assert accuracy["diff"] == pytest.approx(accuracy["new"] - accuracy["old"])

    output = must(workspace, "dvc", "exp", "run", "-S", "split.seed=10", "-S", "train.epochs=3")
    assert stages_that_ran(output) == ["split", "train", "evaluate", "gate"]


def test_an_edit_to_shared_code_reruns_the_stages_that_use_it(workspace: Path) -> None:
    with (workspace / "stages/lib/scores.py").open("a") as file:
        file.write("# an edit\n")
    assert stages_that_ran(must(workspace, "dvc", "repro", "--dry")) == ["evaluate"]


def test_metrics_hold_scores_interval_and_baselines(reproduced: Path) -> None:
    metrics = json.loads((reproduced / "metrics/metrics.json").read_text())
    scores = {
        *("rows", "accuracy", "loss", "roc_auc", "average_precision"),
        *("precision", "recall", "f1", "brier"),
    }
    assert metrics["test"].keys() == scores | {"accuracy_low", "accuracy_high"}
    for same in (metrics["train"], metrics["validation"], *metrics["baseline"].values()):
        assert same.keys() == scores
    assert (metrics["train"]["rows"], metrics["test"]["rows"]) == (514, 254)
    assert metrics["validation"] == metrics["cross_validation"]  # each row by a member new to it
    assert metrics["validation"]["rows"] == 514
    assert metrics["repeats"] == "any_cpu"
    assert metrics["test"]["accuracy_low"] < metrics["test"]["accuracy"]
    assert metrics["test"]["accuracy"] < metrics["test"]["accuracy_high"]
    assert metrics["test"]["accuracy"] > metrics["baseline"]["majority"]["accuracy"]
    assert metrics["baseline"].keys() == {"majority", "logistic_regression"}


def test_plain_keras_loads_the_model_and_takes_raw_rows(reproduced: Path, tmp_path: Path) -> None:
    """In a folder without this project, the five lines of the README give finite probabilities."""
    readme = (reproduced / "README.md").read_text()
    code = readme.split("```python\n")[1].split("```")[0]
    for name in ("models/model.keras", "data/raw/diabetes.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(reproduced / name, tmp_path / name)
    check = "\nimport sys\nassert not any(name.startswith('stages') for name in sys.modules)"
    check += "\np = model.predict(dict(rows), verbose=0)\nassert p.shape == (768, 1)"
    check += "\nassert ((p > 0) & (p < 1)).all()"
    must(tmp_path, sys.executable, "-c", code + check)


def test_a_killed_stage_leaves_no_output(reproduced: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(reproduced, folder, symlinks=True)
    shutil.rmtree(folder / "data/ingested")
    source = folder / "data/raw/diabetes.csv"
    source.unlink()
    command = ["mkfifo", str(source)]
    subprocess.run(command, check=True)
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.ingest", str(source), "data/ingested", "profile.json"],
        cwd=folder,
    )
    time.sleep(1)
    stage.kill()
    stage.wait()
    assert not (folder / "data/ingested").exists()


@pytest.mark.parametrize("command", ["repro", "exp"])
def test_a_wrong_parameter_fails_through_dvc_without_a_traceback(
    workspace: Path, command: str
) -> None:
    if command == "exp":
        done = run(workspace, "dvc", "exp", "run", "-S", "train.epochs=many")
    else:
        params = workspace / "params.yaml"
        params.write_text(params.read_text().replace("epochs: 100", "epoch: 5"))
        done = run(workspace, "dvc", "repro")
    assert done.returncode in (1, 255)
    message = done.stdout + done.stderr
    assert "params.yaml: train.epoch" in message
    assert "Traceback" not in message
