"""Whether the committed results come out again: the pipeline rerun in a clone, output by output."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from stages.lib.stage import UserError

DVC = (sys.executable, "-m", "dvc")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


class Difference(NamedTuple):
    """The first output that came out otherwise, and by how much, in words."""

    stage: str
    path: str
    words: str


def rerun(repository: Path, commit: str, cache: Path, folder: Path) -> None:
    """Clone the repository into `folder` at `commit` and run every stage there.

    Args:
        cache: DVC's cache, for inputs that are not in git.

    Raises:
        UserError: a stage failed; the message holds what it printed.
    """
    _run(repository, "git", "clone", "--quiet", "--no-checkout", str(repository), str(folder))
    _run(folder, "git", "checkout", "--quiet", "--detach", commit)
    _run(folder, *DVC, "config", "--local", "cache.dir", str(cache))
    _run(folder, *DVC, "checkout", "--quiet", "--allow-missing")
    _run(folder, *DVC, "repro", "--force")


def first_difference(folder: Path, ignored: tuple[str, ...] = ()) -> Difference | None:
    """Compare the outputs of a rerun in `folder` with the commit there, in dvc.yaml's order.

    By how much is told in numbers for an output in git, else in bytes, with the first numbers in
    git that differ after it.
    """
    order = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    found = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    lock = _run(folder, "git", "ls-tree", "--name-only", "HEAD", "dvc.lock")
    committed = yaml.safe_load(_run(folder, "git", "show", "HEAD:dvc.lock")) if lock else {}
    differing = []
    for stage in order:
        old = _outs(committed.get("stages", {}).get(stage, {}))
        for path, out in _outs(found[stage]).items():
            if path not in ignored and old.get(path, {}).get("md5") != out["md5"]:
                differing.append((stage, path, old.get(path), out))
    if not differing:
        if _known(committed.get("stages", {}), ignored) == _known(found, ignored):
            return None
        return Difference(
            "all stages",
            "dvc.lock",
            "its outputs repeat, but what it says of code or parameters "
            "is older than this commit; run `dvc repro` and commit",
        )
    stage, first, before, after = differing[0]
    if before is None:
        return Difference(stage, first, "it is not in the committed dvc.lock")
    numbers = (_numbers(folder, path) for _, path, _, _ in differing)
    words = next(filter(None, numbers), "no number in git differs")
    if not _files(folder, first):
        words = f"{before['size']:,} bytes were {after['size']:,} in the rerun; {words}"
    return Difference(stage, first, words)


def _known(stages: dict[str, Any], ignored: tuple[str, ...]) -> list[tuple[str, Any]]:
    """What a lock says, without the outputs at `ignored` paths."""
    return [
        (name, stage | {"outs": [out for out in stage["outs"] if out["path"] not in ignored]})
        for name, stage in sorted(stages.items())
    ]


def _outs(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {out["path"]: out for out in stage.get("outs", [])}


def _files(folder: Path, path: str) -> list[str]:
    """The files in git of an output."""
    return _run(folder, "git", "ls-files", "--", path).splitlines()


def _numbers(folder: Path, path: str) -> str:
    """Where the numbers of an output in git differ, and by how much; empty if they do not."""
    for name in _files(folder, path):
        if not (folder / name).exists():
            return f"{name} is not written any more"
        old = _run(folder, "git", "show", f"HEAD:{name}")
        new = (folder / name).read_text(encoding="utf-8")
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


def _run(folder: Path, *command: str) -> str:
    # The stages find the Python that runs this, whether or not its environment is activated.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise UserError(f"{' '.join(command)}: failed\n{done.stdout}{done.stderr}")
    return done.stdout
