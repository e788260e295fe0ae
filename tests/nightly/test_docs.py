"""Every command of the pages in docs/ runs, each page in a project of its own."""

from pathlib import Path

import pytest

from tests.helpers import BLOCKS, copy_of, end_queue, follow, needs_committed_bytes


@needs_committed_bytes
@pytest.mark.parametrize("page", [name for name, found in BLOCKS.items() if found][1:])
def test_every_command_of_a_page_runs(page: str, reproduced: Path, tmp_path: Path) -> None:
    if page == "docs/experiments.md":
        assert any("kernel_initializer=random_uniform" in block for block in BLOCKS[page])
    folder = copy_of(reproduced, tmp_path / "project")
    try:
        follow(folder, page, BLOCKS[page])
    finally:
        end_queue(folder)
