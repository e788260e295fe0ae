"""A table without rows ends ingest with a message and no output."""

import shutil
from pathlib import Path

import pytest

from tests.helpers import PROJECT, call


def test_a_header_without_rows_ends_the_stage_with_a_message_and_no_output(tmp_path: Path) -> None:
    header = (PROJECT / "data/raw/diabetes.csv").read_text().splitlines()[0]
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/diabetes.csv").write_text(header + "\n")
    for name in ("params.yaml", "data/schema.yaml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    with pytest.raises(SystemExit) as end:
        call(tmp_path, "stages.ingest", "ingested", "profile.json")
    expected = "error: data/raw/diabetes.csv: found a header and no rows; expected some"
    assert end.value.code == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "params.yaml"]
