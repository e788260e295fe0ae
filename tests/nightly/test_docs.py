"""Every command of the pages in docs/ runs, each page in a project of its own."""

from pathlib import Path

import pytest

from tests.commands import stop_queue
from tests.documentation import SHELL_BLOCKS, run_page_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import copy_project


@needs_committed_bytes
@pytest.mark.parametrize("page", [name for name, found in SHELL_BLOCKS.items() if found][1:])
def test_every_command_of_a_page_runs(page: str, reproduced: Path, tmp_path: Path) -> None:
    if page == "docs/experiments.md":
        assert any("kernel_initializer=random_uniform" in block for block in SHELL_BLOCKS[page])
    folder = copy_project(reproduced, tmp_path / "project")
    try:
        run_page_blocks(folder, page, SHELL_BLOCKS[page])
    finally:
        stop_queue(folder)
