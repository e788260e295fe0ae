"""Outputs have the same bytes for any number of workers. Ray is tested at night."""

from pathlib import Path

import pytest

from tests.commands import check_output
from tests.projects import clone, read_output_hashes

GATE = "metrics/gate.json"  # these tests do not run the stage gate


@pytest.mark.slow
def test_two_workers(many_files: Path, one_worker_run: Path, tmp_path: Path) -> None:
    folder = clone(many_files, tmp_path / "clone")
    check_output(folder, "dvc repro evaluate", TABULAR_WORKERS="2")
    assert read_output_hashes(folder, GATE) == read_output_hashes(one_worker_run, GATE)
