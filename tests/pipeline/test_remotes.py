"""A colleague pulls from a remote what another person has pushed, and no stage runs."""

from pathlib import Path

from tests.commands import check_output, run_command
from tests.projects import clone, commit_all, read_output_hashes


def test_colleague_pulls_what_was_pushed_and_no_stage_runs(workspace: Path, tmp_path: Path) -> None:
    def run_dvc(folder: Path, *arguments: str) -> str:
        """Run DVC, which has to succeed without a warning, and return its output."""
        completed = run_command(folder, "dvc", *arguments)
        output = f"{completed.stdout}\n{completed.stderr}"
        assert (completed.returncode, completed.stderr) == (0, ""), output
        return completed.stdout

    def read_outputs(folder: Path) -> dict[str, bytes]:
        paths = [folder / path for path in read_output_hashes(folder)]
        files = [file for path in paths for file in [path, *path.rglob("*")] if file.is_file()]
        return {str(file.relative_to(folder)): file.read_bytes() for file in files}

    run_dvc(workspace, "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    assert "files pushed" in run_dvc(workspace, "push")
    commit_all(workspace, "Add a remote")

    colleague = clone(workspace, tmp_path / "colleague")
    run_dvc(colleague, "pull")
    assert read_outputs(colleague) == read_outputs(workspace)
    assert run_dvc(colleague, "repro").endswith("Data and pipelines are up to date.\n")
    assert check_output(colleague, "git", "status", "--porcelain") == ""
