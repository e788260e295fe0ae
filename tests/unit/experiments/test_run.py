"""Tests of runs: they are read from any revision, and compared only if they fit."""

from pathlib import Path

import pytest
import yaml

from keras_tabular.config.sections import Gate
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash
from keras_tabular.experiments.gate import check_base
from keras_tabular.experiments.run import (
    LOCK,
    METRICS,
    WORKSPACE,
    Run,
    content_at,
    count_runs,
    last_run,
)
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


def write_lock(file: Path, table: str, seed: int, predictions: str, **rows: str) -> None:
    """Write a lock as DVC does.

    Args:
        table: Content of the table, of which the hash is written, as of the others.
        rows: Content of the folders of rows in data/split, by name; with `all`, of data/split.
    """
    paths = {"data/raw/t.csv": table, "data/predictions": predictions}
    paths |= {f"data/split/{name}".removesuffix("/all"): text for name, text in rows.items()}
    deps = [
        {"path": path, "hash": "md5", "md5": md5_hash(text.encode())}
        for path, text in paths.items()
    ]
    params = {"params.yaml": {"split": {"by": "random", "seed": seed}}}
    lock = {"schema": "2.0", "stages": {"split": {"deps": deps, "params": params}}}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(lock, sort_keys=False))


def test_runs_with_the_same_test_rows_are_counted(project: Path) -> None:
    run, lock = Run(WORKSPACE), project / LOCK
    assert count_runs(run) == 1  # without a lock
    for table, seed, predictions, rows in (
        ("t1", 9, "p1", {"all": "old"}),  # before the test rows had a hash of their own
        ("t1", 9, "p2", {"test": "a", "all": "b"}),
        ("t1", 9, "p2", {"test": "a", "all": "b"}),  # with other code, for example
        ("t1", 9, "p3", {"test": "c", "all": "d"}),  # without a column
        ("t2", 8, "p4", {"test": "a", "all": "e"}),  # with more training rows
        ("t1", 8, "p5", {"test": "f", "all": "g"}),
        ("t2", 9, "p6", {"test": "h", "all": "i"}),
    ):
        write_lock(lock, table, seed, predictions, **rows)
        commit_all(project, "A run")
    counts = {"HEAD~6": 3, "HEAD~4": 4, "HEAD~3": 3, "HEAD~2": 2, "HEAD~1": 1, "HEAD": 1}
    assert {name: count_runs(Run(name)) for name in counts} == counts
    write_lock(lock, "t1", 9, "p7", test="a")
    assert count_runs(run) == 5  # of p1, p2, p3, p4 and the uncommitted p7
    write_lock(project / ".dvc/cache/runs/1/2/3", "t1", 9, "p8", test="a")
    assert count_runs(run) == 6
