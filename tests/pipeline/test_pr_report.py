"""Tests of the comment on a pull request: scores, changes, and a rerun in a fresh clone."""

import re
from pathlib import Path

import pytest
import yaml

from tests.commands import check_output
from tests.documentation import MAKE_VARIABLES
from tests.helpers import PROJECT


@pytest.mark.slow
def test_comment_compares_with_the_base_and_reruns_the_commit(workspace: Path) -> None:
    check_output(workspace, "git", "checkout", "-qb", "shorter")
    check_output(workspace, "dvc", "exp", "run", "-S", "train.networks.plain.epochs=2")
    check_output(workspace, "git", "commit", "-qam", "Two epochs")
    check_output(workspace, "make", "pr-report", "BASE=main", **MAKE_VARIABLES)
    report = (workspace / "pr.md").read_text()
    assert report.startswith("<!-- pr-report -->\n\n## Gate: ")
    assert len(report.splitlines()) < 45  # it fits on a screen
    assert re.search(r"\| Accuracy \| [\d.]+ \| [\d.]+ \| .*(better|worse|significant) \(", report)
    assert re.search(r"n 254 test rows, .*: loss [\d.]+ vs [\d.]+ \(.*; accuracy", report)
    assert "`train.networks.plain.epochs` 3 → 2" in report
    assert "The committed results are reproducible: a rerun of" in report
    assert check_output(workspace, "git", "status", "--porcelain") == ""


def test_jobs_with_write_permission_run_no_code_of_a_pull_request() -> None:
    """`make check` runs zizmor, which finds other dangers in workflows."""
    folders = (PROJECT, PROJECT / "keras_tabular/projects/files")
    for file in (file for folder in folders for file in folder.glob(".github/workflows/*.yml")):
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            if "write" in job.get("permissions", {}).values():
                assert not any("checkout" in step.get("uses", "") for step in job["steps"])
