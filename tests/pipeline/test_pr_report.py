"""A pull request shows what it changes, and whether what it committed comes out again."""

import re
from pathlib import Path

import pytest
import yaml

from commands.pr_report import MARKER
from tabular.report.page import UNDECIDED
from tabular.runs.rerun import first_difference
from tests.helpers import MADE, PROJECT, must


@pytest.mark.slow
def test_a_pull_request_is_reported_beside_its_base_and_is_run_again(workspace: Path) -> None:
    must(workspace, "git", "checkout", "-qb", "shorter")
    must(workspace, "dvc", "exp", "run", "-S", "train.networks.plain.epochs=2")

    found = first_difference(workspace)  # the commit's outputs against those of the experiment
    assert found
    assert (found.stage, found.path) == ("train", "data/oof")
    assert re.search(r"metrics/curves/\w+\.csv has \d+ numbers and had \d+", found.size)

    must(workspace, "git", "commit", "-qam", "Two epochs")
    must(workspace, "make", "pr-report", "BASE=main", **MADE)
    report = (workspace / "pr.md").read_text()
    assert report.startswith(f"{MARKER}\n\n## Gate: ")
    assert len(report.splitlines()) < 45  # a screenful
    assert re.search(r"\| Accuracy \| [\d.]+ \| [\d.]+ \| .*(better|worse|chance) \(", report)
    assert re.search(r"n 254 test rows .*: loss [\d.]+ and [\d.]+ \(.*; accuracy", report)
    assert report.count(UNDECIDED) == ("Gate: undecided" in report)
    assert "`train.networks.plain.epochs` 3 → 2" in report
    pictures = re.findall(r'src="(pr/[\w-]+\.png)"', report)
    assert pictures == [
        *("pr/accuracy.png", "pr/confusion.png", "pr/importance-of-the-columns.png")
    ]
    for picture in pictures:
        assert (workspace / picture).read_bytes().startswith(b"\x89PNG")
    assert "The committed results are reproducible: a rerun of" in report
    assert must(workspace, "git", "status", "--porcelain") == ""


def test_one_changed_number_is_found_and_named(workspace: Path) -> None:
    """As where another machine computes the last digit of a score otherwise."""
    lock, scores = workspace / "dvc.lock", workspace / "metrics" / "scores.json"
    (digits,) = re.findall(r'"brier": (0\.\d{6}),', scores.read_text())[:1]
    scores.write_text(scores.read_text().replace(digits, f"{float(digits) + 0.000001:.6f}", 1))
    written = yaml.safe_load(lock.read_text())
    outs = written["stages"]["evaluate"]["outs"]
    (out,) = [out for out in outs if out["path"] == "metrics/scores.json"]
    out["md5"] = "0" * 32
    lock.write_text(yaml.safe_dump(written))
    found = first_difference(workspace)
    assert found
    assert (found.stage, found.path) == ("evaluate", "metrics/scores.json")
    assert re.search(r"1 of \d+ numbers differ, by 1e-06 at most", found.size)
    assert first_difference(workspace, ignored=("metrics/scores.json",)) is None
    scores.unlink()
    assert "scores.json is not written any more" in str(first_difference(workspace))


@pytest.mark.parametrize(
    "file",
    [*PROJECT.glob(".github/workflows/*.yml"), PROJECT / "template/.github/workflows/ci.yml"],
)
def test_a_workflow_runs_pinned_actions_with_few_rights(file: Path) -> None:
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        steps = job["steps"]
        for step in steps:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step.get("uses", f"a@{'0' * 40}"))
            assert "${{" not in step.get("run", "")  # nothing of a pull request gets into a shell
        writes = "write" in job.get("permissions", {}).values()
        assert writes == (name in ("publish", "issue"))
        assert not (writes and any("checkout" in step.get("uses", "") for step in steps))
