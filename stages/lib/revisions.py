"""What revisions of the project say: their files, numbers and plots, through git and DVC."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml
from dvc.exceptions import DvcException
from dvc.log import logger
from dvc.render.match import match_defs_renderers
from dvc.repo import Repo
from dvc.repo.experiments.brancher import switch_repo
from dvc.scm import RevError, SCMError, resolve_rev
from dvc_render.exceptions import DvcRenderError
from scmrepo.exceptions import SCMError as GitError

from stages.lib.history import commit_before, git
from stages.lib.stage import UserError
from stages.lib.words import flat

WORKSPACE = "workspace"


class Revision(NamedTuple):
    """A commit or experiment, or the files as they are now (`commit` is empty)."""

    label: str  # short, for legends and column headers
    commit: str


class Commit(NamedTuple):
    """What git says of a commit; `date` is the author's, as YYYY-MM-DD."""

    sha: str
    date: str
    subject: str


class Run(NamedTuple):
    """What a revision says; a mapping is empty where the revision has no such file."""

    label: str
    commit: Commit | None  # the revision's own, or the one that the workspace stands on
    uncommitted: bool  # whether the workspace differs from it
    metrics: dict[str, Any]
    gate: dict[str, Any]
    profile: dict[str, Any]
    validation: dict[str, Any]
    params_file: dict[str, Any]
    lock: dict[str, Any]

    @property
    def params(self) -> dict[str, Any]:
        """Those that the results were made with."""
        return params_of(self.lock) or self.params_file

    @property
    def source(self) -> str:
        """The name of the file or files of the table, without their folder."""
        return PurePosixPath(str(self.params.get("data", {}).get("source", "?"))).name

    @property
    def target(self) -> str:
        """The column that the model predicts."""
        return str(self.params.get("data", {}).get("target", "?"))


def open_repo() -> Repo:
    """The project in the working directory. DVC's own warnings are not shown from here on.

    Raises:
        UserError: it is not the root of a project that git and DVC know.
    """
    logger.setLevel("CRITICAL")
    try:
        return Repo(".")
    except (DvcException, SCMError, GitError) as error:
        raise UserError(f"{error}; run this at the root of a clone of the project") from None


def resolve(repo: Repo, name: str) -> Revision:
    """A branch, tag, commit, name of an experiment, or `workspace`.

    Raises:
        UserError: there is no such revision.
    """
    if name == WORKSPACE:
        return Revision(WORKSPACE, "")
    try:
        commit = resolve_rev(repo.scm, name)
    except (RevError, SCMError, GitError):
        raise UserError(
            f"found no revision {name!r}; expected a branch, tag or commit of `git log`, "
            f"an experiment of `dvc exp list`, or {WORKSPACE}"
        ) from None
    is_hash = commit.startswith(name)
    return Revision(commit[:7] if is_hash or name.startswith("HEAD") else name, commit)


def read_at(repo: Repo, revision: Revision, path: str) -> bytes | None:
    """The content of a file in git, or in the workspace; None where the revision has it not."""
    try:
        if not revision.commit:
            return Path(repo.root_dir, path).read_bytes()
        with switch_repo(repo, revision.commit) as (there, _), there.fs.open(path, "rb") as file:
            content: bytes = file.read()
            return content
    except (OSError, DvcException):
        return None


def read_out(repo: Repo, revision: Revision, path: str, lock: Mapping[str, Any]) -> bytes | None:
    """The content of an output as `lock` knows it, from the workspace or DVC's cache.

    None where it is in neither; a remote is not asked.
    """
    md5 = hashes_of(lock).get(path, {}).get("md5")
    if md5 is None:
        return None
    places = [] if revision.commit else [Path(repo.root_dir, path)]
    for place in [*places, Path(repo.cache.local.oid_to_path(md5))]:
        if place.is_file():
            content = place.read_bytes()
            if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
                return content
    return None


def load_at(repo: Repo, revision: Revision, path: str) -> dict[str, Any]:
    """The mapping in a JSON or YAML file; empty where the revision has no such file.

    Raises:
        UserError: the file is neither.
    """
    content = read_at(repo, revision, path)
    if content is None:
        return {}
    try:
        value = json.loads(content) if path.endswith(".json") else yaml.safe_load(content)
    except (ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path} of {revision.label}: cannot be read: {error}") from None
    return value if isinstance(value, dict) else {}


def changes(old: Mapping[Any, Any], new: Mapping[Any, Any]) -> dict[str, tuple[Any, Any]]:
    """The leaves that differ, as (old, new); None where there is none."""
    before, after = dict(flat(old)), dict(flat(new))
    return {
        name: (before.get(name), after.get(name))
        for name in [*after, *(name for name in before if name not in after)]
        if before.get(name) != after.get(name) or (name in before) != (name in after)
    }


def params_of(lock: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the results were made with, from a dvc.lock.

    The keys are those that dvc.yaml names: sections, or keys in them such as evaluate.threshold.
    """
    sections: dict[str, Any] = {}
    for stage in lock.get("stages", {}).values():
        for found in stage.get("params", {}).values():
            sections |= found
    return sections


def hashes_of(lock: Mapping[str, Any], *, of: str = "outs") -> dict[str, dict[str, Any]]:
    """The hash and size in bytes of each output (or of "deps") in a dvc.lock, by its path."""
    return {
        entry["path"]: entry
        for stage in lock.get("stages", {}).values()
        for entry in stage.get(of, [])
    }


def plot_specs(repo: Repo, revisions: list[Revision]) -> dict[str, dict[str, Any]]:
    """The Vega-Lite specification of each plot that has rows, by its title.

    They come in the order of the first revision's dvc.yaml and overlay the revisions, whose labels
    are the legend.

    Raises:
        UserError: dvc.yaml is broken, or a plot of it does not fit its data.
    """
    names = {revision.commit or WORKSPACE: revision.label for revision in revisions}
    try:
        with redirect_stderr(StringIO()):  # DVC writes which plots older revisions have not
            found = repo.plots.show(revs=list(names))
            data = {label: found[name] for name, label in names.items() if name in found}
            plots = match_defs_renderers(data=data, templates_dir=repo.plots.templates_dir)
    except DvcException as error:
        raise UserError(f"the plots cannot be read: {error}") from None
    broken = found.get(revisions[0].commit or WORKSPACE, {}).get("definitions", {}).get("error")
    if broken:
        raise UserError(f"the plots of {revisions[0].label} cannot be read: {broken}")
    specs = {}
    for plot in plots:
        try:
            spec = plot.renderer.get_filled_template()
        except DvcRenderError as error:
            raise UserError(f"dvc.yaml: plot {plot.renderer.name!r}: {error}") from None
        if spec:
            specs[plot.renderer.name] = spec
    return specs


def commit_of(revision: Revision) -> Commit | None:
    """The commit of a revision, that of HEAD for the workspace; None before the first one."""
    line = git("log", "-1", "--format=%H%x00%as%x00%s", revision.commit or "HEAD")
    return Commit(*line.split("\0")) if line else None


def choose(repo: Repo, names: list[str], paths: Mapping[str, str]) -> tuple[list[Revision], str]:
    """The revision that a report is about, the one to compare it with if any, and why that one.

    Args:
        names: none, the other revision, or the other one and the one that the report is about, in
            the order of `dvc metrics diff`.
        paths: of what `read_run` reads.
    """
    if len(names) > 2:
        raise UserError(f"--rev: found {len(names)} revisions; expected one or two")
    this = resolve(repo, names[1] if len(names) == 2 else WORKSPACE)
    if names:
        other = resolve(repo, names[0])
        if other.commit == this.commit:
            return [this], "Both revisions are the same one, so there is nothing to compare."
        return [this, other], ""
    if git("status", "--porcelain", "--", *paths.values(), "dvc.lock", "params.yaml"):
        if commit_of(this) is None:
            return [this], "There is no commit yet to compare with."
        return [this, resolve(repo, "HEAD")], ""
    before = commit_before(Path(paths["metrics"]))
    why = "The workspace has the results of the last commit"
    if before is None:
        return [this], f"{why}, and git knows no other results to compare with."
    why += ", so it is compared with the results before them."
    return [this, resolve(repo, before)], why


def read_run(repo: Repo, revision: Revision, paths: Mapping[str, str]) -> Run:
    """What a revision's files say.

    Args:
        paths: of the JSON files `metrics`, `gate`, `profile` and `validation`.
    """
    return Run(
        label=revision.label,
        commit=commit_of(revision),
        uncommitted=not revision.commit and bool(git("status", "--porcelain")),
        **{name: load_at(repo, revision, path) for name, path in paths.items()},
        params_file=load_at(repo, revision, "params.yaml"),
        lock=load_at(repo, revision, "dvc.lock"),
    )
