"""Whether the committed results come out again in a clone, and what DVC knows of outputs."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from tabular.core.errors import UserError
from tabular.runs.run import LOCK, WORKSPACE, Revision, git, outputs, outs_of

ATTEMPTS = 3


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
    """The content of an output; while its stage makes it anew, what dvc.lock names, of the cache.

    DVC removes the outputs of a stage before it runs. None where there is neither.
    """
    for _ in range(ATTEMPTS):  # dvc.lock may be half written, the stage may have ended
        with suppress(OSError):
            return path.read_bytes()
        with suppress(OSError, yaml.YAMLError, AttributeError):
            out = outputs(yaml.safe_load(Path(LOCK).read_text(encoding="utf-8")))
            named = out.get(Path(os.path.relpath(path)).as_posix(), {}).get("md5")
            content = output_at(WORKSPACE, path, named)
            if content is not None:
                print(f"{path} is not there now; using what {LOCK} names", file=sys.stderr)
                return content
        time.sleep(0.1)
    return None


def _verified(path: Path, md5: str) -> bytes | None:
    content = path.read_bytes() if path.is_file() else b""
    return content if hashlib.md5(content, usedforsecurity=False).hexdigest() == md5 else None


NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


class OutputDifference(NamedTuple):
    """The first output that came out otherwise, and by how much, in words."""

    stage: str
    path: str
    size: str


def rerun(commit: str, ignored: Collection[str] = ()) -> OutputDifference | None:
    """Run every stage in a fresh clone at `commit`; compare all but `ignored` outputs with its own.

    Raises:
        UserError: a stage failed; the message holds what it printed.
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
        return first_difference(project, ignored)


def first_difference(folder: Path, ignored: Collection[str] = ()) -> OutputDifference | None:
    """Compare the outputs in `folder` with those of its HEAD, in dvc.yaml's order.

    By how much is told in numbers for an output in git, else in bytes, with the first numbers in
    git that differ after it.
    """
    order = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    now = yaml.safe_load((folder / LOCK).read_text(encoding="utf-8"))
    committed = yaml.safe_load(git("show", f"HEAD:./{LOCK}", folder=folder) or "") or {}
    before = outputs(committed)
    differing = [
        (stage, out)
        for stage in order
        for out in outs_of(now, stage)
        if out["path"] not in ignored and before.get(out["path"], {}).get("md5") != out["md5"]
    ]
    if not differing:
        if _without(ignored, committed) == _without(ignored, now):
            return None
        return OutputDifference(
            "all stages",
            LOCK,
            "its outputs repeat, but what it says of code or parameters is older than this commit; "
            "run `dvc repro` and commit",
        )
    (stage, new), *_ = differing
    path, old = new["path"], before.get(new["path"])
    if old is None:
        return OutputDifference(stage, path, f"it is not in the committed {LOCK}")
    numbers = (_compare_numbers(folder, out["path"]) for _, out in differing)
    size = next(filter(None, numbers), "no number in git differs")
    if not git("ls-files", "--", path, folder=folder):
        size = f"{old['size']:,} bytes were {new['size']:,} in the rerun; {size}"
    return OutputDifference(stage, path, size)


def _without(ignored: Collection[str], lock: dict[str, Any]) -> list[tuple[str, Any]]:
    """The stages of a lock, without the outputs at `ignored` paths."""
    return [
        (name, stage | {"outs": [out for out in stage["outs"] if out["path"] not in ignored]})
        for name, stage in sorted(lock.get("stages", {}).items())
    ]


def _compare_numbers(folder: Path, path: str) -> str:
    """Where the numbers of an output in git differ, and by how much; empty if they do not."""
    for name in (git("ls-files", "--", path, folder=folder) or "").splitlines():
        if not (folder / name).exists():
            return f"{name} is not written any more"
        old = git("show", f"HEAD:./{name}", folder=folder) or ""
        new = (folder / name).read_text(encoding="utf-8").rstrip("\n")
        if old == new:
            continue
        before, after = (list(map(float, NUMBER.findall(text))) for text in (old, new))
        if len(before) != len(after):
            return f"{name} has {len(after)} numbers and had {len(before)}"
        gaps = [abs(a - b) for a, b in zip(before, after, strict=True)]
        changed = sum(gap > 0 for gap in gaps)
        return (
            f"{name}: {changed} of {len(gaps)} numbers differ, by {max(gaps, default=0):g} at most"
        )
    return ""
