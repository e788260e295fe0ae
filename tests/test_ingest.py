"""A CSV becomes typed Parquet parts and a profile, or a message that names the line."""

import gzip
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stages.lib.params import Column, Data
from stages.lib.source import line_numbers, read_csv, source_files
from stages.lib.stage import UserError
from stages.lib.summary import Summary
from stages.lib.table import arrow_schema, in_parts
from tests.conftest import PROJECT, run

DATA = Data(
    source="t.csv",
    task="binary",
    target="y",
    positive=True,
    columns={
        "a": Column(kind="real", missing_values=(0, "?"), nullable=True),
        "b": Column(kind="integer"),
        "c": Column(kind="category", nullable=True),
        "y": Column(kind="boolean", values=(False, True)),
    },
    ignore=("id",),
)
HEADER = "a,b,c,y\n"


def read(path: Path, text: str | bytes) -> pa.Table:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return pa.concat_tables(read_csv(path, DATA))


def test_columns_come_typed_and_in_declared_order(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", 'y,a,id,b,c\ntrue,1.5,7,2,x\nfalse,?,8,-3,""\n')
    assert table.schema == arrow_schema(DATA)
    assert table.to_pydict() == {
        "a": [1.5, None],
        "b": [2, -3],
        "c": ["x", None],
        "y": [True, False],
    }


def test_line_ends_a_byte_order_mark_and_gzip_make_no_difference(tmp_path: Path) -> None:
    plain = read(tmp_path / "t.csv", HEADER + "1,2,é,1\n")
    assert read(tmp_path / "t.csv", "\ufeffa,b,c,y\r\n1,2,é,1\r\n").equals(plain)
    assert read(tmp_path / "t.csv.gz", gzip.compress((HEADER + "1,2,é,1\n").encode())).equals(plain)


def test_latin_1_is_read_where_it_is_declared(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes((HEADER + "1,2,é,1\n").encode("latin-1"))
    data = DATA.model_copy(update={"encoding": "latin-1"})
    assert pa.concat_tables(read_csv(tmp_path / "t.csv", data))["c"].to_pylist() == ["é"]


ROW = "1,1,x,1\n"
BAD_FILES: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": ("", ["the file is empty", "header"]),
    "no header": ("6,148,x,1\n", ["line 1", "missing: a, b, c, y", "is the header missing?"]),
    "a missing column": ("a,c,y\n1,x,1\n", ["line 1", "missing: b"]),
    "an extra column": ("a,b,c,y,z\n1,1,x,1,1\n", ["line 1", "data.ignore: z"]),
    "a column twice": ("a,b,b,c,y\n1,1,1,x,1\n", ["line 1", "more than once: b"]),
    "another delimiter": ("a;b;c;y\n1;1;x;1\n", ["line 1", "is data.delimiter right?"]),
    "a short row": (HEADER + ROW + "1,1\n", ["line 3", "2 cells", "expected 4"]),
    "a long row": (HEADER + "1,1,x,1,1\n", ["line 2", "5 cells", "expected 4"]),
    "an open quote": (HEADER + ROW + '1,1,"x,1\n' + ROW, ["after line", "quote that never closes"]),
    "a long open quote": (
        HEADER + '1,1,"x,1\n' + ROW * 200_000,
        ["after line 1", "more than 262144 characters", "Does a quote never close?"],
    ),
    "a cell of 10 MB": (
        HEADER + ROW + f"1,1,{'x' * 10_000_000},1\n",
        ["after line 2", "more than 262144 characters"],
    ),
    "Latin-1": ((HEADER + ROW + "1,1,é,1\n").encode("latin-1"), ["line 3", "0xe9", "not utf-8"]),
    "a NUL byte": (HEADER + ROW + "1,1,x\0,1\n", ["line 3, column c", "without NUL bytes"]),
    "a NUL in a number": (HEADER + "1,1\0,x,1\n", ["line 2, column b", "whole number"]),
    "text in a number": (HEADER + ROW + "x,1,x,1\n", ["line 3, column a", "'x'", "a number"]),
    "thousands": (HEADER + '"1,234.5",1,x,1\n', ["line 2, column a", "'1,234.5'", "a number"]),
    "infinity": (HEADER + ROW + "inf,1,x,1\n", ["line 3, column a", "'inf'", "a number"]),
    "a fraction": (HEADER + "1,1.5,x,1\n", ["line 2, column b", "'1.5'", "whole number"]),
    "65 bits": (HEADER + "1,9223372036854775808,x,1\n", ["line 2, column b", "64 bits"]),
    "no boolean": (HEADER + "1,1,x,maybe\n", ["line 2, column y", "'maybe'", "true, false"]),
    "after quoted line breaks and blank lines": (
        HEADER + '1,1,"x\n\ny",1\n\n' + "x,1,x,1\n",
        ["line 6, column a", "'x'"],
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_does_not_fit_is_named_with_its_line(tmp_path: Path, name: str) -> None:
    text, words = BAD_FILES[name]
    with pytest.raises(UserError) as error:
        read(tmp_path / "t.csv", text)
    for word in ["t.csv", *words]:
        assert word in str(error.value)


def test_a_gzip_file_that_is_cut_off_is_named(tmp_path: Path) -> None:
    content = gzip.compress((HEADER + ROW * 100_000).encode())
    with pytest.raises(UserError, match=r"t\.csv\.gz: .*the gzip file is cut off"):
        read(tmp_path / "t.csv.gz", content[: len(content) // 2])


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("raw/none.csv", r"raw/none\.csv: No such file or directory \(data\.source"),
        ("raw", r"raw: found a folder; name its files"),
        ("other.csv", r"data\.source.*found.*expected a file in .*raw"),
    ],
)
def test_a_source_that_is_no_file_is_named(tmp_path: Path, pattern: str, message: str) -> None:
    (tmp_path / "raw").mkdir()
    with pytest.raises(UserError, match=message):
        source_files(str(tmp_path / pattern), tmp_path / "raw")


def test_a_source_without_permission_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch(mode=0o000)
    user = os.geteuid()
    try:
        if user == 0:  # root may read every file
            os.seteuid(65534)
        with pytest.raises(UserError, match=r"t\.csv: Permission denied"):
            source_files(str(tmp_path / "t.csv"), tmp_path)
    finally:
        os.seteuid(user)


def test_a_header_without_rows_ends_the_stage_with_a_message_and_no_output(tmp_path: Path) -> None:
    header = (PROJECT / "data/raw/diabetes.csv").read_text().splitlines()[0]
    (tmp_path / "data/raw").mkdir(parents=True)
    (tmp_path / "data/raw/diabetes.csv").write_text(header + "\n")
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    stage = (sys.executable, "-m", "stages.ingest", "data/raw", "ingested", "profile.json")
    done = run(tmp_path, *stage, PYTHONPATH=str(PROJECT))
    assert done.returncode == 1
    expected = "error: data/raw/diabetes.csv: found a header and no rows; expected some\n"
    assert done.stderr == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "params.yaml"]


def test_a_glob_is_its_files_in_order(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).touch()
    files = source_files(str(tmp_path / "*.csv"), tmp_path)
    assert [file.name for file in files] == ["a.csv", "b.csv"]


def test_line_numbers_count_headers_quoted_breaks_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + '1,1,"x\ny",1\n\n' + ROW)
    (tmp_path / "b.csv").write_text(HEADER + ROW)
    found = line_numbers([tmp_path / "a.csv", tmp_path / "b.csv"], DATA, [2, 0, 1])
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    assert found == {0: f"{a}: line 2", 1: f"{a}: line 5", 2: f"{b}: line 2"}


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_quote_within_a_cell_and_any_line_end_leave_the_lines_right(
    tmp_path: Path, end: str
) -> None:
    rows = f'1,1,5" nail,1\n1,1,"a ""b""\nc",1\n{ROW}'
    (tmp_path / "a.csv").write_text((HEADER + rows).replace("\n", end), newline="")
    assert len(pa.concat_tables(read_csv(tmp_path / "a.csv", DATA))) == 3
    found = line_numbers([tmp_path / "a.csv"], DATA, [0, 1, 2])
    assert [int(found[row].rsplit(" ", 1)[1]) for row in range(3)] == [2, 3, 5]


def test_parts_have_the_rows_asked_for_and_keep_the_order() -> None:
    tables = [pa.table({"a": range(start, start + 7)}) for start in (0, 7, 14)]
    parts = list(in_parts(tables, tables[0].schema, 10))
    assert [len(part) for part in parts] == [10, 10, 1]
    assert pa.concat_tables(parts).equals(pa.concat_tables(tables))
    assert [len(part) for part in in_parts([], tables[0].schema, 10)] == [0]


def test_summaries_of_parts_merge_to_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(1000) < 0.1, 0.0, rng.normal(1e6, 1.0, 1000))
    column = DATA.columns["a"]
    merged = Summary()
    for part in np.split(values, [3, 3, 500]):
        merged = merged.merge(Summary.of(pa.chunked_array([pa.array(part)]), column))
    present = values[values != 0]
    assert merged.missing == 1000 - len(present)
    assert (merged.min, merged.max) == (present.min(), present.max())
    assert merged.mean == pytest.approx(present.mean(), rel=1e-14)
    assert merged.standard_deviation == pytest.approx(present.std(ddof=1), rel=1e-9)


def test_the_profile_is_what_pandas_says_of_the_measured_values(reproduced: Path) -> None:
    profile = json.loads((reproduced / "metrics/profile.json").read_text())
    frame = pd.read_csv(PROJECT / "data/raw/diabetes.csv")
    assert (profile["rows"], profile["columns"]) == frame.shape
    assert profile["target"]["1"] == {"rows": 268, "share": 0.348958}
    glucose = frame["Glucose"].replace(0, np.nan)
    assert profile["column"]["Glucose"] == {
        "kind": "real",
        "missing": 5,
        "distinct": glucose.nunique(),
        "mean": round(glucose.mean(), 6),
        "standard_deviation": round(glucose.std(), 6),
        "min": glucose.min(),
        "max": glucose.max(),
    }
    assert profile["column"]["Outcome"]["kind"] == "binary"
