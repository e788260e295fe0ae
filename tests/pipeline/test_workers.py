"""However many workers there are, threads or processes of Ray, and if some die: the same bytes.

On Ray in a network namespace that has only the loopback device, since Ray listens on all others.
"""

import importlib.util
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.helpers import ENVIRONMENT, PROJECT, must, run

# What is left of a cluster ends with the first process of the namespace.
NAMESPACE = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--mount-proc"]
ALONE = [*NAMESPACE, "--kill-child", "sh", "-c", 'ip link set lo up && "$@"', "sh"]
# A token of its own, which Ray would else put into the home folder.
ON_RAY = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
START = "--node-ip-address=127.0.0.1 --disable-usage-stats"
needs_ray = pytest.mark.skipif(
    sys.platform != "linux" or importlib.util.find_spec("ray") is None,
    reason="no Linux with network namespaces, or no Ray: make .venv/installed-ray",
)
STAGES = ["ingest", "validate", "split", "train", "calibrate", "evaluate"]
ROWS, FILES = 900, 3
SEARCH = ["python", "-m", "commands.search", "--storage"]


@pytest.fixture(scope="module")
def table(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone with a table in several files and parts, and networks that train for a moment."""
    folder = tmp_path_factory.mktemp("workers") / "table"
    must(PROJECT, "git", "clone", "-q", str(origin), str(folder))
    rows = pd.read_csv(folder / "data/raw/diabetes.csv").sample(ROWS, replace=True, random_state=1)
    (folder / "data/files").mkdir()
    for number in range(FILES):
        rows[number::FILES].to_csv(folder / f"data/files/{number}.csv", index=False)
    schema = yaml.safe_load((folder / "data/schema.yaml").read_text())
    schema["source"] = "data/files"
    (folder / "data/schema.yaml").write_text(yaml.safe_dump(schema, sort_keys=False))
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["ingest"]["rows_per_part"] = 200
    params["train"] |= {"folds": 2, "members": [{"network": "plain", "count": 2}]}
    params["train"]["networks"]["plain"] |= {"epochs": 20}
    units = {"networks.plain.units": [[16], [8], [4]]}
    params["search"] |= {"trials": 4, "round": 2, "space": units}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    must(folder, "git", "add", "-A")
    must(folder, "git", "commit", "-qm", "a table in files")
    return folder


@pytest.fixture(scope="module")
def expected(table: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], str]:
    """What one worker makes of the table, and what a search with one says."""
    folder = clone(table, tmp_path_factory.mktemp("expected"))
    must(folder, "dvc", "repro", "evaluate", TABULAR_WORKERS="1")
    return outs(folder), must(folder, *SEARCH, ".search/one.db", TABULAR_WORKERS="1")


def clone(table: Path, folder: Path) -> Path:
    must(PROJECT, "git", "clone", "-q", str(table), str(folder / "clone"))
    return folder / "clone"


def outs(folder: Path) -> dict[str, str]:
    """The hash of each output that the lock names."""
    stages = yaml.safe_load((folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for name in STAGES for out in stages[name]["outs"]}


def test_two_workers(table: Path, expected: tuple[dict[str, str], str], tmp_path: Path) -> None:
    folder = clone(table, tmp_path)
    must(folder, "dvc", "repro", "evaluate", TABULAR_WORKERS="2")
    found = must(folder, *SEARCH, ".search/two.db", TABULAR_WORKERS="2")
    assert (outs(folder), found) == expected


@needs_ray
def test_one_worker_of_ray(
    table: Path, expected: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    folder = clone(table, tmp_path)
    must(
        folder,
        *ALONE,
        "dvc",
        "repro",
        "evaluate",
        RAY_ADDRESS="local",
        TABULAR_WORKERS="1",
        **ON_RAY,
    )
    assert outs(folder) == expected[0]


@needs_ray
def test_a_cluster_of_two_machines_as_the_page_makes_it(
    table: Path, expected: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    """Both on this one, with a core each."""
    folder = clone(table, tmp_path)
    page = (PROJECT / "docs/cluster.md").read_text()
    lines = re.findall(r"^(?:head|node)\$ (.*)", page, re.MULTILINE)
    assert len(lines) == 5
    commands = "\n".join(lines).replace("head:6379", "127.0.0.1:6379").replace(" --trials 64", "")
    commands = commands.replace("ray start", f"ray start --num-cpus=1 {START}")
    commands = commands.replace("--head", "--head --include-dashboard=false")
    commands = commands.replace("dvc repro", "dvc repro evaluate")
    output = must(folder, *ALONE, "bash", "-ec", commands, **ON_RAY)
    assert outs(folder) == expected[0]
    assert output.endswith(expected[1])


@needs_ray
def test_a_machine_that_does_not_see_the_folder_is_named(table: Path) -> None:
    hidden = f"mount -t tmpfs none {table.parent} && cd / && ray start --address=127.0.0.1:6379"
    commands = (
        f"ray start --head --include-dashboard=false --port=6379 --num-cpus=0 {START}\n"
        f"unshare --mount sh -c '{hidden} --num-cpus=2 {START}'\n"
        f"RAY_ADDRESS=127.0.0.1:6379 python -m stages.ingest none none.json"
    )
    done = run(table, *ALONE, "bash", "-ec", commands, **ON_RAY)
    assert done.returncode == 1
    assert f"does not see {table} as this one does; put the project on a file" in done.stderr
    assert "Traceback" not in done.stderr


@needs_ray
def test_ray_with_workers_that_are_killed(
    table: Path, expected: tuple[dict[str, str], str], tmp_path: Path
) -> None:
    """One at work in each of ingest, train and a search."""
    folder = clone(table, tmp_path)
    for command, script in (
        (["dvc", "repro", "ingest"], "stages.ingest"),
        (["dvc", "repro", "evaluate"], "stages.train"),
        ([*SEARCH, ".search/killed.db"], "commands.search"),
    ):
        environment = ENVIRONMENT | ON_RAY | {"RAY_ADDRESS": "local", "TABULAR_WORKERS": "2"}
        with (tmp_path / "output").open("w+") as output:
            process = subprocess.Popen(
                [*ALONE, *command], cwd=folder, env=environment, stdout=output, stderr=output
            )
            kill_a_worker(process, script)
            code = process.wait(timeout=200)
            output.seek(0)
            found = output.read()
        assert code == 0, found
    assert outs(folder) == expected[0]
    assert found.endswith(expected[1])


def kill_a_worker(process: subprocess.Popen[bytes], script: str) -> None:
    """SIGKILL to a process of Ray that works for a script in `process` or below it."""
    while process.poll() is None:
        titles = dict(family(process.pid))
        if any(script in title for title in titles.values()):
            for pid, title in titles.items():
                if title.startswith("ray::tabular."):
                    os.kill(pid, signal.SIGKILL)
                    return
        time.sleep(0.01)
    raise AssertionError(f"{script} ended without a process of Ray")


def family(pid: int) -> Iterator[tuple[int, str]]:
    """A process and those below it, and their titles."""
    with suppress(OSError):
        yield pid, Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        for path in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in path.read_text().split():
                yield from family(int(child))


@needs_ray
def test_an_address_without_a_cluster_is_named(table: Path) -> None:
    done = run(table, *ALONE, "python", "-m", "stages.ingest", "/tmp/none", "/tmp/none.json",
               RAY_ADDRESS="127.0.0.1:1")  # fmt: skip
    assert done.returncode == 1
    assert "error: RAY_ADDRESS in the environment: 127.0.0.1:1: " in done.stderr
