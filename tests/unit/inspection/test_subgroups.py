"""Measures of subgroups equal those of fairlearn, and their intervals hold the truth."""

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Column
from keras_tabular.inspection.subgroups import compare_subgroups, row_values
from keras_tabular.model_file.metadata import Intervals
from keras_tabular.scoring.evaluation import ColumnSubgroups, Interval
from keras_tabular.scoring.scores import Predictions
from tests.helpers import BINARY, MULTICLASS, REGRESSION
from tests.subgroups import assert_equals_fairlearn

CATEGORY = Column(kind="category", nullable=True)


def compare(
    predictions: Predictions,
    values: Any,
    column: Column = CATEGORY,
    intervals: Intervals | None = None,
) -> ColumnSubgroups:
    """Compare the subgroups of rows with these values."""
    measures, cells = row_values(predictions, intervals), pa.chunked_array([pa.array(values)])
    return compare_subgroups("x", column, cells, measures, predictions.group)


def width(interval: Interval | None) -> float:
    assert interval
    return interval[1] - interval[0]


@pytest.mark.parametrize("is_weighted", [False, True])
def test_measures_and_differences_equal_those_of_fairlearn(is_weighted: bool) -> None:
    """Group b has no positive row, c has three rows, and some values are missing."""
    rng = np.random.default_rng(0)
    values = np.repeat(["a", "b", "c", None, "d"], [200, 60, 3, 50, 40])
    y = (rng.random(len(values)) < 0.4) & (values != "b")
    y_pred, weight = rng.random((len(values), 1)), rng.integers(1, 5, len(values)) ** is_weighted
    predictions = Predictions(BINARY, y.astype(float), y_pred, weight.astype(float), threshold=0.6)
    compared = compare(predictions, values.tolist())
    assert [group.name for group in compared.subgroups] == ["a", "b", "d", "c", "missing"]
    assert "true_positive_rate" not in compared.subgroups[1].measures
    is_selected = y_pred[:, 0] >= 0.6
    assert_equals_fairlearn(compared, y, is_selected, pd.Series(values).fillna("missing"), weight)


def test_numbers_form_bins_and_rare_values_one_group() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1000).astype(float)
    predictions = Predictions(BINARY, y, rng.random((1000, 1)), np.ones(1000))
    ages = compare(predictions, rng.integers(20, 80, 1000), column=Column(kind="integer"))
    assert [group.rows > 200 for group in ages.subgroups] == [True] * 4
    assert ages.subgroups[0].name.startswith("below ")
    flags = compare(predictions, y == 1, column=Column(kind="boolean"))
    assert [group.name for group in flags.subgroups] == ["false", "true"]
    assert "true_positive_rate" not in flags.differences
    many = compare(predictions, [str(n % 50) for n in range(1000)])
    *_, rest = many.subgroups
    assert (len(many.subgroups), rest.name, rest.rows) == (21, "others", 600)


def test_several_classes_have_errors_and_values_have_errors_means_and_coverage() -> None:
    rng, values = np.random.default_rng(0), np.repeat(["a", "b", "c"], [100, 40, 1])
    y = rng.integers(0, 3, 141).astype(float)
    classes = compare(Predictions(MULTICLASS, y, rng.random((141, 3)), np.ones(141)), values)
    assert [*classes.differences] == [*classes.subgroups[2].measures] == ["error"]

    y, y_pred = rng.normal(size=141), rng.normal(size=(141, 1))
    intervals = Intervals(coverage=0.9, at=(0.0,), half=(1.5,))
    predictions = Predictions(REGRESSION, y, y_pred, np.ones(141))
    compared = compare(predictions, values, intervals=intervals)
    first, is_a = compared.subgroups[0].measures, values == "a"
    errors = np.abs(y - y_pred[:, 0])
    expected = {"error": errors, "mean_prediction": y_pred[:, 0], "coverage": errors <= 1.5}
    assert compared.differences.keys() == expected.keys()
    for name, row_measures in expected.items():
        assert first[name].value == pytest.approx(row_measures[is_a].mean())
    single = compared.subgroups[2].measures
    assert (single["error"].interval, bool(single["coverage"].interval)) == (None, True)


def test_copies_of_rows_do_not_narrow_intervals() -> None:
    rng, values = np.random.default_rng(0), np.repeat(["a", "b"], 100)
    y, y_pred = rng.integers(0, 2, 200).astype(float), rng.random((200, 1))
    once = compare(Predictions(BINARY, y, y_pred, np.ones(200)), values)
    twice = np.repeat(np.arange(200), 2)
    copies = Predictions(BINARY, y[twice], y_pred[twice], np.ones(400), group=twice)
    repeated = compare(copies, values[twice])
    for key, difference in once.differences.items():
        copied = repeated.differences[key]
        assert copied.value == pytest.approx(difference.value)
        assert width(copied.interval) == pytest.approx(width(difference.interval), rel=0.1)


@pytest.mark.parametrize("groups", [2, 4])
def test_interval_of_the_largest_difference_contains_0_if_all_groups_are_alike(groups: int) -> None:
    rng, inside = np.random.default_rng(0), []
    values = np.repeat(["a", "b", "c", "d"][:groups], 50)
    for _ in range(300):
        y = rng.integers(0, 2, len(values)).astype(float)
        selected = (rng.random((len(values), 1)) < 0.3).astype(float)
        largest = compare(Predictions(BINARY, y, selected, np.ones(len(y))), values).differences
        interval = largest["selection_rate"].interval
        inside.append(interval is not None and interval[0] <= 0)
    assert 0.93 <= np.mean(inside) <= 1
