"""Projects that tests share: each is made once a run, by the worker that needs it first.

Tests only read them; one that changes something takes a copy.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import settings

from tests.helpers import (
    LEARNING,
    PROJECT,
    SHORT,
    change,
    clone,
    commit,
    copy_of,
    end_queue,
    must,
    project_of,
    run_stages,
    table_of,
)

# The same examples in every run.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

Shared = Callable[[str, Callable[[Path], None]], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--keep-screenshots docs/report` draws the pictures of docs/."""
    parser.addoption("--keep-screenshots", help="folder for what a browser shows of the report")


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """A folder by its name, made by a function of it where no worker has made it yet."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder, made = base / "shared" / name, base / "shared" / f"{name}.made"
        folder.parent.mkdir(exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                make(folder)
                made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def origin(shared: Shared) -> Path:
    """A repository with the files of the project as they are now, committed."""

    def make(folder: Path) -> None:
        listed = must(PROJECT, "git", "ls-files", "-co", "--exclude-standard", "-z")
        for name in filter(None, listed.split("\0")):
            if (PROJECT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
        must(folder, "git", "init", "-q", "-b", "main")
        commit(folder, "The project")

    return shared("origin", make)


@pytest.fixture(scope="session")
def reproduced(shared: Shared, origin: Path) -> Path:
    """A fresh clone whose pipeline has run with one thread, its results committed."""

    def make(folder: Path) -> None:
        clone(origin, folder)
        one = {"TF_NUM_INTRAOP_THREADS": "1", "TABULAR_WORKERS": "1"}
        assert "Accuracy: " in must(folder, "dvc", "repro", "--force", **one)
        commit(folder, "Results")

    return shared("reproduced", make)


@pytest.fixture(scope="session")
def short(shared: Shared, origin: Path) -> Path:
    """A clone that trains for a second, whose pipeline has run, its results committed."""

    def make(folder: Path) -> None:
        clone(origin, folder)
        change(folder, train=SHORT)
        must(folder, "dvc", "repro")
        commit(folder, "A short training")

    return shared("short", make)


@pytest.fixture(scope="session")
def files(shared: Shared, origin: Path) -> Path:
    """A clone with a table in several files and parts, and a training and a search of seconds."""

    def make(folder: Path) -> None:
        clone(origin, folder)
        table = pd.read_csv(folder / "data/raw/diabetes.csv")
        rows = table.sample(900, replace=True, random_state=1)
        (folder / "data/files").mkdir()
        for number in range(3):
            rows[number::3].to_csv(folder / f"data/files/{number}.csv", index=False)
        members = [{"network": "plain", "count": 2}]
        training = SHORT | {"members": members, "networks": {"plain": {"epochs": 20}}}
        change(
            folder,
            {"source": "data/files"},
            ingest={"rows_per_part": 200},
            train=training,
            search={"trials": 4, "space": {"networks.plain.units": [[16], [8], [4]]}},
        )
        commit(folder, "A table in files")

    return shared("files", make)


@pytest.fixture(scope="session")
def one_worker(shared: Shared, files: Path) -> Path:
    """A clone of it in which one worker did all of the work; `searched` is what the search said."""

    def make(folder: Path) -> None:
        clone(files, folder)
        must(folder, "dvc", "repro", "evaluate", TABULAR_WORKERS="1")
        said = must(folder, "python", "-m", "keras_tabular", "search", TABULAR_WORKERS="1")
        (folder / "searched").write_text(said)

    return shared("one_worker", make)


@pytest.fixture(scope="session")
def experiment(shared: Shared, short: Path) -> Path:
    """A copy of `short` in which an experiment was run, which printed what is in `printed`."""

    def make(folder: Path) -> None:
        copy_of(short, folder)
        train = "train.networks.plain"
        changes = ("-S", f"{train}.units=[4]", "-S", f"{train}.epochs=2")
        printed = must(folder, "dvc", "exp", "run", "-n", "small", *changes)
        (folder / "printed").write_text(printed)

    return shared("experiment", make)


@pytest.fixture
def workspace(short: Path, tmp_path: Path) -> Iterator[Path]:
    """A copy of `short` with its cache, for tests that change something."""
    folder = copy_of(short, tmp_path / "workspace")
    yield folder
    end_queue(folder)


BOTH = {"folds": 2, "networks": {"realmlp": {"epochs": 3}, "plain": {"epochs": 3}}}
TRAININGS: dict[str, dict[str, Any]] = {
    "words": BOTH,
    "values": BOTH,
    "wine": SHORT,
    "shops": LEARNING,
}


@pytest.fixture(scope="session")
def trained(shared: Shared) -> Callable[[str], Path]:
    """Projects of other tables whose stages have run, without git and DVC, by their names.

    `words` has two classes, `values` is a regression, both with columns of all kinds and gaps;
    `wine` has three classes; `shops` has dates, texts and many categories, split by time.
    """

    def project(name: str) -> Path:
        def make(folder: Path) -> None:
            project_of(folder, table_of(name))
            change(folder, train=TRAININGS[name])
            if name == "shops":
                change(folder, {"time": "day"}, split={"by": "time"})
            run_stages(folder)

        return shared(name, make)

    return project


@pytest.fixture(scope="session")
def words(trained: Callable[[str], Path]) -> Path:
    """The project of two classes and all kinds of columns."""
    return trained("words")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium that reaches no network."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    programs = chromium, shutil.which("chromedriver")
    if None in programs:
        pytest.skip("no browser: chromium or chromedriver (Debian: apt install chromium-driver)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={tmp_path_factory.mktemp('b')}",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(str(programs[1]))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()
