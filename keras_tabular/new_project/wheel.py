"""Write a wheel of the library, and read the files of a project from it.

This module only needs the standard library, because it runs before any package is
installed.
"""

import hashlib
import os
import re
import subprocess
import sys
import tempfile
from base64 import urlsafe_b64encode
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from keras_tabular.core.errors import UserError
from keras_tabular.new_project.lock import (
    locked_packages,
    replace_packages,
    version_differences,
)

ROOT = Path(__file__).resolve().parents[2]  # a clone, or site-packages
# A package may put a pyproject.toml into site-packages, but hardly this file.
IS_CLONE = (ROOT / "dvc.yaml").exists()
# Files of a wheel. Whoever installs it adds others, such as bytecode.
FILES_OF_WHEEL = re.compile(
    r"keras_tabular/.*(?<!\.pyc)"
    r"|.*\.dist-info/(?:METADATA|WHEEL|entry_points\.txt|licenses/.*)",
)
# In the wheel; version 0.6 called the package `project`.
PROJECT_FILES = re.compile(r"keras_tabular/(?:new_)?project/files/(.+)")
# Dependencies in dvc.yaml. In a project, the lock file has the hash of the library
# instead.
LIBRARY_FOLDERS = re.compile(r"(?:^ +- keras_tabular/.*\n)+", re.MULTILINE)
PIP = ("-m", "pip", "--quiet", "--disable-pip-version-check")


def get_wheel(folder: Path) -> Path:
    """Write a wheel of the commit that is checked out, or of the installed library.

    It has the same bytes on every machine, and from a clone as from an environment into
    which it was installed.

    Args:
        folder: An existing folder.

    Returns:
        The path of the wheel in the folder.

    Raises:
        UserError: The wheel of a clone cannot be built.
    """
    files = files_of_commit() if IS_CLONE else installed_files()
    (info,) = {name.split("/")[0] for name in files} - {"keras_tabular"}
    record = ""
    for name, content in files.items():
        digest = urlsafe_b64encode(hashlib.sha256(content).digest()).decode()
        record += f"{name},sha256={digest.rstrip('=')},{len(content)}\n"
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    name_and_version = info.removesuffix(".dist-info")
    wheel = folder / f"{name_and_version}-py3-none-any.whl"
    # Not compressed, since another zlib would write other bytes. git compresses it.
    with ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            member = ZipInfo(name)  # with a fixed date
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
    return wheel


def files_of_commit() -> dict[str, bytes]:
    """Build the library of the commit that is checked out in this clone.

    Returns:
        The content of each file of the wheel but for RECORD, by its path there, in
        order.

    Raises:
        UserError: The wheel cannot be built.
    """
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
        build = f"import hatchling.build; hatchling.build.build_wheel({scratch!r})"
        run_command(python, "-c", build, cwd=source)
        (wheel,) = Path(scratch).glob("*.whl")
        with ZipFile(wheel) as archive:
            names = filter(FILES_OF_WHEEL.fullmatch, sorted(archive.namelist()))
            return {name: archive.read(name) for name in names}


def installed_files() -> dict[str, bytes]:
    """Read the files that the wheel of the installed library had, as `files_of_commit`.

    The record of the installed distribution lists them.
    """
    files = {str(path): path for path in distribution("keras-tabular").files or ()}
    names = filter(FILES_OF_WHEEL.fullmatch, sorted(files))
    return {name: files[name].read_binary() for name in names}


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


def read_version(wheel: Path) -> str:
    """Return the version in the name of a wheel."""
    return wheel.name.split("-")[1]


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
    version = read_version(wheel)
    lock = files["requirements.txt"]
    packages = locked_packages(lock)
    packages["keras-tabular"] = (
        f"keras-tabular=={version} \\\n    --hash=sha256:{digest}\n"
    )
    options = "--find-links vendor\n\n"
    files["requirements.txt"] = replace_packages(lock + options, packages)
    return files
