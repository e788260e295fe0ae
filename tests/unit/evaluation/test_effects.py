"""What a column does to the answer, of functions whose effects are known."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from tabular.evaluation.columns import describe_columns
from tabular.evaluation.effects import column_effects
from tests.helpers import schema_of

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "real"},
    "b": {"kind": "real", "nullable": True},
    "c": {"kind": "category"},
}
SCHEMA = schema_of("regression", **COLUMNS)


def table_of(rows: int = 1500, seed: int = 0, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows) + shift
    return pa.table(
        {
            "a": a,
            "b": pa.array(a + rng.normal(size=rows) / 10, mask=rng.random(rows) < 0.1),
            "c": rng.choice(["x", "y", "z"], rows, p=[0.6, 0.3, 0.1]),
            "y": rng.normal(size=rows),
        }
    )


def members(columns: dict[str, np.ndarray]) -> np.ndarray:
    """2a + 3 for x; of its two members one says more and one says less of a."""
    base = 2 * columns["a"] + 3 * (columns["c"] == "x")
    return np.column_stack([base, base + columns["a"], base - columns["a"]])


def test_effects_are_those_of_the_function_whatever_is_correlated() -> None:
    """b goes along with a and does nothing."""
    rows = table_of()
    found = column_effects(members, rows, SCHEMA, ["a", "c", "b"], 1)
    a, c, b = found["columns"]
    slopes = np.diff(a["effect"]) / np.diff(a["values"])
    np.testing.assert_allclose(slopes, 2)
    np.testing.assert_allclose(b["effect"], 0, atol=1e-9)
    effects = dict(zip(c["values"], c["effect"], strict=True))
    at_rows = np.interp(rows["a"].to_numpy(), a["values"], a["effect"])
    assert at_rows.mean() == pytest.approx(0, abs=1e-6)
    share = np.mean(rows["c"].to_numpy() == "x")
    assert effects == pytest.approx({"x": 3 - 3 * share, "y": -3 * share, "z": -3 * share})
    assert (np.array(a["low"]) <= np.array(a["high"])).all()
    assert a["high"][-1] - a["low"][-1] > 1  # where the members do not agree
    assert found["interactions"] == []
    assert found == column_effects(members, rows, SCHEMA, ["a", "c", "b"], 1)


def test_a_strong_interaction_is_told_and_a_weak_one_is_not() -> None:
    def product(columns: dict[str, np.ndarray]) -> np.ndarray:
        return (columns["a"] * (1 + 2 * (columns["c"] == "x")))[:, None]

    found = column_effects(product, table_of(), SCHEMA, ["a", "c"], 1)["interactions"]
    (one,) = found
    assert (one["column"], one["by"], one["high"]) == ("a", "c", "is x")
    assert one["rise_high"] == pytest.approx(3 * one["rise_low"], rel=0.05)


def test_of_several_classes_it_is_the_one_that_moves_most() -> None:
    schema = schema_of("multiclass", **COLUMNS)

    def classes(columns: dict[str, np.ndarray]) -> np.ndarray:
        p = 1 / (1 + np.exp(-columns["a"]))
        return np.column_stack([p / 4, 1 - p, p * 3 / 4])

    (found,) = column_effects(classes, table_of(), schema, ["a"], 1)["columns"]
    assert found["class"] == "b"
    assert found["effect"][0] > 0 > found["effect"][-1]


def test_columns_move_between_tables_and_not_between_halves() -> None:
    train = table_of()
    same = describe_columns(train, table_of(800, 1), SCHEMA)
    assert not any(column["moved"] for column in same.values())
    moved = describe_columns(train, table_of(800, 1, shift=0.5), SCHEMA)
    assert [name for name, column in moved.items() if column["moved"]] == ["a", "b"]
    assert moved["a"]["distance"] == pytest.approx(0.2, abs=0.03)  # of two normal laws
    assert sum(moved["a"]["train"]) == 1500
    assert moved["b"]["missing"]["train"] == train["b"].null_count
    assert moved["c"]["names"] == ["x", "y", "z"]


def test_a_column_without_a_value_among_the_rows_has_no_effect() -> None:
    rows = table_of().set_column(1, "b", pa.nulls(1500, pa.float64()))
    found = column_effects(members, rows, SCHEMA, ["a", "b"], 1)["columns"]
    assert [column["column"] for column in found] == ["a"]
    missing = describe_columns(table_of(), rows, SCHEMA)["b"]
    assert missing["moved"]
    assert missing["missing"]["test"] == 1500


@pytest.mark.parametrize(
    ("train", "test"),
    [
        (np.r_[np.zeros(950), np.ones(50)], np.ones(500)),
        (np.r_[np.zeros(920), np.arange(1, 81)], np.arange(1.0, 501)),
        (np.full(1000, 5.0), np.full(500, 100.0)),
        (1.7e9 + np.arange(1000.0), 1.7e9 + 500 + np.arange(1000.0)),
    ],
    ids=["a rare value", "amounts that are mostly 0", "a constant", "far from 0"],
)
def test_a_column_of_mostly_one_value_moves_too(train: np.ndarray, test: np.ndarray) -> None:
    schema = schema_of("regression", a={"kind": "real"})

    def moved(first: np.ndarray, second: np.ndarray) -> bool:
        one, other = (pa.table({"a": values, "y": values}) for values in (first, second))
        return bool(describe_columns(one, other, schema)["a"]["moved"])

    assert moved(train, test)
    assert not moved(train[::2], train[1::2])
