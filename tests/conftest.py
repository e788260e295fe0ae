"""A copy of the project in a folder of its own, its pipeline run once, for the tests to share."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.helpers import PROJECT, must


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--keep-screenshots docs/report` draws the pictures of the manual."""
    parser.addoption("--keep-screenshots", help="folder for what a browser shows of the report")


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
