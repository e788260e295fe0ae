"""The README is followed word for word."""

import re
from pathlib import Path

from tests.conftest import PROJECT, must, wait_for_queue

README = (PROJECT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
TUTORIAL = next(block for block in BLOCKS if "kernel_initializer=random_uniform" in block)


def test_every_command_runs_and_the_tutorial_gives_its_accuracy(workspace: Path) -> None:
    """`make` finds its environment made: the one that runs the tests."""
    (workspace / ".venv").symlink_to(
        Path(must(workspace, "python", "-c", "import sys; print(sys.prefix)").strip())
    )
    for block in BLOCKS:
        output = must(workspace, "bash", "-ec", block, MAKEFLAGS="-o .venv/installed")
        if block == TUTORIAL:
            (accuracy,) = re.findall(r"Accuracy: ([\d.]+)%", output)
            assert 70 <= float(accuracy) <= 76
        if "load_wine" in block:
            (line,) = [line for line in output.splitlines() if line.startswith("Accuracy")]
            assert line in README
        if "queue start" in block:
            wait_for_queue(workspace)
        if "exp show" in block:
            rows = re.findall(r"\[units-\d\].*\d", output)
            assert len(rows) == 2
            assert all(row in README for row in rows)
        if "dvc push" in block:
            assert output.splitlines()[-1] in README


def test_every_file_that_the_readme_links_to_exists() -> None:
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (PROJECT / link).exists(), link
