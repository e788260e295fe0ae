"""Tests of column effects for functions whose effects are known, and of histograms."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.column_statistics.bins import share_outside
from keras_tabular.config.schema import Column
from keras_tabular.inspection.columns import describe_columns, outside_training
from keras_tabular.inspection.effects import column_effects
from tests.helpers import build_schema

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "real"},
    "b": {"kind": "real", "nullable": True},
    "c": {"kind": "category"},
}
SCHEMA = build_schema("regression", **COLUMNS)


def make_table(rows: int = 1500, seed: int = 0, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows) + shift
    b = pa.array(a + rng.normal(size=rows) / 10, mask=rng.random(rows) < 0.1)
    c = rng.choice(["x", "y", "z"], rows, p=[0.6, 0.3, 0.1])
    return pa.table({"a": a, "b": b, "c": c, "y": rng.normal(size=rows)})


def predict_members(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Predict 2a, and 3 more for category x. The effect of a is 3 and 1 for the two members."""
    base = 2 * columns["a"] + 3 * (columns["c"] == "x")
    return np.column_stack([base, base + columns["a"], base - columns["a"]])


@pytest.mark.parametrize("max_weight", [1, 4])
def test_effects_are_those_of_the_function_despite_correlation(max_weight: int) -> None:
    """Column b is correlated with a and has no effect. The rows count by their weights."""
    weight = np.random.default_rng(1).integers(1, max_weight, 1500, endpoint=True).astype(float)
    rows = make_table().append_column("w", pa.array(weight))
    schema = build_schema("regression", **COLUMNS, w={"kind": "real"})
    schema = schema.model_copy(update={"weight": "w"})
    effects = column_effects(predict_members, rows, schema, ["a", "c", "b"], 1)
    a, c, b = effects["columns"]
    np.testing.assert_allclose(np.diff(a["effect"]) / np.diff(a["values"]), 2)
    np.testing.assert_allclose(b["effect"], 0, atol=1e-9)
    at_rows = np.interp(rows["a"].to_numpy(), a["values"], a["effect"])
    assert np.average(at_rows, weights=weight) == pytest.approx(0, abs=1e-6)
    mean = 3 * np.average(rows["c"].to_numpy() == "x", weights=weight)
    category_effects = dict(zip(c["values"], c["effect"], strict=True))
    assert category_effects == pytest.approx({"x": 3 - mean, "y": -mean, "z": -mean})
    assert (np.array(a["low"]) <= np.array(a["high"])).all()
    assert a["high"][-1] - a["low"][-1] > 1  # the members disagree


def test_effect_is_on_the_class_that_changes_most() -> None:
    schema = build_schema("multiclass", **COLUMNS)

    def predict_classes(columns: dict[str, np.ndarray]) -> np.ndarray:
        p = 1 / (1 + np.exp(-columns["a"]))
        return np.column_stack([p / 4, 1 - p, p * 3 / 4])

    (effect,) = column_effects(predict_classes, make_table(), schema, ["a"], 1)["columns"]
    assert effect["class"] == "b"
    assert effect["effect"][0] > 0 > effect["effect"][-1]


def test_only_shifted_columns_have_moved() -> None:
    train = make_table()
    moved = describe_columns(train, make_table(800, 1, shift=0.5), SCHEMA, limit=0.1)
    assert [name for name, column in moved.items() if column["moved"]] == ["a", "b"]
    moved_far = describe_columns(train, make_table(800, 1, shift=0.5), SCHEMA, limit=0.3)
    assert not any(column["moved"] for column in moved_far.values())
    assert moved["a"]["distance"] == pytest.approx(0.2, abs=0.03)  # of the two normal distributions
    assert moved["b"]["missing"]["train"] == train["b"].null_count


def test_column_without_values_has_no_effect() -> None:
    rows = make_table().set_column(1, "b", pa.nulls(1500, pa.float64()))
    effects = column_effects(predict_members, rows, SCHEMA, ["a", "b"], 1)["columns"]
    assert [effect["column"] for effect in effects] == ["a"]
    missing = describe_columns(make_table(), rows, SCHEMA, limit=0.1)["b"]
    assert (missing["moved"], missing["missing"]["test"]) == (True, 1500)


def test_histogram_of_mostly_one_value_has_the_whole_range() -> None:
    values = np.r_[np.zeros(3000), np.arange(1.0, 14)]
    rows = pa.table({"a": values, "y": values % 2})
    columns = describe_columns(rows, rows, build_schema("regression", a={"kind": "real"}), 0.1)
    assert (columns["a"]["from"], columns["a"]["to"]) == (0, 13)
    assert columns["a"]["train"] == [3001, *[1] * 10, 2]
    assert (columns["y"]["names"], columns["y"]["test"]) == (["0", "1"], [3006, 7])


def test_share_of_test_values_outside_training() -> None:
    for kind, train, test, share in (
        ("real", [1.0, 2.0, None], [0.5, 1.5, 2.5, None], 2 / 3),
        ("category", ["a", "b"], ["a", "c", None, "d", "b"], 0.5),
        ("text", ["some words"], ["others"], 0.0),
        ("real", [1.0], [None], 0.0),
    ):
        train_values = pa.chunked_array([train])
        test_values = pa.chunked_array([pa.array(test, train_values.type)])
        column = Column.model_validate({"kind": kind, "nullable": True})
        assert share_outside(train_values, test_values, column) == pytest.approx(share)


def test_columns_without_attribution_or_share_outside_are_left_out() -> None:
    outside = {"month": 1.0, "hour": 0.3, "noise": 1.0, "price": 0.05}
    attribution = {"hour": 0.2, "month": 0.5, "noise": 0.01, "price": 0.29}
    columns = {name: {"outside": share} for name, share in outside.items()}
    assert [*outside_training(columns, attribution)] == ["month", "hour"]
