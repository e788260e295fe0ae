"""A colleague pulls from a remote what another person has pushed, and no stage runs."""

from pathlib import Path

from tests.commands import check_output, run_command
from tests.projects import clone, commit_all


def test_colleague_pulls_what_was_pushed_and_no_stage_runs(workspace: Path, tmp_path: Path) -> None:
    def run_dvc(folder: Path, *arguments: str) -> str:
        """Run DVC, which has to succeed without a warning, and return its output."""
        completed = run_command(folder, "dvc", *arguments)
        assert (completed.returncode, completed.stderr) == (0, "")
        return completed.stdout

    run_dvc(workspace, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    assert "files pushed" in run_dvc(workspace, "push")
    commit_all(workspace, "Add a remote")

    colleague = clone(workspace, tmp_path / "colleague")
    run_dvc(colleague, "pull")
    assert run_dvc(colleague, "repro").endswith("Data and pipelines are up to date.\n")
    assert check_output(colleague, "git", "status", "--porcelain") == ""
