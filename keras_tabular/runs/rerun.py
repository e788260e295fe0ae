"""DVC's cache of outputs, and a rerun of a committed pipeline in a clone."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from keras_tabular.config.typed_yaml import parse_yaml, read_yaml
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash
from keras_tabular.runs.run import LOCK, REPORT_FILES, WORKSPACE, Run, git, locked_hashes, read_text

# The model, and the files that the gate and the report read. They have to be outputs of a stage.
RESULTS = {f"metrics/{key}.json" for key in ("scores", "metrics", "gate", "errors", *REPORT_FILES)}
RESULTS |= {"models/model.keras", "metrics/plots", "metrics/curves"}


def load_lock(project: Path) -> dict[str, Any]:
    """Return the content of the dvc.lock in a folder; empty without one."""
    return read_yaml(path) if (path := project / LOCK).exists() else {}


def read_model(path: Path) -> bytes:
    """Read a model or, if it is missing, the version of dvc.lock from DVC's cache.

    DVC removes the outputs of a stage before it runs.

    Raises:
        UserError: There is neither.
    """
    with suppress(FileNotFoundError):
        return path.read_bytes()
    content = cached_output(Path(os.path.relpath(path)), Run(WORKSPACE).lock)
    if content is None:
        raise UserError(f"{path}: found no model; name a .keras file, or run `dvc repro` to train")
    print(f"{path} does not exist, so the version of {LOCK} is used", file=sys.stderr)
    return content


def cached_output(path: Path, lock: Mapping[str, Any]) -> bytes | None:
    """Read the version of an output in a dvc.lock from DVC's cache; None if it is not there.

    Raises:
        UserError: The file in the cache does not have the hash that is in dvc.lock.
    """
    md5 = locked_hashes(lock, "outs").get(path.as_posix())
    if md5 is None:
        return None
    file = cache_dir() / "files" / "md5" / md5[:2] / md5[2:]
    content = file.read_bytes() if file.is_file() else None
    if content is not None and md5_hash(content) != md5.removesuffix(".dir"):
        problem = f"{file}: this copy of {path} in DVC's cache has changed since it was stored"
        raise UserError(f"{problem}. Remove it, and run `dvc pull` or `dvc repro`")
    return content


def cached_files(folder: Path, lock: Mapping[str, Any]) -> dict[str, Path]:
    """Return the files in DVC's cache of a folder in a dvc.lock, by their path in the folder.

    The result is empty if one is not there.
    """
    content = cached_output(folder, lock)
    if content is None:
        return {}
    cache, listing = cache_dir() / "files" / "md5", json.loads(content)
    files = {each["relpath"]: cache / each["md5"][:2] / each["md5"][2:] for each in listing}
    return files if all(file.is_file() for file in files.values()) else {}


def cache_dir() -> Path:
    """Return the folder of DVC's cache."""
    return Path(run_module("dvc", "cache", "dir").strip())


def rerun(commit: str, model: Path | None = None) -> list[str]:
    """Run the pipeline of a commit again in a clone, and list the files that differ.

    The clone has a cache of its own, into which only the inputs are copied, so that every stage has
    to run. Nothing runs if an input does not have its hash. DVC writes what the stages print to
    stderr.

    Args:
        commit: Hash of a commit.
        model: A file to write the model to if no output differs; None to write none.

    Raises:
        UserError: An input is missing, the packages cannot be installed, or a stage failed.
    """
    root = Path((git("rev-parse", "--show-toplevel") or "").strip())
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        cloned = git("clone", "--quiet", "--no-checkout", str(root), str(clone))
        if cloned is None or git("checkout", "--quiet", "--detach", commit, folder=clone) is None:
            raise UserError(f"git cannot clone {root} at {commit[:7]} into {folder}")
        project = clone / Path.cwd().resolve().relative_to(root.resolve())
        if (local := Path(".dvc/config.local")).is_file():  # credentials, and a safe site cache
            shutil.copy(local, project / ".dvc")
        python = locked_python(project, Path(folder) / "venv")
        run_module("dvc", "config", "--local", "cache.dir", f"{folder}/cache", folder=project)
        pull_inputs(project)
        outputs = locked_hashes(load_lock(project), "outs").keys()
        if inputs := sorted({*modified_outputs(project)} - outputs):
            return inputs
        # A result that no stage writes again is missing after the run. So is what a stage could
        # load instead of running its code: bytecode, and the state of an interrupted training.
        git("rm", "-rq", "--ignore-unmatch", "--", ".training", "*.pyc", *outputs, folder=project)
        git("reset", "--quiet", folder=project)
        run_module("dvc", "repro", "--force", folder=project, python=python, quiet=False)
        changed = changed_files(project)
        if model and not changed:
            model.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / "models/model.keras", model)
        return changed


def locked_python(project: Path, environment: Path) -> str:
    """Return a Python with the packages that requirements.txt of a clone locks.

    It is the present one if the present requirements.txt is the same. Otherwise, the packages are
    installed into a new environment.
    """
    if read_text(project / "requirements.txt") == read_text("requirements.txt"):
        return sys.executable
    print("Installing the packages of the commit's requirements.txt", file=sys.stderr)
    run_module("venv", str(environment))
    python = f"{environment}/bin/python"
    install = ("pip", "install", "--compile", "--require-hashes", "-r", "requirements.txt")
    run_module(*install, folder=project, python=python)
    return python


def pull_inputs(project: Path) -> None:
    """Copy the inputs of a clone that DVC tracks from the present cache, or download them."""
    if files := (git("ls-files", "-z", "--", "*.dvc", folder=project) or "").split("\0")[:-1]:
        # A cache has the folders of a remote.
        cache = ("present-cache", str(cache_dir().resolve()))
        run_module("dvc", "remote", "add", "--local", *cache, folder=project)
        try:
            run_module("dvc", "pull", "--remote", "present-cache", *files, folder=project)
        except UserError:
            run_module("dvc", "pull", *files, folder=project)


def changed_files(project: Path) -> list[str]:
    """List the files that a run has changed since the last commit.

    An output has changed if dvc.lock has another hash. A file that git tracks has also changed if
    its content differs from the commit, whose files and hashes need not come from the same run. The
    results that the gate and the report read have to be outputs.

    Returns:
        Paths in the project; only `dvc.lock` if it differs, but nothing else does.
    """
    committed = parse_yaml(git("show", f"HEAD:./{LOCK}", folder=project) or "") or {}
    current = load_lock(project)
    before, after = (locked_hashes(lock, "outs") for lock in (committed, current))
    list_changed = ("ls-files", "-z", "--modified", "--others", "--exclude-standard")
    files = {*(git(*list_changed, folder=project) or "").split("\0")} - {"", LOCK}
    files |= {path for path, md5 in after.items() if md5 != before.get(path)}
    files |= RESULTS - after.keys()
    return sorted(files) or ([LOCK] if committed != current else [])


def modified_outputs(project: Path = Path()) -> list[str]:
    """List the outputs in a folder that do not have the hash that is in its dvc.lock.

    The list also has tables that DVC tracks, but no output that is missing. DVC trusts the hash of
    a file that it has downloaded, so an empty cache of hashes lets it read each file.
    """
    with TemporaryDirectory() as empty:
        text = run_module("dvc", "status", "--json", folder=project, DVC_SITE_CACHE_DIR=empty)
    outputs, modified = locked_hashes(load_lock(project), "outs"), set[str]()
    changes = [change for stage in json.loads(text).values() for change in stage]
    for change in filter(lambda change: isinstance(change, dict), changes):
        # Without the file in DVC's cache, only a stage that depends on the output shows its change.
        for kind, states in change.items():
            files = {path for path, state in states.items() if state == "modified"}
            modified |= files if kind == "changed outs" else files & outputs.keys()
    return sorted(modified)


def run_module(
    *command: str,
    folder: Path | None = None,
    python: str = sys.executable,
    quiet: bool = True,
    **variables: str,
) -> str:
    """Run a module in a Python environment, and return what it prints.

    Args:
        command: The name of the module and its arguments.
        folder: The folder to run it in; None for the current folder.
        python: The Python of the environment, whose programs are found first.
        quiet: Whether to collect the output. Otherwise it goes to stderr, and is not returned.
        variables: Environment variables for the module.

    Raises:
        UserError: The command failed. The message contains its output.
    """
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        [python, "-m", *command],
        cwd=folder,
        env=os.environ | {"PATH": path} | variables,
        stdout=subprocess.PIPE if quiet else sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    output = done.stdout or ""
    if done.returncode:
        raise UserError(f"{' '.join(command)}: failed\n{output}{done.stderr}".rstrip())
    return output
