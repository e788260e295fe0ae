"""Projects that tests share.

The worker that needs a project first makes it. Tests only read these projects: a test
that changes something copies the project first.
"""

import fcntl
import os
import shutil
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings

from tests import projects
from tests.commands import check_output, stages_that_ran
from tests.documentation import code_blocks, run_page_blocks
from tests.helpers import PROJECT
from tests.projects import (
    LONGER_TRAINING,
    SHORT_TRAINING,
    change_settings,
    clone,
    commit_all,
    reproduce,
)
from tests.tables import load_table

# The same examples in every run, except with `--hypothesis-profile nightly`.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("nightly", deadline=None, max_examples=500, print_blob=True)
settings.load_profile("repeatable")

MakeOnce = Callable[[str, Callable[[Path], None]], Path]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--keep-screenshots docs/report`, which draws the pictures in docs/report."""
    parser.addoption(
        "--keep-screenshots",
        help="folder for screenshots of the report and the page",
    )


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Return a function that makes a folder unless a worker has made it."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def once(name: str, make: Callable[[Path], None]) -> Path:
        folder = base / "shared" / name
        made = base / "shared" / f"{name}.made"
        folder.parent.mkdir(exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                shutil.rmtree(folder, ignore_errors=True)  # in which a worker failed
                make(folder)
                made.touch()
        return folder

    return once


@pytest.fixture(scope="session")
def origin(make_once: MakeOnce) -> Path:
    """A repository with one commit: the files of the project as they are now."""

    def make(folder: Path) -> None:
        listed = check_output(PROJECT, "git ls-files -co --exclude-standard -z")
        for name in filter(None, listed.split("\0")):
            if (PROJECT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(PROJECT / name, folder / name, follow_symlinks=False)
        check_output(folder, "git init -q -b main")
        commit_all(folder, "The project")

    return make_once("origin", make)


@pytest.fixture(scope="session")
def reproduced(make_once: MakeOnce, origin: Path) -> Path:
    """A clone after the first command of the README, with a commit of the results.

    One thread has computed them. The output is in `reproduced.output`, beside the
    clone.
    """

    def make(folder: Path) -> None:
        clone(origin, folder)
        first_block, *_ = code_blocks("README.md", "sh")
        one_thread = {"TF_NUM_INTRAOP_THREADS": "1", "TABULAR_WORKERS": "1"}
        (output,) = run_page_blocks(folder, "README.md", [first_block], **one_thread)
        # The metrics in git are not missing: gate runs only if its code or texts have
        # changed.
        assert [*stages_that_ran(output), "gate"][:7] == [*projects.STAGE_COMMANDS]
        folder.with_suffix(".output").write_text(output)
        commit_all(folder, "Results")

    return make_once("reproduced", make)


@pytest.fixture(scope="session")
def tutorial(make_once: MakeOnce, reproduced: Path) -> Path:
    """A folder with a clone, and with the project `wine` of the tutorial.

    All commands of the tutorial have run. Their output is in the file `output`.
    """

    def make(folder: Path) -> None:
        projects.copy_project(reproduced, folder / "clone")
        page = "docs/tutorial.md"
        first_block, *other_blocks = code_blocks(page, "sh")  # creates ../wine
        blocks = [first_block, *(f"cd ../wine\n{block}" for block in other_blocks)]
        outputs = run_page_blocks(folder / "clone", page, blocks)
        (folder / "output").write_text("".join(outputs))

    return make_once("tutorial", make)


@pytest.fixture(scope="session")
def short_run(make_once: MakeOnce, origin: Path) -> Path:
    """A clone in which the pipeline has run, with a short training, and a commit."""

    def make(folder: Path) -> None:
        clone(origin, folder)
        change_settings(folder, train=SHORT_TRAINING)
        reproduce(folder)
        # Once for all copies.
        modules = "keras_tabular stages custom.py network.py"
        check_output(folder, f"python -m compileall -q {modules}")
        commit_all(folder, "A short training")

    return make_once("short_run", make)


@pytest.fixture(scope="session")
def many_files(make_once: MakeOnce, origin: Path) -> Path:
    """A clone whose table is in several files and parts, with a short training."""

    def make(folder: Path) -> None:
        clone(origin, folder)
        rows = pd.read_csv(folder / "data/raw/diabetes.csv")
        (folder / "data/files").mkdir()
        for number in range(3):
            rows[number::3].to_csv(folder / f"data/files/{number}.csv", index=False)
        members = [{"network": "plain", "count": 2}]
        training = SHORT_TRAINING | {
            "members": members,
            "networks": {"plain": {"epochs": 20}},
        }
        ingest = {"rows_per_file": 200}
        change_settings(folder, {"source": "data/files"}, train=training, ingest=ingest)
        commit_all(folder, "A table in files")

    return make_once("many_files", make)


@pytest.fixture(scope="session")
def one_worker_run(make_once: MakeOnce, many_files: Path) -> Path:
    """A clone of `many_files` in which one worker has run the pipeline."""

    def make(folder: Path) -> None:
        clone(many_files, folder)
        check_output(folder, "dvc repro evaluate", TABULAR_WORKERS="1")

    return make_once("one_worker_run", make)


@pytest.fixture(scope="session")
def experiment(make_once: MakeOnce, short_run: Path) -> Path:
    """A copy of `short_run` after the experiment `small`."""

    def make(folder: Path) -> None:
        projects.copy_project(short_run, folder)
        change_settings(
            folder,
            train={"networks": {"plain": {"units": [4], "epochs": 2}}},
        )
        reproduce(folder, "train")
        check_output(folder, "dvc exp save --name small")

    return make_once("experiment", make)


@pytest.fixture
def workspace(short_run: Path, tmp_path: Path) -> Path:
    """A copy of `short_run` with its cache, for tests that change something."""
    return projects.copy_project(short_run, tmp_path / "workspace")


@pytest.fixture(scope="session")
def environment(make_once: MakeOnce, origin: Path) -> Path:
    """A virtual environment with the packages that run the tests, and the library.

    Pip has built the library from a git address. The folder of the environment has the
    wheel that the library packs of itself.
    """

    def make(folder: Path) -> None:
        venv.create(folder)
        (site_packages,) = folder.glob("lib/*/site-packages")
        (site_packages / "tests.pth").write_text(f"{Path(np.__file__).parents[1]}\n")
        pip = ("-m", "pip", "--quiet")
        build = ("wheel", "--no-deps", "--no-build-isolation", f"git+file://{origin}")
        check_output(folder, sys.executable, *pip, *build)
        (wheel,) = folder.glob("*.whl")
        check_output(folder, "bin/python", *pip, "install", "--no-deps", str(wheel))
        wheel.unlink()
        pack = "from keras_tabular.new_project.wheel import *; get_wheel(Path())"
        check_output(folder, "bin/python", "-c", pack)

    return make_once("an environment", make)


BOTH_ARCHITECTURES = {
    "folds": 2,
    "networks": {"realmlp": {"epochs": 3}, "plain": {"epochs": 3}},
}
TRAININGS = {
    "wine": LONGER_TRAINING,
    "shops": LONGER_TRAINING | {"forward_chaining": 1},
}


@pytest.fixture(scope="session")
def trained_project(make_once: MakeOnce) -> Callable[[str], Path]:
    """Return a function that makes a project and runs its stages without DVC.

    The tables `mixed_binary` and `mixed_regression` have columns of all kinds with
    gaps, `wine` has three classes, and `shops` has dates, texts and many categories and
    is split by time.
    """

    def project(name: str) -> Path:
        def make(folder: Path) -> None:
            projects.create_project(folder, load_table(name))
            change_settings(folder, train=TRAININGS.get(name, BOTH_ARCHITECTURES))
            if name == "shops":
                change_settings(folder, {"time": "day"}, split={"by": "time"})
            projects.run_stages(folder)

        return make_once(name, make)

    return project


@pytest.fixture(scope="session")
def binary_project(trained_project: Callable[[str], Path]) -> Path:
    """A project with two classes and columns of all kinds."""
    return trained_project("mixed_binary")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium that reaches only servers of this machine."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    programs = chromium, shutil.which("chromedriver")
    if None in programs:
        pytest.skip(
            "no browser: chromium or chromedriver (Debian: apt install"
            " chromium-driver)",
        )
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    resolver = "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"
    for flag in ("--headless", "--no-sandbox", resolver):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(str(programs[1]))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()
