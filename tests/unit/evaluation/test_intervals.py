"""Intervals contain the requested share of new values, and are wide where errors are large."""

import numpy as np
import pytest

from keras_tabular.evaluation.intervals import fit_intervals
from keras_tabular.inspection.attribution import fold_means
from keras_tabular.model_file.metadata import Ensemble


def draw_rows(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw x, y = 2x with noise that grows with x, and a fold."""
    x = rng.uniform(0, 3, rows)
    return x, 2 * x + rng.normal(size=rows) * (0.2 + x), np.arange(rows) % 5


@pytest.mark.parametrize("rows", [100, 600])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_intervals_contain_the_requested_share_of_new_values(coverage: float, rows: int) -> None:
    """On average over 100 tables, where each fold's network has a bias of its own."""
    rng, covered = np.random.default_rng(0), []
    for _ in range(100):
        x, y, fold = draw_rows(rng, rows)
        bias = 0.25 * rng.normal(size=5)
        predicted = 2 * x + bias[fold]
        intervals = fit_intervals(y - predicted, predicted, fold, coverage, 0.25**2)
        new_x, new_y, _ = draw_rows(rng, 300)
        low, high = intervals.ends(2 * new_x + bias.mean()).T
        covered.append(np.mean((low <= new_y) & (new_y <= high)))
    assert np.mean(covered) == pytest.approx(coverage, abs=0.02)


def test_an_interval_is_wide_where_errors_are_large() -> None:
    x, y, fold = draw_rows(np.random.default_rng(1), 2000)
    intervals = fit_intervals(y - 2 * x, 2 * x, fold, 0.9)
    low, high = intervals.ends(np.array([0.1, 5.9])).T
    narrow, wide = high - low
    assert wide > 5 * narrow


def test_the_prediction_of_a_fold_is_the_weighted_mean_of_its_own_networks() -> None:
    folds, weights = {"b": (0, 1), "a": (0, 0, 1, 1)}, {"a": 0.25, "b": 0.75}
    ensemble = Ensemble(folds=folds, weights=weights, target_range=(0.0, 10.0))
    members = np.array([[9.0, 1.0, 3.0, 5.0, 7.0, 20.0, 4.0]])  # after the model, those of a
    expected = [0.25 * 2 + 0.75 * 10, 0.25 * 6 + 0.75 * 4]
    means, weights_by_name = fold_means(members, ensemble, 1)
    predictions = np.average(means, axis=0, weights=weights_by_name)
    assert predictions.ravel().tolist() == expected
