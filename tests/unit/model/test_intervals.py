"""Intervals hold the share of new rows that was asked for, and repeat the paper's definition."""

import numpy as np
import pytest

from tabular.model.intervals import KEPT, Residuals
from tabular.model.saved_model import fold_answers


def one_line(x: np.ndarray, y: np.ndarray) -> float:
    """The slope of a line through 0: a model of one number."""
    return float((x * y).sum() / np.square(x).sum())


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_so_many_new_values_are_inside_whatever_the_noise(coverage: float) -> None:
    """Of 100 rows each, in the mean of 100 tables whose noise grows with x."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(100):
        x, new = rng.normal(size=100), rng.normal(size=300)
        y, values = (2 * of + rng.normal(size=len(of)) * (1 + np.abs(of)) for of in (x, new))
        fold = np.arange(100) % 5
        slopes = np.array([one_line(x[fold != k], y[fold != k]) for k in range(5)])
        residuals = Residuals.of(y - x * slopes[fold], fold, coverage)
        low, high = residuals.interval(new[:, None] * slopes)
        inside.append(np.mean((low <= values) & (values <= high)))
    assert np.mean(inside) == pytest.approx(coverage, abs=0.02)


def test_an_end_is_the_order_statistic_of_the_paper() -> None:
    rng = np.random.default_rng(1)
    fold, errors = np.arange(60) % 3, rng.normal(size=60)
    answers = rng.normal(size=(1, 3))
    low, high = Residuals.of(errors, fold, 0.8).interval(answers)
    reached = int(np.ceil(0.8 * 61))
    above = np.sort(answers[0, fold] + np.abs(errors))[reached - 1]
    below = np.sort(answers[0, fold] - np.abs(errors))[60 - reached]
    assert (low[0], high[0]) == pytest.approx((below, above), abs=1e-6)


def test_of_many_rows_few_residuals_are_kept_and_the_ends_stay() -> None:
    rng = np.random.default_rng(2)
    errors, fold = rng.normal(size=50_000), np.arange(50_000) % 5
    residuals = Residuals.of(errors, fold, 0.9)
    assert {len(of_fold) for of_fold in residuals.sorted} == {KEPT}
    _, high = residuals.interval(np.zeros((1, 5)))
    assert high[0] == pytest.approx(np.quantile(np.abs(errors), 0.9), abs=0.02)
    assert Residuals.read(residuals._asdict()) == residuals


@pytest.mark.parametrize("found", [None, {}, {"coverage": 2, "sizes": [1], "sorted": [[1]]}])
def test_what_is_no_sketch_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="residuals"):
        Residuals.read(found)


def test_a_fold_answers_by_the_networks_that_left_it_out() -> None:
    metadata = {
        "folds": {"b": [0, 1], "a": [0, 0, 1, 1]},
        "weights": {"a": 0.25, "b": 0.75},
        "target_range": [0.0, 10.0],
    }
    members = np.array([[1.0, 3.0, 5.0, 7.0, 20.0, 4.0]])  # those of a come first
    assert fold_answers(members, metadata).tolist() == [[0.25 * 2 + 0.75 * 10, 0.25 * 6 + 0.75 * 4]]
