"""Contributions of columns to predictions, for functions whose Shapley values are known."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.column_statistics.summary import ColumnSummary
from keras_tabular.inspection.attribution import Permutations, contributions
from keras_tabular.prediction.predictor import reason_columns
from keras_tabular.table.arrays import feature_arrays
from tests.helpers import BINARY, MULTICLASS, build_schema

COLUMNS: dict[str, dict[str, Any]] = {
    "a": {"kind": "real"},
    "b": {"kind": "real", "nullable": True},
    "c": {"kind": "category"},
    "d/e": {"kind": "text"},
}
SCHEMA = build_schema("regression", **COLUMNS)
RNG = np.random.default_rng(0)
TABLE = pa.table(
    {
        "a": RNG.normal(size=400),
        "b": pa.array(RNG.normal(size=400), mask=RNG.random(400) < 0.25),
        "c": RNG.choice(["x", "y"], 400),
        "d/e": ["some words"] * 400,
    }
)
SUMMARIES = {
    name: ColumnSummary.from_values(TABLE[name], column) for name, column in SCHEMA.features.items()
}
PERMUTATIONS = Permutations.from_summaries(SUMMARIES, SCHEMA, list(COLUMNS))
ROWS = feature_arrays(TABLE[:20], SCHEMA)


def linear(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Predict 3 a + b (0 if b is missing) + 2 if c is x + 1 if there is a text."""
    predictions = 3 * columns["a"] + np.nan_to_num(columns["b"]) + 2 * (columns["c"] == "x")
    return (predictions + (columns["d_e"] != ""))[:, None]


def test_in_a_sum_each_column_contributes_its_term_minus_the_mean_of_this_term() -> None:
    effects = contributions(linear, ROWS, PERMUTATIONS)[:, :, 0]
    background = PERMUTATIONS.background
    np.testing.assert_allclose(effects[:, 0], 3 * (ROWS["a"] - background["a"].mean()))
    mean = np.mean(background["c"] == "x")
    np.testing.assert_allclose(effects[:, 2], 2 * ((ROWS["c"] == "x") - mean))
    np.testing.assert_allclose(effects[:, 3], 1)


def test_contributions_add_up_to_the_prediction_and_do_not_depend_on_other_rows() -> None:
    def product(columns: dict[str, np.ndarray]) -> np.ndarray:
        return (columns["a"] * (columns["c"] == "x"))[:, None]

    effects = contributions(product, ROWS, PERMUTATIONS)
    mean_prediction = product(PERMUTATIONS.background).mean(axis=0)
    np.testing.assert_allclose(effects.sum(axis=1), product(ROWS) - mean_prediction, atol=1e-12)
    row = {name: values[7:8] for name, values in ROWS.items()}
    np.testing.assert_array_equal(contributions(product, row, PERMUTATIONS)[0], effects[7])


@pytest.mark.parametrize("n_outputs", [BINARY.n_outputs, MULTICLASS.n_outputs])
def test_reasons_are_the_largest_effects_on_the_prediction(n_outputs: int) -> None:
    effects = np.zeros((2, 4, n_outputs))
    effects[0, :, -1] = [0.1, -0.4, 0.2, 0.0]
    effects[1] = np.nan
    outputs = np.tile(np.arange(n_outputs) / 9, (2, 1))
    reasons = reason_columns(effects, list(COLUMNS), outputs, 2)
    assert reasons["reason_1"].to_pylist() == ["b", None]
    assert reasons["reason_2"].to_pylist() == ["c", None]
    assert reasons["reason_1_effect"].to_pylist() == [pytest.approx(-0.4), None]
