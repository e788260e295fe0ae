"""Rows that fail a check, and columns that leak the target."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.table import checks as table_checks
from keras_tabular.table import leaks
from keras_tabular.table.checks import (
    RowCheck,
    build_report,
    check_table,
    describe_failures,
)
from tests.helpers import build_arrow_schema, build_schema

# Rows that fail a check are counted, described and treated as the policy says.
SCHEMA = build_schema(
    "binary",
    a={
        "kind": "real",
        "min": 1,
        "max": 9,
        "nullable": True,
    },
    b={"kind": "integer", "values": [1, 2]},
    c={"kind": "category", "nullable": True},
    u={
        "kind": "integer",
        "unique": True,
        "nullable": True,
        "max": 1000,
    },
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


def run_checks(columns: dict[str, list[Any]]) -> dict[str, table_checks.Check]:
    """Return the checks that fail on a table in parts of three rows."""
    whole = build_table(columns)
    parts = [whole[:3], whole[3:]]
    rows, checks = check_table(parts, SCHEMA, Validate(min_class_rows=1))
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
        (
            {
                "a": [3.0, 2.0, 4.0, 3.0],
                "c": ["x", "x", "y", "x"],
                "u": [None] * 4,
            },
            "table.duplicate_rows",
            1,
            [],
        ),
    ],
)
def test_each_check_counts_the_rows_that_fail_it(
    change: dict[str, list[Any]],
    name: str,
    rows: int,
    examples: list[Any] | None,
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
    columns = {
        "a": [1.5] * 100,
        "b": np.where(y, 1, 2),
        "c": np.where(np.isin(np.arange(100), [3, 40, 60]), ~y, y),
        "u": np.arange(100),
        "y": y * 1,
    }
    whole = pa.table(columns).cast(build_arrow_schema(SCHEMA))
    parts = [whole[row : row + 10] for row in range(0, 100, 10)]
    for threshold, failing in {0.99: ["b"], 0.8: ["b", "c"]}.items():
        policies = Validate(constant_column="warn", leak_threshold=threshold)
        rows, checks = check_table(parts, SCHEMA, policies)
        errors = describe_failures(rows, checks, {})["error"]
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
    column: dict[str, Any],
    verdict: str,
) -> None:
    y = np.random.default_rng(0).normal(size=300)
    near = y + 0.18 * np.random.default_rng(1).normal(size=300)
    schema = build_schema("regression", x=column, near="real")
    values = y.astype(str) if column["kind"] == "text" else y
    table = pa.table({"x": values, "near": near, "y": y})
    rows, checks = check_table([table], schema, Validate())
    assert checks["near", "leak"].verdict == "warn"
    assert checks["x", "leak"].verdict == verdict
    assert build_report(rows, checks)["checks"]["x.leak"]["verdict"] == verdict


A_ABOVE_B = RowCheck(
    "a_above_b",
    ["a", "b"],
    lambda rows: rows["a"] <= rows["b"],
    "a above b",
)


def test_a_check_of_the_project_gets_each_part_with_null_for_missing_values() -> None:
    whole = build_table(GOOD | {"a": [1.0, None, 1.5, 1.0]})
    policies = Validate(min_class_rows=1)
    lines = {row: f"line {row + 2}" for row in range(4)}
    for policy in ("error", "warn", "drop"):
        check = A_ABOVE_B._replace(policy=policy)
        rows, checks = check_table(
            [whole[:3], whole[3:]],
            SCHEMA,
            policies,
            [check],
        )
        assert checks["a and b", "a_above_b"].rows.tolist() == [0, 3]
        (message,) = describe_failures(rows, checks, lines)[policy]
        assert "got 1.0 and 1, 1.0 and 1 (line 2; line 5)" in message
        assert ("policy of a_above_b in custom.py" in message) is (policy == "error")


def test_a_mistake_in_a_check_of_the_project_is_an_error() -> None:
    parts = [build_table(GOOD)]
    unknown = A_ABOVE_B._replace(columns=["a", "bb"])
    misspelt = A_ABOVE_B._replace(policy="eror")
    for checks, message in (
        ([unknown], "expected declared columns, got bb$"),
        ([misspelt], "policy: expected one of error, .*'eror'"),
        ([A_ABOVE_B, A_ABOVE_B], "Another check"),
    ):
        with pytest.raises(UserError, match=rf"^custom\.py: a_above_b: {message}"):
            check_table(parts, SCHEMA, Validate(), checks)
    for fails in (
        lambda rows: rows["a"].iloc[1:] > 0,
        lambda _: Path("none.txt").read_text(),
    ):
        broken = A_ABOVE_B._replace(fails=fails)
        with pytest.raises(RuntimeError, match=r"^custom\.py: .* a_above_b"):
            check_table(parts, SCHEMA, Validate(), [broken])


# A column that explains nearly all of the target is a leak, and a good honest column is
# not.
THRESHOLD = 0.99
RNG = np.random.default_rng(0)


def share_explained(
    x: list[str] | np.ndarray,
    y: np.ndarray,
    kind: str = "real",
) -> float:
    """Return how much of the target a column explains."""
    task = "binary" if y.dtype == bool else "regression"
    table = pa.table({"x": pa.array(x, from_pandas=True), "y": y * 1})
    schema = build_schema(task, x={"kind": kind, "nullable": True})
    sample = leaks.sample_rows(table, schema, 1)
    return leaks.shares_explained(sample, schema)["x"][""]


@pytest.mark.parametrize("rows", [1000, 30_000])
def test_a_function_of_the_target_with_little_noise_is_a_leak(rows: int) -> None:
    y = np.random.default_rng(1).normal(size=rows)
    for leak in (
        y,
        y + 0.05 * RNG.normal(size=rows),
        -np.exp(3 * y),
        np.where(y > 0, y, y + 10),  # not monotonic
        np.where(RNG.random(rows) < 0.2, np.nan, y),
    ):
        assert share_explained(leak, y) >= THRESHOLD


@pytest.mark.parametrize(
    "draw",
    [RNG.normal, RNG.lognormal, lambda size: RNG.poisson(4, size)],
)
def test_a_number_with_an_r2_of_0_95_is_not_a_leak(
    draw: Callable[..., np.ndarray],
) -> None:
    shares = []
    for _ in range(100):
        y = draw(size=300).astype(float)
        x = y + np.sqrt(1 / 0.95 - 1) * y.std() * RNG.normal(size=300)
        shares.append(share_explained(x, y))
    assert max(shares) < 0.98


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_a_code_of_the_class_is_a_leak_but_not_with_one_error_in_a_hundred(
    share: float,
) -> None:
    score = np.random.default_rng(3).permutation(np.linspace(-1, 1, 2000))
    positive = score > np.quantile(score, 1 - share)
    wrong = np.arange(2000) % 100 == 0
    code = np.where(positive, "c1", "c2")
    assert share_explained(code, positive, "category") >= THRESHOLD
    code = np.where(positive ^ wrong, "c1", "c2")
    assert 0.75 < share_explained(code, positive, "category") < THRESHOLD
    assert share_explained(score, positive) >= THRESHOLD
    assert share_explained(np.where(wrong, -score, score), positive) < THRESHOLD


def test_a_copy_of_one_of_three_classes_is_a_warning() -> None:
    y = np.repeat([*"abc"], [600, 350, 50])
    table = pa.table({"x": np.where(y == "c", "yes", "no"), "y": y})
    schema = build_schema("multiclass", x="category")
    leak = check_table([table], schema, Validate())[1]["x", "leak"]
    assert (leak.policy, leak.examples) == ("warn", ["100.00% of class c"])


@pytest.mark.parametrize("positive", [9, 10])
def test_a_copy_of_a_rare_class_is_found_if_it_has_ten_rows(positive: int) -> None:
    y = np.random.default_rng(5).permutation(np.arange(200_000) < positive)
    table = pa.table({"copy": np.where(y, "c1", "c2"), "y": y * 1})
    schema = build_schema("binary", copy="category")
    parts = [table[:100_000], table[100_000:]]
    sample = pa.concat_tables(leaks.sample_rows(part, schema, 2) for part in parts)
    assert len(sample) <= 20_010
    shares = leaks.shares_explained(sample, schema)["copy"]
    assert shares.get("") == (1 if positive >= 10 else None)
