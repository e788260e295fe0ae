"""Every command of the README and of the tutorial runs in a fresh clone."""

import os
import re
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT, check_output
from tests.documentation import PAGES, code_blocks, run_page_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import clone, copy_project


@needs_committed_bytes
def test_the_readme_shows_the_scores_that_its_first_command_prints(
    reproduced: Path,
) -> None:
    """The tutorial begins with the other commands."""
    first_block, *other_blocks = code_blocks("README.md", "sh")
    assert first_block == "make repro\n"
    assert other_blocks == code_blocks("docs/tutorial.md", "sh")[:1]
    output = reproduced.with_suffix(".output").read_text()
    loss, accuracy = re.findall(r"(?m)^(?:Log loss|Accuracy): .*", output)
    assert f"{loss}\n{accuracy}\n" in PAGES["README.md"]


@needs_committed_bytes
def test_every_command_of_the_tutorial_runs_and_prints_what_it_shows(
    reproduced: Path,
    tmp_path: Path,
) -> None:
    folder = copy_project(reproduced, tmp_path / "project")
    page = "docs/tutorial.md"
    first_block, *other_blocks = code_blocks(
        page,
        "sh",
    )  # the first one creates ../wine
    blocks = [first_block, *(f"cd ../wine\n{block}" for block in other_blocks)]
    output = "".join(run_page_blocks(folder, page, blocks))
    assert "The packages in .venv are hard links to those in" in output
    for line in "".join(code_blocks(page, "text")).splitlines():
        expected, _, _ = line.partition(
            '"md5"',
        )  # the hash of the model changes with the version
        assert expected in output


@pytest.mark.slow
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
