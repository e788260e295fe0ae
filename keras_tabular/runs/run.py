"""A run: the scores, the schema and the other files of a revision in git and in DVC's cache."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from pydantic import ValidationError

from keras_tabular.config.schema import SCHEMA
from keras_tabular.config.sections import Gate
from keras_tabular.config.typed_yaml import SectionT, parse_yaml
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash
from keras_tabular.evaluation.records import Evaluation

LOCK = "dvc.lock"
METRICS = Path("metrics")  # the folder into which dvc.yaml lets the stages write
WORKSPACE = "workspace"
# Names of JSON files of the stages in `metrics` that the page shows as they are.
REPORT_FILES = ("slices", "effects", "columns", "networks", "profile", "validation")
# The model, and the files that the gate and the report read. They have to be outputs of
# a stage.
RESULTS = {
    f"metrics/{key}.json"
    for key in ("scores", "metrics", "gate", "errors", *REPORT_FILES)
}
RESULTS |= {"models/model.keras", "metrics/plots", "metrics/curves"}
TEXT_COLUMNS = {
    "true class",
    "predicted class",
    "column",
}  # of the files with plot data


class Run:
    """The files of the pipeline in a revision. Each is read when it is needed.

    Args:
        name: `workspace`, or the name of a branch, a tag, a commit or an experiment.
        metrics: Folder of the scores and of the other results.

    Attributes:
        label: Short name for legends, headers of tables and messages.
        sha: Full hash of the commit; empty for the workspace.

    Raises:
        UserError: There is no such revision.
    """

    def __init__(self, name: str, metrics: Path = METRICS) -> None:
        self.metrics = metrics
        self.label, self.sha = (name, "") if name == WORKSPACE else resolve(name)

    def read(self, path: Path | str) -> str:
        """Return the text of a file; empty if the revision does not have it."""
        return (content_at(self.sha, path) if self.sha else read_text(path)) or ""

    def load(self, path: Path | str) -> dict[str, Any]:
        """Return the mapping in a JSON or YAML file; empty if the revision does not have it.

        Raises:
            UserError: A file of the workspace has another format.
        """
        text = self.read(path)
        if not text:
            return {}
        try:
            value = (json.loads if Path(path).suffix == ".json" else parse_yaml)(text)
        except (ValueError, yaml.YAMLError) as error:
            if self.sha:  # a commit cannot be fixed
                return {}
            raise UserError(
                f"{path}: {error}. If a stage writes it, run `dvc repro`",
            ) from None
        return value if isinstance(value, dict) else {}

    def read_points(self, name: str, folder: str = "plots") -> list[dict[str, Any]]:
        """Read a file of plot data; an empty cell is None, and other cells are numbers or text."""
        text = self.read(self.metrics / folder / f"{name}.csv")
        rows = csv.DictReader(io.StringIO(text))
        return [
            {key: _parse_cell(key, cell) for key, cell in row.items()} for row in rows
        ]

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The scores of the run; None if there are none in the present format."""
        return parse_or_none(self.load(self.metrics / "scores.json"), Evaluation)

    @cached_property
    def gate(self) -> Gate:
        """The section `gate` with which the verdict was given, or else the default one."""
        return parse_or_none(self.params.get("gate"), Gate) or Gate()

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The content of data/schema.yaml."""
        return self.load(SCHEMA)

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The content of dvc.lock."""
        return self.load(LOCK)

    @cached_property
    def params(self) -> dict[str, Any]:
        """The sections of params.yaml with which the results were made."""
        stages = self.lock.get("stages", {}).values()
        files = (
            params for stage in stages for params in stage.get("params", {}).values()
        )
        return {section: value for params in files for section, value in params.items()}

    @cached_property
    def commit(self) -> dict[str, str]:
        """The `sha`, `date` (YYYY-MM-DD) and `subject` of the commit; of HEAD for the workspace.

        It is empty before the first commit.
        """
        line = git("log", "-1", "--format=format:%H%x00%as%x00%s", self.sha or "HEAD")
        return (
            dict(zip(("sha", "date", "subject"), line.split("\0"), strict=True))
            if line
            else {}
        )

    @cached_property
    def uncommitted(self) -> bool:
        """Whether this is the workspace, and dvc.lock or a file of git differs from the commit."""
        status = git("status", "--porcelain", "--untracked-files=all", "--", ".") or ""
        changes = (
            line for line in status.splitlines() if line[:2] != "??" or LOCK in line
        )
        return not self.sha and any(changes)

    @property
    def source(self) -> str:
        """Name of the file or folder with the table, without its path."""
        return PurePosixPath(str(self.schema.get("source", "?"))).name

    @property
    def target(self) -> str:
        """The column that the model predicts."""
        return str(self.schema.get("target", "?"))

    def cached_output(self, path: Path) -> bytes | None:
        """Read an output of the run from DVC's cache; None if it is not there.

        Raises:
            UserError: The file in the cache does not have the hash that is in dvc.lock.
        """
        md5 = locked_hashes(self.lock, "outs").get(path.as_posix())
        if md5 is None:
            return None
        file = cache_dir() / "files" / "md5" / md5[:2] / md5[2:]
        content = file.read_bytes() if file.is_file() else None
        if content is not None and md5_hash(content) != md5.removesuffix(".dir"):
            problem = (
                f"{file}: this copy of {path} in DVC's cache has changed since it was"
                " stored"
            )
            raise UserError(f"{problem}. Remove it, and run `dvc pull` or `dvc repro`")
        return content

    def cached_files(self, folder: Path) -> dict[str, Path]:
        """Return the files in DVC's cache of an output that is a folder, by their path in it.

        The result is empty if one is not there.
        """
        content = self.cached_output(folder)
        if content is None:
            return {}
        cache = cache_dir() / "files" / "md5"
        listing = json.loads(content)
        files = {
            each["relpath"]: cache / each["md5"][:2] / each["md5"][2:]
            for each in listing
        }
        return files if all(file.is_file() for file in files.values()) else {}

    def require_evaluation(self) -> Evaluation:
        """Return the scores of the run.

        Raises:
            UserError: The run has none.
        """
        if self.evaluation is None:
            problem = f"{self.metrics / 'scores.json'}: {self.label} has no scores"
            raise UserError(
                f"{problem}. Run `dvc repro` at the root of the project first",
            )
        return self.evaluation


def _parse_cell(column: str, cell: str) -> str | float | None:
    if column in TEXT_COLUMNS:
        return cell
    return float(cell) if cell else None


def parse_or_none(content: Any, section_type: type[SectionT]) -> SectionT | None:
    """Return the content of a file as a section; None if it has another format."""
    with suppress(ValidationError):  # an old commit may have another format
        return section_type.model_validate(content, extra="ignore")
    return None


def find_evaluation(model: bytes) -> Evaluation | None:
    """Return the evaluation in the workspace, or None if it is that of another model.

    Args:
        model: Content of the model's file.
    """
    run = Run(WORKSPACE)
    return (
        run.evaluation
        if md5_hash(model) in locked_hashes(run.lock, "deps").values()
        else None
    )


def mismatch(run: Run, base: Run) -> str:
    """Return why two runs cannot be compared; empty if they have the same table and target."""
    for file, content in (("scores", base.evaluation), (SCHEMA, base.schema)):
        if not content:
            return f"{base.label} has no {file} in the present format"
    keys = ("source", "target", "task")
    if all(run.schema.get(key) == base.schema.get(key) for key in keys):
        return ""
    table = ", ".join(f"{key} {base.schema.get(key)}" for key in keys)
    return f"{base.label} is a run of another table: {table}"


def resolve(name: str) -> tuple[str, str]:
    """Find a branch, a tag, a commit or an experiment, and return its label and its hash.

    DVC keeps an experiment in the ref refs/exps/BA/SELINE.../NAME, and gto writes a tag
    such as `model#prod#2` whenever a stage gets another version. Of several refs, the
    newest one counts.

    Raises:
        UserError: There is no such revision.
    """
    commit = git(
        "rev-parse",
        "--quiet",
        "--verify",
        "--end-of-options",
        f"{name}^{{commit}}",
    )
    newest = ("--sort=-creatordate", "--count=1", "--format=%(objectname)")
    patterns = f"refs/exps/*/*/{name}", f"refs/tags/{name}#*"
    if not commit and (ref := (git("for-each-ref", *newest, *patterns) or "").strip()):
        commit = git("rev-parse", "--verify", f"{ref}^{{commit}}")
    commit = (commit or "").strip()
    if not commit:
        expected = (
            "a branch, a tag, a commit, an experiment of `dvc exp list`, or"
            f" {WORKSPACE}"
        )
        raise UserError(
            f"expected {expected}, got {name!r}. Fetch it if it is in another clone",
        )
    is_hash = commit.startswith(name) or name.startswith("HEAD")
    return commit[:7] if is_hash else name, commit


def last_run(run: Run) -> Run | None:
    """Find the last commit up to a run in which metrics.json differs from the run's, if any does.

    For the workspace, the result is the same before and after its results are
    committed. Of commits with the same metrics.json, it is the one with the latest
    scores.json, whose format is readable.
    """
    path = run.metrics / "metrics.json"
    scores = run.metrics / "scores.json"
    arguments = (
        "--first-parent",
        "--format=%H",
        run.sha or "HEAD",
        "--",
        str(path),
        str(scores),
    )
    log = git("log", *arguments) or ""
    text = run.read(path)
    runs = (
        Run(c, run.metrics)
        for c in log.split()
        if content_at(c, path) not in (None, text)
    )
    return next(runs, None)


def base_run(run: Run, name: str) -> Run | None:
    """Return the run that `gate.base` names: the last one, or that of a revision.

    Returns:
        None if there is no such run.
    """
    with suppress(UserError):  # there may be no such revision yet
        return last_run(run) if name == "last" else Run(name, run.metrics)
    return None


def content_at(commit: str, path: Path | str) -> str | None:
    """Return the text of a file in a commit; None if the commit does not have it."""
    return git("show", f"{commit}:./{os.path.relpath(path)}")


def read_text(path: Path | str) -> str | None:
    """Return the text of a file with its line ends as they are; None if there is no such file."""
    return (
        Path(path).read_bytes().decode("utf-8", "replace")
        if Path(path).is_file()
        else None
    )


def read_model(path: Path) -> bytes:
    """Read a model or, if it is missing, the version of dvc.lock from DVC's cache.

    DVC removes the outputs of a stage before it runs.

    Raises:
        UserError: There is neither.
    """
    with suppress(FileNotFoundError):
        return path.read_bytes()
    content = Run(WORKSPACE).cached_output(Path(os.path.relpath(path)))
    if content is None:
        raise UserError(
            f"{path}: found no model; name a .keras file, or run `dvc repro` to train",
        )
    print(f"{path} does not exist, so the version of {LOCK} is used", file=sys.stderr)
    return content


def cache_dir() -> Path:
    """Return the folder of DVC's cache."""
    return Path(run_module("dvc", "cache", "dir").strip()).resolve()


def git(*arguments: str, folder: Path | None = None) -> str | None:
    """Return what a git command prints; None if it fails."""
    with suppress(FileNotFoundError):  # git may not be installed
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            capture_output=True,
            check=False,
        )
        return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
    return None


def run_module(
    *command: str,
    folder: Path | None = None,
    python: str = sys.executable,
    quiet: bool = True,
    **variables: str,
) -> str:
    """Run a module in a Python environment, and return what it prints.

    Args:
        command: The name of the module and its arguments.
        folder: The folder to run it in; None for the current folder.
        python: The Python of the environment, whose programs are found first.
        quiet: Whether to collect the output. Otherwise it goes to stderr, and is not
            returned.
        variables: Environment variables for the module.

    Raises:
        UserError: The command failed. The message contains its output.
    """
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [python, "-m", *command],
        cwd=folder,
        env=os.environ | {"PATH": path} | variables,
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    output = done.stdout or ""
    if done.returncode:
        raise UserError(f"{' '.join(command)}: failed\n{output}{done.stderr}".rstrip())
    return output


def locked_hashes(lock: Mapping[str, Any], kind: str) -> dict[str, str | None]:
    """Return the hash of each dependency (`deps`) or output (`outs`) of the stages, by path."""
    stages = lock.get("stages", {}).values()
    return {
        file["path"]: file.get("md5")
        for stage in stages
        for file in stage.get(kind, [])
    }
