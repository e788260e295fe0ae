"""What git says of the project in the working directory."""

import subprocess


def git(*arguments: str) -> str | None:
    """What a git command prints, without the last newline; None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:  # git is not installed
        return None
    return done.stdout.rstrip("\n") if done.returncode == 0 else None
