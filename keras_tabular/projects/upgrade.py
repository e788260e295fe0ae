"""Move a project to a later version of the library, and print what has changed.

Run it in a clone of the later version: `python3 CLONE/keras_tabular upgrade FOLDER`. It replaces
the wheel and the lock files, and installs what they name. Other files stay as they are.
"""

import re
import shutil
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from zipfile import ZipFile

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.projects.lock import DISTRIBUTION, LOCKED_PACKAGE, lock_text, locked_packages
from keras_tabular.projects.wheel import PIP, get_wheel, pin, read_project_files, run_command

CHANGES = "keras_tabular/CHANGELOG.md"  # in the wheel


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=".", help="otherwise this folder")
    folder = parser.parse_args().folder
    old_wheel = find_wheel(folder)
    with tempfile.TemporaryDirectory() as scratch:
        new_wheel = get_wheel(Path(scratch))
        wheel = old_wheel.parent / new_wheel.name
        if wheel == old_wheel and wheel.read_bytes() == new_wheel.read_bytes():
            print(f"{wheel} is this version already")
            installed, lock = folder / ".venv/installed", folder / "requirements.txt"
            if installed.exists() and installed.stat().st_mtime < lock.stat().st_mtime:
                install(folder, wheel)
            return
        changes = new_changes(read_changes(old_wheel), read_changes(new_wheel))
        locks = upgraded_locks(folder, old_wheel, new_wheel)
        # The wheel is replaced last: until then, another `upgrade` does all of this again.
        for path, lock_lines in locks.items():
            with atomic_write(path) as partial:
                partial.write_text(lock_lines, encoding="utf-8")
        with atomic_write(wheel) as partial:
            shutil.copy(new_wheel, partial)
    if wheel != old_wheel:
        old_wheel.unlink()
    print(f"{wheel} replaces {old_wheel.name}, and requirements.txt has its hash")
    print(f"\nWhat has changed:\n\n{changes}" if changes else "\nCHANGELOG.md has no new entry")
    install(folder, wheel)


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
            f"and {DISTRIBUTION} in requirements.txt. `python3 CLONE/keras_tabular new` creates one"
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
        packages = locked_packages(files[name][0].decode())
        # An upgrade that was interrupted may have written the pins of the new version already.
        library_lines = [*locked_packages(old_lock).values(), *packages.values()]
        library_pins = {lines.split()[0] for lines in library_lines}
        text = path.read_text(encoding="utf-8")
        owner_packages = {
            package: lines
            for package, lines in locked_packages(text).items()
            if lines.split()[0] not in library_pins and package != DISTRIBUTION
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
        print("  pip install --require-hashes -r requirements.txt")
        return
    python = (folder / ".venv/bin/python").absolute()
    compiled = (*PIP, "install", "--compile")
    # pip would keep a library of the same version that another commit was built from.
    run_command(python, *compiled, "--force-reinstall", "--no-deps", wheel.absolute())
    run_command(python, *compiled, "--require-hashes", "-r", "requirements.txt", cwd=folder)
    installed.touch()
