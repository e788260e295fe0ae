"""Two machines of a Ray cluster give the bytes of one worker, and one that cannot is named."""

import re
from pathlib import Path

from tests.helpers import PROJECT, clone, must, outs, run
from tests.pipeline.test_workers import ALONE, GATE, ON_RAY, START, needs_ray


@needs_ray
def test_a_cluster_of_two_machines_as_the_page_makes_it(
    files: Path, one_worker: Path, tmp_path: Path
) -> None:
    """Both on this one, with a core each."""
    folder = clone(files, tmp_path / "clone")
    page = (PROJECT / "docs/cluster.md").read_text()
    lines = re.findall(r"^(?:head|node)\$ (.*)", page, re.MULTILINE)
    assert len(lines) == 5
    commands = "\n".join(lines).replace("head:6379", "127.0.0.1:6379").replace(" --trials 64", "")
    commands = commands.replace("ray start", f"ray start --num-cpus=1 {START}")
    commands = commands.replace("--head", "--head --include-dashboard=false")
    commands = commands.replace("dvc repro", "dvc repro evaluate")
    output = must(folder, *ALONE, "bash", "-ec", commands, **ON_RAY)
    assert outs(folder, GATE) == outs(one_worker, GATE)
    assert (one_worker / "searched").read_text().splitlines()[0] in output


@needs_ray
def test_a_machine_that_does_not_see_the_folder_is_named(files: Path, tmp_path: Path) -> None:
    hidden = f"mount -t tmpfs none {files.parent} && cd / && ray start --address=127.0.0.1:6379"
    commands = (
        f"ray start --head --include-dashboard=false --port=6379 --num-cpus=0 {START}\n"
        f"unshare --mount sh -c '{hidden} --num-cpus=2 {START}'\n"
        f"RAY_ADDRESS=127.0.0.1:6379 python -m stages.ingest {tmp_path}/none {tmp_path}/none.json"
    )
    done = run(files, *ALONE, "bash", "-ec", commands, **ON_RAY)
    assert done.returncode == 1
    assert f"does not see {files} as this one does; put the project, with its" in done.stderr
    assert "Traceback" not in done.stderr
