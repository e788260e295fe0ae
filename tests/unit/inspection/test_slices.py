"""Tests of declared slices, of the bins with the largest errors, and of the names of bins."""

from collections.abc import Mapping
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.column_statistics.bins import Bins
from keras_tabular.config.schema import Column
from keras_tabular.config.sections import Range
from keras_tabular.evaluation.result import Result
from keras_tabular.inspection.slices import slice_scores
from keras_tabular.scoring.scores import Predictions
from tests.helpers import BINARY, REGRESSION, build_evaluation, build_schema

KINDS = {"age": "real", "town": "category", "day": "datetime", "noise": "real", "one": "integer"}
COLUMNS = {name: {"kind": kind} for name, kind in KINDS.items()}


def make_table(rng: np.random.Generator, rows: int) -> pa.Table:
    age, town = rng.uniform(20, 80, rows), rng.choice(["a", "b"], rows)
    day = np.datetime64("2024-01-01T14", "us") + np.timedelta64(1, "D") * rng.integers(0, 100, rows)
    columns = {"age": pa.array(age, mask=rng.random(rows) < 0.1), "town": town}
    columns |= {"day": pa.array(day, pa.timestamp("us", "UTC")), "noise": rng.normal(size=rows)}
    return pa.table(columns | {"one": np.ones(rows, np.int64)})


def make_rows(rows: int, seed: int, error_rate: float = 0.1) -> tuple[pa.Table, Predictions]:
    """Make rows with an error rate of 0.1, and of `error_rate` in town b."""
    rng = np.random.default_rng(seed)
    table = make_table(rng, rows)
    is_in_b = table["town"].to_numpy() == "b"
    y = rng.integers(0, 2, rows).astype(float)
    predicted = np.abs(y - (rng.random(rows) < np.where(is_in_b, error_rate, 0.1)))
    return table, Predictions(BINARY, y, predicted[:, None], np.ones(rows))


def score_slices(
    rows: Mapping[str, tuple[pa.Table, Predictions]],
    boosted: np.ndarray | None = None,
    **declared: Any,
) -> dict[str, Any]:
    """Score the slices of row sets; the baseline predicts test rows as `boosted` or the model."""
    tables, predictions = ({name: each[i] for name, each in rows.items()} for i in (0, 1))
    baseline = {name: each.y_pred for name, each in predictions.items()}
    baseline |= {} if boosted is None else {"test": boosted}
    schema = build_schema(predictions["test"].task.name, **COLUMNS)
    result = Result(build_evaluation(), predictions, {"gradient_boosting": baseline})
    return slice_scores(tables, result, schema, declared)


def make_row_sets(error_rate: float) -> dict[str, tuple[pa.Table, Predictions]]:
    """Make rows of cross-validation, and test rows with the same error rate everywhere."""
    return {"cross_validation": make_rows(2000, 0, error_rate), "test": make_rows(500, 9)}


def test_bins_with_the_largest_errors_come_first() -> None:
    rows = make_row_sets(0.6)
    slices = score_slices(rows)
    assert (slices["metric"], slices["row_set"]) == ("error", "cross_validation")
    first, table = slices["bins"][0], rows["cross_validation"][0].to_pandas()
    assert first["where"] == [["town", "b"]]
    score, (low, high) = first["score"], first["score"]["interval"]
    assert score["rows"] == (table["town"] == "b").sum()
    assert slices["all_rows"]["score"]["value"] < low < score["value"] < high
    assert score["gradient_boosting"] == score["value"]  # here, it predicts as the model does
    errors = [each["score"]["value"] for each in slices["bins"]]
    assert len(errors) == 10
    assert errors == sorted(errors, reverse=True)
    columns = [name for each in slices["bins"] for name, _ in each["where"]]
    assert "one" not in columns  # its only bin has all rows


def test_equal_errors_are_sorted_by_name_and_bins_of_few_rows_are_left_out() -> None:
    table, predictions = make_rows(150, 0)
    predictions = predictions._replace(y_pred=predictions.y[:, None])
    bins = score_slices({"test": (table, predictions)})["bins"]
    assert [each["where"] for each in bins] == sorted(each["where"] for each in bins)
    assert min(each["score"]["rows"] for each in bins) >= 30
    assert ["age", "missing"] not in [each["where"][0] for each in bins]


def test_errors_of_a_regression_are_shown_with_those_of_boosting() -> None:
    rng = np.random.default_rng(0)
    table, y = make_table(rng, 2000), rng.normal(size=2000)
    is_in_b = table["town"].to_numpy() == "b"
    boosted = y[:, None] - 0.5
    predictions = Predictions(REGRESSION, y, (y + is_in_b)[:, None], np.ones(2000))
    slices = score_slices({"test": (table, predictions)}, boosted[:1900])
    assert (slices["metric"], slices["row_set"]) == ("mae", "test")
    assert slices["all_rows"]["score"]["rows"] == 1900  # the baseline has predicted fewer rows
    first = slices["bins"][0]
    assert (first["where"], first["score"]["value"]) == ([["town", "b"]], pytest.approx(1))
    assert "interval" not in first["score"]  # equal errors say nothing about their spread
    for each in (first, slices["all_rows"]):
        assert each["score"]["gradient_boosting"] == pytest.approx(0.5)


def test_rows_without_weight_are_not_counted() -> None:
    table, predictions = make_rows(2000, 0, 0.4)
    weight = np.where(table["town"].to_numpy() == "b", 0.0, 1.0)
    rows = {"test": (table, predictions._replace(weight=weight))}
    slices = score_slices(rows, b={"town": ("b",)})
    assert "town" not in [name for each in slices["bins"] for name, _ in each["where"]]
    assert slices["declared"]["b"] == {"score": {}, "test": {}, "where": [["town", "b"]]}


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"age": Range(low=30, high=40)}, "30 <= age <= 40"),
        ({"town": ("b",), "age": Range(high=50)}, "town == 'b' and age <= 50"),
        ({"day": Range(low=date(2024, 2, 1))}, "day >= '2024-02-01T00:00:00Z'"),
        ({"day": Range(high=date(2024, 2, 1))}, "day < '2024-02-02T00:00:00Z'"),
    ],
)
def test_declared_slice_has_its_rows_without_missing_values(
    conditions: dict[str, Any], expected: str
) -> None:
    scores = score_slices(make_row_sets(0.1), mine=conditions)["declared"]["mine"]
    for name, (rows, seed) in {"score": (2000, 0), "test": (500, 9)}.items():
        frame = make_rows(rows, seed)[0].to_pandas()
        assert scores[name]["rows"] == len(frame.query(expected))
        low, high = scores[name]["interval"]
        assert low < scores[name]["value"] < high


def test_names_of_bins() -> None:
    values = pa.chunked_array([[1.0, 2.0, 3.0, 4.0, None, None]])
    bins = Bins.from_values(values, Column(kind="real"), 2, 2)
    assert bins.names == ["below 3", "3 or more", "missing"]
    assert bins.codes(values).tolist() == [0, 0, 1, 1, 2, 2]
    words = pa.chunked_array([["b", "a", "b", "c", None]])
    bins = Bins.from_values(words, Column(kind="category"), 2, 2)
    assert bins.names == ["b", "a", "others", "missing"]
    assert bins.codes(words).tolist() == [0, 1, 0, 2, 3]
