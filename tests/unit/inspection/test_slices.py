"""Tests of declared, weak and difficult slices, and of the names of bins."""

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

KINDS = {"age": "real", "town": "category", "day": "datetime", "noise": "real"}
COLUMNS = {name: {"kind": kind} for name, kind in KINDS.items()}
SCHEMA = build_schema("binary", **COLUMNS)


def make_table(rng: np.random.Generator, rows: int) -> tuple[pa.Table, np.ndarray]:
    """Make rows, and return whether each one is about an old person in town b."""
    age, town = rng.uniform(20, 80, rows), rng.choice(["a", "b"], rows)
    day = np.datetime64("2024-01-01T14", "us") + np.timedelta64(1, "D") * rng.integers(0, 100, rows)
    columns = {"age": pa.array(age, mask=rng.random(rows) < 0.1), "town": town}
    columns |= {"day": pa.array(day, pa.timestamp("us", "UTC")), "noise": rng.normal(size=rows)}
    return pa.table(columns), (age > 65) & (town == "b")


def make_rows(
    rows: int, seed: int, error_rate: float, expected: float = 0.1
) -> tuple[pa.Table, Predictions]:
    """Make rows with an error rate of 0.1, and of `error_rate` for old people in town b.

    Args:
        expected: The error rate in this slice that the probabilities predict.
    """
    rng = np.random.default_rng(seed)
    table, is_slice = make_table(rng, rows)
    y = rng.integers(0, 2, rows).astype(float)
    predicted = np.abs(y - (rng.random(rows) < np.where(is_slice, error_rate, 0.1)))
    y_pred = np.abs(predicted - np.where(is_slice, expected, 0.1))
    return table, Predictions(BINARY, y, y_pred[:, None], np.ones(rows))


def score_slices(
    rows: Mapping[str, tuple[pa.Table, Predictions]],
    boosted: np.ndarray | None = None,
    class_weights: list[float] | None = None,
    **declared: Any,
) -> dict[str, Any]:
    """Score the slices of row sets; the baseline predicts test rows as `boosted` or the model."""
    tables, predictions = ({name: each[i] for name, each in rows.items()} for i in (0, 1))
    baseline = {name: each.y_pred for name, each in predictions.items()}
    baseline |= {} if boosted is None else {"test": boosted}
    schema = build_schema(predictions["test"].task.name, **COLUMNS)
    result = Result(build_evaluation(), predictions, {"gradient_boosting": baseline})
    return slice_scores(tables, result, class_weights, schema, [*COLUMNS], declared)


def make_row_sets(error_rate: float) -> dict[str, tuple[pa.Table, Predictions]]:
    """Make rows of cross-validation, and test rows without a weak slice."""
    return {"cross_validation": make_rows(2000, 0, error_rate), "test": make_rows(500, 9, 0.1)}


def find_reference(slices: Mapping[str, Any]) -> str:
    """Return what the first slice is worse than, which is the oldest bin in town b."""
    first = slices["worse"][0]
    columns, (age, town) = zip(*first["where"], strict=True)
    assert (columns, town) == (("age", "town"), "b")
    assert age.endswith("or more")
    return first["worse_than"]


def test_weak_pair_is_found_and_also_scored_on_test_rows() -> None:
    slices = score_slices(make_row_sets(0.6))
    assert (slices["metric"], slices["row_set"]) == ("error", "cross_validation")
    assert find_reference(slices) == "probabilities"
    first = slices["worse"][0]
    score, (low, high) = first["score"], first["score"]["interval"]
    assert slices["all_rows"]["score"]["value"] < low < score["value"] < high
    expected = score["expected"]["probabilities"]
    assert 0.1 < expected["value"] < 0.2  # all rows are a little worse than expected
    assert expected["excess"] == pytest.approx(score["value"] - expected["value"])
    assert 0 < expected["interval"][0] < expected["excess"] < expected["interval"][1]
    assert first["test"]["value"] < 0.3  # no slice of the test rows is weak
    assert first["test"]["expected"]["probabilities"]["interval"][0] < 0


def test_a_slice_is_only_difficult_if_probabilities_are_right_and_boosting_is_no_better() -> None:
    rows = {"test": make_rows(2000, 0, 0.4, expected=0.4)}
    slices = score_slices(rows)
    assert find_reference(slices) == "all_rows"
    expected = slices["worse"][0]["score"]["expected"]
    assert expected["probabilities"]["value"] == pytest.approx(0.4, abs=0.1)
    assert expected["all_rows"]["value"] == slices["all_rows"]["score"]["value"]
    slices = score_slices(rows, make_rows(2000, 0, 0.1)[1].y_pred)
    assert find_reference(slices) == "gradient_boosting"


def test_probabilities_are_divided_by_class_weights() -> None:
    table, predictions = make_rows(2000, 0, 0.1)
    odds = predictions.y_pred / (1 - predictions.y_pred)
    weighted = predictions._replace(y_pred=3 * odds / (1 + 3 * odds), threshold=0.75)
    slices = [
        score_slices({"test": (table, predictions)}),
        score_slices({"test": (table, weighted)}, class_weights=[1.0, 3.0]),
    ]
    first, second = (each["all_rows"]["score"]["expected"]["probabilities"] for each in slices)
    assert first["value"] == pytest.approx(second["value"])


@pytest.mark.parametrize("is_worse_everywhere", [False, True])
def test_errors_of_a_regression_are_compared_with_those_of_boosting(
    is_worse_everywhere: bool,
) -> None:
    rng = np.random.default_rng(0)
    table, is_slice = make_table(rng, 2000)
    noise = np.where(is_slice, 3.0, 1.0)[:, None]  # as large for the baseline as for the model
    y, boosted, other = noise * rng.normal(size=(3, 2000, 1))
    y_pred = boosted + is_worse_everywhere * other
    predictions = Predictions(REGRESSION, y[:, 0], y_pred, np.ones(2000))
    slices = score_slices({"test": (table, predictions)}, boosted)
    assert slices["metric"] == "mae"
    assert find_reference(slices) == "all_rows"

    shifted = predictions._replace(y_pred=y_pred + 10 * is_slice[:, None])
    slices = score_slices({"test": (table, shifted)}, boosted[:1900])
    assert find_reference(slices) == "gradient_boosting"
    assert slices["all_rows"]["score"]["rows"] == 1900  # the baseline has predicted fewer rows


def test_equal_errors_say_nothing_about_their_spread() -> None:
    table, _ = make_table(np.random.default_rng(0), 400)
    is_in_b = np.array(table["town"].to_pylist()) == "b"
    y, boosted = np.where(is_in_b, 2.0, np.arange(400) % 2), np.zeros((400, 1))
    predictions = Predictions(REGRESSION, y, boosted + is_in_b[:, None] * -1.0, np.ones(400))
    slices = score_slices({"test": (table, predictions)}, boosted)
    assert not any(("town", "b") in each["where"] for each in slices["worse"])


def test_rows_without_weight_are_no_slice() -> None:
    table, predictions = make_rows(2000, 0, 0.4)
    weight = np.where(table["town"].to_numpy(zero_copy_only=False) == "b", 0.0, 1.0)
    slices = score_slices({"test": (table, predictions._replace(weight=weight))})
    assert slices["worse"] == []


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
        frame = make_rows(rows, seed, 0.1)[0].to_pandas()
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
