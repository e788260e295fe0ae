"""Move a project to a later version of the library, and print what has changed.

It replaces the wheel and the lock files, and installs what they name. Other files stay as they are.
"""

import re
import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from zipfile import ZipFile

from keras_tabular.core.errors import UserError
from keras_tabular.projects.wheel import (
    DISTRIBUTION,
    LOCKED_PACKAGE,
    PIP,
    get_wheel,
    lock_text,
    locked_packages,
    pin,
    read_project_files,
    run_command,
)

CHANGES = "keras_tabular/CHANGELOG.md"  # in the wheel


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("folder", nargs="?", type=Path, default=Path(), help="the project; otherwise this folder")
    add("--version", help="the version to get from the package index; otherwise the latest one")
    args = parser.parse_args()
    old_wheel = find_wheel(args.folder)
    with tempfile.TemporaryDirectory() as scratch:
        wheel = get_wheel(Path(scratch), args.version)
        if wheel.name == old_wheel.name and wheel.read_bytes() == old_wheel.read_bytes():
            print(f"{old_wheel} is this version already")
            return
        changes = new_changes(read_changes(old_wheel), read_changes(wheel))
        for path, lock in upgraded_locks(args.folder, old_wheel, wheel).items():
            path.write_text(lock, encoding="utf-8")
        old_wheel.unlink()
        wheel = Path(shutil.copy(wheel, old_wheel.parent))
    print(f"{wheel} replaces {old_wheel.name}, and requirements.txt has its hash")
    install(args.folder, wheel)
    print(f"\nWhat has changed:\n\n{changes}" if changes else "\nCHANGELOG.md has no new entry")


def find_wheel(folder: Path) -> Path:
    """Return the wheel of the library in a project.

    Raises:
        UserError: There is none, or more than one.
    """
    wheels = sorted(folder.glob("vendor/keras_tabular-*.whl"))
    lock = folder / "requirements.txt"
    if len(wheels) != 1 or DISTRIBUTION not in locked_packages(lock.read_text(encoding="utf-8")):
        raise UserError(
            f"{folder.resolve()} is not a project of this library: expected one wheel in vendor/, "
            f"and {DISTRIBUTION} in requirements.txt. `keras-tabular new` creates a project"
        )
    return wheels[0]


def read_changes(wheel: Path) -> str:
    with ZipFile(wheel) as archive:
        return archive.read(CHANGES).decode() if CHANGES in archive.namelist() else ""


def new_changes(old_text: str, text: str) -> str:
    """Return the entries of a change log that an older one does not have, below their headings."""
    old_entries = set(split_entries(old_text))
    lines: list[str] = []
    for section in re.split(r"^(?=## )", text, flags=re.MULTILINE)[1:]:
        heading, *entries = split_entries(section)
        added = [entry for entry in entries if entry not in old_entries]
        if added:
            lines += [heading, "", *added, ""]
    return "\n".join(lines)


def split_entries(text: str) -> list[str]:
    """Return the headings, paragraphs and list items of a page."""
    return [entry.strip() for entry in re.split(r"\n\n|\n(?=- )", text) if entry.strip()]


def upgraded_locks(folder: Path, old_wheel: Path, wheel: Path) -> dict[Path, str]:
    """Return each lock file of the project with the packages that the new version needs.

    A package that the owner added, or locked in another version, stays as it is.
    """
    old_files, files = read_project_files(old_wheel), read_project_files(wheel)
    locks = {}
    for name in files:
        path = folder / name
        if not re.fullmatch(r"requirements(/\w+)?\.txt", name) or not path.exists():
            continue
        old_lock = old_files[name][0].decode() if name in old_files else ""
        old_pins = {lines.split()[0] for lines in locked_packages(old_lock).values()}
        packages = locked_packages(files[name][0].decode())
        text = path.read_text(encoding="utf-8")
        owner_packages = {
            package: lines
            for package, lines in locked_packages(text).items()
            if lines.split()[0] not in old_pins and package != DISTRIBUTION
        }
        for package in sorted(owner_packages.keys() & packages.keys()):
            pinned = owner_packages[package].split()[0]
            print(f"{path}: {pinned} stays; the library was tested with another version")
        library = pin(wheel) if name == "requirements.txt" else {}
        locks[path] = lock_text(LOCKED_PACKAGE.sub("", text), packages | owner_packages | library)
    return locks


def install(folder: Path, wheel: Path) -> None:
    """Install the wheel, and the packages whose version has changed, into the project's .venv."""
    installed = folder / ".venv/installed"
    if not installed.exists():
        print(f"{folder} has no .venv: `make repro` makes one. To use another environment, run")
        print("  pip install --force-reinstall --no-deps vendor/*.whl")
        return
    python = (folder / ".venv/bin/python").absolute()
    compiled = (*PIP, "install", "--compile")
    # pip would keep a library of the same version that another commit was built from.
    run_command(python, *compiled, "--force-reinstall", "--no-deps", wheel.absolute())
    run_command(python, *compiled, "--require-hashes", "-r", "requirements.txt", cwd=folder)
    installed.touch()
