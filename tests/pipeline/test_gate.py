"""The gate gives a verdict with reasons, and `make gate` alone fails on it."""

import json
import re
from pathlib import Path

from tests.helpers import SHORT, must, read_scores, run

MADE = {"MAKEFLAGS": "-o .venv/installed"}  # the environment is the one that runs the tests
GATE = (
    *("python", "-m", "stages.gate", "--metrics", "metrics/metrics.json"),
    *("--scores", "metrics/scores.json"),
)


def said_last(output: str) -> str:
    """The last line of the gate; a make within a make adds its own."""
    return [line for line in output.splitlines() if not line.startswith("make")][-1]


def test_a_run_fails_the_gate_and_not_the_pipeline_and_the_verdict_outlives_its_commit(
    workspace: Path,
) -> None:
    params = workspace / "params.yaml"
    limits = "lowest: {test: {accuracy: 0.7}, cross_validation: {roc_auc: 0.99, brier: 0.01}}"
    params.write_text(params.read_text().replace("lowest: {}", limits))
    must(workspace, "dvc", "exp", "run", "-n", "short", *SHORT)

    verdict = (workspace / "metrics" / "gate.json").read_bytes()
    checks = {check["rule"]: check for check in json.loads(verdict)["checks"]}
    assert json.loads(verdict)["verdict"] == "fail"
    assert checks["lowest cross_validation.roc_auc"]["verdict"] == "fail"
    assert "needed at least 0.99" in checks["lowest cross_validation.roc_auc"]["reason"]
    assert checks["lowest cross_validation.brier"]["verdict"] == "pass"  # of scores.json
    last = must(workspace, "git", "log", "-1", "--format=%H", "--", "metrics/metrics.json")
    assert f"of {last[:7]}" in checks["worse_than_last test.loss"]["reason"]
    made = run(workspace, "make", "gate", **MADE)
    assert made.returncode != 0
    last_line = said_last(made.stdout)
    assert last_line.startswith("Gate: fail: cross_validation.roc_auc is ")
    assert "Accuracy " in last_line  # and the comparison that decides
    assert "Traceback" not in made.stderr
    loss = read_scores(workspace)["test"]["loss"]
    assert (
        f"worse than {loss:g} of short"
        in run(workspace, "make", "gate", "BASE=short", **MADE).stdout
    )

    must(workspace, "git", "commit", "-qam", "A short training")
    must(workspace, "dvc", "repro", "--force", "--single-item", "gate")
    assert (workspace / "metrics" / "gate.json").read_bytes() == verdict
    assert f"worse than {loss:g} of" in must(workspace, *GATE, "HEAD")


def test_the_committed_run_is_level_with_the_best_baseline_and_that_is_enough(
    workspace: Path,
) -> None:
    said = said_last(must(workspace, "make", "gate", **MADE))
    assert re.fullmatch(
        r"Gate: level: Accuracy [\d.]+ on 254 test rows is level with [\d.]+ of logistic "
        r"regression: .* is within chance \(95% interval .*\)",
        said,
    )


def test_an_unknown_revision_is_named(reproduced: Path) -> None:
    assert run(reproduced, *GATE, "nowhere").stderr.startswith("error: found no revision 'nowhere'")
