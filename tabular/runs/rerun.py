"""What DVC knows of outputs, and whether the committed results come out again in a clone."""

import hashlib
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from tabular.config.typed_yaml import read_yaml
from tabular.core.errors import UserError
from tabular.runs.run import FILES, LOCK, WORKSPACE, Revision, git, outputs


def dvc(*arguments: str, folder: Path | None = None) -> str:
    """What a DVC command prints. Its stages find the Python that runs this.

    Raises:
        UserError: the command failed; the message holds what it printed.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"dvc {' '.join(arguments)}: failed\n{done.stdout}{done.stderr}".rstrip())
    return done.stdout


def cache_dir() -> Path:
    """The folder of DVC's cache."""
    return Path(dvc("cache", "dir").strip())


def output_at(revision: Revision, path: Path, md5: str | None) -> bytes | None:
    """The content of an output with this hash, from the workspace or the cache.

    None where it is in neither; a remote is not asked.
    """
    if md5 is None:
        return None
    if not revision.commit and (content := _verified(path, md5)) is not None:
        return content
    return _verified(cache_dir() / "files" / "md5" / md5[:2] / md5[2:], md5)


def last_output(path: Path) -> bytes | None:
    """Read an output; if it is missing, its last version in DVC's cache; None if there is neither.

    DVC removes the outputs of a stage before it runs.
    """
    with suppress(FileNotFoundError):
        return path.read_bytes()
    lock = read_yaml(Path(LOCK)) if Path(LOCK).is_file() else {}
    out = outputs(lock).get(Path(os.path.relpath(path)).as_posix(), {})
    content = output_at(WORKSPACE, path, out.get("md5"))
    if content is not None:
        print(f"{path} is not there now; using what {LOCK} names", file=sys.stderr)
    return content


def _verified(path: Path, md5: str) -> bytes | None:
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


def rerun(commit: str) -> list[str]:
    """Run the pipeline in a fresh clone of a commit, and list the files that come out differently.

    Raises:
        UserError: A stage failed. The message holds what it printed.
    """
    root, prefix = git("rev-parse", "--show-toplevel"), git("rev-parse", "--show-prefix")
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        cloned = git("clone", "--quiet", "--no-checkout", str(root), str(clone))
        if cloned is None or git("checkout", "--quiet", "--detach", commit, folder=clone) is None:
            raise UserError(f"git cannot clone {root} at {commit[:7]} into {folder}")
        project = clone / (prefix or "")
        if (local := Path(str(root), prefix or "", ".dvc/config.local")).is_file():
            shutil.copy(local, project / ".dvc")
        dvc("config", "--local", "cache.dir", str(cache_dir().resolve()), folder=project)
        dvc("checkout", "--quiet", "--allow-missing", folder=project)
        dvc("repro", "--force", folder=project)
        return changed_files(project)


def changed_files(project: Path) -> list[str]:
    """List the outputs that differ from the last commit; `dvc.lock` if it alone does.

    The verdict of the gate does not count, since it depends on the history.
    """
    metrics = ("metrics", f":!{FILES['gate']}")
    changed = git("diff", "--name-only", "--relative", "HEAD", "--", *metrics, folder=project) or ""
    texts = git("show", f"HEAD:./{LOCK}", folder=project), (project / LOCK).read_text("utf-8")
    before, after = (yaml.safe_load(text or "") or {"stages": {}} for text in texts)
    for lock in (before, after):
        lock["stages"].pop("gate", None)
    old = outputs(before)
    files = {path for path, out in outputs(after).items() if out != old.get(path)}
    return sorted(files | {*changed.splitlines()}) or [LOCK] * (before != after)
