"""Intervals hold the true value as often as they say, in simulations of random tables.

The figures in docs/scores.md are from these tests.
"""

import numpy as np
import pyarrow as pa
import pytest
from scipy.special import expit, ndtri

from keras_tabular.inspection.slices import ScoredRows, weakest_slices
from keras_tabular.scoring.scores import Predictions, score
from keras_tabular.scoring.uncertainty import error_interval, score_and_resample, share_interval
from tests.helpers import BINARY, REGRESSION, build_schema, score_values


def draw_ranked_rows(
    rng: np.random.Generator, positive: int, area: float, rows: int = 200
) -> Predictions:
    """Draw predictions whose area under the ROC curve is `area` in very many rows."""
    y = np.repeat([1.0, 0.0], [positive, rows - positive])
    return predict_ranked(y, area, rng.normal(size=rows))


def predict_ranked(y: np.ndarray, area: float, errors: np.ndarray) -> Predictions:
    share = y.mean()
    logits = 2**0.5 * ndtri(area) * (y - 0.5) + errors + np.log(share / (1 - share))
    return Predictions(BINARY, y, expit(logits)[:, None], np.ones(len(y)), share)


@pytest.mark.parametrize(("positive", "least"), [(10, 0.88), (20, 0.9), (50, 0.9)])
def test_intervals_of_a_rare_class_hold_the_truth_for_noise_and_for_good_models(
    positive: int, least: float
) -> None:
    """200 draws of 200 rows for each of four models. A perfect score has no interval."""
    keys = ("roc_auc", "average_precision", "recall", "precision", "f1")
    for area in (0.5, 0.8, 0.95, 0.99):
        rng, inside = np.random.default_rng(0), {key: list[bool]() for key in keys}
        truth = score_values(score(draw_ranked_rows(rng, 2000 * positive, area, 400_000)))
        for _ in range(200):
            rows = draw_ranked_rows(rng, positive, area)
            limits = score_and_resample(rows).intervals(keys)
            for key in limits.keys() & inside.keys():
                inside[key].append(limits[key][0] <= truth[key] <= limits[key][1])
        coverage = {key: float(np.mean(each)) for key, each in inside.items() if len(each) >= 50}
        print(positive, area, coverage)
        assert min(coverage.values()) >= least, (area, coverage)


@pytest.mark.parametrize("positive", [1, 2, 3, 5, 9, 10, 20, 50])
def test_two_models_of_noise_are_level(positive: int) -> None:
    """ROC AUC is compared in 400 draws of 200 rows, but not with fewer than ten positive rows."""
    rng, different, draws = np.random.default_rng(0), 0, 400 if positive >= 10 else 10
    for _ in range(draws):
        first, second = (score_and_resample(draw_ranked_rows(rng, positive, 0.5)) for _ in range(2))
        difference = first.differences(second).get("roc_auc")
        assert (difference is None) == (positive < 10)
        assert ("roc_auc" in first.intervals()) == (positive >= 10)
        different += difference is not None and not difference.within_chance
    print(positive, different / draws)
    assert different <= 0.08 * draws


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("groups", "least"), [(5, 0.83), (20, 0.87), (100, 0.9)])
def test_intervals_in_groups_contain_the_truth(groups: int, least: float, weighted: bool) -> None:
    """200 draws of ten rows a group. Five groups have intervals of means over the rows only."""
    rng, rows = np.random.default_rng(0), 10 * groups
    means = {"accuracy", "loss", "mae", "squared error"}
    group = np.repeat(np.arange(groups), 10)
    truth = {"mae": (2 / np.pi) ** 0.5, "rmse": 1.0, "squared error": 1.0}
    truth |= score_values(score(draw_ranked_rows(rng, 200_000, 0.8, 400_000)))
    inside = {key: list[bool]() for key in truth}
    for _ in range(200):
        weight = rng.choice([1.0, 3.0], groups)[group] if weighted else np.ones(rows)
        errors = (rng.normal(size=groups)[group] + rng.normal(size=rows)) / 2**0.5
        classes = predict_ranked(rng.permutation(np.repeat([1.0, 0.0], rows // 2)), 0.8, errors)
        values = Predictions(REGRESSION, errors, np.zeros((rows, 1)), weight)
        for predictions in (classes, values):
            in_groups = predictions._replace(weight=weight, group=group)
            for key, (low, high) in score_and_resample(in_groups).intervals().items():
                name = "squared error" if predictions is values and key == "loss" else key
                if name in truth:
                    inside[name].append(low <= truth[name] <= high)
    coverage = {key: float(np.mean(each)) for key, each in inside.items() if each}
    print(groups, weighted, coverage)
    assert (coverage.keys() == means) == (groups < 10)
    assert min(coverage.values()) >= least, coverage


@pytest.mark.parametrize(
    ("share", "rows", "least"),
    [
        *((False, 20, 0.78), (False, 100, 0.88), (False, 1000, 0.93)),
        *((True, 20, 0.92), (True, 50, 0.92), (True, 200, 0.92)),
    ],
)
def test_intervals_of_means_hold_the_truth(share: bool, rows: int, least: float) -> None:
    """1000 draws of rows that are right with a probability of 0.98, or of lognormal errors.

    The logarithm of these has a standard deviation of 1.25: of few rows the interval is too narrow.
    """
    rng, inside, truth = np.random.default_rng(0), 0, 0.98 if share else np.exp(1.25**2 / 2)
    for _ in range(1000):
        values = (rng.random(rows) < 0.98) * 1.0 if share else rng.lognormal(0, 1.25, rows)
        interval = share_interval if share else error_interval
        low, high = interval(values, np.ones(rows))
        inside += low <= truth <= high
    print(share, rows, inside / 1000)
    assert inside / 1000 >= least


@pytest.mark.parametrize("share", [0.8, 0.95, 0.99])
def test_a_model_that_is_as_good_everywhere_has_no_weak_slice(share: float) -> None:
    """At most 5 % of 200 tables of 1,500 rows, with a thousand slices each, have a weak slice."""
    names = [f"x{number}" for number in range(8)]
    schema = build_schema("binary", **{name: {"kind": "category"} for name in names})
    rng, weak, letters = np.random.default_rng(0), 0, np.array(list("abcdef"))
    for _ in range(200):
        table = pa.table({name: rng.choice(letters, 1500) for name in names})
        y = rng.integers(0, 2, 1500).astype(float)
        right = rng.random(1500) < share
        predictions = Predictions(BINARY, y, np.where(right, y, 1 - y)[:, None], np.ones(1500))
        rows = ScoredRows(table, predictions, schema, "accuracy", predictions.row_scores)
        slices = weakest_slices(rows, rows, names, float(right.mean()))
        assert slices["looked_at"] > 1000
        weak += any(each["weak"] for each in slices["weakest"])
    print(share, weak / 200)
    assert weak <= 0.05 * 200
