"""Every command of the README and of the tutorial runs in a fresh clone."""

import os
import re
from pathlib import Path

import pytest

from tests.commands import ENVIRONMENT, check_output
from tests.documentation import PAGES, code_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import clone


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
    tutorial: Path,
) -> None:
    output = (tutorial / "output").read_text()
    assert "The packages in .venv are hard links to those in" in output
    for line in "".join(code_blocks("docs/tutorial.md", "text")).splitlines():
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
