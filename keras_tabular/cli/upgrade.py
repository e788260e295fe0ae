"""Upgrade a project to a later version of the library, and print what has changed.

Run this command with a clone of the later version: `python3 CLONE/keras_tabular upgrade
FOLDER`. It replaces the wheel in vendor and the packages in the lock files. It merges
the changes of the library into dvc.yaml, custom.py, Makefile, the scripts and the
workflows. It deletes files that the library does not have any more, unless you have
edited them. It installs the packages into .venv. In network.py and other scripts, it
corrects imports of modules that have another name now. README.md, params.yaml,
pyproject.toml and data stay as they are.

Several projects are upgraded one after the other. With --check, nothing changes.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from keras_tabular.core import VERSION
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write, write_text
from keras_tabular.new_project.lock import locked_packages, replace_packages
from keras_tabular.new_project.wheel import (
    PIP,
    get_wheel,
    read_project_files,
    read_version,
    run_command,
)

CHANGES = "keras_tabular/CHANGELOG.md"  # in the wheel
OLDEST_VERSION = (0, 6)  # of a project that can be upgraded
OLDEST_COMMIT = "7bba4e96"  # version 0.6.0, which has no tag
# Names of modules that the owner's scripts may import: in an earlier version, and in
# this one.
MOVED_MODULES = {
    "keras_tabular.config.metrics": "keras_tabular.tasks.metrics",
    "keras_tabular.config.task": "keras_tabular.tasks.task",
    "keras_tabular.config.typed_yaml": "keras_tabular.core.typed_yaml",
    "keras_tabular.core.cluster": "keras_tabular.core.workers",
    "keras_tabular.gate.base": "keras_tabular.runs.comparison",
    "keras_tabular.infer": "keras_tabular.schema_inference",
    "keras_tabular.training.record": "keras_tabular.network.record",
}
# Files that say what the project is about, and settings of DVC.
OWNED = re.compile(
    r"README\.md|network\.py|params\.yaml|pyproject\.toml|(data|metrics|\.dvc)/.*",
)
CONFLICT = re.compile(r"^<<<<<<< ", re.MULTILINE)
# The exit code of `git merge-file` counts conflicts up to this; above, it is an error.
MAX_CONFLICTS = 127
BEHIND = 2  # the exit code of --check if a project has another wheel


def main(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "folders",
        nargs="*",
        type=Path,
        default=[Path()],
        metavar="FOLDER",
        help="the folders of projects; default: the current folder",
    )
    add(
        "--check",
        action="store_true",
        help="change nothing, and print a line for each project: its version, whether"
        " it is behind this one, errors such as keys of params.yaml that have left, and"
        " files that would get conflicts. The exit code is 1 if a folder cannot be"
        f" upgraded, or else {BEHIND} if a project is behind",
    )
    add("--json", action="store_true", help="with --check: print lines of JSON")
    args = parser.parse_args()
    if args.json and not args.check:
        parser.error("--json: use it with --check")
    if args.check:
        sys.exit(check_projects(args.folders, args.json))
    for folder in args.folders:
        upgrade(folder)


def check_projects(folders: list[Path], as_json: bool) -> int:
    """Print what an upgrade of each project would do, and return the exit code."""
    # This module needs packages, and an upgrade only the standard library.
    from keras_tabular.config.params import load_settings

    exit_codes = set()
    with tempfile.TemporaryDirectory() as scratch:
        new_wheel = get_wheel(Path(scratch))
        for folder in folders:
            exit_code = 1
            report: dict[str, Any] = {"folder": str(folder), "state": "unknown"}
            report |= {"conflicts": [], "errors": []}
            try:
                wheel = find_wheel(folder)
                report["version"] = read_version(wheel)
                versions = map(read_project_files, (wheel, new_wheel))
                conflicts = find_conflicts(upgraded_files(folder, *versions))
                report["conflicts"] = [str(path) for path in conflicts]
                is_behind = wheel.read_bytes() != new_wheel.read_bytes()
                report["state"] = "behind" if is_behind else "current"
                exit_code = BEHIND if is_behind else 0
                load_settings(project=folder)
            except UserError as error:
                message = re.sub(" Allowed keys: .*", "", str(error))
                report["errors"] = message.splitlines()
            exit_codes.add(exit_code)
            words = [report["state"], *report["errors"]]
            words += [f"{path}: conflict" for path in report["conflicts"]]
            line = f"{folder}: {report.get('version', '')} {'; '.join(words)}"
            print(json.dumps(report) if as_json else line)
    return min(exit_codes - {0}, default=0)


def upgrade(folder: Path) -> None:
    """Upgrade a project, and print what has changed."""
    old_wheel = find_wheel(folder)
    with tempfile.TemporaryDirectory() as scratch:
        new_wheel = get_wheel(Path(scratch))
        changes = find_changes(old_wheel, new_wheel)
        old = read_project_files(old_wheel)
        new = read_project_files(new_wheel)
        files = upgraded_files(folder, old, new)
        files |= renamed_imports(folder, files)
        messages = delete_files(folder, old, new)
        # The wheel is replaced last, so that `upgrade` can be repeated if it was
        # interrupted.
        for path, text in files.items():
            write_text(path, text)
        wheel = old_wheel.with_name(new_wheel.name)
        with atomic_write(wheel) as partial:
            shutil.copy(new_wheel, partial)
    if wheel != old_wheel:
        old_wheel.unlink()
    print(f"{wheel} replaces {old_wheel.name}. requirements.txt has its hash.")
    print(f"New entries of the change log:\n\n{changes or '(none)'}\n")
    for path in find_conflicts(files):
        print(
            f"{path}: you and the library have changed the same lines. Both versions"
            " are in the file, between <<<<<<< and >>>>>>>. Choose or combine them, and"
            " remove these markers.",
        )
    for message in messages:
        print(message)
    install(folder, wheel)


def find_wheel(folder: Path) -> Path:
    """Return the path of the library's wheel in a project.

    Raises:
        UserError: The folder is no project, or its version is too old for an upgrade.
    """
    wheels = sorted(folder.glob("vendor/keras_tabular-*.whl"))
    if len(wheels) != 1:
        raise UserError(
            f"{folder.resolve()}/vendor: expected one wheel of the library, got"
            f" {len(wheels)}. To create a project, run `keras-tabular new`.",
        )
    old_wheel = wheels[0]
    old_version = read_version(old_wheel)
    version = tuple(map(int, old_version.split(".")))
    if version > tuple(map(int, VERSION.split("."))):
        raise UserError(
            f"{old_wheel}: this project has version {old_version} of the library, and"
            f" this is version {VERSION}. Use a version that is not older.",
        )
    if version < OLDEST_VERSION:
        raise UserError(
            f"{old_wheel}: this project has version {old_version} of the library."
            f" Upgrade it to version 0.6 first: run `git checkout {OLDEST_COMMIT}` in"
            " the clone, and this command again. Commit the result. Then run `git"
            " checkout -` in the clone, and this command once more.",
        )
    return old_wheel


def find_changes(old_wheel: Path, new_wheel: Path) -> str:
    """Return the entries of the change log that only the new wheel has."""
    old, new = (
        zipfile.Path(wheel, CHANGES).read_text("utf-8")
        for wheel in (old_wheel, new_wheel)
    )
    old_version = read_version(old_wheel)
    if old_version != VERSION:  # entries of older versions may be worded anew
        new = new.partition(f"\n## {old_version}")[0]
    entries = re.split(r"\n+(?=[-#])", new.strip())
    return "\n".join(entry for entry in entries if entry not in old)


def upgraded_files(
    folder: Path,
    old: dict[str, str],
    new: dict[str, str],
) -> dict[Path, str]:
    """Merge the changes of the library into the files of a project.

    A file that the owner has removed stays removed.

    Args:
        folder: The project.
        old: The text of each file of the library's old version, by its path in a
            project.
        new: The text of each file of its new version.

    Returns:
        The text of each file to write.
    """
    upgraded = {}
    for name, text in new.items():
        path = folder / name
        if OWNED.fullmatch(name):
            continue
        if path.exists() and text != old.get(name):
            merge = merge_packages if name.startswith("requirements") else merge_lines
            upgraded[path] = merge(path, old.get(name, ""), text)
        elif name not in old:
            upgraded[path] = text
    return upgraded


def renamed_imports(folder: Path, files: dict[Path, str]) -> dict[Path, str]:
    """Return the scripts of a project that import a module which has another name now.

    Args:
        folder: The project.
        files: The texts that the upgrade writes, by path.

    Returns:
        The corrected text of each of these scripts, by path.
    """
    renamed = {}
    for path in (*folder.glob("*.py"), *folder.glob("stages/*.py")):
        text = files.get(path) or path.read_text("utf-8")
        changed = text
        for old, new in MOVED_MODULES.items():
            changed = re.sub(rf"\b{re.escape(old)}\b", new, changed)
        if changed != text:
            renamed[path] = changed
    return renamed


def find_conflicts(files: dict[Path, str]) -> list[Path]:
    """Return the files whose texts have conflicts."""
    return [path for path, text in files.items() if CONFLICT.search(text)]


def delete_files(folder: Path, old: dict[str, str], new: dict[str, str]) -> list[str]:
    """Delete the files of a project that the new version does not have, and say so.

    A file that the owner has edited stays.
    """
    messages = []
    for name in sorted(old.keys() - new.keys()):
        path = folder / name
        if not path.exists():
            continue
        outcome = "you have edited it, so delete it yourself"
        if path.read_text("utf-8") == old[name]:
            path.unlink()
            outcome = "deleted"
        messages.append(f"{name}: this file has left the library; {outcome}.")
    return messages


def merge_packages(path: Path, old: str, new: str) -> str:
    """Return a lock file of the project with the packages of the new version.

    A package that the owner added, or whose version the owner changed, stays as it is.
    """
    lock = path.read_text("utf-8")
    old_pins = [lines.split()[0] for lines in locked_packages(old).values()]
    packages = locked_packages(new)
    for name, lines in locked_packages(lock).items():
        if lines.split()[0] not in old_pins and name != "keras-tabular":
            packages[name] = lines
    return replace_packages(lock, packages)


def merge_lines(path: Path, old: str, new: str) -> str:
    """Return the text of a file with the changes from `old` to `new`.

    Where the owner has changed the same lines, the text has both versions between git's
    markers.

    Raises:
        UserError: The file still has conflicts of an earlier upgrade.
    """
    text = path.read_text("utf-8").rstrip("\n") + "\n"
    if CONFLICT.search(text):
        raise UserError(
            f"{path}: resolve the conflicts of the last upgrade (<<<<<<<) first.",
        )
    versions = {"your version": text, "version before": old, "new version": new}
    with tempfile.TemporaryDirectory() as scratch:
        for name, version in versions.items():
            Path(scratch, name).write_text(version, "utf-8")
        git = subprocess.run(
            ["git", "merge-file", "--stdout", *versions],
            cwd=scratch,
            stdout=subprocess.PIPE,
            encoding="utf-8",
            check=False,
        )
    if git.returncode > MAX_CONFLICTS:
        raise UserError(f"{path}: git cannot merge this file. The lines above say why.")
    return git.stdout


def install(folder: Path, wheel: Path) -> None:
    """Install the wheel and the changed packages into the project's .venv."""
    installed = folder / ".venv/installed"
    python = (folder / ".venv/bin/python").absolute()
    import_pip = (python, "-c", "import pip")
    # Other projects may use a linked environment, and uv creates some without pip.
    if (
        installed.parent.is_symlink()
        or not installed.exists()
        or subprocess.run(import_pip, capture_output=True, check=False).returncode
    ):
        print(
            "`make repro` installs the packages into .venv. In another environment,"
            " run\n  pip install --force-reinstall --no-deps vendor/*.whl\n  pip"
            " install --require-hashes -r requirements.txt",
        )
        return
    compiled = (*PIP, "install", "--compile")
    # Without --force-reinstall, pip keeps a wheel of the same version from another
    # commit.
    run_command(python, *compiled, "--force-reinstall", "--no-deps", wheel.absolute())
    run_command(
        python,
        *compiled,
        "--require-hashes",
        "-r",
        "requirements.txt",
        cwd=folder,
    )
    installed.touch()
