"""A remote has the outputs of each commit: colleagues pull them, and a server gets its version."""

import sys
from pathlib import Path

import pytest
import yaml

from tests.commands import check_output
from tests.helpers import PROJECT
from tests.projects import clone, commit_all

DEPLOY = PROJECT / "keras_tabular/projects/files/.github/workflows/deploy.yml"


@pytest.fixture
def with_remote(workspace: Path, tmp_path: Path) -> Path:
    """A project with a remote in a folder."""
    storage = ("--default", "storage", str(tmp_path / "storage"))
    check_output(workspace, "dvc", "remote", "add", *storage)
    commit_all(workspace, "Add a remote")
    return workspace


def test_colleague_pulls_what_was_pushed_and_no_stage_runs(
    with_remote: Path, tmp_path: Path
) -> None:
    assert "files pushed" in check_output(with_remote, "dvc", "push")
    colleague = clone(with_remote, tmp_path / "colleague")
    check_output(colleague, "dvc", "pull")
    up_to_date = "Data and pipelines are up to date.\n"
    assert check_output(colleague, "dvc", "repro").endswith(up_to_date)
    assert check_output(colleague, "git", "status", "--porcelain") == ""


def test_a_server_gets_the_version_that_a_tag_names(with_remote: Path, tmp_path: Path) -> None:
    workspace, model = with_remote, with_remote / "models/model.keras"
    first, second = model.read_bytes(), b"another model"
    for version in ("v1.0.0", "v1.1.0"):
        check_output(workspace, "dvc", "push")
        check_output(workspace, "gto", "register", "model", "--version", version)
        check_output(workspace, "gto", "assign", "model", "--version", version, "--stage", "prod")
        model.unlink()
        model.write_bytes(second)
        check_output(workspace, "dvc", "commit", "--force", "calibrate")
        commit_all(workspace, "Another model")

    def get(folder: Path, *version: str) -> bytes:
        folder.mkdir()
        check_output(folder, "dvc", "artifacts", "get", str(workspace), "model", *version)
        return (folder / "model.keras").read_bytes()

    assert get(tmp_path / "latest") == second
    assert get(tmp_path / "first", "--rev", "v1.0.0") == first
    assign = ("gto", "assign", "model", "--stage", "prod", "--force")
    check_output(workspace, *assign, "--version", "v1.0.0")
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
