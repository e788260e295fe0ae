"""The gate gives a verdict with reasons, and `make gate` alone fails on it."""

import json
from pathlib import Path

from keras_tabular.core.numbers import format_number
from tests.commands import check_output, run_command, stages_that_ran
from tests.documentation import MAKE_VARIABLES
from tests.projects import change_settings, copy_project, read_scores


def test_a_run_fails_the_gate_and_not_the_pipeline_and_the_verdict_outlives_its_commit(
    experiment: Path, tmp_path: Path
) -> None:
    test, folds = {"accuracy": 0.6}, {"roc_auc": 0.99, "brier": 0.01}
    limits = {"lowest": {"test": test, "cross_validation": folds}, "beat_baselines": []}
    folder = copy_project(experiment, tmp_path / "project")
    change_settings(folder, gate=limits)
    assert stages_that_ran(check_output(folder, "dvc", "repro")) == ["gate"]
    verdict = (folder / "metrics/gate.json").read_bytes()
    checks = {check["rule"]: check for check in json.loads(verdict)["checks"]}
    assert json.loads(verdict)["verdict"] == "fail"
    assert checks["lowest test.accuracy"]["verdict"] == "pass"
    assert checks["lowest cross_validation.roc_auc"]["verdict"] == "fail"
    assert "has to be at least 0.99" in checks["lowest cross_validation.roc_auc"]["reason"]
    assert checks["lowest cross_validation.brier"]["verdict"] == "pass"  # of scores.json
    last = check_output(folder, "git", "log", "-1", "--format=%H", "--", "metrics/metrics.json")
    assert f"in {last[:7]}" in checks["worse_than_last test.loss"]["reason"]
    made = run_command(folder, "make", "gate", **MAKE_VARIABLES)
    assert made.returncode != 0
    *_, said = [line for line in made.stdout.splitlines() if not line.startswith("make")]
    reason = "Nothing was learnt: on 254 test rows, the model is not significantly better than "
    assert said.startswith(f"Gate: fail. {reason}")
    assert ". cross_validation.roc_auc is " in said
    assert "Traceback" not in made.stderr
    loss = read_scores(folder)["test"]["loss"]
    other = run_command(folder, "make", "gate", "BASE=small", **MAKE_VARIABLES).stdout
    assert f"worse than {format_number(loss)} in small" in other

    check_output(folder, "git", "commit", "-qam", "A shorter training")
    check_output(folder, "dvc", "repro", "--force", "--single-item", "gate")
    assert (folder / "metrics/gate.json").read_bytes() == verdict
    gate = ("python", "-m", "stages.gate", "--metrics", "metrics")
    assert f"worse than {format_number(loss)} in" in check_output(folder, *gate, "HEAD")
