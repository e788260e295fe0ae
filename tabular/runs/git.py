"""What git holds of the project in the working directory: revisions, commits and their files."""

import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from tabular.core.errors import UserError


class Revision(NamedTuple):
    """A commit or an experiment; the workspace where `commit` is empty."""

    label: str  # short, for legends, table headers and messages
    commit: str


class Commit(NamedTuple):
    """What `git log` says of a commit; `date` is the author's, as YYYY-MM-DD."""

    sha: str
    date: str
    subject: str


WORKSPACE = Revision("workspace", "")


def _output(*arguments: str, folder: Path | None = None) -> bytes | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout if done.returncode == 0 else None


def git(*arguments: str, folder: Path | None = None) -> str | None:
    """What a git command prints, without the last newline; None where it fails."""
    output = _output(*arguments, folder=folder)
    return None if output is None else output.decode("utf-8", "replace").rstrip("\n")


def content_at(commit: str, path: Path | str) -> bytes | None:
    """The content of a file in a commit; None where it has none."""
    return _output("show", f"{commit}:./{os.path.relpath(path)}")


def commit_before(path: Path) -> str | None:
    """The last commit in which a file has another content than now; None where there is none.

    It is the same one before and after the present content is committed.
    """
    now = path.read_bytes() if path.is_file() else None
    log = git("log", "--first-parent", "--format=%H", "--", str(path)) or ""
    return next((c for c in log.split() if content_at(c, path) not in (None, now)), None)


def commit_of(revision: Revision) -> Commit | None:
    """The commit of a revision, that of HEAD for the workspace; None before the first one."""
    line = git("log", "-1", "--format=%H%x00%as%x00%s", revision.commit or "HEAD")
    return Commit(*line.split("\0")) if line else None


def changed(*paths: Path | str) -> bool:
    """Whether the workspace differs from HEAD in one of these paths."""
    return bool(git("status", "--porcelain", "--", *map(str, paths)))


def resolve(name: str) -> Revision:
    """The revision of this name: `workspace`, a branch, tag, commit or experiment.

    Raises:
        UserError: there is no such revision, or more than one.
    """
    if name == WORKSPACE.label:
        return WORKSPACE
    commit = git("rev-parse", "--quiet", "--verify", "--end-of-options", f"{name}^{{commit}}")
    commit = commit or _experiment(name)
    if commit is None:
        raise UserError(
            f"found no revision {name!r}; expected a branch, tag or commit of `git log`, an "
            f"experiment of `dvc exp list`, or {WORKSPACE.label}; fetch it if it is elsewhere"
        )
    is_hash = commit.startswith(name) or name.startswith("HEAD")
    return Revision(commit[:7] if is_hash else name, commit)


def _experiment(name: str) -> str | None:
    """The commit of an experiment, which DVC keeps in the ref refs/exps/BA/SELINE.../NAME.

    Of several with one name, the one that started from HEAD.
    """
    head, by_baseline = git("rev-parse", "HEAD"), dict[str, str]()
    refs = git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps") or ""
    for line in refs.splitlines():
        commit, _, ref = line.partition(" ")
        parts = ref.split("/")  # other refs of DVC there are shorter
        if len(parts) == 5 and parts[4] == name:
            by_baseline[parts[2] + parts[3]] = commit
    if len(by_baseline) > 1 and head not in by_baseline:
        hashes = ", ".join(commit[:7] for commit in by_baseline.values())
        raise UserError(f"found {len(by_baseline)} experiments {name!r}; name one of {hashes}")
    return by_baseline.get(str(head)) or next(iter(by_baseline.values()), None)
