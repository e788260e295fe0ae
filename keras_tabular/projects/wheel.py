"""Build a wheel of the library in a clone, and read the files of a project from it.

This module only needs the standard library, because it runs before any package is installed.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

from keras_tabular.core.errors import UserError
from keras_tabular.projects.lock import DISTRIBUTION, version_differences

ROOT = Path(__file__).resolve().parents[2]  # a clone, or site-packages
PROJECT_FILES = "keras_tabular/projects/files/"  # in the wheel
GIT = ("git", "-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main")
# Dependencies in dvc.yaml. In a project, the lock file has the hash of the library instead.
LIBRARY_FOLDERS = re.compile(rb"(?:^ +- keras_tabular/.*\n)+", re.MULTILINE)
Files = dict[str, tuple[bytes, int]]  # the content and the mode of each file, by its path
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def get_wheel(folder: Path) -> Path:
    """Build a wheel of the commit that is checked out in this clone.

    Args:
        folder: An existing folder without another wheel of the library.

    Returns:
        The path of the wheel in the folder.

    Raises:
        UserError: The library is not in a clone, or the wheel cannot be built.
    """
    # A package may put a pyproject.toml into site-packages, but hardly these two.
    if not ((ROOT / "stages").is_dir() and (ROOT / "dvc.yaml").is_file()):
        advice = "Use a clone: `python3 CLONE/keras_tabular new ...` or `... upgrade FOLDER`."
        raise UserError(f"an installed library cannot create or upgrade a project. {advice}")
    with tempfile.TemporaryDirectory() as scratch:
        source, python = ROOT, sys.executable
        if (ROOT / ".git").exists():
            source = Path(scratch, "source")
            run_command(*GIT, "clone", "--quiet", ROOT, source)
        lock = source / "requirements/build.txt"
        if version_differences(lock.read_text(encoding="utf-8")):
            run_command(python, "-m", "venv", f"{scratch}/venv")
            python = f"{scratch}/venv/bin/python"
            run_command(python, *PIP, "install", "--require-hashes", "-r", lock)
        build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", folder.resolve())
        run_command(python, *build, cwd=source, quiet=True)
    (wheel,) = folder.glob("keras_tabular-*.whl")
    return wheel


def run_command(
    *command: str | Path, cwd: Path | None = None, venv: Path | None = None, quiet: bool = False
) -> None:
    """Run a command.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        venv: A virtual environment whose programs are found first.
        quiet: Whether to hide what the command writes to stdout.

    Raises:
        UserError: The command failed. Its own message is on stderr.
    """
    environment = os.environ.copy()
    if venv:
        environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    stdout = subprocess.DEVNULL if quiet else None
    if subprocess.run(command, cwd=cwd, env=environment, stdout=stdout, check=False).returncode:
        words = " ".join(map(str, command))
        raise UserError(f"{words} failed in {cwd or Path()}. The lines above say why.")


def read_project_files(wheel: Path) -> Files:
    """Return the files for a project in the wheel."""
    files = {}
    with ZipFile(wheel) as archive:
        for info in archive.infolist():
            if info.filename.startswith(PROJECT_FILES):
                name, content = info.filename.removeprefix(PROJECT_FILES), archive.read(info)
                if name == "dvc.yaml":
                    content = LIBRARY_FOLDERS.sub(b"      - requirements.txt\n", content)
                files[name] = (content, info.external_attr >> 16 & 0o777)
    return files


def pin(wheel: Path) -> dict[str, str]:
    """Return the lines that a wheel of the library has in a lock file, by its name."""
    version = wheel.name.split("-")[1]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {DISTRIBUTION: f"{DISTRIBUTION}=={version} \\\n    --hash=sha256:{digest}\n"}
