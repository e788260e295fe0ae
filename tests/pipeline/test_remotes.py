"""What one person pushes to a remote, a colleague pulls, and no stage runs."""

from pathlib import Path

from tests.commands import check_output, run_command
from tests.projects import clone, read_output_hashes


def output_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every output of the pipeline, by path."""
    paths = [
        path
        for out in read_output_hashes(folder)
        for path in (folder / out, *(folder / out).rglob("*"))
    ]
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths if p.is_file()}


def test_a_colleague_pulls_what_was_pushed_and_no_stage_runs(
    workspace: Path, tmp_path: Path
) -> None:
    def quiet(folder: Path, *command: str) -> str:
        done = run_command(folder, *command)
        assert (done.returncode, done.stderr) == (0, ""), f"{done.stdout}\n{done.stderr}"
        return done.stdout

    quiet(workspace, "dvc", "remote", "add", "--default", "storage", str(tmp_path / "storage"))
    assert "files pushed" in quiet(workspace, "dvc", "push")
    check_output(workspace, "git", "commit", "-qam", "Where the outputs are")

    colleague = clone(workspace, tmp_path / "colleague")
    quiet(colleague, "dvc", "pull")
    assert output_files(colleague) == output_files(workspace)
    output = quiet(colleague, "dvc", "repro")
    assert "Running stage" not in output
    assert "Data and pipelines are up to date." in output
    assert check_output(colleague, "git", "status", "--porcelain") == ""
