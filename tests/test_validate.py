"""Rows that break the declaration are counted and named; the policy decides what follows."""

from typing import Any

import pyarrow as pa
import pytest

from stages.lib.params import Column, Data
from stages.validate import Check, check_parts, checks_of

DATA = Data(
    source="t.csv",
    target="y",
    columns={
        "a": Column(kind="real", min=1, max=9, missing_values=(0,), nullable=True),
        "b": Column(kind="integer", values=(1, 2)),
        "y": Column(kind="integer", values=(0, 1)),
    },
)
GOOD: dict[str, list[Any]] = {"a": [1.0, 9.0, 0.0, None], "b": [1, 2, 1, 1], "y": [0, 1, 1, 0]}
POLICIES = dict.fromkeys(
    ["missing", "range", "values", "duplicate_rows", "constant_column"], "error"
)


def failed(columns: dict[str, list[Any]], part_rows: int = 3) -> dict[str, Check]:
    """The checks that fail on a table, read in parts of three rows."""
    types = [pa.float64(), pa.int64(), pa.int64()]
    table = pa.table([pa.array(v, t) for v, t in zip(columns.values(), types, strict=True)], "aby")
    checks = checks_of(DATA, POLICIES)
    parts = [table[start : start + part_rows] for start in range(0, len(table), part_rows)]
    assert list(check_parts(parts, DATA, checks)) == parts
    return {".".join(key): check for key, check in checks.items() if check.failed_rows}


def test_a_table_as_declared_passes() -> None:
    assert failed(GOOD) == {}


@pytest.mark.parametrize(
    ("change", "name", "rows", "found"),
    [
        ({"a": [0.5, 9.5, 2.0, 2.0]}, "a.range", 2, [0.5, 9.5]),
        ({"b": [1, 3, 3, 3]}, "b.values", 3, [3, 3, 3]),
        ({"b": [1, None, 1, 2]}, "b.missing", 1, None),
        ({"a": [1, 2, 3, 4], "y": [1, 1, 1, 1]}, "y.classes", 4, [1]),
        ({"b": [2, 2, 2, 2]}, "b.constant_column", 4, [2]),
        ({"a": [1.0, 1.0, 1.0, 2.0], "b": [1, 2, 1, 2], "y": [0, 1, 0, 1]},
         "table.duplicate_rows", 1, []),
    ],
)  # fmt: skip
def test_each_check_counts_the_rows_that_fail_it(
    change: dict[str, list[Any]], name: str, rows: int, found: list[Any] | None
) -> None:
    checks = failed(GOOD | change)
    assert list(checks) == [name]
    assert checks[name].failed_rows == rows
    assert found is None or checks[name].examples == found


def test_an_empty_table_fails() -> None:
    assert "table.rows" in failed({"a": [], "b": [], "y": []})
