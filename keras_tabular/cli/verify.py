"""Train the model of a commit again, and compare every output with its dvc.lock.

The command answers one question: do the code, the table and the packages of a commit
give its results? It clones the commit into a temporary folder, takes the tables from
DVC's cache or from the remote, and runs all stages with the packages of the commit's
requirements.txt. Whoever may change the code can make false results repeat.
"""

import os
import shutil
import sys
from argparse import ArgumentParser
from pathlib import Path
from tempfile import TemporaryDirectory

from dvc.cachemgr import CacheManager
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc_data.hashfile.state import StateNoop

from keras_tabular.core.errors import UserError
from keras_tabular.core.typed_yaml import parse_yaml, read_yaml
from keras_tabular.new_project.lock import version_differences
from keras_tabular.runs.run import (
    LOCK,
    METRICS,
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
        nargs="*",
        metavar="PATH",
        help=f"run nothing; compare the files here, or only these, with {LOCK}",
    )
    add(
        "--commit",
        action="store_true",
        help="run nothing; fail if the last run has changed a file of the last commit",
    )
    args = parser.parse_args()
    if args.commit:
        check_commit()
        return
    machine = ""
    if args.files is not None:
        label = LOCK
        paths = args.files or ["."]
        changed = [
            f"{file} ({state})"
            for file, state in changed_states().items()
            if any(Path(file).is_relative_to(path) for path in paths)
        ]
        success = f"Each table and output has the hash that is in {LOCK}"
    else:
        run = Run(args.revision)
        label = run.label
        if not run.read(LOCK):
            raise UserError(
                f"{LOCK}: {label} has no such file in this folder. Run `dvc repro`, and"
                " commit its results",
            )
        print(f"Running all stages of {label} in a temporary folder", flush=True)
        changed = rerun(run.sha, args.output)
        machine = describe_machine(run)
        success = (
            f"{label} is verified: every output has the hash that is in its dvc.lock"
        )
    for path in changed:
        print(f"{path} differs from {label}")
    if changed:
        raise UserError(f"{label} is not verified: the files above differ{machine}")
    print(success)


def check_commit() -> None:
    """Check that a run has left all files as they are in the last commit.

    Raises:
        UserError: A file differs, or git does not have it.
    """
    options = ("--porcelain", "--no-renames", "-z", "--untracked-files=all")
    status = git("status", *options, "--", ".").split("\0")
    if changed := [line[3:] for line in status if line]:
        reason = describe_machine(Run("HEAD")) or (
            ". Somebody has edited them, or has not run `make repro` after a change."
            " Run it, and commit them"
        )
        raise UserError(
            f"These files are not as in the last commit: {', '.join(changed)}{reason}",
        )
    print("All files are as in the last commit")


def describe_machine(run: Run) -> str:
    """Return the end of a message on a run whose bytes depend on the machine.

    The run says so itself. A falsified run may say so, too, and is not verified either.

    Returns:
        An empty text if the bytes of the run repeat on other machines.
    """
    if run.load(METRICS / "scores.json").get("repeats") != "same_cpu":
        return ""
    return (
        ". The model was trained on a machine whose bytes cannot be compared (macOS, a"
        " GPU, `exact: false`, or a layer that cannot be stacked); the workflow"
        " train.yml trains it again"
    )


def rerun(commit: str, model: Path | None = None) -> list[str]:
    """Run the pipeline of a commit again in a clone, and list the files that differ.

    The clone has a cache of its own, into which only the inputs are copied, so that
    every stage has to run. Nothing runs if an input does not have its hash. DVC writes
    what the stages print to stderr.

    Args:
        commit: Hash of a commit.
        model: A file to write the model to if no output differs; None to write none.

    Raises:
        UserError: An input is missing, a link leads out of the repository, the packages
            cannot be installed, a stage could leave an output as it is, or a stage
            failed.
    """
    root = Path(git("rev-parse", "--show-toplevel").strip()).resolve()
    with TemporaryDirectory() as folder:
        clone = Path(folder).resolve() / "clone"
        git("clone", "--quiet", "--no-checkout", root, clone)
        git("checkout", "--quiet", "--detach", commit, folder=clone)
        for path in clone.rglob("*"):
            if path.is_symlink() and not path.resolve().is_relative_to(clone):
                raise UserError(
                    f"{path.relative_to(clone)}: this link leads out of the repository",
                )
        project = clone / Path.cwd().relative_to(root)
        local = Path(".dvc/config.local")  # credentials, and a safe site cache
        if local.is_file():
            shutil.copy(local, project / ".dvc")
        cache = ("cache.dir", f"{folder}/cache")
        run_module("dvc", "config", "--local", *cache, folder=project)
        present = Path(folder, "present")  # DVC writes only ASCII into its config.
        present.symlink_to(cache_dir())
        fetch_inputs(project, present)
        states = changed_states(project)
        outputs = list_outputs(project)
        inputs = states.keys() - outputs
        if modified := [path for path in inputs if states[path] == "modified"]:
            return modified
        # A result that no stage writes again is missing after the run.
        remove = ("--literal-pathspecs", "rm", "-rq", "--ignore-unmatch", "--", LOCK)
        git(*remove, *outputs, folder=project)
        git("reset", "--quiet", folder=project)
        python = locked_python(project, f"{folder}/venv")
        repro = ("dvc", "repro", "--force", "--all-pipelines")
        # The modules of the present folder are not those of the clone.
        run_module(*repro, folder=project, python=python, quiet=False, PYTHONPATH="")
        changed = changed_files(project)
        if model and not changed:
            model.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(project / "models/model.keras", model)
        return changed


def locked_python(project: Path, environment: str) -> str:
    """Return a Python with the packages that requirements.txt of a project locks.

    It is the present one if it has all of them in the same versions, and the present
    lock file has the same hashes. Otherwise, the packages are installed into a new
    environment.
    """
    lock = (project / "requirements.txt").read_text("utf-8")
    present = Path("requirements.txt").read_text("utf-8")
    if lock == present and not version_differences(lock):
        return sys.executable
    print("Installing the packages of the commit's requirements.txt", file=sys.stderr)
    run_module("venv", environment)
    python = f"{environment}/bin/python"
    install = ("install", "--compile", "--require-hashes", "-r", "requirements.txt")
    run_module("pip", *install, folder=project, python=python)
    return python


def list_outputs(project: Path) -> list[str]:
    """List the outputs of all stages, each of which a run has to write again.

    Raises:
        UserError: A stage could leave an output as it is, or dvc.lock has a stage that
            dvc.yaml no longer has.
    """
    stages = read_yaml(project / "dvc.yaml").get("stages", {})
    locked = read_yaml(project / LOCK).get("stages", {})
    # A stage of `foreach` or `matrix` is NAME@VALUE in dvc.lock.
    gone = [name for name in locked if name.partition("@")[0] not in stages]
    if gone:
        raise UserError(
            f"{LOCK}: dvc.yaml no longer has the stages {', '.join(gone)}. Run `rm"
            f" {LOCK} && dvc repro`, which takes the other results from DVC's cache",
        )
    outputs = []
    for output in Repo(str(project)).index.outs:
        stage = output.stage
        if stage.cmd:  # not a .dvc file
            path = os.path.relpath(output.fs_path, project)
            if stage.frozen or output.persist or not output.is_in_repo:
                raise UserError(
                    f"dvc.yaml: the output {path} of {stage.name} is frozen,"
                    " persists, or is outside of the repository",
                )
            outputs.append(path)
    return outputs


def fetch_inputs(project: Path, cache: Path) -> None:
    """Copy the inputs of a clone that DVC tracks from a cache or a remote.

    Raises:
        UserError: An input is missing, or a list of files leads out of its folder.
    """
    files = git("ls-files", "-z", "--", "*.dvc", folder=project).split("\0")[:-1]
    if not files:
        return
    # A cache has the folders of a remote.
    run_module("dvc", "remote", "add", "--local", "_cache", str(cache), folder=project)
    try:
        run_module("dvc", "pull", "--remote", "_cache", "--", *files, folder=project)
    except UserError:
        run_module("dvc", "pull", "--", *files, folder=project)


def changed_files(project: Path) -> list[str]:
    """List the files that a run has changed since the last commit.

    An output has changed if dvc.lock has another hash. A file that git tracks has also
    changed if its content differs from the commit, whose files and hashes need not come
    from the same run.

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
    if not changed and committed != current:
        return [LOCK]
    return sorted(changed)


def changed_states(project: Path = Path()) -> dict[str, str]:
    """Return the state of each table and output that does not have its hash, by path.

    DVC trusts the hash of a file that it has downloaded, so no cache of hashes lets it
    read each file.

    Returns:
        `modified`, or `missing`, or `new` if it has no hash.

    Raises:
        UserError: DVC cannot read dvc.yaml, dvc.lock or a .dvc file.
    """
    states = {}
    try:
        repo = Repo(str(project))
        repo.state = StateNoop()
        repo.cache = CacheManager(repo)
        for output in repo.index.outs:
            path = os.path.relpath(output.fs_path, project)
            for state in output.workspace_status().values():
                states[path] = "missing" if state == "deleted" else state
        repo.close()
    except DvcException as error:
        raise UserError(str(error)) from None
    return states
