"""Two machines of a Ray cluster give the bytes of one worker, and one that cannot is named."""

import re
from pathlib import Path

from tests.commands import check_output, run_command
from tests.helpers import PROJECT
from tests.pipeline.test_workers import ALONE, GATE, ON_RAY, START, needs_ray
from tests.projects import clone, read_output_hashes


@needs_ray
def test_a_cluster_of_two_machines_as_the_page_makes_it(
    many_files: Path, one_worker_run: Path, tmp_path: Path
) -> None:
    """Both on this one, with a core each."""
    folder = clone(many_files, tmp_path / "clone")
    page = (PROJECT / "docs/cluster.md").read_text()
    lines = re.findall(r"^(?:head|node)\$ (.*)", page, re.MULTILINE)
    assert len(lines) == 5
    commands = "\n".join(lines).replace("head:6379", "127.0.0.1:6379").replace(" --trials 64", "")
    commands = commands.replace("ray start", f"ray start --num-cpus=1 {START}")
    commands = commands.replace("--head", "--head --include-dashboard=false")
    commands = commands.replace("dvc repro", "dvc repro evaluate")
    output = check_output(folder, *ALONE, "bash", "-ec", commands, **ON_RAY)
    assert read_output_hashes(folder, GATE) == read_output_hashes(one_worker_run, GATE)
    assert (one_worker_run / "searched").read_text().splitlines()[0] in output


@needs_ray
def test_a_machine_that_does_not_see_the_folder_is_named(many_files: Path, tmp_path: Path) -> None:
    hide = f"mount -t tmpfs none {many_files.parent} && cd /"
    join = f"ray start --address=127.0.0.1:6379 --num-cpus=2 {START}"
    commands = (
        f"ray start --head --include-dashboard=false --port=6379 --num-cpus=0 {START}\n"
        f"unshare --mount sh -c '{hide} && {join}'\n"
        f"RAY_ADDRESS=127.0.0.1:6379 python -m stages.ingest {tmp_path}/none {tmp_path}/none.json"
    )
    done = run_command(many_files, *ALONE, "bash", "-ec", commands, **ON_RAY)
    assert done.returncode == 1
    assert f"cannot import the code in {many_files}. Put the project, with its" in done.stderr
    assert "Traceback" not in done.stderr
