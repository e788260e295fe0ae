"""What a column does to the answer, of functions whose effects are known."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.inspection.columns import describe_columns
from keras_tabular.inspection.effects import column_effects
from tests.helpers import build_schema

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "real"},
    "b": {"kind": "real", "nullable": True},
    "c": {"kind": "category"},
}
SCHEMA = build_schema("regression", **COLUMNS)


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
    np.testing.assert_allclose(np.diff(a["effect"]) / np.diff(a["values"]), 2)
    np.testing.assert_allclose(b["effect"], 0, atol=1e-9)
    at_rows = np.interp(rows["a"].to_numpy(), a["values"], a["effect"])
    assert at_rows.mean() == pytest.approx(0, abs=1e-6)
    mean = 3 * np.mean(rows["c"].to_numpy() == "x")
    effects = dict(zip(c["values"], c["effect"], strict=True))
    assert effects == pytest.approx({"x": 3 - mean, "y": -mean, "z": -mean})
    assert (np.array(a["low"]) <= np.array(a["high"])).all()
    assert a["high"][-1] - a["low"][-1] > 1  # where the members do not agree
    assert found == column_effects(members, rows, SCHEMA, ["a", "c", "b"], 1)


def test_effects_are_centred_by_the_weights_of_the_rows() -> None:
    weight = np.random.default_rng(1).integers(0, 4, 1500).astype(float)
    rows = table_of().append_column("w", pa.array(weight))
    weighted = build_schema("regression", **COLUMNS, w={"kind": "real"})
    weighted = weighted.model_copy(update={"weight": "w"})
    a, c = column_effects(members, rows, weighted, ["a", "c"], 1)["columns"]
    at_rows = np.interp(rows["a"].to_numpy(), a["values"], a["effect"])
    assert np.average(at_rows, weights=weight) == pytest.approx(0, abs=1e-6)
    mean = 3 * np.average(rows["c"].to_numpy() == "x", weights=weight)
    assert dict(zip(c["values"], c["effect"], strict=True))["x"] == pytest.approx(3 - mean)


def test_of_several_classes_it_is_the_one_that_moves_most() -> None:
    schema = build_schema("multiclass", **COLUMNS)

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
    assert (missing["moved"], missing["missing"]["test"]) == (True, 1500)


def test_the_bars_of_a_column_of_mostly_one_value_reach_from_the_lowest_to_the_highest() -> None:
    values = np.r_[np.zeros(3000), np.arange(1.0, 14)]
    rows = pa.table({"a": values, "y": values % 2})
    found = describe_columns(rows, rows, build_schema("regression", a={"kind": "real"}))
    assert (found["a"]["from"], found["a"]["to"]) == (0, 13)
    assert found["a"]["train"] == [3001, *[1] * 10, 2]
    assert (found["y"]["names"], found["y"]["test"]) == (["0", "1"], [3006, 7])
