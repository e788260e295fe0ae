"""Predictions are written to files of three formats."""

from pathlib import Path

import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction.writer import check_output, open_writer


def test_an_output_has_a_known_ending_and_a_file_of_its_own(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        check_output(tmp_path / name, [tmp_path / "b.csv"])
    for name, message in (
        ("a.xlsx", r"a\.xlsx: expected a file whose name ends in \.csv, "),
        ("../" + tmp_path.name + "/b.csv", "named twice"),
    ):
        with pytest.raises(UserError, match=message):
            check_output(tmp_path / name, [tmp_path / "b.csv"])


def test_texts_that_a_spreadsheet_would_run_are_escaped_on_request(tmp_path: Path) -> None:
    """The file has the delimiter of the table."""
    table = pa.table({"=x": ["=1+1", "@a", "a,1", None], "y": [-1.5, 2.0, 3.0, 4.0]})
    for escape_formulas, content in (
        (True, "'=x;y\n'=1+1;-1.5\n'@a;2\na,1;3\n;4\n'=1+1;-1.5\n"),
        (False, "=x;y\n=1+1;-1.5\n@a;2\na,1;3\n;4\n=1+1;-1.5\n"),
    ):
        for name in ("a.csv", "a.csv.gz"):
            with open_writer(tmp_path / name, table.schema, ";", escape_formulas) as write:
                write(table)
                write(table[:1])
            with pa.input_stream(tmp_path / name) as file:
                assert file.read().decode() == content
