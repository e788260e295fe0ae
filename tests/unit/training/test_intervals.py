"""Intervals hold the share of new rows that was asked for, and are wide where errors are."""

import numpy as np
import pytest

from keras_tabular.model_file.attribution import fold_predictions
from keras_tabular.model_file.intervals import Intervals
from keras_tabular.model_file.metadata import Ensemble

Rows = tuple[np.ndarray, np.ndarray, np.ndarray]


def rows_of(rng: np.random.Generator, rows: int) -> Rows:
    """x, y = 2x with noise that grows with it, and a fold."""
    x = rng.uniform(0, 3, rows)
    return x, 2 * x + rng.normal(size=rows) * (0.2 + x), np.arange(rows) % 5


@pytest.mark.parametrize("rows", [100, 600])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_so_many_new_values_are_inside_whatever_the_noise(coverage: float, rows: int) -> None:
    """In the mean of 100 tables; each fold's network is off by a draw of its own."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(100):
        x, y, fold = rows_of(rng, rows)
        off = 0.25 * rng.normal(size=5)
        predicted = 2 * x + off[fold]
        intervals = Intervals.from_residuals(y - predicted, predicted, fold, coverage, 0.25**2)
        new, values, _ = rows_of(rng, 300)
        low, high = intervals.ends(2 * new + off.mean()).T
        inside.append(np.mean((low <= values) & (values <= high)))
    assert np.mean(inside) == pytest.approx(coverage, abs=0.02)


def test_an_interval_is_wide_where_errors_are() -> None:
    x, y, fold = rows_of(np.random.default_rng(1), 2000)
    intervals = Intervals.from_residuals(y - 2 * x, 2 * x, fold, 0.9)
    low, high = intervals.ends(np.array([0.1, 5.9])).T
    narrow, wide = high - low
    assert wide > 5 * narrow
    assert len(intervals.at) == 10
    assert Intervals.model_validate_json(intervals.model_dump_json()) == intervals


def test_a_fold_answers_by_the_networks_that_left_it_out() -> None:
    ensemble = Ensemble(
        folds={"b": (0, 1), "a": (0, 0, 1, 1)},
        weights={"a": 0.25, "b": 0.75},
        target_range=(0.0, 10.0),
    )
    members = np.array([[1.0, 3.0, 5.0, 7.0, 20.0, 4.0]])  # those of a come first
    assert fold_predictions(members, ensemble).tolist() == [
        [0.25 * 2 + 0.75 * 10, 0.25 * 6 + 0.75 * 4]
    ]
