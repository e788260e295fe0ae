"""DVC's cache of outputs, and a rerun of the committed pipeline in a fresh clone."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from keras_tabular.core.errors import UserError
from keras_tabular.experiments.run import LOCK, WORKSPACE, Run, git, locked_outputs


def read_model(path: Path) -> bytes:
    """Read a model or, if it is missing, the version of dvc.lock from DVC's cache.

    DVC removes the outputs of a stage before it runs.

    Raises:
        UserError: There is neither.
    """
    with suppress(FileNotFoundError):
        return path.read_bytes()
    content = cached_output(Path(os.path.relpath(path)), Run(WORKSPACE).lock)
    if content is None:
        raise UserError(f"{path}: found no model; name a .keras file, or run `dvc repro` to train")
    print(f"{path} does not exist, so the version of {LOCK} is used", file=sys.stderr)
    return content


def cached_output(path: Path, lock: Mapping[str, Any]) -> bytes | None:
    """Read the version of an output in a dvc.lock from DVC's cache; None if it is not there."""
    md5 = locked_outputs(lock).get(path.as_posix(), {}).get("md5")
    if md5 is None:
        return None
    file = cache_dir() / "files" / "md5" / md5[:2] / md5[2:]
    return file.read_bytes() if file.is_file() else None


def cache_dir() -> Path:
    """Return the folder of DVC's cache."""
    return Path(dvc("cache", "dir").strip())


def rerun(commit: str) -> list[str]:
    """Run the pipeline in a fresh clone of a commit, and list the outputs that differ.

    Raises:
        UserError: A stage failed. The message contains its output.
    """
    root = Path((git("rev-parse", "--show-toplevel") or "").strip())
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        cloned = git("clone", "--quiet", "--no-checkout", str(root), str(clone))
        if cloned is None or git("checkout", "--quiet", "--detach", commit, folder=clone) is None:
            raise UserError(f"git cannot clone {root} at {commit[:7]} into {folder}")
        project = clone / Path.cwd().resolve().relative_to(root.resolve())
        if (local := Path(".dvc/config.local")).is_file():  # where DVC may unpickle its own files
            shutil.copy(local, project / ".dvc")
        dvc("config", "--local", "cache.dir", str(cache_dir().resolve()), folder=project)
        dvc("checkout", "--quiet", "--allow-missing", folder=project)
        dvc("repro", "--force", folder=project)
        return changed_files(project)


def changed_files(project: Path) -> list[str]:
    """List the outputs in dvc.lock that differ from the last commit; `dvc.lock` if only it does.

    The verdict of the gate is left out, since it depends on the history.
    """
    texts = git("show", f"HEAD:./{LOCK}", folder=project), (project / LOCK).read_text("utf-8")
    committed, current = (yaml.safe_load(text or "") or {"stages": {}} for text in texts)
    for lock in (committed, current):
        lock["stages"].pop("gate", None)
    before, after = locked_outputs(committed), locked_outputs(current)
    files = sorted(path for path, output in after.items() if output != before.get(path))
    return files or ([LOCK] if committed != current else [])


def dvc(*arguments: str, folder: Path | None = None) -> str:
    """Return what a DVC command prints. Its stages run with the Python of this process.

    Raises:
        UserError: The command failed. The message contains its output.
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
