"""Fixtures: a git repository with two committed runs of a small project."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.commands import check_output
from tests.projects import commit_all

SCHEMA = "source: data/raw/t.csv\ntarget: y\ntask: binary\n"


def write_run(folder: Path, scores: dict[str, Any], schema: str = SCHEMA) -> None:
    """Write the schema, and the metrics files of a run with these scores."""
    summary = {"test": {"accuracy": scores["test"]["accuracy"]}}
    scores = {"primary_metrics": ["accuracy"], "test": {"rows": 10} | scores["test"]}
    for path, text in {
        "metrics/metrics.json": json.dumps(summary),
        "metrics/scores.json": json.dumps(scores),
        "data/schema.yaml": schema,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two runs, of accuracy 0.5 and 0.75, for reading only."""
    root = tmp_path_factory.mktemp("repository")
    check_output(root, "git", "init", "-q", "-b", "main", "--template=")
    folder = root / "in/a/repository"
    for accuracy in (0.5, 0.75):
        write_run(folder, {"test": {"accuracy": accuracy, "loss": 1 - accuracy}})
        commit_all(folder, "A run")
    return root


@pytest.fixture
def project(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project in a copy of the repository, as the working directory."""
    shutil.copytree(repository, tmp_path, dirs_exist_ok=True)
    folder = tmp_path / "in/a/repository"
    monkeypatch.chdir(folder)
    return folder
