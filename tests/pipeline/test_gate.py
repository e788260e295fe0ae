"""The gate gives a verdict with reasons, and only `make gate` fails on it."""

import re
from pathlib import Path

import pytest

from tests.commands import call_main, check_output, run_command, stages_that_ran
from tests.documentation import MAKE_VARIABLES
from tests.projects import (
    change_settings,
    copy_project,
    read_gate,
    read_output_hashes,
    read_scores,
    reproduce,
)


def test_a_failed_gate_fails_only_make_gate_and_a_commit_keeps_the_verdict(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_project(experiment, tmp_path / "project")

    def call_gate(*arguments: str) -> str:
        call_main(folder, "stages.gate", "--metrics", "metrics", *arguments)
        return capsys.readouterr().out

    limits = {"test": {"accuracy": 0.5}, "cross_validation": {"roc_auc": 0.99}}
    change_settings(folder, gate={"lowest": limits, "beat_baselines": []})
    completed = run_command(folder, "make", "gate", "BASE=small", **MAKE_VARIABLES)
    assert stages_that_ran(completed.stdout) == ["gate"]
    assert "Use `dvc push`" in completed.stdout  # DVC has not failed
    assert completed.returncode != 0
    same = "test.loss is 0.0% better than in small on 254 test rows"
    assert same in completed.stdout
    assert re.search(r"\nGate: fail\. .*cross_validation\.roc_auc is ", completed.stdout)
    assert "Traceback" not in completed.stderr
    verdict = (folder / "metrics/gate.json").read_bytes()
    gate = read_gate(folder)
    checks = gate["checks"]
    assert gate["status"] == "fail"
    assert checks["lowest test.accuracy"]["status"] == "pass"
    assert checks["lowest cross_validation.roc_auc"]["status"] == "fail"
    assert "worse_than_last test.loss" not in checks  # it depends on the history

    last = check_output(folder, "git", "log", "-1", "--format=%H", "--", "metrics/metrics.json")
    assert re.search(rf"test.loss is .* in {last[:7]} on 254 test rows", call_gate())
    small = ("git", "for-each-ref", "--format=%(objectname)", "refs/exps/*/*/small")
    check_output(folder, "git", "tag", "model#prod#1", check_output(folder, *small).strip())
    change_settings(folder, gate={"base": "model#prod"})
    assert same.replace("small", "model#prod") in call_gate()
    # The base has kept no test rows, so its model predicts those of the workspace.
    file = folder / "metrics/plots/test_rows.csv"
    rows = file.read_text()
    file.write_text("y\n")
    check_output(folder, "git", "commit", "-qam", "Another version")
    file.write_text(rows)
    assert re.search(r"test.loss is .* than in \w+ on 254 test rows", call_gate("HEAD"))
    call_gate("--verdict", "metrics/gate.json")
    assert (folder / "metrics/gate.json").read_bytes() == verdict


def test_limits_of_slices_need_no_training_and_leave_other_results_as_they_are(
    workspace: Path,
) -> None:
    before, scores = read_output_hashes(workspace, "metrics/gate.json"), read_scores(workspace)
    older = {"slices": {"older": {"Age": {"low": 50}}}}
    change_settings(workspace, evaluate=older, gate={"lowest": {"slices": {"older": {"f1": 1}}}})
    reproduce(workspace, "calibrate")
    assert read_gate(workspace)["checks"]["lowest slices.older.f1"]["status"] == "fail"
    after = read_output_hashes(workspace, "metrics/gate.json")
    changed = {path for path, md5 in after.items() if before[path] != md5}
    assert changed == {"metrics/scores.json", "metrics/slices.json"}
    added = read_scores(workspace)
    assert {s.row_set for s in added.scores if s not in scores.scores} == {"slices.older"}
    assert added.model_copy(update={"scores": scores.scores}) == scores
