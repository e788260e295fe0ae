"""A run: the scores and the table of a revision, and any other of its files."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from tabular.config.schema import SCHEMA
from tabular.core.errors import UserError
from tabular.runs.git import Commit, Revision, changed, commit_of, content_at

# Where dvc.yaml puts what the commands read of a run.
FILES = {
    name: Path(f"metrics/{name}.json")
    for name in (
        *("metrics", "scores", "gate", "networks", "profile", "validation"),
        *("slices", "effects", "columns", "errors"),
    )
}


# What a run is of; other files beside these say nothing of it.
PROJECT = (
    *("data", "metrics", "stages", "tabular", "commands"),
    *("dvc.lock", "dvc.yaml", "params.yaml", "pyproject.toml", "requirements.txt"),
)


class Run:
    """What the pipeline left in a revision. A file is read when it is asked for."""

    def __init__(self, revision: Revision, files: Mapping[str, Path] = FILES) -> None:
        self.revision, self.label = revision, revision.label
        self.files = files

    def read(self, path: Path | str) -> bytes | None:
        """The content of a file; None where the revision has it not."""
        if self.revision.commit:
            return content_at(self.revision.commit, path)
        return Path(path).read_bytes() if Path(path).is_file() else None

    def text(self, path: Path | str) -> str:
        """The text of a file; empty where the revision has it not."""
        return (self.read(path) or b"").decode("utf-8", "replace")

    def load(self, path: Path | str) -> dict[str, Any]:
        """The mapping in a JSON or YAML file; empty where the revision has none.

        Raises:
            UserError: a file of the workspace is neither.
        """
        content = self.read(path)
        if content is None:
            return {}
        try:
            value = (json.loads if Path(path).suffix == ".json" else yaml.safe_load)(content)
        except (ValueError, yaml.YAMLError) as error:
            if self.revision.commit:  # a commit cannot be fixed
                return {}
            raise UserError(
                f"{path}: cannot be read: {error}; `dvc repro` writes anew what a stage wrote"
            ) from None
        return value if isinstance(value, dict) else {}

    @cached_property
    def scores(self) -> dict[str, Any]:
        """All scores; those of the headline were once in `metrics.json` alone."""
        return merged(self.load(self.files["metrics"]), self.load(self.files["scores"]))

    @cached_property
    def schema(self) -> dict[str, Any]:
        """What data/schema.yaml says of the table."""
        return self.load(SCHEMA)

    @cached_property
    def commit(self) -> Commit | None:
        """The revision's own, or the one that the workspace stands on."""
        return commit_of(self.revision)

    @cached_property
    def uncommitted(self) -> bool:
        """Whether it is of a workspace that differs from its commit."""
        return not self.revision.commit and changed(*PROJECT)

    @property
    def source(self) -> str:
        """The name of the file or folder of the table, without its path."""
        return PurePosixPath(str(self.schema.get("source", "?"))).name

    @property
    def target(self) -> str:
        """The column that the model predicts."""
        return str(self.schema.get("target", "?"))

    def require_scores(self) -> None:
        """Raise `UserError` where the run has no scores."""
        if not self.scores:
            raise UserError(
                f"{self.files['metrics']}: {self.label} has no scores; run `dvc repro` first, "
                "at the root of the project"
            )


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Two nested mappings as one; a leaf of both is the second's."""
    result = dict(first)
    for key, value in second.items():
        both = isinstance(value, dict) and isinstance(first.get(key), dict)
        result[key] = merged(first[key], value) if both else value
    return result


def mismatch(run: Run, base: Run) -> str:
    """Why the runs cannot be compared, in words; empty where they are of the same table."""
    for file, content in (("scores", base.scores), (SCHEMA, base.schema)):
        if not content:
            return f"{base.label} holds no {file}"
    keys = ("source", "target", "task")
    if all(run.schema.get(key) == base.schema.get(key) for key in keys):
        return ""
    table = ", ".join(f"{key} {base.schema.get(key)}" for key in keys)
    return f"{base.label} is of another table: {table}"
