"""Sheets of Excel files are read like a CSV with the same cells."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.schema_inference.schema import infer_schema
from keras_tabular.table.csv import read_records
from keras_tabular.table.source import row_locator, source_files
from tests.helpers import build_schema, read_table
from tests.workbooks import DATE, DATETIME, DURATION, PERCENT, format_cell, write_workbook


def write_xlsx(file: Path, **sheets: list[list[Any]]) -> Path:
    """Write an Excel file with these sheets."""
    file.write_bytes(write_workbook(*sheets.values(), names=" ".join(sheets)))
    return file


def test_cells_become_the_texts_of_a_csv(tmp_path: Path) -> None:
    cells = {
        "007": "007",
        "12": format_cell(12),
        "0.125": format_cell(0.125, PERCENT),
        "2023-03-15": format_cell(45000, DATE),
        "2023-03-15T12:00:00": format_cell(45000.5, DATETIME),
        "30:00:00": format_cell(1.25, DURATION),
        "true": format_cell(1, cell_type="b"),
        "": format_cell("#N/A", cell_type="e"),
        "3": format_cell(3, formula="<f>1+2</f>"),
    }
    header: list[str] = [f"c{n}" for n in range(len(cells))]
    file = write_xlsx(tmp_path / "t.XLSX", empty=[], data=[[], header, [], [*cells.values()], [""]])
    assert list(read_records(file, Dialect())) == [(2, header), (4, [*cells])]


def test_a_sheet_is_chosen_and_a_title_is_skipped(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["Sales"], ["a", "b", "y"]]
    for n in range(40):
        rows.append([n / 4, n, "yes" if n % 3 else "no"])
    file = write_xlsx(tmp_path / "t.xlsx", cover=[["A report"]], data=rows, old=rows[1:])
    text = infer_schema(file, "y", 1000).text
    assert "skip_lines: [1] # Not rows: line 1 ('Sales', a title)" in text
    assert "sheet: data # Is this the right sheet? There are data, old, cover." in text
    schema = Schema.model_validate(yaml.safe_load(text))
    table = next(read_table(file, schema))
    assert table["a"].to_pylist() == [n / 4 for n in range(40)]
    assert row_locator([file], schema)(1) == f"{file}, row 4"
    with pytest.raises(UserError, match=r"t\.xlsx: expected a sheet 'x' .*, got cover, data, old"):
        next(read_table(file, schema.model_copy(update={"sheet": "x"})))


def test_a_text_among_numbers_is_named_with_its_row(tmp_path: Path) -> None:
    schema = build_schema("binary", x={"kind": "real", "format": "1.234,5"})
    file = write_xlsx(tmp_path / "t.xlsx", data=[["x", "y"], [1.5, 1], ["2,5", 0]])
    assert next(read_table(file, schema))["x"].to_pylist() == [1.5, 2.5]
    write_xlsx(file, data=[["x", "y"], [1.5, 1], [], ["12o", 0]])
    with pytest.raises(UserError, match=r"t\.xlsx, row 4, column x: .*got '12o'"):
        next(read_table(file, schema))


def test_a_fraction_is_no_percentage(tmp_path: Path) -> None:
    schema = build_schema("binary", x={"kind": "real", "format": "1234.5%"})
    file = write_xlsx(
        tmp_path / "t.xlsx", data=[["x", "y"], ["12.5%", 1], [format_cell(0.125, PERCENT), 0]]
    )
    with pytest.raises(UserError, match=r"row 3, column x: .*got '0\.125 \(or 12\.5%\? Write"):
        next(read_table(file, schema))


def test_a_cell_without_a_column_name_is_asked_about(tmp_path: Path) -> None:
    rows: list[list[Any]] = [[n / 4, "yes" if n % 3 else "no"] for n in range(40)]
    rows[7].append("more")
    file = write_xlsx(tmp_path / "t.xlsx", data=[["x", "y"], *rows])
    assert "skip_lines: [9] # Not rows: line 9" in infer_schema(file, "y", 1000).text


def test_numbers_get_the_decimal_mark_of_the_texts_in_their_column(tmp_path: Path) -> None:
    rows = [[f"({n},50)" if n % 3 else n + 0.25, "yes" if n % 4 else "no"] for n in range(60)]
    file = write_xlsx(tmp_path / "t.xlsx", data=[["x", "y"], *rows])
    schema = Schema.model_validate(yaml.safe_load(infer_schema(file, "y", 1000).text))
    values = [-n - 0.5 if n % 3 else n + 0.25 for n in range(60)]
    assert next(read_table(file, schema))["x"].to_pylist() == values


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    file = write_xlsx(tmp_path / "t.csv", data=[["x"]])
    (tmp_path / "~$t.csv").touch()  # Excel has the file open
    assert source_files(str(tmp_path)) == [file]
    with pytest.raises(UserError, match=r"Let the name of an Excel file end in \.xlsx"):
        next(read_records(file, Dialect()))
    (tmp_path / "t.ods").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(UserError, match=r"t\.ods: cannot be read as a spreadsheet"):
        next(read_records(tmp_path / "t.ods", Dialect()))
