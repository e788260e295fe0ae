"""Rows that fail a check are counted, described and treated as the policy says."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.table.checks import Check, RowCheck, check_table, describe_failures
from keras_tabular.table.parquet import part_paths, write_part
from keras_tabular.table.validation import build_report, set_aside
from tests.helpers import build_arrow_schema, build_schema

SCHEMA = build_schema(
    "binary",
    a={"kind": "real", "min": 1, "max": 9, "nullable": True},
    b={"kind": "integer", "values": [1, 2]},
    c={"kind": "category", "nullable": True},
    u={"kind": "integer", "unique": True, "nullable": True, "max": 1000},
)
GOOD: dict[str, list[Any]] = {
    "a": [1.0, 9.0, None, None],
    "b": [1, 2, 1, 1],
    "c": ["x", None, "y", "z"],
    "u": [1, None, 3, None],
    "y": [0, 1, 1, 0],
}


def build_table(columns: dict[str, list[Any]]) -> pa.Table:
    return pa.table(columns, schema=build_arrow_schema(SCHEMA))


def run_checks(columns: dict[str, list[Any]]) -> dict[str, Check]:
    """Return the checks that fail on a table in parts of three rows."""
    whole = build_table(columns)
    rows, checks = check_table([whole[:3], whole[3:]], SCHEMA, Validate(min_class_rows=1))
    assert rows == len(whole)
    return {".".join(key): check for key, check in checks.items() if check.failed_rows}


@pytest.mark.parametrize(
    ("change", "name", "rows", "examples"),
    [
        ({"a": [0.5, 9.5, 2.0, 2.0]}, "a.range", 2, [0.5, 9.5]),
        ({"b": [1, 3, 3, 3]}, "b.values", 3, [3, 3, 3]),
        ({"u": [5, 2**53 + 1, 6, 7]}, "u.range", 1, [2**53 + 1]),
        ({"b": [1, None, 1, 2]}, "b.missing", 1, None),
        ({"u": [5, 1, None, 5]}, "u.unique", 1, []),
        ({"y": [1] * 4}, "y.rare_class", 1, ["0 rows of 0"]),
        ({"y": [0, None, 1, 0]}, "y.missing_target", 1, None),
        ({"b": [2, 2, 2, 2]}, "b.constant_column", 4, [2]),
        ({"a": [None] * 4}, "a.empty_column", 4, []),
        ({"a": [3.0, 2.0, 4.0, 3.0], "c": ["x", "x", "y", "x"], "u": [None] * 4},
         "table.duplicate_rows", 1, []),
    ],
)  # fmt: skip
def test_each_check_counts_the_rows_that_fail_it(
    change: dict[str, list[Any]], name: str, rows: int, examples: list[Any] | None
) -> None:
    assert run_checks(GOOD) == {}
    checks = run_checks(GOOD | change)
    checks.pop("u.empty_column", None)
    assert list(checks) == [name]
    assert checks[name].failed_rows == rows
    assert examples is None or checks[name].examples == examples


def test_a_column_that_explains_the_target_is_a_leak() -> None:
    """Also if no part has enough rows to see this."""
    y = np.random.default_rng(0).random(100) < 0.5
    columns = {"b": np.where(y, 1, 2), "c": np.where(np.isin(np.arange(100), [3, 40, 60]), ~y, y)}
    whole = pa.table({"a": [1.5] * 100, **columns, "u": np.arange(100), "y": y * 1})
    whole = whole.cast(build_arrow_schema(SCHEMA))
    parts = [whole[row : row + 10] for row in range(0, 100, 10)]
    for threshold, failing in {0.99: ["b"], 0.8: ["b", "c"]}.items():
        policies = Validate(constant_column="warn", leak_threshold=threshold)
        errors = describe_failures(*check_table(parts, SCHEMA, policies), {})["error"]
        assert [error.partition(":")[0] for error in errors] == failing
        assert f"leak: expected less than {min(threshold, 0.95):.0%} of y" in errors[0]


@pytest.mark.parametrize(
    ("column", "verdict"),
    [
        ({"kind": "real"}, "error"),
        ({"kind": "real", "known_before_target": True}, "pass"),
        ({"kind": "text"}, "not checked"),
    ],
)
def test_a_leak_that_is_known_before_the_target_passes(
    column: dict[str, Any], verdict: str
) -> None:
    y = np.random.default_rng(0).normal(size=300)
    near = y + 0.18 * np.random.default_rng(1).normal(size=300)
    schema = build_schema("regression", x=column, near={"kind": "real"})
    values = y.astype(str) if column["kind"] == "text" else y
    rows, checks = check_table([pa.table({"x": values, "near": near, "y": y})], schema, Validate())
    assert checks["near", "leak"].verdict == "warn"
    assert checks["x", "leak"].verdict == verdict
    report = build_report(rows, checks)
    assert report["checks"]["x.leak"]["verdict"] == verdict
    assert report["failed_checks"] == 1 + (verdict == "error")


def test_dropped_rows_are_set_aside_as_text_with_line_and_reasons(tmp_path: Path) -> None:
    columns = GOOD | {"a": [1.0, 9.5, 2.0, 1.0], "b": [1, 3, None, 1], "u": [None] * 4}
    whole = build_table(columns | {"c": ["x", None, "y", "x"]})
    for number, part in enumerate((whole[:3], whole[3:])):
        write_part(tmp_path / "table", number, part)
    paths = part_paths(tmp_path / "table")
    dropping = dict.fromkeys(("values", "range", "missing", "duplicate_rows"), "drop")
    policies = Validate.model_validate({"min_class_rows": 1} | dropping)
    _, checks = check_table(paths, SCHEMA, policies)
    lines = {row: f"t.csv, line {row + 2}" for row in range(1, 4)}
    set_aside(paths, checks, lines, tmp_path / "valid", tmp_path / "rejected")
    assert pq.read_table(tmp_path / "valid").equals(whole[:1])
    wrong = "a: expected 1 to 9, got '9.5'; b: expected one of [1, 2], got '3'"
    rejects = pq.read_table(tmp_path / "rejected").to_pylist()
    assert [list(row.values()) for row in rejects] == [
        ["9.5", "3", "", "", "1", "t.csv, line 3", wrong],
        ["2", "", "y", "", "1", "t.csv, line 4", "b: expected a value in every row, got ''"],
        ["1", "1", "x", "", "0", "t.csv, line 5", "table: expected no two equal rows"],
    ]


A_ABOVE_B = RowCheck("a_above_b", ["a", "b"], lambda rows: rows["a"] <= rows["b"], "a above b")


def test_a_check_of_the_project_gets_each_part_with_null_for_missing_values() -> None:
    whole, policies = build_table(GOOD | {"a": [1.0, None, 1.5, 1.0]}), Validate(min_class_rows=1)
    lines = {row: f"line {row + 2}" for row in range(4)}
    for policy in ("error", "warn", "drop"):
        check = A_ABOVE_B._replace(policy=policy)
        rows, checks = check_table([whole[:3], whole[3:]], SCHEMA, policies, [check])
        assert checks["a and b", "a_above_b"].rows.tolist() == [0, 3]
        (message,) = describe_failures(rows, checks, lines)[policy]
        assert "got 1.0 and 1, 1.0 and 1 (line 2; line 5)" in message
        assert ("policy of a_above_b in custom.py" in message) is (policy == "error")


def read_missing_file(_: Any) -> Any:
    return Path("none.txt").read_text()


def test_a_mistake_in_a_check_of_the_project_is_an_error() -> None:
    wrong = {
        "a_above_b: expected declared columns, got bb$": [A_ABOVE_B._replace(columns=["a", "bb"])],
        "a_above_b: policy: expected one of error, .*'eror'": [A_ABOVE_B._replace(policy="eror")],
        "a_above_b: Another check": [A_ABOVE_B, A_ABOVE_B],
    }
    for message, checks in wrong.items():
        with pytest.raises(UserError, match=rf"^custom\.py: {message}"):
            check_table([build_table(GOOD)], SCHEMA, Validate(), checks)
    for fails in (lambda rows: rows["a"].iloc[1:] > 0, read_missing_file):
        broken = A_ABOVE_B._replace(fails=fails)
        with pytest.raises(RuntimeError, match=r"^custom\.py: .* a_above_b"):
            check_table([build_table(GOOD)], SCHEMA, Validate(), [broken])
