"""The outputs have the same bytes with any number of threads or Ray processes, also if some die.

Ray runs in a network namespace that has only the loopback device, since it listens on all devices.
"""

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.commands import check_output, run_command, start_command, wait_until
from tests.projects import clone, read_output_hashes

# When the first process of the namespace ends, all other processes of the cluster end.
NAMESPACE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc"]
ALONE = [*NAMESPACE, "--kill-child", "sh", "-c", 'ip link set lo up && "$@"', "sh"]
# Without a token in the environment, Ray would write one to the home folder.
ON_RAY = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
START = "--node-ip-address=127.0.0.1 --disable-usage-stats"
pytestmark = pytest.mark.slow
needs_ray = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("ray") is None,
    reason="no Linux with network namespaces, or no Ray: make .venv/installed-ray",
)
GATE = "metrics/gate.json"  # the runs here end before the gate
SEARCH = ["python", "-m", "keras_tabular", "search", "--storage"]


def test_two_workers(many_files: Path, one_worker_run: Path, tmp_path: Path) -> None:
    folder = clone(many_files, tmp_path / "clone")
    check_output(folder, "dvc", "repro", "evaluate", TABULAR_WORKERS="2")
    searched = check_output(folder, *SEARCH, ".search/two.log", TABULAR_WORKERS="2")
    assert read_output_hashes(folder, GATE) == read_output_hashes(one_worker_run, GATE)
    assert searched == (one_worker_run / "searched").read_text()


@needs_ray
def test_ray_with_workers_that_are_killed(
    many_files: Path, one_worker_run: Path, tmp_path: Path
) -> None:
    """One process is killed at work in each of ingest, train and a search."""
    folder = clone(many_files, tmp_path / "clone")
    for command, script in (
        (["dvc", "repro", "ingest"], "stages.ingest"),
        (["dvc", "repro", "evaluate"], "stages.train"),
        ([*SEARCH, ".search/killed.log"], "keras_tabular search"),
    ):
        environment = ON_RAY | {"RAY_ADDRESS": "local", "TABULAR_WORKERS": "2"}
        redirect = f'exec "$@" > {tmp_path}/output 2>&1'
        process = start_command(
            folder, "bash", "-c", redirect, "sh", *ALONE, *command, **environment
        )
        kill_a_worker(process, script)
        code = process.wait(timeout=200)
        output = (tmp_path / "output").read_text()
        assert code == 0, output
    assert read_output_hashes(folder, GATE) == read_output_hashes(one_worker_run, GATE)
    assert (one_worker_run / "searched").read_text() in output


def kill_a_worker(process: subprocess.Popen[str], script: str) -> None:
    """Kill a process of Ray that works for a script in `process` or one of its descendants."""

    def kill_if_at_work() -> bool:
        assert process.poll() is None, f"{script} ended without a process of Ray"
        titles = dict(process_titles(process.pid))
        if any(script in title for title in titles.values()):
            for pid, title in titles.items():
                if title.startswith("ray::tabular."):
                    os.kill(pid, signal.SIGKILL)
                    return True
        return False

    wait_until(kill_if_at_work)


def process_titles(pid: int) -> Iterator[tuple[int, str]]:
    """Yield the ids and titles of a process and its descendants."""
    with suppress(OSError):
        yield pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text().split():
                yield from process_titles(int(child))


@needs_ray
def test_an_address_without_a_cluster_is_named(many_files: Path) -> None:
    ingest = ("python", "-m", "stages.ingest", "/tmp/none", "/tmp/none.json")
    done = run_command(many_files, *ALONE, *ingest, RAY_ADDRESS="127.0.0.1:1")
    assert done.returncode == 1
    assert "error: RAY_ADDRESS in the environment: 127.0.0.1:1: " in done.stderr
