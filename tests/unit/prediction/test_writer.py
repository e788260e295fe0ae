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


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_has_the_delimiter_of_the_table(tmp_path: Path, name: str) -> None:
    table = pa.table({"x": ["a, b", "c"]})
    with open_writer(tmp_path / name, table.schema, ";") as write:
        write(table)
        write(table[:1])
    with pa.input_stream(tmp_path / name) as file:
        assert file.read() == b"x\na, b\nc\na, b\n"


def test_texts_that_a_spreadsheet_would_run_are_escaped_on_request(tmp_path: Path) -> None:
    table = pa.table({"=x": ["=1+1", "@a", "a=1", None], "y": [-1.5, 2.0, 3.0, 4.0]})
    for escape_formulas, content in (
        (True, "'=x,y\n'=1+1,-1.5\n'@a,2\na=1,3\n,4\n"),
        (False, "=x,y\n=1+1,-1.5\n@a,2\na=1,3\n,4\n"),
    ):
        with open_writer(tmp_path / "a.csv", table.schema, ",", escape_formulas) as write:
            write(table)
        assert (tmp_path / "a.csv").read_text() == content
