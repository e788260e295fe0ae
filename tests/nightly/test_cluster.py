"""A Ray cluster of two machines gives the bytes of one worker."""

from pathlib import Path

from tests.commands import check_output, run_command
from tests.documentation import PAGES
from tests.pipeline.test_workers import (
    GATE,
    IN_NAMESPACE,
    RAY_START_OPTIONS,
    RAY_TOKEN,
    needs_ray,
)
from tests.projects import clone, read_output_hashes


@needs_ray
def test_the_commands_of_the_page_make_a_cluster_of_two_machines(
    many_files: Path,
    one_worker_run: Path,
    tmp_path: Path,
) -> None:
    """Both run on this machine, with one core each."""
    folder = clone(many_files, tmp_path / "clone")
    lines = PAGES["docs/reproducibility.md"].splitlines()
    commands = [
        line.partition("$ ")[2] for line in lines if line.startswith(("head$", "node$"))
    ]
    assert len(commands) == 4
    script = "\n".join(commands)
    for text, replacement in {
        "head:6379": "127.0.0.1:6379",
        "ray start": f"ray start --num-cpus=1 {RAY_START_OPTIONS}",
        "--head": "--head --include-dashboard=false",
        "dvc repro": "dvc repro evaluate",
    }.items():
        assert text in script
        script = script.replace(text, replacement)
    check_output(folder, *IN_NAMESPACE, "bash", "-ec", script, **RAY_TOKEN)
    assert read_output_hashes(folder, GATE) == read_output_hashes(one_worker_run, GATE)


@needs_ray
def test_a_machine_that_does_not_see_the_folder_is_named(
    many_files: Path,
    tmp_path: Path,
) -> None:
    hide = f"mount -t tmpfs none {many_files.parent} && cd /"
    join = f"ray start --address=127.0.0.1:6379 --num-cpus=2 {RAY_START_OPTIONS}"
    head = "--head --include-dashboard=false --port=6379 --num-cpus=0"
    script = (
        f"ray start {head} {RAY_START_OPTIONS}\nunshare --mount sh -c '{hide} &&"
        f" {join}'\nRAY_ADDRESS=127.0.0.1:6379 python -m stages.ingest {tmp_path}/none"
        f" {tmp_path}/none.json"
    )
    completed = run_command(
        many_files,
        *IN_NAMESPACE,
        "bash",
        "-ec",
        script,
        **RAY_TOKEN,
    )
    assert completed.returncode == 1
    assert (
        f"cannot import the code in {many_files}. Mount the project's folder"
        in completed.stderr
    )
    assert "Traceback" not in completed.stderr
