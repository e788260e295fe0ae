"""Every command of the README and of the tutorial runs in a fresh clone."""

import re
from pathlib import Path

from tests.documentation import PAGES, code_blocks
from tests.helpers import needs_committed_bytes


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
