"""The library as a wheel: build or download it, and read the files of a project from it.

A bare Python imports this module, so it uses the standard library alone.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

from keras_tabular.core.errors import UserError

DISTRIBUTION = "keras-tabular"
ROOT = Path(__file__).resolve().parents[2]  # a clone, or the site-packages of an environment
PROJECT_FILES = "keras_tabular/projects/files/"  # in the wheel
GIT = ("git", "-c", "advice.detachedHead=false", "-c", "init.defaultBranch=main")
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")
# A package in a lock file: its name, its version with a marker, and a line for each hash.
LOCKED_PACKAGE = re.compile(r"^([\w.-]+)==.*\n(?: +--hash=.*\n)+", re.MULTILINE)


def get_wheel(folder: Path, version: str | None = None) -> Path:
    """Put a wheel of the library into a folder and return its path.

    A clone builds what is committed in it. An installed library downloads the wheel from the
    package index.

    Args:
        folder: An existing folder without another wheel of the library.
        version: The version to download; None for the latest. A clone has only one version.

    Raises:
        UserError: The wheel cannot be built or downloaded.
    """
    if (ROOT / "pyproject.toml").is_file():
        with tempfile.TemporaryDirectory() as scratch:
            build_wheel(Path(scratch), folder)
    else:
        download_wheel(folder, version)
    (wheel,) = folder.glob("keras_tabular-*.whl")
    return wheel


def build_wheel(scratch: Path, folder: Path) -> None:
    """Build the wheel of the commit that is checked out in this clone."""
    source, python = ROOT, sys.executable
    if (ROOT / ".git").exists():
        source = scratch / "source"
        run_command(*GIT, "clone", "--quiet", ROOT, source)
    if not find_spec("hatchling"):
        run_command(python, "-m", "venv", scratch / "venv")
        python = str(scratch / "venv/bin/python")
        lock = source / "requirements/build.txt"
        run_command(python, *PIP, "install", "--require-hashes", "-r", lock)
    build = ("-m", "hatchling", "build", "--target", "wheel", "--directory", folder.resolve())
    run_command(python, *build, cwd=source, quiet=True)


def download_wheel(folder: Path, version: str | None) -> None:
    requirement = f"{DISTRIBUTION}=={version}" if version else DISTRIBUTION
    options = ("--no-deps", "--only-binary", ":all:", "--dest", folder)
    try:
        run_command(sys.executable, *PIP, "download", *options, requirement)
    except UserError:
        raise UserError(
            f"{requirement} cannot be downloaded; pip says why above. Without a package index, run "
            "`python3 CLONE/keras_tabular` from a clone of the library, or set PIP_FIND_LINKS to "
            "a folder that contains the wheel"
        ) from None


def run_command(
    *command: str | Path, cwd: Path | None = None, venv: Path | None = None, quiet: bool = False
) -> None:
    """Run a command.

    Args:
        command: The program and its arguments.
        cwd: The folder to run it in.
        venv: An environment whose programs come first.
        quiet: Show the output of the command only if it fails.

    Raises:
        UserError: The command failed, and has said why.
    """
    environment = os.environ.copy()
    if venv:
        environment["PATH"] = f"{venv / 'bin'}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(
        command, cwd=cwd, env=environment, check=False, capture_output=quiet, text=True
    )
    if done.returncode:
        print(done.stderr or "", end="", file=sys.stderr)
        raise UserError(f"{' '.join(map(str, command))} failed in {cwd or Path()}; see above")


def read_project_files(wheel: Path) -> dict[str, tuple[bytes, int]]:
    """Return the content and the mode of each file that the wheel has for a project, by path."""
    with ZipFile(wheel) as archive:
        return {
            info.filename.removeprefix(PROJECT_FILES): (
                archive.read(info),
                info.external_attr >> 16 & 0o777,
            )
            for info in archive.infolist()
            if info.filename.startswith(PROJECT_FILES) and not info.is_dir()
        }


def locked_packages(lock: str) -> dict[str, str]:
    """Return the lines of each package in a lock file by the name of the package."""
    return {match[1]: match[0] for match in LOCKED_PACKAGE.finditer(lock)}


def lock_text(other_lines: str, packages: dict[str, str]) -> str:
    """Return a lock file, in the order and format of `uv pip compile`.

    Args:
        other_lines: Comments and options.
        packages: The lines of each package by name.
    """
    return other_lines + "".join(packages[name] for name in sorted(packages))


def pin(wheel: Path) -> dict[str, str]:
    """Return the lines of a lock file for a wheel of the library, by the name of the package."""
    version = wheel.name.split("-")[1]
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return {DISTRIBUTION: f"{DISTRIBUTION}=={version} \\\n    --hash=sha256:{digest}\n"}
