"""Every command of the other pages runs, and README's first ones install."""

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from keras_tabular.config.params import load_settings
from tests.commands import ENVIRONMENT, check_output
from tests.documentation import MAKE_VARIABLES, PAGES, code_blocks, run_page_blocks
from tests.helpers import needs_committed_bytes
from tests.pipeline.test_notebook import CELLS, run_cells
from tests.projects import clone, copy_project

# By test_readme.py, and by the other test.
TESTED_PAGES = {"README.md", "docs/python.md", "docs/tutorial.md"}


@needs_committed_bytes
@pytest.mark.parametrize(
    "page",
    [page for page in sorted({*PAGES} - TESTED_PAGES) if code_blocks(page, "sh")],
)
def test_every_command_of_a_page_runs(
    page: str,
    reproduced: Path,
    tmp_path: Path,
) -> None:
    folder = copy_project(reproduced, tmp_path / "project")
    blocks = code_blocks(page, "sh")
    try:
        outputs = run_page_blocks(folder, page, blocks)
    finally:
        if "--run-all" in PAGES[page]:
            check_output(folder, "dvc queue stop --kill")
    for code in code_blocks(page, "python"):
        check_output(folder, sys.executable, "-c", code)
    if page == "docs/experiments.md":
        table = outputs[blocks.index("make exp-show\n")]
        values = re.findall(r"\[grid-\d\] .* \[(\d+)\] +(0\.\d) ", table)
        combinations = [("32", "0.1"), ("32", "0.2"), ("8", "0.1"), ("8", "0.2")]
        assert sorted(values) == combinations


def test_every_cell_of_the_page_runs(origin: Path, tmp_path: Path) -> None:
    project = clone(origin, tmp_path / "clone")
    cells = [cell for cell in CELLS if find_spec("optuna") or "optuna" not in cell]
    run_cells(project, project, cells)
    patients = tmp_path / "patients"
    _, params = load_settings("train", project=patients)
    assert params.train.networks["plain"].epochs == 3
    assert "Log loss" in check_output(patients, "make repro", **MAKE_VARIABLES)


def test_the_first_commands_of_the_readme_install_the_packages_once(
    origin: Path,
    tmp_path: Path,
) -> None:
    """With no variable and no program of the environment that runs the tests."""
    folder = clone(origin, tmp_path / "clone")
    path = ENVIRONMENT["PATH"].partition(os.pathsep)[2]
    shell = ("env", "-i", f"HOME={Path.home()}", f"PATH={path}", "bash", "-ec")
    first_block, new_project, *_ = code_blocks("README.md", "sh")
    check_output(folder, *shell, first_block)
    assert "The packages in .venv are hard links" in check_output(
        folder,
        *shell,
        new_project,
    )
    # A hard link counts once.
    sizes = check_output(tmp_path, "du -sm clone wine").split()
    assert int(sizes[2]) <= 60
