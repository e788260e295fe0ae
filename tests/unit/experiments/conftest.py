"""A git repository with two committed runs of a small project."""

import json
from pathlib import Path

import pytest

from tests.commands import check_output
from tests.helpers import build_evaluation
from tests.projects import commit_all

SCHEMA = "source: data/raw/t.csv\ntarget: y\ntask: binary\n"


def commit_run(folder: Path, accuracy: float) -> None:
    """Commit the schema, and the metrics files of a run with this accuracy."""
    for path, text in {
        "metrics/metrics.json": json.dumps({"test": {"accuracy": accuracy}}),
        "metrics/scores.json": build_evaluation(test={"accuracy": accuracy}).model_dump_json(),
        "data/schema.yaml": SCHEMA,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    commit_all(folder, "A run")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, in a repository with two runs, of accuracy 0.5 and 0.75."""
    check_output(tmp_path, "git", "init", "-q", "-b", "main", "--template=")
    folder = tmp_path / "in/a/repository"
    for accuracy in (0.5, 0.75):
        commit_run(folder, accuracy)
    monkeypatch.chdir(folder)
    return folder
