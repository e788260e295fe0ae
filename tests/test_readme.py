"""The README is followed word for word in a fresh clone, which gets the bytes of any other."""

import re
from pathlib import Path

import pytest

from keras_tabular.evaluation.scores_json import from_json
from keras_tabular.evaluation.summary import format_scores
from tests.documentation import PAGES, SHELL_BLOCKS, run_page_blocks
from tests.helpers import PROJECT, needs_committed_bytes
from tests.projects import clone, read_output_hashes, read_scores


@needs_committed_bytes
def test_every_command_of_the_readme_runs_and_ends_as_it_says(
    origin: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """What `make repro` makes in another folder with all threads has the bytes of one thread."""
    folder = clone(origin, tmp_path / "elsewhere")
    first, *others = SHELL_BLOCKS["README.md"]
    assert first == "make repro\n"
    (output,) = run_page_blocks(folder, "README.md", [first])
    reproduced = request.getfixturevalue("reproduced")  # by the other worker meanwhile
    evaluation = from_json(read_scores(reproduced))
    assert evaluation
    accuracy = format_scores(evaluation, "binary")
    assert accuracy in output
    assert accuracy in PAGES["README.md"]
    # The gate's verdict names the run before, which the short history of a clone has not.
    gate = "metrics/gate.json"
    assert read_output_hashes(folder, gate) == read_output_hashes(reproduced, gate)
    run_page_blocks(folder, "README.md", others)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_exists(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", PAGES[page]):
        assert ((PROJECT / page).parent / link).exists(), link
