"""A run: the scores and other files of a revision in git and in DVC's cache."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from keras_tabular.config.schema import SCHEMA
from keras_tabular.config.sections import Gate
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash
from keras_tabular.core.typed_yaml import SectionT, parse_yaml
from keras_tabular.evaluation.records import Evaluation

LOCK = "dvc.lock"
METRICS = Path("metrics")  # the folder into which dvc.yaml lets the stages write
WORKSPACE = "workspace"
# Names of JSON files in `metrics` that the page shows as they are.
REPORT_FILES = (
    "slices",
    "effects",
    "columns",
    "networks",
    "profile",
    "validation",
    "repeats",
)
GUARDED_DVC = str(Path(__file__).with_name("guarded_dvc.py"))
TEXT_COLUMNS = {"true class", "predicted class", "column"}  # in files with plot data


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
        self.label = WORKSPACE
        self.sha = ""
        if name == WORKSPACE:
            return
        commit = find_revision(name)
        if not commit:
            raise UserError(
                "expected a branch, a tag, a commit, an experiment of `dvc exp list`,"
                f" or {WORKSPACE}, got {name!r}. Fetch it if it is in another clone",
            )
        self.sha = commit
        is_hash = commit.startswith(name) or name.startswith("HEAD")
        self.label = commit[:7] if is_hash else name

    def read(self, path: Path | str) -> str:
        """Return the text of a file; empty if the revision does not have it."""
        if self.sha:
            return content_at(self.sha, path) or ""
        file = Path(path)
        content = file.read_bytes() if file.is_file() else b""
        return content.decode("utf-8", "replace")  # with its line ends

    def load(self, path: Path | str) -> dict[str, Any]:
        """Return the mapping in a JSON or YAML file; empty if there is no such file.

        Raises:
            UserError: A file of the workspace has another format.
        """
        text = self.read(path)
        if not text:
            return {}
        parse = json.loads if Path(path).suffix == ".json" else parse_yaml
        try:
            value = parse(text)
        except (ValueError, yaml.YAMLError) as error:
            if self.sha:  # a commit cannot be fixed
                return {}
            raise UserError(
                f"{path}: {error}. If a stage writes it, run `dvc repro`",
            ) from None
        return value if isinstance(value, dict) else {}

    def read_points(
        self,
        name: str,
        folder: str = "plots",
    ) -> list[dict[str, Any]]:
        """Read a file of plot data.

        An empty cell of a column of numbers is None.
        """
        text = self.read(self.metrics / folder / f"{name}.csv")
        reader = csv.DictReader(io.StringIO(text))
        rows = list(reader)
        for row in rows:
            for column in row.keys() - TEXT_COLUMNS:
                row[column] = float(row[column]) if row[column] else None
        return rows

    @cached_property
    def evaluation(self) -> Evaluation | None:
        """The scores of the run; None if there are none in the present format."""
        return parse_or_none(self.load(self.metrics / "scores.json"), Evaluation)

    @cached_property
    def gate(self) -> Gate:
        """The section `gate` with which the verdict was given, or the default one."""
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
        params = dict[str, Any]()
        for stage in self.lock.get("stages", {}).values():
            for sections in stage.get("params", {}).values():
                params |= sections
        return params

    @cached_property
    def commit(self) -> dict[str, str]:
        """The `sha`, `date` (YYYY-MM-DD) and `subject` of the commit.

        The workspace has those of HEAD. The result is empty before the first commit.
        """
        head = self.sha or find_commit("HEAD")
        if not head:
            return {}
        line = git("log", "-1", "--format=format:%H%x00%as%x00%s", head)
        sha, date, subject = line.split("\0")
        return {"sha": sha, "date": date, "subject": subject}

    @cached_property
    def uncommitted(self) -> bool:
        """Whether this is the workspace, and dvc.lock or a file of git has changed."""
        if self.sha:
            return False
        status = git("status", "--porcelain", "--untracked-files=all", "--", ".")
        lines = status.splitlines()
        return any(not line.startswith("??") or LOCK in line for line in lines)

    @property
    def source(self) -> str:
        """Name of the file or folder with the table, without its path."""
        return Path(self.schema.get("source", "?")).name

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
        file = cache_dir() / "files/md5" / md5[:2] / md5[2:]
        if not file.is_file():
            return None
        content = file.read_bytes()
        if md5_hash(content) != md5:
            raise UserError(
                f"{file}: this copy of {path} in DVC's cache has changed since it was"
                " stored. Remove it, and run `dvc pull` or `dvc repro`",
            )
        return content

    def require_evaluation(self) -> Evaluation:
        """Return the scores of the run.

        Raises:
            UserError: The run has none.
        """
        if self.evaluation is None:
            raise UserError(
                f"{self.metrics / 'scores.json'}: {self.label} has no scores. Run"
                " `dvc repro` at the root of the project first",
            )
        return self.evaluation


def parse_or_none(content: Any, section_type: type[SectionT]) -> SectionT | None:
    """Return the content of a file as a section; None if it has another format."""
    with suppress(ValidationError):  # an old commit may have another format
        return section_type.model_validate(content, extra="ignore")
    return None


def find_evaluation(model: bytes) -> Evaluation | None:
    """Return the evaluation in the workspace; None if it is that of another model.

    Args:
        model: Content of the model's file.
    """
    run = Run(WORKSPACE)
    is_evaluated = md5_hash(model) in locked_hashes(run.lock, "deps").values()
    return run.evaluation if is_evaluated else None


def mismatch(run: Run, base: Run) -> str:
    """Return why two runs cannot be compared.

    Returns:
        An empty text if they have the same table and target.
    """
    if not base.evaluation:
        return f"{base.label} has no scores in the present format"
    if not base.schema:
        return f"{base.label} has no {SCHEMA} in the present format"
    keys = ("source", "target", "task")
    if all(run.schema.get(key) == base.schema.get(key) for key in keys):
        return ""
    table = ", ".join(f"{key} {base.schema.get(key)}" for key in keys)
    return f"{base.label} is a run of another table: {table}"


def find_revision(name: str) -> str | None:
    """Return the hash of a branch, tag, commit or experiment; None if there is none.

    DVC keeps an experiment in the ref refs/exps/BA/SELINE.../NAME, and gto writes a tag
    such as `model#prod#2` whenever a stage gets another version. Of several refs, the
    newest one counts.
    """
    if commit := find_commit(name):
        return commit
    newest = ("--sort=-creatordate", "--count=1", "--format=%(objectname)")
    patterns = (f"refs/exps/*/*/{name}", f"refs/tags/{name}#*")
    return find_commit(git("for-each-ref", *newest, *patterns).strip())


def last_run(run: Run) -> Run | None:
    """Find the last commit up to a run with another metrics.json, if there is one.

    For the workspace, the result is the same before and after its results are
    committed. Of commits with the same metrics.json, it is the one with the latest
    scores.json, whose format is readable.
    """
    metrics = run.metrics / "metrics.json"
    scores = run.metrics / "scores.json"
    text = run.read(metrics)
    if not run.commit:
        return None
    head = run.commit["sha"]
    log = git("log", "--first-parent", "--format=%H", head, "--", metrics, scores)
    for commit in log.split():
        if content_at(commit, metrics) not in (None, text):
            return Run(commit, run.metrics)
    return None


def base_run(run: Run, name: str) -> Run | None:
    """Return the run that `gate.base` names: the last one, or that of a revision.

    Returns:
        None if there is no such run.
    """
    if name == "last":
        return last_run(run)
    return Run(name, run.metrics) if find_revision(name) else None


def content_at(commit: str, path: Path | str) -> str | None:
    """Return the text of a file in a commit; None if the commit does not have it."""
    entry = git("ls-tree", commit, "--", os.path.relpath(path))
    if not entry:
        return None
    return git("cat-file", "blob", entry.split()[2])


def read_model(path: Path) -> bytes:
    """Read a model or, if it is missing, the version of dvc.lock from DVC's cache.

    DVC removes the outputs of a stage before it runs.

    Raises:
        UserError: There is neither.
    """
    with suppress(FileNotFoundError):
        return path.read_bytes()
    relative = Path(os.path.relpath(path))
    content = Run(WORKSPACE).cached_output(relative)
    if content is None:
        raise UserError(
            f"{path}: found no model; name a .keras file, or run `dvc repro` to train",
        )
    print(f"{path} does not exist, so the version of {LOCK} is used", file=sys.stderr)
    return content


def cache_dir() -> Path:
    """Return the folder of DVC's cache."""
    return Path(run_module("dvc", "cache", "dir").strip()).resolve()


def find_commit(name: str) -> str | None:
    """Return the hash of a commit; None if git has none of this name.

    Before the first commit, it has none of the name HEAD.
    """
    find = ("rev-parse", "--revs-only", "--end-of-options")
    answer = git(*find, f"{name}^{{commit}}").strip()
    return answer if answer.isalnum() else None  # a range such as a..b has two


def git(*arguments: str | Path, folder: Path = Path()) -> str:
    """Return what a git command prints.

    The repository is that of the folder, also in a hook, for which git sets variables.

    Raises:
        UserError: git is missing, or the command failed. The message has git's words.
    """
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment_of_folder(),
            capture_output=True,
            check=False,
        )
    except FileNotFoundError:
        raise UserError("git: found no such program. Install git") from None
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip()
        raise UserError(f"git {arguments[0]}: {message}")
    return done.stdout.decode("utf-8", "replace")


def environment_of_folder() -> dict[str, str]:
    """Return the environment without the repository that git names in a hook."""
    of_hook = ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE")
    return {name: text for name, text in os.environ.items() if name not in of_hook}


def run_module(
    *command: str,
    folder: Path | None = None,
    python: str = sys.executable,
    quiet: bool = True,
    **variables: str,
) -> str:
    """Run a module in a Python environment, and return what it prints.

    No file in the folder can take the place of the module. DVC trusts no list of files.

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
    path = f"{Path(python).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    module = [GUARDED_DVC] if command[0] == "dvc" else ["-m", command[0]]
    done = subprocess.run(
        [python, "-P", *module, *command[1:]],
        cwd=folder,
        env=environment_of_folder() | {"PATH": path} | variables,
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    output = done.stdout or ""
    if done.returncode:
        raise UserError(f"{' '.join(command)}: failed\n{output}{done.stderr}".rstrip())
    return output


def locked_hashes(
    lock: Mapping[str, Any],
    kind: str,
) -> dict[str, str | None]:
    """Return the hash of each dependency (`deps`) or output (`outs`), by path."""
    hashes = {}
    for stage in lock.get("stages", {}).values():
        for file in stage.get(kind, []):
            hashes[file["path"]] = file.get("md5")
    return hashes
