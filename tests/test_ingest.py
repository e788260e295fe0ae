"""A CSV becomes typed Parquet parts and a profile, or a message that names the line."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from stages.lib.params import Column, Data
from stages.lib.source import read_csv
from stages.lib.stage import UserError
from stages.lib.summary import Summary
from stages.lib.table import arrow_schema, in_parts
from tests.conftest import PROJECT

DATA = Data(
    source="t.csv",
    target="y",
    columns={
        "a": Column(kind="real", missing_values=(0,), nullable=True),
        "b": Column(kind="integer"),
        "y": Column(kind="boolean"),
    },
)


def read(path: Path, text: str) -> pa.Table:
    path.write_bytes(text.encode())
    return pa.concat_tables(read_csv(path, DATA))


def test_columns_come_typed_and_in_declared_order(tmp_path: Path) -> None:
    table = read(tmp_path / "t.csv", "y,a,b\ntrue,1.5,2\nfalse,,-3\n")
    assert table.schema == arrow_schema(DATA)
    assert table.to_pydict() == {"a": [1.5, None], "b": [2, -3], "y": [True, False]}


def test_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path: Path) -> None:
    plain = read(tmp_path / "t.csv", "a,b,y\n1,2,1\n")
    assert read(tmp_path / "t.csv", "\ufeffa,b,y\r\n1,2,1\r\n").equals(plain)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["empty", "header"]),
        ("a,y\n1,1\n", ["line 1", "missing: b"]),
        ("a,b,y,z\n1,1,1,1\n", ["line 1", "not declared: z"]),
        ("a,b,b,y\n1,1,1,1\n", ["line 1", "more than once: b"]),
        ("a,b,y\n1,1,1\n1,1\n", ["line 3", "2 cells", "expected 3"]),
        ("a,b,y\n1,1,1\nx,1,1\n", ["line 3, column a", "'x'", "a number"]),
        ("a,b,y\n1,1.5,1\n", ["line 2, column b", "'1.5'", "whole number"]),
        ("a,b,y\n1,9223372036854775808,1\n", ["line 2, column b", "64 bits"]),
        ("a,b,y\n1,1,maybe\n", ["line 2, column y", "'maybe'", "true, false"]),
        ("a,b,y\n1,1,1\ninf,1,1\n", ["line 3, column a", "'inf'", "a number"]),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(UserError) as error:
        read(tmp_path / "t.csv", text)
    for word in ["t.csv", *words]:
        assert word in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.csv: No such file.*data\.source"):
        list(read_csv(tmp_path / "no.csv", DATA))


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
