"""Predictions are written to files of three formats."""

from pathlib import Path

import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction.writer import check_output, open_writer


def test_an_output_has_a_known_ending_and_a_file_of_its_own(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        check_output(tmp_path / name, [tmp_path / "b.csv"])
    with pytest.raises(UserError, match=r"a\.xlsx: expected a file whose name ends in \.csv, "):
        check_output(tmp_path / "a.xlsx", [tmp_path / "b.csv"])
    with pytest.raises(UserError, match="named twice"):
        check_output(tmp_path / f"../{tmp_path.name}/b.csv", [tmp_path / "b.csv"])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_texts_that_a_spreadsheet_would_run_are_escaped_on_request(
    name: str, tmp_path: Path
) -> None:
    """The file has the delimiter of the table."""
    table = pa.table({"=x": ["=1+1", "@a", "a,1", None], "y": [-1.5, 2.0, 3.0, 4.0]})
    for mark in ("'", ""):
        with open_writer(tmp_path / name, table.schema, ";", mark == "'") as write:
            write(table)
            write(table[:1])
        with pa.input_stream(tmp_path / name) as file:
            first = f"{mark}=1+1;-1.5\n"
            rows = f"{mark}=x;y\n{first}{mark}@a;2\na,1;3\n;4\n{first}"
            assert file.read().decode() == rows
