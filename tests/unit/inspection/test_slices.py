"""Tests of declared slices, of the weakest slices, and of the names of bins."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.column_statistics.bins import Bins
from keras_tabular.config.schema import Column
from keras_tabular.config.sections import Range
from keras_tabular.inspection.slices import slice_scores
from keras_tabular.scoring.scores import Predictions
from tests.helpers import BINARY, build_schema

KINDS = {"age": "real", "town": "category", "day": "datetime", "noise": "real"}
SCHEMA = build_schema("binary", **{name: {"kind": kind} for name, kind in KINDS.items()})


def make_rows(rows: int, seed: int, error_rate: float) -> tuple[pa.Table, Predictions]:
    """Make rows with an error rate of 0.1, and of `error_rate` for old people in town b."""
    rng = np.random.default_rng(seed)
    age, town = rng.uniform(20, 80, rows), rng.choice(["a", "b"], rows)
    day = np.datetime64("2024-01-01T14", "us") + np.timedelta64(1, "D") * rng.integers(0, 100, rows)
    columns = {"age": pa.array(age, mask=rng.random(rows) < 0.1), "town": town}
    columns |= {"day": pa.array(day, pa.timestamp("us", "UTC")), "noise": rng.normal(size=rows)}
    y = rng.integers(0, 2, rows).astype(float)
    wrong = rng.random(rows) < np.where((age > 65) & (town == "b"), error_rate, 0.1)
    predictions = Predictions(BINARY, y, np.abs(y - wrong)[:, None], np.ones(rows))
    return pa.table(columns | {"y": y.astype(int)}), predictions


def score_slices(error_rate: float, **declared: Any) -> dict[str, Any]:
    """Score slices of such rows of cross-validation, and of test rows without a weak slice."""
    folds, test = make_rows(2000, 0, error_rate), make_rows(500, 9, 0.1)
    tables = {"cross_validation": folds[0], "test": test[0]}
    predictions = {"cross_validation": folds[1], "test": test[1]}
    return slice_scores(tables, predictions, SCHEMA, ["accuracy"], [*SCHEMA.features], declared)


def test_weak_pair_is_found_and_also_scored_on_test_rows() -> None:
    slices = score_slices(0.6)
    first = slices["weakest"][0]
    (column, ages), town = first["where"]
    assert (column, ages.split()[1:], town) == ("age", ["or", "more"], ("town", "b"))
    assert first["weak"]
    score, (low, high) = first["score"], first["score"]["interval"]
    assert low < score["value"] < high < slices["all_rows"]["score"]["value"]
    assert 0.4 < score["constant"] < 0.7  # both classes have half of the rows
    assert first["test"]["value"] > 0.7  # no slice of the test rows is weak


def test_slices_are_compared_by_the_loss_if_a_class_is_rare() -> None:
    table, predictions = make_rows(400, 0, 0.6)
    row_sets = {"test": table}, {"test": predictions}
    slices = slice_scores(*row_sets, SCHEMA, ["roc_auc"], ["age", "town"], {})
    assert (slices["metric"], slices["row_set"]) == ("loss", "test")
    score = slices["weakest"][0]["score"]
    assert score["value"] > slices["all_rows"]["score"]["value"]
    assert score["constant"] == pytest.approx(np.log(2), abs=0.1)


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
