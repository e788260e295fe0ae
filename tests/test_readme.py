"""README and manual are followed word for word."""

import re
from pathlib import Path

import pytest

from stages.evaluate import sentence
from tests.helpers import PROJECT, must, needs_x86, read_scores, wait_for_queue

MADE = "-o .venv/installed -o .venv/installed-serve"
PAGES = {
    str(path.relative_to(PROJECT)): path.read_text()
    for path in (PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md")))
}
BLOCKS = {
    name: re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for name, text in PAGES.items()
}


@needs_x86
@pytest.mark.parametrize("page", [name for name, blocks in BLOCKS.items() if blocks])
def test_every_command_runs_and_ends_as_the_page_says(page: str, workspace: Path) -> None:
    """`make` finds its environment made: the one that runs the tests."""
    (workspace / ".venv").symlink_to(
        Path(must(workspace, "python", "-c", "import sys; print(sys.prefix)").strip())
    )
    text = PAGES[page]
    for block in BLOCKS[page]:
        output = must(workspace, "bash", "-ec", block, MAKEFLAGS=MADE)
        if "kernel_initializer=random_uniform" in block:
            (accuracy,) = re.findall(r"Accuracy: ([\d.]+)%", output)
            assert 70 <= float(accuracy) <= 76
        if "load_wine" in block:
            (line,) = [line for line in output.splitlines() if line.startswith("Accuracy")]
            assert line in text
        if "queue start" in block:
            wait_for_queue(workspace)
        if "exp show" in block:
            rows = re.findall(r"\[units-\d\].*\d", output)
            assert len(rows) == 2
            assert [row for row in rows if row not in text] == []
        if "metrics diff" in block:
            table = re.findall(r"^metrics/metrics\.json .*", text, re.MULTILINE)
            assert table
            assert [row for row in table if row not in output] == [], output
        if "cat predictions.csv" in block:
            assert output in text
        if "commands.drift" in block:
            assert "Drift: pass" in output
        if "curl" in block:
            assert output.splitlines()[-1] in text
        if "dvc push" in block:
            assert output.splitlines()[-1] in text


@needs_x86
def test_the_tutorial_and_the_first_line_are_there(reproduced: Path) -> None:
    blocks = "".join(block for blocks in BLOCKS.values() for block in blocks)
    assert "kernel_initializer=random_uniform" in blocks
    assert sentence(read_scores(reproduced), "binary") in PAGES["README.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", PAGES[page]):
        assert ((PROJECT / page).parent / link).exists(), link
