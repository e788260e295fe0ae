"""Every command of the README runs word for word in a fresh clone."""

import re
from pathlib import Path

from tests.documentation import PAGES, code_blocks, run_page_blocks
from tests.helpers import needs_committed_bytes
from tests.projects import copy_project


@needs_committed_bytes
def test_every_command_of_the_readme_runs_and_prints_what_it_says(
    reproduced: Path, tmp_path: Path
) -> None:
    first_block, *other_blocks = code_blocks("README.md", "sh")
    assert first_block == "make repro\n"
    output = reproduced.with_suffix(".output").read_text()
    (accuracy,) = re.findall(r"^Accuracy: .*", output, re.MULTILINE)
    assert accuracy in PAGES["README.md"]

    folder = copy_project(reproduced, tmp_path / "project")
    output = "".join(run_page_blocks(folder, "README.md", other_blocks))
    assert "Drift: pass" in output
    ((before, after),) = re.findall(r"accuracy\s+changes from (\S+) to (\S+)\)", PAGES["README.md"])
    assert re.search(rf"cross_validation\.accuracy +{before} +{after} ", output)
