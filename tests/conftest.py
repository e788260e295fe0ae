"""A copy of the project in a folder of its own, its pipeline run once, for the tests to share."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import pytest

PROJECT = Path(__file__).parents[1]
# The environment that runs the tests is the one that the commands find.
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "GIT_AUTHOR_NAME": "test",
    "GIT_AUTHOR_EMAIL": "test@localhost",
    "GIT_COMMITTER_NAME": "test",
    "GIT_COMMITTER_EMAIL": "test@localhost",
}

Run = subprocess.CompletedProcess[str]
Runner = Callable[..., Run]


def run(folder: Path, *command: str, **environment: str) -> Run:
    """Run a command in `folder`; its output comes back whatever its exit code.

    Through files, since what the command leaves in the background would hold a pipe open.
    """
    with TemporaryFile("w+") as out, TemporaryFile("w+") as err:
        code = subprocess.run(
            command,
            cwd=folder,
            env=ENVIRONMENT | environment,
            stdout=out,
            stderr=err,
            timeout=300,
            check=False,
        ).returncode
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, code, out.read(), err.read())


def must(folder: Path, *command: str, **environment: str) -> str:
    """Run a command that has to succeed; its stdout comes back."""
    done = run(folder, *command, **environment)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="session")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with the files of the project as they are now, committed."""
    folder = tmp_path_factory.mktemp("origin")
    listed = must(PROJECT, "git", "ls-files", "-co", "--exclude-standard", "-z")
    for name in filter(None, listed.split("\0")):
        if (PROJECT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, folder / name)
    must(folder, "git", "init", "-q", "-b", "main")
    must(folder, "git", "add", "-A")
    must(folder, "git", "commit", "-qm", "The project")
    return folder


@pytest.fixture(scope="session")
def reproduced(origin: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh clone whose pipeline has run, its results committed. Tests only read it."""
    folder = tmp_path_factory.mktemp("reproduced") / "clone"
    must(origin, "git", "clone", "-q", str(origin), str(folder))
    assert "Accuracy: " in must(folder, "dvc", "repro")
    must(folder, "git", "add", "-A")
    must(folder, "git", "commit", "-qm", "Results", "--allow-empty")
    return folder


@pytest.fixture
def workspace(reproduced: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of the clone with its cache, for tests that change something.

    The workers that `dvc queue start` left in the background end with the test.
    """
    folder = tmp_path / "workspace"
    shutil.copytree(reproduced, folder, symlinks=True)
    yield folder
    for file in (folder / ".dvc/tmp/exps/celery").glob("dvc-exp-worker-*.json"):
        worker = json.loads(file.read_text())
        if worker["returncode"] is None:  # a group of its own: the worker and what it runs
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(worker["pid"]), signal.SIGKILL)


def wait_for_queue(folder: Path) -> int:
    """Wait until each queued experiment has succeeded or failed; the most seen to run at once."""
    deadline, most = time.monotonic() + 240, 0
    while re.search("Queued|Running", status := must(folder, "dvc", "queue", "status")):
        assert time.monotonic() < deadline, status
        most = max(most, status.count("Running"))
        time.sleep(1)
    return most
