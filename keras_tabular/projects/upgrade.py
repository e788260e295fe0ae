"""Upgrade a project to a later version of the library, and print what has changed.

Run this command with a clone of the later version: `python3 CLONE/keras_tabular upgrade FOLDER`. It
replaces the wheel in vendor, the packages in the lock files, and the stages that you have not
edited: their scripts and their texts in dvc.yaml. It also replaces tests/test_project.py unless you
have edited it. It installs the packages into .venv, and changes no other file.
"""

import re
import shutil
import tempfile
import zipfile
from argparse import ArgumentParser
from pathlib import Path, PurePath

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.projects.lock import DISTRIBUTION, LOCKED_PACKAGE, lock_text, locked_packages
from keras_tabular.projects.wheel import PIP, Files, get_wheel, pin, read_project_files, run_command

CHANGES = "keras_tabular/CHANGELOG.md"  # in the wheel
TEST = "tests/test_project.py"
# The stages in a dvc.yaml, and one of them, with blank lines and comments except at the end.
STAGES = re.compile(rb"^stages:.*\n(?:(?: *(?:#.*)?\n)*  .*\n)*", re.MULTILINE)
STAGE = re.compile(rb"^  ([\w-]+):.*\n(?:(?: *(?:#.*)?\n)*    .*\n)*", re.MULTILINE)
Stage = tuple[bytes, bytes]  # its script and its text in dvc.yaml; empty if there is none
NO_STAGE: Stage = (b"", b"")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=".",
        help="the folder of the project; default: the current folder")  # fmt: skip
    folder = parser.parse_args().folder
    wheels = sorted(folder.glob("vendor/keras_tabular-*.whl"))
    if len(wheels) != 1:
        problem = f"{folder.resolve()}/vendor: expected one wheel of the library, got {len(wheels)}"
        raise UserError(f"{problem}. To create a project, run `python3 CLONE/keras_tabular new`.")
    old_wheel = wheels[0]
    with tempfile.TemporaryDirectory() as scratch:
        new_wheel = get_wheel(Path(scratch))
        wheel = old_wheel.parent / new_wheel.name
        changes = new_changes(old_wheel, new_wheel)
        old_files, files = read_project_files(old_wheel), read_project_files(new_wheel)
        locks = upgraded_locks(folder, old_files, files, pin(new_wheel))
        stages, messages = upgraded_stages(folder, old_files, files)
        # The wheel is replaced last, so that `upgrade` can be repeated if it was interrupted.
        for path, lock_lines in locks.items():
            with atomic_write(path) as partial:
                partial.write_text(lock_lines, encoding="utf-8")
        for path, content in stages.items():
            path.write_bytes(content)
        with atomic_write(wheel) as partial:
            shutil.copy(new_wheel, partial)
    if wheel != old_wheel:
        old_wheel.unlink()
    print(f"{wheel} replaces {old_wheel.name}. requirements.txt has its hash.")
    for message in messages:
        print(message)
    print(f"New lines of the change log:\n\n{changes or '(none)'}\n")
    install(folder, wheel)


def new_changes(old_wheel: Path, wheel: Path) -> str:
    """Return the lines of the change log that an older version does not have."""
    old_text, text = (zipfile.Path(file, CHANGES).read_text("utf-8") for file in (old_wheel, wheel))
    old_lines = old_text.splitlines()
    return "\n".join(line for line in text.splitlines() if line not in old_lines)


def upgraded_locks(folder: Path, old: Files, new: Files, pins: dict[str, str]) -> dict[Path, str]:
    """Return the lock files of the project with the packages that the new version needs.

    A package that the owner added, or whose version the owner changed, stays as it is.

    Args:
        pins: The lines of the library for requirements.txt, by its name.
    """
    locks = {}
    for name in new:
        path = folder / name
        if not re.fullmatch(r"requirements(/\w+)?\.txt", name) or not path.exists():
            continue
        old_packages = locked_packages(old.get(name, (b"", 0))[0].decode())
        packages = locked_packages(new[name][0].decode())
        old_pins = {lines.split()[0] for lines in old_packages.values()}
        text = path.read_text(encoding="utf-8")
        owner_packages = {
            package: lines
            for package, lines in locked_packages(text).items()
            if lines.split()[0] not in old_pins and package != DISTRIBUTION
        }
        packages |= owner_packages | (pins if name == "requirements.txt" else {})
        locks[path] = lock_text(LOCKED_PACKAGE.sub("", text), packages)
    return locks


def upgraded_stages(folder: Path, old: Files, new: Files) -> tuple[dict[Path, bytes], list[str]]:
    """Find the stages that differ in the new version.

    A script needs the command in dvc.yaml that fits it. If the owner has edited one of the two, and
    the new version has another one, both stay as they are.

    Returns:
        The new content of scripts, of dvc.yaml and of the test of the project; and a message about
        each stage that stays.
    """
    paths = [*folder.glob("dvc.yaml"), *folder.glob("stages/*.py")]
    project_files = {  # with a line end after the last line, which some editors leave out
        path.relative_to(folder).as_posix(): (re.sub(rb"(.)\Z", rb"\1\n", path.read_bytes()), 0)
        for path in paths
    }
    old_stages, stages, project_stages = map(read_stages, (old, new, project_files))
    contents, texts, messages = dict[Path, bytes](), dict[str, bytes](), list[str]()
    test, test_before = folder / TEST, old.get(TEST, (b"", 0))[0]
    if TEST in new and test.is_file() and test.read_bytes() == test_before != new[TEST][0]:
        contents[test] = new[TEST][0]
    for name in old_stages | stages:
        versions = [each.get(name, NO_STAGE) for each in (old_stages, stages, project_stages)]
        _, (script, text), project_stage = versions
        if project_stage == NO_STAGE and name in old_stages:
            continue  # the owner has removed it
        has_new_script, has_new_text = (a != b != c for a, b, c in zip(*versions, strict=True))
        if any(len({*parts}) == len(versions) for parts in zip(*versions, strict=True)):
            places = [f"stages/{name}.py of the clone"] if has_new_script else []
            places += [f"these lines of dvc.yaml:\n\n{text.decode()}"] if has_new_text else []
            message = f"You have edited the stage {name}, and the library has a new version of it."
            messages.append(f"{message} Repeat your edits in {' and in '.join(places)}")
            continue
        if has_new_script and script:
            contents[folder / f"stages/{name}.py"] = script
        if has_new_text:
            texts[name] = text
    if texts:
        added = b"".join(
            t for name, t in texts.items() if not project_stages.get(name, NO_STAGE)[1]
        )
        contents[folder / "dvc.yaml"] = STAGES.sub(
            lambda section: STAGE.sub(lambda s: texts.get(s[1].decode(), s[0]), section[0]) + added,
            project_files["dvc.yaml"][0],
        )
    return contents, messages


def read_stages(files: Files) -> dict[str, Stage]:
    """Return the stages in some files, by their names."""
    section = b"".join(STAGES.findall(files.get("dvc.yaml", (b"", 0))[0]))
    texts = {match[1].decode(): match[0] for match in STAGE.finditer(section)}
    paths = {PurePath(name): content for name, (content, _) in files.items()}
    scripts = {path.stem: paths[path] for path in paths if path.match("stages/*.py")}
    return {name: (scripts.get(name, b""), texts.get(name, b"")) for name in texts | scripts}


def install(folder: Path, wheel: Path) -> None:
    """Install the wheel and the changed packages into the project's .venv."""
    installed = folder / ".venv/installed"
    if not installed.exists():
        print(
            "The project has no .venv; `make repro` creates it. In another environment, run\n"
            "  pip install --force-reinstall --no-deps vendor/*.whl\n"
            "  pip install --require-hashes -r requirements.txt"
        )
        return
    python = (folder / ".venv/bin/python").absolute()
    compiled = (*PIP, "install", "--compile")
    # Without --force-reinstall, pip keeps a wheel of the same version from another commit.
    run_command(python, *compiled, "--force-reinstall", "--no-deps", wheel.absolute())
    run_command(python, *compiled, "--require-hashes", "-r", "requirements.txt", cwd=folder)
    installed.touch()
