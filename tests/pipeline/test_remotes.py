"""A remote has the outputs of each commit: colleagues pull them, and a server gets its version."""

import sys
from pathlib import Path

import yaml

from tests.commands import check_output
from tests.helpers import PROJECT
from tests.projects import clone, commit_all

DEPLOY = PROJECT / "keras_tabular/projects/files/.github/workflows/deploy.yml"


def test_a_colleague_and_a_server_get_what_was_pushed(workspace: Path, tmp_path: Path) -> None:
    """A server gets the latest version, that of a tag, or that of a stage after a rollback."""
    storage = ("--default", "storage", str(tmp_path / "storage"))
    check_output(workspace, "dvc", "remote", "add", *storage)
    commit_all(workspace, "Add a remote")
    model = workspace / "models/model.keras"
    first, second = model.read_bytes(), b"another model"
    release(workspace, "v1.0.0")
    colleague = clone(workspace, tmp_path / "colleague")
    check_output(colleague, "dvc", "pull")
    up_to_date = "Data and pipelines are up to date.\n"
    assert check_output(colleague, "dvc", "repro").endswith(up_to_date)
    assert check_output(colleague, "git", "status", "--porcelain") == ""

    model.unlink()
    model.write_bytes(second)
    check_output(workspace, "dvc", "commit", "--force", "calibrate")
    commit_all(workspace, "Another model")
    release(workspace, "v1.1.0")

    def get(folder: Path, *version: str) -> bytes:
        folder.mkdir()
        check_output(folder, "dvc", "artifacts", "get", str(workspace), "model", *version)
        return (folder / "model.keras").read_bytes()

    assert get(tmp_path / "latest") == second
    assign(workspace, "v1.0.0", "--force")
    assert get(tmp_path / "rolled back", "--stage", "prod") == first

    # The workflow, in which actions/checkout has replaced the annotated tag.
    checkout = clone(workspace, tmp_path / "checkout")
    check_output(checkout, "git", "checkout", "-q", "model#prod#3")
    check_output(checkout, "git", "tag", "--force", "model#prod#3")
    (checkout / ".venv").symlink_to(sys.prefix)
    steps = yaml.safe_load(DEPLOY.read_text())["jobs"]["check"]["steps"]
    (script,) = [step["run"] for step in steps if step.get("id") == "model"]
    check_output(checkout, "bash", "-ec", script, GITHUB_OUTPUT=str(tmp_path / "output"))
    assert (tmp_path / "output").read_text() == "version=v1.0.0\n"
    assert (checkout / "models/model.keras").read_bytes() == first


def release(project: Path, version: str) -> None:
    """Push the outputs, and assign the model of the last commit to the stage `prod`."""
    assert "pushed" in check_output(project, "dvc", "push")
    check_output(project, "gto", "register", "model", "--version", version)
    assign(project, version)


def assign(project: Path, version: str, *options: str) -> None:
    stage = ("--version", version, "--stage", "prod")
    check_output(project, "gto", "assign", "model", *stage, *options)
