"""Train the model of a commit again, and compare every output with its dvc.lock.

The command clones the commit into a temporary folder. It takes the tables from DVC's
cache or from the remote, and runs all stages with the packages of the commit's
requirements.txt. The results that are in git have to be the same, too.
"""

import json
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from keras_tabular.core.errors import UserError
from keras_tabular.core.files import md5_hash
from keras_tabular.core.typed_yaml import parse_yaml, read_yaml
from keras_tabular.runs.run import (
    LOCK,
    RESULTS,
    Run,
    cache_dir,
    git,
    locked_hashes,
    run_module,
)


def main(parser: ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "revision",
        nargs="?",
        default="HEAD",
        help="a tag, a branch or a commit; default: HEAD",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="a file to write the new model to, if no output differs",
    )
    add(
        "--files",
        action="store_true",
        help=f"run nothing; compare the outputs in this folder with {LOCK}",
    )
    args = parser.parse_args()
    if args.files:
        label = LOCK
        changed = modified_outputs()
        success = f"The outputs in this folder have the hashes that are in {LOCK}"
    else:
        run = Run(args.revision)
        label = run.label
        commit = run.sha
        print(f"Running all stages of {label} in a temporary folder", flush=True)
        changed = rerun(commit, args.output)
        success = (
            f"{label} is verified: every output has the hash that is in its dvc.lock"
        )
    for path in changed:
        print(f"{path} differs from {label}")
    if changed:
        raise UserError(f"{label} is not verified: the files above differ")
    print(success)


def rerun(commit: str, model: Path | None = None) -> list[str]:
    """Run the pipeline of a commit again in a clone, and list the files that differ.

    The clone has a cache of its own, into which only the inputs are copied, so that
    every stage has to run. Nothing runs if an input does not have its hash. DVC writes
    what the stages print to stderr.

    Args:
        commit: Hash of a commit.
        model: A file to write the model to if no output differs; None to write none.

    Raises:
        UserError: An input is missing, the packages cannot be installed, or a stage
            failed.
    """
    root = Path(git("rev-parse", "--show-toplevel").strip()).resolve()
    with TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        git("clone", "--quiet", "--no-checkout", str(root), str(clone))
        git("checkout", "--quiet", "--detach", commit, folder=clone)
        project = clone / Path.cwd().resolve().relative_to(root)
        local = Path(".dvc/config.local")  # credentials, and a safe site cache
        if local.is_file():
            shutil.copy(local, project / ".dvc")
        python = locked_python(commit, project, Path(folder) / "venv")
        run_module(
            "dvc",
            "config",
            "--local",
            "cache.dir",
            f"{folder}/cache",
            folder=project,
        )
        fetch_inputs(project, Path(folder) / "cache")
        outputs = locked_hashes(read_yaml(project / LOCK), "outs").keys()
        if inputs := sorted({*modified_outputs(project)} - outputs):
            return inputs
        # A result that no stage writes again is missing after the run. So is what a
        # stage could load instead of running its code: bytecode, and the state of an
        # interrupted training.
        git(
            "rm",
            "-rq",
            "--ignore-unmatch",
            "--",
            ".training",
            "*.pyc",
            *outputs,
            folder=project,
        )
        git("reset", "--quiet", folder=project)
        run_module(
            "dvc",
            "repro",
            "--force",
            folder=project,
            python=python,
            quiet=False,
        )
        changed = changed_files(project)
        if model and not changed:
            model.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / "models/model.keras", model)
        return changed


def locked_python(commit: str, project: Path, environment: Path) -> str:
    """Return a Python with the packages that requirements.txt of a commit locks.

    It is the present one if the present requirements.txt is the same. Otherwise, the
    packages are installed into a new environment.
    """
    if not git("diff", "--name-only", commit, "--", "requirements.txt"):
        return sys.executable
    print("Installing the packages of the commit's requirements.txt", file=sys.stderr)
    run_module("venv", str(environment))
    python = f"{environment}/bin/python"
    install = (
        "pip",
        "install",
        "--compile",
        "--require-hashes",
        "-r",
        "requirements.txt",
    )
    run_module(*install, folder=project, python=python)
    return python


def fetch_inputs(project: Path, cache: Path) -> None:
    """Copy the inputs of a clone that DVC tracks from the present cache or a remote.

    Args:
        cache: The cache of the clone.

    Raises:
        UserError: An input is missing, or the list of the files in a folder does not
            have its hash. DVC would write files wherever a false list says, also
            outside of the clone.
    """
    files = git("ls-files", "-z", "--", "*.dvc", folder=project).split("\0")[:-1]
    if files:
        # A cache has the folders of a remote.
        run_module(
            "dvc",
            "remote",
            "add",
            "--local",
            "_cache",
            str(cache_dir()),
            folder=project,
        )

        def check_out(*remote: str) -> None:
            run_module("dvc", "fetch", *remote, *files, folder=project)
            for listing in cache.rglob("*.dir"):
                if md5_hash(listing.read_bytes()) != listing.parent.name + listing.stem:
                    raise UserError(
                        f"{listing.name}: somebody has changed this list of files",
                    )
            run_module("dvc", "checkout", *files, folder=project)

        try:
            check_out("--remote", "_cache")
        except UserError:
            check_out()


def changed_files(project: Path) -> list[str]:
    """List the files that a run has changed since the last commit.

    An output has changed if dvc.lock has another hash. A file that git tracks has also
    changed if its content differs from the commit, whose files and hashes need not come
    from the same run. The results that the gate and the report read have to be outputs.

    Returns:
        Paths in the project; only `dvc.lock` if it differs, but nothing else does.
    """
    committed = parse_yaml(git("show", f"HEAD:./{LOCK}", folder=project)) or {}
    current = read_yaml(project / LOCK)
    committed_hashes = locked_hashes(committed, "outs")
    current_hashes = locked_hashes(current, "outs")
    list_changed = ("ls-files", "-z", "--modified", "--others", "--exclude-standard")
    listed = git(*list_changed, folder=project)
    changed = set(listed.split("\0")) - {"", LOCK}
    for path, md5 in current_hashes.items():
        if committed_hashes.get(path) != md5:
            changed.add(path)
    changed |= RESULTS - current_hashes.keys()
    if not changed and committed != current:
        return [LOCK]
    return sorted(changed)


def modified_outputs(project: Path = Path()) -> list[str]:
    """List the outputs in a folder that do not have the hash that is in its dvc.lock.

    The list also has tables that DVC tracks, but no output that is missing. DVC trusts
    the hash of a file that it has downloaded, so an empty cache of hashes lets it read
    each file.
    """
    with TemporaryDirectory() as empty:
        text = run_module(
            "dvc",
            "status",
            "--json",
            folder=project,
            DVC_SITE_CACHE_DIR=empty,
        )
    outputs = (
        locked_hashes(read_yaml(file), "outs")
        if (file := project / LOCK).exists()
        else {}
    )
    modified = set()
    changes = [change for stage in json.loads(text).values() for change in stage]
    for change in filter(lambda change: isinstance(change, dict), changes):
        # Without the file in DVC's cache, only a stage that depends on the output shows
        # its change.
        for kind, states in change.items():
            files = {path for path, state in states.items() if state == "modified"}
            modified |= files if kind == "changed outs" else files & outputs.keys()
    return sorted(modified)
