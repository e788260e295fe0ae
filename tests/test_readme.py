"""Every command of the README runs word for word in a fresh clone."""

import re
from pathlib import Path

import pytest

from keras_tabular.evaluation.scores_json import from_json
from keras_tabular.evaluation.summary import format_scores
from tests.documentation import PAGES, code_blocks, run_page_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import clone, read_output_hashes, read_scores


@needs_committed_bytes
def test_every_command_of_the_readme_runs_and_prints_what_it_says(
    origin: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """The outputs have the same bytes in another folder and with another number of threads."""
    folder = clone(origin, tmp_path / "elsewhere")
    first, *other_blocks = code_blocks("README.md", "sh")
    assert first == "make repro\n"
    (output,) = run_page_blocks(folder, "README.md", [first])
    reproduced = request.getfixturevalue("reproduced")  # made by the other worker meanwhile
    evaluation = from_json(read_scores(reproduced))
    assert evaluation
    accuracy = format_scores(evaluation, "binary")
    assert accuracy in output
    assert accuracy in PAGES["README.md"]
    # The verdict of the gate names the previous run, which a clone with a short history lacks.
    gate = "metrics/gate.json"
    assert read_output_hashes(folder, gate) == read_output_hashes(reproduced, gate)

    output = "".join(run_page_blocks(folder, "README.md", other_blocks))
    assert "Drift: pass" in output
    differences = re.findall(r"^metrics/metrics\.json .*", PAGES["README.md"], re.MULTILINE)
    assert differences
    assert [line for line in differences if line not in output] == []
