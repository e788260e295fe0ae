"""Tests of declared, weak and difficult slices, and of the names of bins."""

from collections.abc import Sequence
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
from tests.helpers import BINARY, MULTICLASS, REGRESSION, build_evaluation, build_schema

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


def score_test_rows(
    table: pa.Table,
    predictions: Predictions,
    primary_metric: str = "accuracy",
    boosted: np.ndarray | None = None,
    class_weights: list[float] | None = None,
) -> dict[str, Any]:
    """Score the slices of test rows by age and town."""
    schema = build_schema(predictions.task.name, **COLUMNS)
    baselines = {} if boosted is None else {"gradient_boosting": {"test": boosted[:, None]}}
    evaluation = build_evaluation(primary_metrics=[primary_metric])
    result = Result(evaluation, {"test": predictions}, baselines)
    return slice_scores({"test": table}, result, class_weights, schema, ["age", "town"], {})


def score_slices(error_rate: float, **declared: Any) -> dict[str, Any]:
    """Score slices of such rows of cross-validation, and of test rows without a weak slice."""
    folds, test = make_rows(2000, 0, error_rate), make_rows(500, 9, 0.1)
    tables = {"cross_validation": folds[0], "test": test[0]}
    predictions = {"cross_validation": folds[1], "test": test[1]}
    result = Result(build_evaluation(), predictions, {})
    return slice_scores(tables, result, None, SCHEMA, [*SCHEMA.features], declared)


def is_old_in_b(where: Sequence[Sequence[str]]) -> bool:
    """Return whether a slice is that of the oldest bin in town b."""
    columns, values = zip(*where, strict=True)
    return columns == ("age", "town") and values[0].endswith("or more") and values[1] == "b"


def test_weak_pair_is_found_and_also_scored_on_test_rows() -> None:
    slices = score_slices(0.6)
    assert (slices["metric"], slices["row_set"]) == ("error", "cross_validation")
    first = slices["weak"][0]
    assert is_old_in_b(first["where"])
    score, (low, high) = first["score"], first["score"]["interval"]
    assert slices["all_rows"]["score"]["value"] < low < score["value"] < high
    assert 0.1 < score["expected"] < 0.2  # all rows are a little worse than expected
    assert score["excess"] == pytest.approx(score["value"] - score["expected"])
    assert 0 < score["excess_interval"][0] < score["excess"] < score["excess_interval"][1]
    assert first["test"]["value"] < 0.3  # no slice of the test rows is weak
    assert first["test"]["excess_interval"][0] < 0


@pytest.mark.parametrize("primary_metric", ["accuracy", "roc_auc"])
def test_a_slice_whose_probabilities_are_right_is_difficult_but_not_weak(
    primary_metric: str,
) -> None:
    slices = score_test_rows(*make_rows(2000, 0, 0.4, expected=0.4), primary_metric)
    assert slices["metric"] == ("error" if primary_metric == "accuracy" else "loss")
    assert slices["weak"] == []
    assert is_old_in_b(slices["difficult"][0]["where"])
    score = slices["difficult"][0]["score"]
    assert score["value"] > slices["all_rows"]["score"]["value"]
    assert score["expected"] == pytest.approx(score["value"], abs=0.1)


def test_probabilities_are_divided_by_class_weights() -> None:
    table, predictions = make_rows(2000, 0, 0.1)
    odds = predictions.y_pred / (1 - predictions.y_pred)
    weighted = predictions._replace(y_pred=3 * odds / (1 + 3 * odds), threshold=0.75)
    slices = [
        score_test_rows(table, predictions),
        score_test_rows(table, weighted, class_weights=[1.0, 3.0]),
    ]
    first, second = (each["all_rows"]["score"]["expected"] for each in slices)
    assert first == pytest.approx(second)


@pytest.mark.parametrize("is_worse_everywhere", [False, True])
def test_errors_of_a_regression_are_compared_with_those_of_boosting(
    is_worse_everywhere: bool,
) -> None:
    rng = np.random.default_rng(0)
    table, is_slice = make_table(rng, 2000)
    noise = np.where(is_slice, 3.0, 1.0)  # as large for the baseline as for the model
    y, boosted = noise * rng.normal(size=(2, 2000))
    y_pred = boosted + is_worse_everywhere * noise * rng.normal(size=2000)
    predictions = Predictions(REGRESSION, y, y_pred[:, None], np.ones(2000))
    slices = score_test_rows(table, predictions, "mae", boosted)
    assert (slices["metric"], slices["weak"]) == ("mae", [])
    assert is_old_in_b(slices["difficult"][0]["where"])

    shifted = predictions._replace(y_pred=predictions.y_pred + 10 * is_slice[:, None])
    slices = score_test_rows(table, shifted, "mae", boosted[:1900])
    assert is_old_in_b(slices["weak"][0]["where"])
    assert slices["all_rows"]["score"]["rows"] == 1900  # the baseline has predicted fewer rows


def test_equal_losses_say_nothing_about_their_spread() -> None:
    table, _ = make_table(np.random.default_rng(0), 400)
    y_pred = np.tile([0.8, 0.1, 0.1], (400, 1))
    is_wrong = np.array(table["town"].to_pylist()) == "b"
    predictions = Predictions(MULTICLASS, is_wrong.astype(float), y_pred, np.ones(400))
    slices = score_test_rows(table, predictions, "macro.roc_auc")
    assert slices["all_rows"]["score"]["excess_interval"]
    assert not any(("town", "b") in each["where"] for each in slices["weak"])
    slices = score_test_rows(table, predictions)  # the exact interval of a share needs no spread
    assert any(("town", "b") in each["where"] for each in slices["weak"])


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
    scores = score_slices(0.1, mine=conditions)["declared"]["mine"]
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
