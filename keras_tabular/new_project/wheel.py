"""Build a wheel of the library in a clone, and read the files of a project from it.

This module only needs the standard library, because it runs before any package is
installed.
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
from keras_tabular.new_project.lock import (
    locked_packages,
    replace_packages,
    version_differences,
)

ROOT = Path(__file__).resolve().parents[2]  # a clone, or site-packages
# In the wheel; version 0.6 called the package `project`.
PROJECT_FILES = re.compile(r"keras_tabular/(?:new_)?project/files/(.+)")
# Dependencies in dvc.yaml. In a project, the lock file has the hash of the library
# instead.
LIBRARY_FOLDERS = re.compile(r"(?:^ +- keras_tabular/.*\n)+", re.MULTILINE)
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def get_wheel(folder: Path) -> Path:
    """Build a wheel of the commit that is checked out in this clone.

    Args:
        folder: The absolute path of an existing folder without another wheel of the
            library.

    Returns:
        The path of the wheel in the folder.

    Raises:
        UserError: The library is not in a clone, or the wheel cannot be built.
    """
    # A package may put a pyproject.toml into site-packages, but hardly this file.
    if not (ROOT / "dvc.yaml").exists():
        raise UserError(
            "an installed library cannot create or upgrade a project. Use a clone:"
            " `python3 CLONE/keras_tabular new ...` or `... upgrade FOLDER`.",
        )
    with tempfile.TemporaryDirectory() as scratch:
        source = ROOT
        python = sys.executable
        if (ROOT / ".git").exists():
            source = Path(scratch, "source")
            no_hints = ("-c", "advice.detachedHead=false", "-c", "init.defaultBranch=m")
            run_command("git", *no_hints, "clone", "--quiet", ROOT, source)
        lock = source / "requirements/build.txt"
        if version_differences(lock.read_text(encoding="utf-8")):
            run_command(python, "-m", "venv", f"{scratch}/venv")
            python = f"{scratch}/venv/bin/python"
            run_command(python, *PIP, "install", "--require-hashes", "-r", lock)
        build = f"import hatchling.build; hatchling.build.build_wheel({str(folder)!r})"
        run_command(python, "-c", build, cwd=source)
    (wheel,) = folder.glob("keras_tabular-*.whl")
    return wheel


def run_command(*command: str | Path, cwd: Path = Path()) -> None:
    """Run a command.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in. The programs in its .venv are found first.

    Raises:
        UserError: The command failed. Its own message is on stderr.
    """
    environment = os.environ.copy()
    environment["PATH"] = f"{cwd.resolve()}/.venv/bin:{environment['PATH']}"
    process = subprocess.run(command, cwd=cwd, env=environment, check=False)
    if process.returncode != 0:
        words = " ".join(map(str, command))
        raise UserError(f"{words} failed in {cwd}. The lines above say why.")


def read_project_files(wheel: Path) -> dict[str, str]:
    """Return the text of each file for a project in the wheel, by its path there.

    Its requirements.txt also has the wheel.
    """
    files = {}
    with ZipFile(wheel) as archive:
        for name in archive.namelist():
            if match := PROJECT_FILES.fullmatch(name):
                files[match[1]] = archive.read(name).decode()
    files["dvc.yaml"] = LIBRARY_FOLDERS.sub(
        "      - requirements.txt\n",
        files["dvc.yaml"],
    )
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    version = wheel.name.split("-")[1]
    lock = files["requirements.txt"]
    packages = locked_packages(lock)
    packages["keras-tabular"] = (
        f"keras-tabular=={version} \\\n    --hash=sha256:{digest}\n"
    )
    options = "--find-links vendor\n\n"
    files["requirements.txt"] = replace_packages(lock + options, packages)
    return files
