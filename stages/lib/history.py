"""What git says of the project in the working directory."""

import os
import subprocess
from pathlib import Path


def git(*arguments: str) -> str | None:
    """What a git command prints, without the last newline; None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None


def content_at(commit: str, path: Path) -> str | None:
    """The text of a file in a commit; None where it has none."""
    return git("show", f"{commit}:./{os.path.relpath(path)}")


def commit_before(path: Path) -> str | None:
    """The last commit in which a file says something else than now; None where there is none.

    It is the same one before and after what the file says now is committed.
    """
    now = path.read_text(encoding="utf-8").rstrip("\n") if path.is_file() else None
    log = git("log", "--first-parent", "--format=%H", "--", str(path)) or ""
    return next((c for c in log.split() if content_at(c, path) not in (None, now)), None)
