"""Tests of runs: they are read from any revision, and compared only if they fit."""

from pathlib import Path

import pytest

from keras_tabular.config.sections import Gate
from keras_tabular.core.errors import UserError
from keras_tabular.experiments.gate import check_base
from keras_tabular.experiments.run import METRICS, WORKSPACE, Run, content_at, last_run
from tests.commands import check_output
from tests.projects import commit_all
from tests.unit.experiments.conftest import SCHEMA, commit_run


def test_run_of_any_revision_has_its_scores_and_schema(project: Path) -> None:
    head = check_output(project, "git", "rev-parse", "HEAD").strip()
    check_output(project, "git", "tag", "good", "HEAD~1")
    check_output(project, "git", "update-ref", f"refs/exps/{head[:2]}/{head[2:]}/units-2", "HEAD~1")
    runs = {"workspace": 0.75, "main": 0.75, "HEAD~1": 0.5, "good": 0.5, "units-2": 0.5}
    for name, accuracy in runs.items():
        run = Run(name)
        assert run.require_evaluation().value("test", "accuracy") == accuracy
        assert (run.label == name) == ("HEAD" not in name)
        assert (run.source, run.target) == ("t.csv", "y")
        assert not run.uncommitted
    assert content_at(head, project / "data/schema.yaml") == SCHEMA
    assert Run("HEAD").label == Run(head[:9]).label == head[:7]
    assert Run(WORKSPACE).commit == Run("main").commit


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("data/schema.yaml", SCHEMA.replace("t.csv", "b.csv"), "source data/raw/b.csv, target y"),
        ("data/schema.yaml", SCHEMA.replace("y\n", "z\n", 1), "target z"),
        ("data/schema.yaml", SCHEMA.replace("binary", "regression"), "task regression"),
        ("data/schema.yaml", "[", "has no data/schema.yaml in the present format"),
        ("metrics/scores.json", "{", "has no scores in the present format"),
        ("README.md", "", "share too few test rows that decide it"),
    ],
)
def test_run_of_another_table_is_not_compared(
    project: Path, file: str, text: str, reason: str
) -> None:
    this = Run("HEAD")
    (project / file).write_text(text)
    commit_all(project, "Another run")
    (check,) = check_base(this, Run("HEAD"), Gate(worse_than_last={"test.accuracy": 0.0}))
    assert (check.status, reason in check.reason) == ("undecided", True)


def test_last_run_is_one_before_the_run(project: Path) -> None:
    """Not a later one, also if the run is an old commit."""
    first, second = (Run(name).sha for name in ("HEAD~1", "HEAD"))
    commit_run(project, 0.6)
    bases = {"workspace": second, "HEAD": second, "HEAD~1": first, "HEAD~2": None}
    assert {name: (last := last_run(Run(name))) and last.sha for name in bases} == bases


def test_last_run_has_the_latest_format_of_its_scores(project: Path) -> None:
    scores = project / METRICS / "scores.json"
    scores.write_text(scores.read_text() + " ")
    commit_all(project, "Another format")
    last = Run("HEAD").sha
    commit_run(project, 0.6)
    base = last_run(Run(WORKSPACE))
    assert base
    assert base.sha == last


def test_first_run_is_uncommitted_before_its_files_are_in_git(project: Path) -> None:
    (project / "new.csv").write_text("another file")
    assert not Run(WORKSPACE).uncommitted
    (project / "dvc.lock").write_text("{}")
    assert Run(WORKSPACE).uncommitted


def test_revision_without_scores(project: Path) -> None:
    (project / METRICS / "scores.json").write_text("{")
    commit_all(project, "A run")
    with pytest.raises(UserError, match=r"has no scores\. Run `dvc repro`"):
        Run("HEAD").require_evaluation()
    with pytest.raises(UserError, match=r"metrics/scores.json: .* `dvc repro`"):
        Run(WORKSPACE).require_evaluation()
