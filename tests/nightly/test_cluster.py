"""Ray gives the bytes of one worker, on one machine and in a cluster of two.

Ray runs in a network namespace that has only the loopback device, since it listens on
all devices.
"""

import importlib.util
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.commands import check_output, run_command, start_command, wait_until
from tests.documentation import PAGES
from tests.pipeline.test_workers import GATE
from tests.projects import clone, read_output_hashes

# When the first process of the namespace ends, so do all processes of the cluster.
NAMESPACE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc"]
IN_NAMESPACE = [
    *NAMESPACE,
    "--kill-child",
    "sh",
    "-c",
    'ip link set lo up && "$@"',
    "sh",
]
# Without this token, Ray writes one into the home folder.
RAY_TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
RAY_START_OPTIONS = "--node-ip-address=127.0.0.1 --disable-usage-stats"
needs_ray = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("ray") is None,
    reason="no Linux with network namespaces, or no Ray: make .venv/installed-ray",
)


@needs_ray
def test_ray_with_workers_that_are_killed(
    many_files: Path,
    one_worker_run: Path,
    tmp_path: Path,
) -> None:
    """A worker is killed during ingest, and another one during train."""
    folder = clone(many_files, tmp_path / "clone")
    output = tmp_path / "output"
    environment = RAY_TOKEN | {"RAY_ADDRESS": "local", "TABULAR_WORKERS": "2"}
    redirect = ("bash", "-c", f'exec "$@" > {output} 2>&1', "sh")
    command = (*redirect, *IN_NAMESPACE, "dvc", "repro", "evaluate")
    process = start_command(folder, *command, **environment)
    for script in ("stages.ingest", "stages.train"):
        kill_a_worker(process, script)
    assert process.wait(timeout=200) == 0, output.read_text()
    assert read_output_hashes(folder, GATE) == read_output_hashes(one_worker_run, GATE)


def kill_a_worker(process: subprocess.Popen[str], script: str) -> None:
    """Kill a worker of Ray while a script runs, which is a child of a process."""

    def kill() -> bool:
        assert process.poll() is None, f"{script} ended without a worker of Ray"
        titles = {}
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):  # it has ended
                titles[" ".join(child.cmdline())] = child
        workers = [
            child
            for title, child in titles.items()
            if title.startswith("ray::tabular.")
        ]
        if not workers or not any(
            title.startswith(f"python -m {script}") for title in titles
        ):
            return False
        workers[0].kill()
        return True

    wait_until(kill)


@needs_ray
def test_an_address_without_a_cluster_is_named(many_files: Path) -> None:
    ingest = ("python", "-m", "stages.ingest", "/tmp/none", "/tmp/none.json")
    completed = run_command(
        many_files,
        *IN_NAMESPACE,
        *ingest,
        RAY_ADDRESS="127.0.0.1:1",
    )
    assert completed.returncode == 1
    assert "error: RAY_ADDRESS in the environment: 127.0.0.1:1: " in completed.stderr


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
