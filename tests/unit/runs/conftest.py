"""A small project in a folder of a git repository, with two committed runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import must

FILES = {name: Path(f"metrics/{name}.json") for name in ("metrics", "scores", "gate", "profile")}
SCHEMA = "source: data/raw/t.csv\ntarget: y\ntask: binary\n"


def write_run(folder: Path, scores: dict[str, Any], schema: str = SCHEMA) -> None:
    """A run whose headline is its test accuracy."""
    headline = {"test": {"accuracy": scores["test"].pop("accuracy")}}
    for path, text in {
        "metrics/metrics.json": json.dumps(headline),
        "metrics/scores.json": json.dumps(scores),
        "data/schema.yaml": schema,
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)


@pytest.fixture
def commit() -> Callable[[Path], str]:
    """Commit all that is in a folder: the hash."""

    def commit_all(folder: Path) -> str:
        must(folder, "git", "add", "-A", ".")
        must(folder, "git", "commit", "-qm", "A run")
        return must(folder, "git", "rev-parse", "HEAD").strip()

    return commit_all


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, commit: Callable[[Path], str]) -> Path:
    """Two runs of accuracy 0.5 and 0.75; it is the working directory."""
    folder = tmp_path / "in" / "a" / "repository"
    folder.mkdir(parents=True)
    must(tmp_path, "git", "init", "-q", "-b", "main")
    for accuracy in (0.5, 0.75):
        write_run(folder, {"test": {"accuracy": accuracy, "loss": 1 - accuracy, "rows": 10}})
        commit(folder)
    monkeypatch.chdir(folder)
    return folder
