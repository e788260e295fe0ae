"""The gate gives a verdict with reasons, and only `make gate` fails on it."""

import re
from pathlib import Path

import pytest

from keras_tabular.core.numbers import format_number
from tests.commands import call_main, check_output, run_command, stages_that_ran
from tests.documentation import MAKE_VARIABLES
from tests.projects import change_settings, copy_project, read_gate, read_json


def test_a_failed_gate_fails_only_make_gate_and_a_commit_keeps_the_verdict(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_project(experiment, tmp_path / "project")
    limits = {"test": {"accuracy": 0.6}, "cross_validation": {"roc_auc": 0.99}}
    change_settings(folder, gate={"lowest": limits, "beat_baselines": []})
    assert stages_that_ran(check_output(folder, "dvc", "repro")) == ["gate"]
    verdict = (folder / "metrics/gate.json").read_bytes()
    gate = read_gate(folder)
    checks = gate["checks"]
    assert gate["status"] == "fail"
    assert checks["lowest test.accuracy"]["status"] == "pass"
    assert checks["lowest cross_validation.roc_auc"]["status"] == "fail"
    assert "worse_than_last test.loss" not in checks  # it depends on the history

    completed = run_command(folder, "make", "gate", **MAKE_VARIABLES)
    last = check_output(folder, "git", "log", "-1", "--format=%H", "--", "metrics/metrics.json")
    assert re.search(rf"worse than [\d.]+ in {last[:7]}", completed.stdout)
    assert completed.returncode != 0
    assert "\nwarn: on 254 test rows, the model is not significantly " in completed.stdout
    assert "\nGate: fail. cross_validation.roc_auc is " in completed.stdout
    assert "Traceback" not in completed.stderr
    loss = format_number(read_json(folder / "metrics/metrics.json")["test"]["loss"])
    completed = run_command(folder, "make", "gate", "BASE=small", **MAKE_VARIABLES)
    assert f"worse than {loss} in small" in completed.stdout
    check_output(folder, "git", "commit", "-qam", "A shorter training")
    call_main(folder, "stages.gate", "--metrics", "metrics", "HEAD")
    assert f"worse than {loss} in" in capsys.readouterr().out
    check_output(folder, "dvc", "repro", "--force", "--single-item", "gate")
    assert (folder / "metrics/gate.json").read_bytes() == verdict
