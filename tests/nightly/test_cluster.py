"""Two machines of a Ray cluster give the bytes of one worker, and one that cannot is named."""

import os
import random
import re
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import pytest

from tests.faults.test_processes import contents
from tests.helpers import COMMANDS, OUTS, PROJECT, begin, clone, must, outs, run, wait_until
from tests.pipeline.test_workers import ALONE, GATE, ON_RAY, START, family, needs_ray

KILLS = 20


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


def at_work(process: subprocess.Popen[str]) -> bool:
    """Whether a process of Ray works for one, or that has ended."""
    titles = dict(family(process.pid)).values()
    return process.poll() is not None or any(t.startswith("ray::tabular.") for t in titles)


@needs_ray
@pytest.mark.parametrize("victim", ["ray::tabular.", "raylet", "python -m stages.train"])
def test_a_training_on_two_workers_of_which_a_process_is_killed(
    victim: str, files: Path, one_worker: Path, tmp_path: Path
) -> None:
    """A worker, Ray's own process, or the one that began, at any time while workers are there."""
    folder = clone(files, tmp_path / "clone")
    must(folder, "dvc", "repro", "split")
    names, rng, killed = OUTS["train"], random.Random(victim), 0
    expected, before = contents(one_worker, names), contents(folder, names)
    for _ in range(KILLS):
        environment = ON_RAY | {"RAY_ADDRESS": "local", "TABULAR_WORKERS": "2"}
        process = begin(folder, "bash", "-c", f'exec "$@" > {tmp_path}/said 2>&1', "sh", *ALONE,
                        *COMMANDS["train"], **environment)  # fmt: skip
        wait_until(partial(at_work, process))
        time.sleep(rng.random() * 3)
        for pid, title in family(process.pid):
            name = Path(title.partition(" ")[0]).name if victim == "raylet" else title
            if name.startswith(victim):
                os.kill(pid, signal.SIGKILL)
                killed += 1
                break
        code, said = process.wait(timeout=200), (tmp_path / "said").read_text()
        assert "Traceback" not in said
        assert code in {"ray::tabular.": (0,), "raylet": (0, 1)}.get(victim, (0, 137)), said
        found = contents(folder, names)
        assert all(of in (before.get(name), expected[name]) for name, of in found.items())
    assert killed > KILLS / 2
    must(folder, *COMMANDS["train"])
    assert contents(folder, names) == expected
