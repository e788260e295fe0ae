"""A new project: its files, environment, table, schema and repository."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from keras_tabular.core import VERSION
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import write_text
from keras_tabular.new_project.wheel import (
    IS_CLONE,
    PIP,
    ROOT,
    get_wheel,
    read_project_files,
    run_command,
)

MAX_BYTES_IN_GIT = 10 * 2**20  # a larger table is tracked by DVC
WITH_PLACEHOLDERS = ("README.md", "data/README.md", "pyproject.toml")
# The first lines of a program that runs with a Python whose path may be long or contain
# spaces.
HEADER = "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n"


def create_project(folder: Path, args: Namespace) -> list[str]:
    """Fill an empty folder with a project, and commit it to a new repository.

    Returns:
        Commands that commit it instead, if the folder is already in a repository, and
        not ignored.
    """
    name = Path(args.table).name.split("?")[0]  # without the query of a URL
    table = Path("data/raw", name)
    run_in_project = partial(run_command, cwd=folder)
    is_ignored = git_succeeds(folder, "check-ignore", "--quiet", ".")
    is_in_repository = not is_ignored and git_succeeds(folder, "rev-parse")
    if not is_in_repository:
        run_in_project("git", "init", "--quiet", "--initial-branch=main")
    write_files(folder, str(table), args.target)
    set_up_environment(run_in_project, folder, args.venv)
    # It also sets up DVC.
    run_in_project("make", "--silent", "check-environment", "VENV=.venv")
    # DVC reads dvc.yaml, which needs a schema.
    schema = folder / "data/schema.yaml"
    schema.write_text(f"source: {json.dumps(str(table))}\n")
    add_table(run_in_project, folder, args, table)
    schema.unlink()
    run_in_project(
        "python",
        "-m",
        "keras_tabular",
        "infer-schema",
        table,
        f"--target={args.target}",
    )
    message = f"The table {name}"
    if is_in_repository:
        return ["git add .", f"git commit -m {shlex.quote(message)} ."]
    run_in_project("git", "add", "--all")
    identity = []
    if not git_succeeds(folder, "config", "user.email"):
        user = os.environ.get("USER", "user")
        identity = ["-c", f"user.name={user}", "-c", f"user.email={user}@localhost"]
    run_in_project("git", *identity, "commit", "--quiet", "-m", message)
    return []


def git_succeeds(folder: Path, *arguments: str) -> bool:
    """Return whether a git command in a folder ends with exit code 0."""
    command = ["git", *arguments]
    git = subprocess.run(command, cwd=folder, capture_output=True, check=False)
    return git.returncode == 0


def write_files(folder: Path, table: str, target: str) -> None:
    """Write the files that every project has, and a wheel of the library."""
    package = re.sub("[^a-z0-9]+", "-", folder.name.lower())
    values = {  # of placeholders such as {{ name }}
        "name": folder.name,
        "package": package.strip("-") or "table",
        "table": table,
        "table_in_shell": shlex.quote(table),
        "target": target,
        "target_in_python": repr(target),
        "target_in_table": target.replace("|", r"\|"),
    }
    vendor = folder / "vendor"
    vendor.mkdir()
    for name, text in read_project_files(get_wheel(vendor)).items():
        if name in WITH_PLACEHOLDERS:
            text = re.sub(r"\{\{ ?(\w+) ?\}\}", lambda match: values[match[1]], text)
        write_text(folder / name, text)


def set_up_environment(
    run: Callable[..., None],
    folder: Path,
    venv: Path | None,
) -> None:
    """Link .venv of a project to a virtual environment, or create it.

    Raises:
        UserError: The virtual environment has other packages than the project needs.
    """
    if venv:
        (folder / ".venv").symlink_to(venv)
        try:
            run("python", "-m", "keras_tabular.new_project.lock")
        except (OSError, UserError):
            # The project and its requirements.txt will be removed.
            pip = shlex.quote(f"{venv}/bin/pip")
            lock = ROOT / "requirements.txt"
            library = shlex.quote(str(ROOT))
            if not IS_CLONE:
                lock = ROOT / "keras_tabular/new_project/files/requirements.txt"
                library = f"keras-tabular=={VERSION}"
            raise UserError(
                f"--venv: run `{pip} install --require-hashes -r"
                f" {shlex.quote(str(lock))}` and `{pip} install --no-deps {library}`,"
                " or leave out --venv.",
            ) from None
    elif not link_environment(folder):
        python = f"PYTHON={sys.executable}"
        run("make", "--silent", ".venv/installed", python, "VENV=")


def link_environment(folder: Path) -> bool:
    """Create .venv in a project with hard links to the packages of an environment.

    It is the clone's .venv, or the environment in which the library is installed. To
    install another version of a package, pip removes its files and writes new ones.
    Therefore, each of the two environments can be changed or removed without any effect
    on the other one.

    Returns:
        False if there is no such environment, or it has other packages than the
        project's requirements.txt, or is in another file system. Then, .venv may be
        incomplete.
    """
    source = (ROOT / ".venv").resolve() if IS_CLONE else Path(sys.prefix)
    venv = folder / ".venv"
    python = source / "bin/python"
    new_python = venv / "bin/python"
    compare_with_lock = ("-m", "keras_tabular.new_project.lock")
    try:
        if not IS_CLONE:  # the packages of a clone can be compared only when linked
            run_command(sys.executable, *compare_with_lock, cwd=folder)
        run_command(python, "-m", "venv", "--without-pip", venv)
        for packages in source.glob("lib/*/site-packages"):
            target = venv / packages.relative_to(source)
            shutil.copytree(packages, target, copy_function=os.link, dirs_exist_ok=True)
        copy_programs(python.parent, new_python)
        if IS_CLONE:
            install = ("install", "--compile", "--force-reinstall", "--no-deps")
            run_command(new_python, *PIP, *install, *folder.glob("vendor/*.whl"))
        run_command(new_python, *compare_with_lock, cwd=folder)
    except (OSError, UserError):
        return False
    (venv / "installed").touch()
    print(
        f"The packages in .venv are hard links to those in {source}, so they need no"
        " disk space. To install copies instead, run `rm -r .venv` before `make"
        " repro`.",
    )
    return True


def copy_programs(folder: Path, new_python: Path) -> None:
    """Copy the Python programs in a folder, such as dvc, to run with a new Python."""
    new_header = HEADER.format(python=shlex.quote(str(new_python))).encode()
    for program in folder.iterdir():
        target = new_python.parent / program.name
        if not program.is_file() or target.exists():
            continue
        content = program.read_bytes()
        header, end, code = content.partition(b"\n' '''\n")
        if not end:
            header, _, code = content.partition(b"\n")
        if re.match(rb"#!.*python", header, re.DOTALL):
            target.write_bytes(new_header + code)
            target.chmod(0o755)
        else:
            os.link(program, target)


def add_table(
    run: Callable[..., None],
    folder: Path,
    args: Namespace,
    table: Path,
) -> None:
    """Add the table to the project; DVC tracks a large table, or one from a URL."""
    copied = folder / table
    copied.parent.mkdir()
    if args.example:
        load = f"from sklearn.datasets import load_{args.example} as load"
        write = f"load(as_frame=True).frame.to_csv('{table}', index=False)"
        run("python", "-c", f"{load}; {write}")
        return
    if "://" in args.table:
        run("dvc", "import-url", args.table, table)
        return
    source = Path(args.table)
    if source.is_dir():
        shutil.copytree(source, copied)
    else:
        shutil.copy(source, copied)
    n_bytes = sum(file.stat().st_size for file in (copied, *copied.rglob("*")))
    if n_bytes > MAX_BYTES_IN_GIT:
        run("dvc", "add", "--quiet", table)
        print(
            f"{table} is too large for git, so DVC tracks it. To share it, run `dvc"
            " push`.",
        )
