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
def test_a_csv_has_the_delimiter_of_the_table_and_one_header(name: str, tmp_path: Path) -> None:
    table = pa.table({"x": ["=1+1", "a;1", None], "y": [-1.5, 2.0, 4.0]})
    with open_writer(tmp_path / name, table.schema, ";") as write:
        write(table)
        write(table[:1])
    with pa.input_stream(tmp_path / name) as file:
        assert file.read().decode() == 'x;y\n=1+1;-1.5\n"a;1";2\n;4\n=1+1;-1.5\n'
