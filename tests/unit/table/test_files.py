"""CSV, JSON lines, Excel and Parquet files are read."""

import csv
import gzip
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from keras_tabular.config.schema import Dialect, Kind, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.schema_inference.schema import propose_schema
from keras_tabular.table import csv as csv_files
from keras_tabular.table.csv import read_records
from keras_tabular.table.dialect import fit_dialect
from keras_tabular.table.source import (
    check_columns,
    read_rows,
    row_locator,
    source_files,
)
from tests.commands import check_output
from tests.helpers import (
    build_arrow_schema,
    build_schema,
    read_checked_rows,
    read_table,
)
from tests.workbooks import (
    DATE,
    DATETIME,
    DURATION,
    PERCENT,
    format_cell,
    write_workbook,
)

# CSV and JSON lines become typed columns, or a message that names the line.
SCHEMA = build_schema(
    "binary",
    a={
        "kind": "real",
        "missing_values": [0, "?"],
        "nullable": True,
    },
    b="integer",
    c={"kind": "category", "nullable": True},
).model_copy(update={"ignore": ("id",)})
HEADER = "a,b,c,y\n"


def infer_and_load(source: Path) -> Schema:
    return Schema.model_validate(yaml.safe_load(propose_schema(source, "y", 1000).text))


def write_and_read(path: Path, text: str | bytes, schema: Schema = SCHEMA) -> pa.Table:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return pa.concat_tables(read_table(path, schema))


def compress(content: bytes, suffix: str) -> bytes:
    if suffix == ".zst":
        return bytes(pa.compress(content, "zstd", asbytes=True))
    return gzip.compress(content) if suffix == ".gz" else content


def test_columns_are_typed_and_in_declared_order(tmp_path: Path) -> None:
    table = write_and_read(tmp_path / "t.csv", 'y,a,id,b,c\n1,1.5,7,2,x\n0,?,8,-3,""\n')
    expected = {
        "a": [1.5, None],
        "b": [2, -3],
        "c": ["x", None],
        "y": [1, 0],
    }
    assert table.equals(pa.table(expected, schema=build_arrow_schema(SCHEMA)))


@pytest.mark.parametrize(
    "header",
    ["\ufeffa,b,c,y\r\n", '\ufeff"a",b,c,y\n', "\ufeff\na,b,c,y\n"],
)
def test_line_ends_and_a_byte_order_mark_make_no_difference(
    header: str,
    tmp_path: Path,
) -> None:
    plain = write_and_read(tmp_path / "t.csv", f"{HEADER}1,2,é,1\n")
    file = tmp_path / "excel.csv"
    assert write_and_read(file, f"{header}1,2,é,1\n").equals(plain)


ROW = "1,1,x,1\n"
MANY = ROW * 200_000  # more than DuckDB reads at a time
LONG = f"1,1,{'x' * 40_000_000},1\n"
BAD_FILES: list[tuple[str | bytes, str]] = [
    ("", r": .* empty file"),
    ("6,148,x,1\n", r", line 1: .*missing: a, b, c, y.* Is the header missing"),
    ("a,a,c,y,z\n", ", line 1: .*missing: b; .*in ignore: z; more than once: a"),
    (HEADER + ROW + "1,1\n", ", line 3: expected 4 cells, got 2"),
    (HEADER + ROW + "1,1,x,1,\n" + ROW, ", line 3: expected 4 cells, got 5"),
    ((HEADER + "1,1,é,1\n").encode("cp1252"), ", line 2 or later: .*got byte 0xe9"),
    (HEADER + '1,1,"x\n\ny",1\n\nx,1,x,1\n', ", line 6, column a"),
    (
        HEADER + "x,1.5,x,1\n" + ROW + "1,1,x,no\n",
        ", line 2, column a(?s:.*), line 4, column y",
    ),
    (HEADER + "12o,1,x,1\n", r", line 2(?s:.*)replace: \{'12o': NEW\}"),
    (HEADER + MANY + "1,1\n", ", line 200002: expected 4 cells, got 2"),
    (HEADER + LONG, ", line 2: expected at most 262144 char"),
]


@pytest.mark.parametrize(
    ("text", "message"),
    BAD_FILES,
    ids=[text for _, text in BAD_FILES],
)
def test_a_mistake_is_named_with_its_line(
    text: str | bytes,
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(UserError, match=rf"t\.csv{message}") as error:
        write_and_read(tmp_path / "t.csv", text)
    assert len(str(error.value)) < 1000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PAR1\x15\x04", " is a Parquet file"),
        ("PK\x03\x04\x14\0", " is an Excel or another"),
        (
            "SQLite format 3\0",
            r" is a SQLite database.*: sqlite3 -header -csv \S*t\.csv",
        ),
        (
            'x,y\n"re"d,1\n',
            ", line 2: expected the end of the cell after a closing quote",
        ),
        ('x,y\n1,0\n1,0\n"', ", line 4: expected a quote that closes the cell"),
    ],
)
def test_a_file_that_is_not_a_csv_is_an_error(
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    file = tmp_path / "t.csv"
    schema = build_schema("binary", x="category")
    with pytest.raises(UserError, match=rf"t\.csv{message}"):
        write_and_read(file, text, schema)
    with pytest.raises(UserError, match=rf"t\.csv{message}"):
        propose_schema(file, "y", 9)


CSV_ROWS = HEADER + ROW * 100_000
JSON_ROWS = '{"a": 1, "b": 1, "c": "x", "y": 1}\n' * 5_000


@pytest.mark.parametrize(
    ("name", "text"),
    [("t.csv.gz", CSV_ROWS), ("t.csv.zst", CSV_ROWS), ("t.jsonl.gz", JSON_ROWS)],
)
def test_compressed_file_that_is_cut_off_is_an_error(
    name: str,
    text: str,
    tmp_path: Path,
) -> None:
    file = tmp_path / name
    content = compress(text.encode(), file.suffix)
    assert len(write_and_read(file, content)) >= 5_000
    message = f"{name}, line .*: The compressed file is cut off"
    for size in (len(content) // 2, len(content) - 5):
        with pytest.raises(UserError, match=message):
            write_and_read(file, content[:size])


JSON_LINES = (
    '{"a": 1.50, "c": "01.50", "d": true, "y": 1}\n\n{"y": 0, "c": 1.50, "d": false}\n'
)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_json_lines_are_read_as_they_are_written(tmp_path: Path, suffix: str) -> None:
    schema = build_schema(
        "binary",
        a={"kind": "real", "nullable": True},
        c="category",
        d="boolean",
    )
    file = tmp_path / f"t.jsonl{suffix}"
    table = write_and_read(file, compress(JSON_LINES.encode(), suffix), schema)
    assert table.to_pylist() == [
        {"a": 1.5, "c": "01.50", "d": True, "y": 1},
        {"a": None, "c": "1.50", "d": False, "y": 0},
    ]
    locate = row_locator([file], schema)
    assert locate(0) == f"{file}, line 1"
    assert locate(1) == f"{file}, line 3"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"[1]", r"line 3: expected an object .*, got '\[1\]'"),
        (b'{"a": 1', "line 3: expected an object .*, got no JSON at character 8"),
        (b'{"a": {"b": 1}}', "line 3: column a: expected one value"),
        (
            b'{"b": 1, "c": "", "y": "x"}',
            "line 3, column y: expected a whole number .*, got 'x'",
        ),
        (b'{"a": 1, "a": 2}', "line 3: an object has the same key more than once"),
        (b'{"d": 1}', "neither in columns nor in ignore: d"),
        (
            rb'{"c": "\ud800"}',
            r"line 3: column c: expected text in UTF-8, got '\\ud800'",
        ),
        (b'{"c": "\xff"}', "line 3: 'utf-8' codec can't decode byte 0xff"),
    ],
)
def test_an_invalid_line_of_json_is_named(
    tmp_path: Path,
    line: bytes,
    message: str,
) -> None:
    rows = rb'{"a": 1, "b": 2, "c": "\ud83d\ude00", "y": 1}' + b"\n"
    with pytest.raises(UserError, match=message):
        write_and_read(tmp_path / "t.jsonl", rows + rows + line + b"\n")


def test_a_source_is_a_file_or_the_sorted_files_of_a_folder(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", ".gitignore"):
        (tmp_path / name).touch()
    assert source_files(str(tmp_path)) == [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert source_files(str(tmp_path / "b.csv")) == [tmp_path / "b.csv"]
    (tmp_path / "folder").mkdir()
    problems = {
        "none.csv": "No such file",
        "folder": "expected files",
    }
    for source, problem in problems.items():
        with pytest.raises(UserError, match=f"{source}: {problem}.* .source in data/"):
            source_files(str(tmp_path / source))


CELL = st.text('a1",\n\r é', max_size=5)
ROWS = st.tuples(CELL, CELL) | st.lists(
    CELL,
    min_size=1,
    max_size=3,
)


@given(
    st.lists(
        st.tuples(ROWS, st.booleans()),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.integers(1, 5),
    st.sampled_from([".csv", ".csv.gz"]),
)
def test_rows_and_lines_are_those_of_the_csv_module(
    rows: list[Any],
    end: str,
    ended: bool,
    size: int,
    suffix: str,
) -> None:
    """Also with batches of any size, empty lines and ragged rows."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_files, "ROWS_PER_BATCH", size)
        file = Path(folder, f"t{suffix}")
        text = StringIO()
        writer = csv.writer(text, lineterminator=end)
        for cells, empty_line in [(("a", "b"), False), *rows]:
            writer.writerow(cells)
            text.write(end if empty_line else "")
        content = text.getvalue() if ended else text.getvalue().rstrip("\r\n")
        file.write_bytes(compress(content.encode(), file.suffix))
        expected = list(read_records(file, SCHEMA))[1:]
        locate = row_locator([file], SCHEMA)
        for number, (line, _) in enumerate(expected):
            assert locate(number) == f"{file}, line {line}"
        cells = []
        ragged = {}
        for raw in read_rows(
            file,
            SCHEMA,
            ["a", "b"],
            allow_ragged=True,
        ):
            cells += [list(row.values()) for row in raw.cells.to_pylist()]
            for index, (_, got) in raw.ragged.items():
                ragged[raw.first_row + index] = got
        assert cells == [[*row, ""][:2] for _, row in expected]
        for number, (_, row) in enumerate(expected):
            # DuckDB accepts a delimiter at the end of a row.
            if number in ragged or len(row) < 2 or any(row[2:]):
                assert len(row) != 2
                assert ragged[number].partition(";")[0] == str(len(row))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", "latin-1"])
@pytest.mark.parametrize("ends", [("\n", "\r\n"), ("\r", "\n"), ("\n", "\n")])
def test_mixed_line_ends_and_other_encodings_are_read_too(
    encoding: str,
    ends: tuple[str, str],
    tmp_path: Path,
) -> None:
    schema = SCHEMA.model_copy(update={"encoding": encoding})
    text = f'a,b,c,y{ends[0]}1,1,"é\nx",1{ends[1]}2,2,5" nail,0{ends[0]}'
    table = write_and_read(tmp_path / "t[1].csv", text.encode(encoding), schema)
    assert table["c"].to_pylist() == ["é\nx", '5" nail']


@pytest.mark.parametrize(
    ("declared", "encoding", "header"),
    [
        ("cp1252", "utf-8", "ü;b"),
        ("utf-8", "cp1252", "ü;b"),
        ("cp1252", "utf-8", "a;b"),
    ],
)
def test_a_file_in_another_encoding_or_with_another_delimiter_is_read_with_a_note(
    declared: str,
    encoding: str,
    header: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    columns = dict.fromkeys(header.split(";"), "category")
    schema = build_schema("binary", **columns).model_copy(update={"encoding": declared})
    file = tmp_path / "t.csv"
    file.write_bytes(f"{header}\nKöln;x\n".encode(encoding))
    names = check_columns(file, schema, schema.features)
    (batch,) = read_checked_rows(file, schema, names)
    assert batch.features[0].to_pylist() == ["Köln"]
    assert f"t.csv: read as {encoding} with ';'" in capsys.readouterr().err


def test_a_space_outside_quotes_is_part_of_the_cell(tmp_path: Path) -> None:
    late = HEADER + MANY + '1,1, "x",1\n'
    for text in (HEADER + '1,1, "x",1\n', late, late.replace("\n", "\r\n", 1)):
        assert write_and_read(tmp_path / "t.csv", text)["c"][-1].as_py() == ' "x"'


def test_lines_that_are_no_rows_are_left_out(tmp_path: Path) -> None:
    text = "Sales\n,,,\na,b,c,y,,\nkg,,,,,\n1,1,x,1,,\n,,,,,\n1,2,z,0,,\n"
    text += "Total,3,,,,\n,,,\n\nSource: x\n"
    schema = SCHEMA.model_copy(update={"skip_lines": (1, 4, -1, -2)})
    (tmp_path / "t.csv").write_text(text)
    records = list(read_records(tmp_path / "t.csv", schema))
    assert records == [
        (3, ["a", "b", "c", "y"]),
        (5, ["1", "1", "x", "1"]),
        (6, ["", "", "", ""]),
        (7, ["1", "2", "z", "0"]),
    ]
    assert sorted(csv_files.skipped_lines(tmp_path / "t.csv", schema)) == [1, 4, 8, 11]
    text = text.replace(",,,,,\n1,2", "1,x,x,1,,\n1,2")
    with pytest.raises(UserError, match=r"t\.csv, line 6, column b"):
        write_and_read(tmp_path / "t.csv", text, schema)
    message = r"line 2: expected 4 cells, got 6; .* no name for '', 'x'"
    with pytest.raises(UserError, match=message):
        write_and_read(tmp_path / "t.csv", "a,b,c,y,,\n1,1,x,1,,x\n")


def test_the_end_of_a_large_file_in_utf_16_is_read(tmp_path: Path) -> None:
    text = HEADER + ROW * 20_000 + "Total,,,\n"
    (tmp_path / "t.csv").write_text(text, encoding="utf-16")
    dialect = fit_dialect(tmp_path / "t.csv", Dialect(encoding="utf-16"))
    last = csv_files.read_last_lines(tmp_path / "t.csv", dialect)
    assert last[-1] == ["Total", "", "", ""]


@pytest.mark.parametrize("end", [",,,\n,,,\n", "\n\n,,,", '"",,,\n   \n'])
def test_delimiters_at_the_end_of_a_file_are_no_rows(end: str, tmp_path: Path) -> None:
    for first_line in ("", "sep=,\n"):
        table = write_and_read(tmp_path / "t.csv", first_line + HEADER + ROW + end)
        assert len(table) == 1


# Sheets of Excel files are read like a CSV with the same cells.
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
    rows = [[], header, [], list(cells.values()), [""]]
    file = write_workbook(tmp_path / "t.XLSX", empty=[], data=rows)
    assert list(read_records(file, Dialect())) == [(2, header), (4, list(cells))]


def test_a_sheet_is_chosen_and_a_title_is_skipped(tmp_path: Path) -> None:
    rows: list[list[Any]] = [["Sales"], ["a", "b", "y"]]
    for n in range(40):
        rows.append([n / 4, n, "yes" if n % 3 else "no"])
    file = write_workbook(
        tmp_path / "t.xlsx",
        cover=[["A report"]],
        data=rows,
        old=rows[1:],
    )
    text = propose_schema(file, "y", 1000).text
    assert "skip_lines: [1] # Not rows: line 1 ('Sales', a title)" in text
    assert "sheet: data # Is this the right sheet? There are data, old, cover." in text
    schema = Schema.model_validate(yaml.safe_load(text))
    table = next(read_table(file, schema))
    assert table["a"].to_pylist() == [n / 4 for n in range(40)]
    assert row_locator([file], schema)(1) == f"{file}, row 4"
    message = r"t\.xlsx: expected a sheet 'x' .*, got cover, data, old"
    with pytest.raises(UserError, match=message):
        next(read_table(file, schema.model_copy(update={"sheet": "x"})))


def test_a_sheet_that_would_take_all_memory_is_refused_before_it_is_read(
    tmp_path: Path,
) -> None:
    file = write_workbook(tmp_path / "t.xlsx", data=[["x"], ["<c r='XFD9999' s='1'/>"]])
    assert list(read_records(file, Dialect())) == [(1, ["x"])]
    write_workbook(file, data=[["x"], ["<c r='XFD1048576'><v>1</v></c>"]])
    with pytest.raises(UserError, match=r"1\.xml reaches cell XFD1048576\. "):
        next(read_records(file, Dialect()))


def test_a_text_among_numbers_is_named_with_its_row(tmp_path: Path) -> None:
    schema = build_schema("binary", x={"kind": "real", "format": "1.234,5"})
    file = write_workbook(tmp_path / "t.xlsx", data=[["x", "y"], [1.5, 1], ["2,5", 0]])
    assert next(read_table(file, schema))["x"].to_pylist() == [1.5, 2.5]
    write_workbook(file, data=[["x", "y"], [1.5, 1], [], ["12o", 0]])
    with pytest.raises(UserError, match=r"t\.xlsx, row 4, column x: .*got '12o'"):
        next(read_table(file, schema))


def test_a_fraction_is_no_percentage(tmp_path: Path) -> None:
    schema = build_schema("binary", x={"kind": "real", "format": "1234.5%"})
    rows: list[list[Any]] = [["x", "y"], ["12.5%", 1], [format_cell(0.125, PERCENT), 0]]
    file = write_workbook(tmp_path / "t.xlsx", data=rows)
    message = r"row 3, column x: .*got '0\.125 \(or 12\.5%\? Write"
    with pytest.raises(UserError, match=message):
        next(read_table(file, schema))


def test_numbers_get_the_decimal_mark_of_the_texts_in_their_column(
    tmp_path: Path,
) -> None:
    rows: list[list[Any]] = []
    values = []
    for n in range(60):
        label = "yes" if n % 4 else "no"
        rows.append([f"({n},50)" if n % 3 else n + 0.25, label])
        values.append(-n - 0.5 if n % 3 else n + 0.25)
    file = write_workbook(tmp_path / "t.xlsx", data=[["x", "y"], *rows])
    schema = infer_and_load(file)
    assert next(read_table(file, schema))["x"].to_pylist() == values


def test_a_file_that_is_no_table_is_named(tmp_path: Path) -> None:
    file = write_workbook(tmp_path / "t.csv", data=[["x"]])
    (tmp_path / "~$t.csv").touch()  # Excel has the file open
    assert source_files(str(tmp_path)) == [file]
    with pytest.raises(UserError, match=r"Let the name of an Excel file end in \.xlsx"):
        fit_dialect(file, Dialect())
    (tmp_path / "t.ods").write_bytes(b"a,b\n1,2\n")
    with pytest.raises(UserError, match=r"t\.ods: cannot be read as a spreadsheet"):
        next(read_records(tmp_path / "t.ods", Dialect()))


OTHER_TABLE = pd.DataFrame({"x": ["007", "1", "1"], "y": [0, 1, 1]})


@pytest.mark.parametrize(
    ("file", "write", "message"),
    [
        ("t.feather", OTHER_TABLE.to_feather, "a Feather or Arrow file"),
        ("t.jsonl", partial(OTHER_TABLE.to_json, orient="records"), "a JSON array"),
        ("t/1/2.csv", partial(OTHER_TABLE.to_csv, index=False), "got a folder"),
        ("t", partial(OTHER_TABLE.to_parquet, partition_cols="y"), "got a folder"),
    ],
)
def test_another_format_is_named_with_the_command_that_exports_the_table(
    file: str,
    write: Callable[[str], None],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t/1").mkdir(parents=True)
    write(file)
    with pytest.raises(UserError, match=message) as error:
        propose_schema(Path(Path(file).parts[0]), "y", 9)
    command = str(error.value).rpartition(": python")[2]
    check_output(tmp_path, "sh", "-c", f"python{command}")
    (table,) = Path().glob("table.*")
    assert "values: 1, 007" in propose_schema(table, "y", 9).text


# Columns of a Parquet file are read as their declared kind, or refused.
DAY = datetime(2024, 5, 31)
INVALID = "invalid"
ONE_VALUE: list[tuple[pa.Array, Kind, Any]] = [
    (pa.array([2**63 - 1]), "integer", 2**63 - 1),
    (pa.array([7.0]), "integer", 7),
    (pa.array([float("nan")]), "real", None),
    (pa.array([Decimal("0.10")]), "real", 0.1),
    (pa.array([1]), "boolean", True),
    (pa.array([""]), "category", None),
    (pa.array(["a"]).dictionary_encode(), "category", "a"),
    (pa.array(["a"], pa.large_string()), "text", "a"),
    (pa.array([7]), "category", "7"),
    (pa.array([DAY.date()]), "datetime", DAY.replace(tzinfo=UTC)),
    (pa.array([DAY], pa.timestamp("ns")), "datetime", DAY.replace(tzinfo=UTC)),
    (pa.nulls(1), "real", None),
    (pa.array([1.5]), "integer", INVALID),
    (pa.array([2**63], pa.uint64()), "integer", INVALID),
    (pa.array([float("inf")]), "real", INVALID),
    (pa.array([b"\xff"]), "category", INVALID),
    (pa.array([7]), "datetime", INVALID),
]


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    ONE_VALUE,
    ids=[f"{c.type} {kind}" for c, kind, _ in ONE_VALUE],
)
def test_a_value_of_a_column_type_is_read_as_the_declared_kind_or_refused(
    column: pa.Array,
    kind: Kind,
    value: Any,
    tmp_path: Path,
) -> None:
    schema = build_schema("regression", x={"kind": kind, "nullable": True})
    file = tmp_path / "t.parquet"
    pq.write_table(pa.table({"x": column, "y": [0.5]}), file)
    if value == INVALID:
        with pytest.raises(UserError, match=r"column x: expected .*, got "):
            [*read_table(file, schema)]
    else:
        (table,) = read_table(file, schema)
        assert table["x"].to_pylist() == [value]


@pytest.mark.parametrize(
    ("first", "second", "kind", "value"),
    [
        ([1, 2, 1], ["3", "1", "2"], "integer", 3),
        ([1, 2, 1], [0.5, 1.5, 1.0], "real", 0.5),
        ([1, 2, 1], ["a", "b", "a"], "category", "a"),
        ([1, 2, 1], [{"a": 1}] * 3, None, "expected the type of"),
    ],
)
def test_a_column_may_have_another_type_in_each_file_if_a_kind_can_hold_both(
    first: list[Any],
    second: list[Any],
    kind: Kind | None,
    value: Any,
    tmp_path: Path,
) -> None:
    table = pa.table(
        {
            "x": first,
            "w": [1, 2, 3],
            "y": [0, 1, 1],
        },
    )
    second_file = tmp_path / "2.parquet"
    pq.write_table(table, tmp_path / "1.parquet")
    pq.write_table(table.set_column(0, "x", pa.array(second)), second_file)
    if kind is None:
        with pytest.raises(UserError, match=rf"2\.parquet, column x: {value}"):
            propose_schema(tmp_path, "y", 9)
        return
    schema = infer_and_load(tmp_path)
    assert schema.columns["x"].kind == kind
    (table,) = read_table(second_file, schema)
    assert table["x"][0].as_py() == value


def test_columns_that_no_kind_can_hold_are_ignored_by_the_inferred_schema(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "t.parquet"
    x = [0.5, 1.5, 1.0]
    ids = pa.array([uuid4() for _ in range(3)], pa.uuid())
    columns = {
        "tags": [[1], [2], [1]],
        "id": ids,
        "x": x,
        "y": [0, 1, 1],
    }
    pq.write_table(pa.table(columns), file)
    schema = infer_and_load(file)
    assert schema.ignore == ("tags", "id")
    assert "cannot read the nested columns tags. Export" in capsys.readouterr().err
    (table,) = read_table(file, schema)
    assert table["x"].to_pylist() == x
    names = check_columns(file, schema, schema.features)
    (batch,) = read_checked_rows(file, schema, names)
    assert batch.features["x"].to_pylist() == x
