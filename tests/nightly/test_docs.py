"""Every command of the other pages runs, each page in a project of its own."""

import re
import sys
from pathlib import Path

import pytest

from tests.commands import check_output
from tests.documentation import PAGES, code_blocks, run_page_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import copy_project

# By test_readme.py and test_notebook.py.
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
