"""Create projects, change their settings, run their stages, read their results."""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from pydantic.v1.utils import deep_update

from keras_tabular.cli.upgrade import OLDEST_COMMIT
from keras_tabular.evaluation.records import Evaluation
from tests.commands import call_main, check_output, run_command
from tests.helpers import PROJECT

# Values of the section `train` of params.yaml. Two networks of one architecture, in a
# second:
FEW_EPOCHS = {"epochs": 3, "learning_rate": 0.002, "learning_rate_schedule": "constant"}
SHORT_TRAINING: dict[str, Any] = {
    "members": [{"network": "plain"}],
    "folds": 2,
    "networks": {"plain": FEW_EPOCHS},
}
# The default number of folds, but only one cycle of epochs:
ONE_CYCLE = {"members": [{"network": "plain"}], "networks": {"plain": {"epochs": 1}}}
ONE_CYCLE_OF_BOTH = {
    "folds": 2,
    "networks": {"realmlp": {"epochs": 1}, "plain": {"epochs": 1}},
}
# Some seconds, enough to learn what a small table contains:
MORE_EPOCHS = FEW_EPOCHS | {"epochs": 60, "l2": 0.001}
LONGER_TRAINING = SHORT_TRAINING | {"folds": 3, "networks": {"plain": MORE_EPOCHS}}

STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
STAGE_COMMANDS = {name: str(stage["cmd"]).split() for name, stage in STAGES.items()}
STAGE_OUTPUTS: dict[str, list[str]] = {
    name: [out if isinstance(out, str) else next(iter(out)) for out in stage["outs"]]
    for name, stage in STAGES.items()
}


def create_project(folder: Path, frame: pd.DataFrame) -> Path:
    """Create a project for a table, with the schema that `infer_schema` writes."""
    create_files(folder, frame.to_csv(index=False))
    target = frame.columns[-1]
    arguments = ("infer-schema", "data/raw/t.csv", "--target", target)
    call_main(folder, "keras_tabular.cli", *arguments)
    return folder


def create_files(folder: Path, csv: str) -> None:
    """Create a folder with code, parameters and a table, but without a schema."""
    (folder / "data/raw").mkdir(parents=True)
    check_output(folder, "git init --quiet")
    (folder / "data/raw/t.csv").write_bytes(csv.encode())
    shutil.copy(PROJECT / "params.yaml", folder)
    for name in ("dvc.yaml", "network.py", "stages", "keras_tabular"):
        (folder / name).symlink_to(PROJECT / name)


def change_settings(
    folder: Path,
    schema: dict[str, Any] | None = None,
    **sections: dict[str, Any],
) -> None:
    """Change values in sections of params.yaml, and in the schema."""
    for name, changes in {"params.yaml": sections, "data/schema.yaml": schema}.items():
        if changes:
            file = folder / name
            settings = deep_update(yaml.safe_load(file.read_text()), changes)
            file.write_text(yaml.safe_dump(settings, sort_keys=False))


def run_stages(folder: Path, first: str = "ingest", last: str = "gate") -> None:
    """Run the stages from one to another in this process."""
    names = list(STAGE_COMMANDS)
    start = names.index(first)
    end = names.index(last) + 1
    for name in names[start:end]:
        _, _, module, *arguments = STAGE_COMMANDS[name]
        call_main(folder, module, *arguments)


def reproduce(folder: Path, first: str = "ingest") -> None:
    """Do in this process what `dvc repro` does, with the same bytes."""
    run_stages(folder, first)
    check_output(folder, "dvc commit --quiet --force")


def create_old_project(folder: Path) -> dict[str, str]:
    """Create a project of version 0.6 for the table `wine`, which has no environment.

    The old library runs with the packages of the tests, whose versions may be later.

    Returns:
        Environment variables for commands of the project.
    """
    old_library = clone(PROJECT, folder.with_name("library of the project"))
    if run_command(old_library, f"git checkout -q {OLDEST_COMMIT}").returncode:
        pytest.skip("the history of this clone begins after version 0.6.0")
    variables = {
        "PYTHONPATH": str(old_library),
        "MAKEFLAGS": "-o .venv/installed -o check-environment",
    }
    package = f"{old_library}/keras_tabular"
    new = (sys.executable, package, "new", folder.name, "--example=wine")
    check_output(folder.parent, *new, **variables)
    return variables


def commit_all(folder: Path, message: str) -> None:
    """Commit everything in a folder."""
    check_output(folder, "git add -A .")
    check_output(folder, "git", "commit", "-qm", message, "--allow-empty")


def clone(project: Path, folder: Path) -> Path:
    """Clone the last commit of a project."""
    check_output(folder.parent, "git", "clone", "-q", str(project), str(folder))
    return folder


def copy_project(project: Path, folder: Path) -> Path:
    """Copy a project with its caches, for a test that changes it.

    The copy has hard links to the objects of git and DVC, which nobody changes.
    """

    def copy(source: str, target: str) -> None:
        if "/.git/objects/" in source or "/.dvc/cache/" in source:
            os.link(source, target)
        else:
            shutil.copy2(source, target)

    return Path(shutil.copytree(project, folder, symlinks=True, copy_function=copy))


def read_output_hashes(folder: Path, *without: str) -> dict[str, str]:
    """Read the hash of each output from a project's dvc.lock, except for some paths."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"].values()
    hashes = dict[str, str]()
    for stage in stages:
        hashes |= {out["path"]: out["md5"] for out in stage["outs"]}
    return {path: md5 for path, md5 in hashes.items() if path not in without}


def read_scores(folder: Path) -> Evaluation:
    """Read the evaluation of a project's last run."""
    return Evaluation.model_validate(read_json(folder / "metrics/scores.json"))


def read_gate(folder: Path) -> dict[str, Any]:
    """Read the verdict of a project's last run, with its checks by their rules."""
    gate = read_json(folder / "metrics/gate.json")
    return gate | {"checks": {check["rule"]: check for check in gate["checks"]}}


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object."""
    return json.loads(file.read_text())
