"""Whether the committed results come out again: the pipeline rerun in a clone, output by output."""

import re
import shutil
from collections.abc import Collection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import yaml

from tabular.core.errors import UserError
from tabular.runs.dvc import cache_dir, dvc
from tabular.runs.git import git
from tabular.runs.lock import LOCK, outputs, outs_of

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
