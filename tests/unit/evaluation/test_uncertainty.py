"""Intervals are the textbook's."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from keras_tabular.core.metrics import TASKS, CustomMetric
from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.evaluation.uncertainty import (
    bootstrap,
    intervals,
    mean_difference,
    mean_interval,
    resampled_rows,
    score_differences,
    with_best_constant,
)
from keras_tabular.table.arrays import row_losses
from tests.helpers import build_schema


def outputs_of(task: str, rows: int = 300, seed: int = 0) -> Predictions:
    """Labels, and outputs that say something of them."""
    rng = np.random.default_rng(seed)
    classes = {"binary": 2, "multiclass": 3}.get(task)
    if classes is None:
        y = rng.exponential(size=rows)
        return Predictions(y, (y + rng.normal(size=rows))[:, None], rng.random(rows))
    y = rng.integers(0, classes, rows).astype(float)
    p = rng.dirichlet(np.ones(classes), rows) + np.eye(classes)[y.astype(int)] / 2
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)  # with ties
    return Predictions(y, p if classes > 2 else p[:, 1:], rng.random(rows), 0.4)


@pytest.mark.parametrize(("alpha", "method"), [(0.05, "wilson"), (5e-5, "exact")])
@pytest.mark.parametrize("right", [0, 31, 40])
def test_the_interval_of_a_share_is_that_of_scipy(right: int, alpha: float, method: Any) -> None:
    interval = mean_interval(np.arange(40) < right, np.ones(40), share=True, alpha=alpha)
    expected = binomtest(right, 40).proportion_ci(1 - alpha, method=method)
    assert interval == pytest.approx((expected.low, expected.high))


def test_the_interval_of_an_error_is_that_of_its_mean() -> None:
    found = mean_interval(np.repeat([0.0, 1.0], 50), np.ones(100), share=False)
    assert found == pytest.approx((0.4003, 0.5997), abs=1e-4)
    assert mean_interval(np.array([0.0, 0.0, 9.0]), np.ones(3), share=False)[0] == 0.0
    assert mean_interval(np.array([3.0]), np.ones(1), share=False) == (3.0, 3.0)


@pytest.mark.parametrize(("wins", "losses", "tells"), [(5, 0, False), (6, 0, True), (9, 2, False)])
def test_a_difference_of_few_rows_agrees_with_mcnemar(wins: int, losses: int, tells: bool) -> None:
    """Its exact p-values are 0.062, 0.031 and 0.065."""
    mine, other = np.ones(254), np.ones(254)
    other[:wins], mine[wins : wins + losses] = 0, 0
    found = mean_difference(mine, other, np.ones(254), share=True)
    assert found.difference == pytest.approx((wins - losses) / 254)
    assert (found.low > 0) == tells
    back = mean_difference(other, mine, np.ones(254), share=True)
    assert back == pytest.approx((-found.difference, -found.high, -found.low))
    alike = mean_difference(mine, mine, np.ones(254), share=True)
    assert alike == pytest.approx((0, -2.78 / 256, 2.78 / 256), abs=2e-4)  # one row may differ yet


def test_a_row_or_its_weight_tells_nothing() -> None:
    """Rows of weight 0 are none, and one row decides nothing."""
    mine, few = np.ones(254), np.r_[np.ones(4), np.zeros(250)]
    other, weight = 1 - few, few
    assert mean_difference(mine, other, weight, share=True).low < 0  # McNemar: 0.125
    found = mean_difference(np.array([1.0]), np.array([9.0]), np.ones(1), share=False)
    assert found.low < 0 <= found.high
    one = np.r_[1.0, np.zeros(99)]
    found = mean_difference(one, np.full(100, 9.0), one, share=False)
    assert found.low < 0 <= found.high


def test_the_interval_of_r2_holds_where_the_values_are_far_from_0() -> None:
    rng, schema = np.random.default_rng(0), build_schema("regression")
    y = rng.normal(size=500)
    value, weight = (y + rng.normal(size=500) / 3)[:, None], np.ones(500)
    near = intervals(bootstrap(Predictions(y, value, weight), schema), schema)["r2"]
    far = intervals(bootstrap(Predictions(y + 1e9, value + 1e9, weight), schema), schema)["r2"]
    assert far == pytest.approx(near, abs=1e-4)
    constant = np.full(500, 0.1)
    assert bootstrap(Predictions(constant, value, weight), schema).scores.get("r2") is None


@pytest.mark.parametrize(("positive", "negative"), [(100, 100), (40, 60_000)])
def test_the_interval_of_a_ranking_is_that_of_the_textbook(positive: int, negative: int) -> None:
    """The error of Hanley and McNeil, 1982; of many rows some are drawn, and a rare class whole."""
    schema = build_schema("binary")
    y = np.random.default_rng(2).permutation(np.repeat([1.0, 0.0], [positive, negative]))
    p = 1 / (1 + np.exp(-np.random.default_rng(1).normal(size=len(y)) - y))[:, None]
    found = intervals(bootstrap(Predictions(y, p, np.ones(len(y))), schema), schema)
    area = score(Predictions(y, p, np.ones(len(y))), schema).value("roc_auc") or 0.0
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    pairs = (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    error = ((area * (1 - area) + pairs) / positive / negative) ** 0.5
    low, high = found["roc_auc"]
    assert low < area < high
    assert (high - low) / 2 / 1.96 == pytest.approx(error, rel=0.15)
    low, high = found["loss"]
    error = row_losses(y, p, schema).std() / len(y) ** 0.5
    assert (high - low) / 2 / 1.96 == pytest.approx(error, rel=0.15)


def test_a_paired_difference_is_narrower_than_two_intervals_and_repeats() -> None:
    schema, mine = build_schema("binary"), outputs_of("binary")
    other = mine._replace(y_pred=mine.y_pred * 0.9 + 0.02 * outputs_of("binary", seed=1).y_pred)
    found = score_differences(bootstrap(mine, schema), bootstrap(other, schema), schema)
    assert set(found) == set(TASKS["binary"].scores)
    low, high = intervals(bootstrap(mine, schema), schema)["roc_auc"]
    assert found["roc_auc"].high - found["roc_auc"].low < (high - low) / 2
    assert score_differences(bootstrap(mine, schema), bootstrap(other, schema), schema) == found
    scores = [bootstrap(rows, schema).scores for rows in (mine, other)]
    for key, compared in found.items():
        value, other_value = (each.value(key) for each in scores)
        assert value is not None
        assert compared.difference == pytest.approx(value - (other_value or 0.0))


@pytest.mark.parametrize("task", TASKS)
def test_another_constant_is_not_better_than_a_constant(task: str) -> None:
    """Nobody learns anything by a constant, although it may suit these rows better."""
    schema, rows = build_schema(task), outputs_of(task)
    shares = np.bincount(rows.y.astype(int), rows.weight) / rows.weight.sum()
    mean = np.average(rows.y, weights=rows.weight)
    best = {"binary": shares[1:], "multiclass": shares}.get(task, np.array([mean]))
    worse = np.array([0.2, 0.2, 0.6]) if task == "multiclass" else best / 2
    first, second = (
        bootstrap(rows._replace(y_pred=np.tile(constant, (300, 1))), schema)
        for constant in (best, worse)
    )
    assert score_differences(first, second, schema)["loss"].high < 0
    difference = score_differences(first, with_best_constant(second, schema), schema)["loss"]
    assert difference == pytest.approx((0, 0, 0))


@pytest.mark.parametrize(
    ("positive", "without"),
    [
        (1, {"recall", "f1", "roc_auc", "average_precision", "balanced_accuracy"}),
        (9, {"recall", "f1", "roc_auc", "average_precision", "balanced_accuracy"}),
        (10, set[str]()),
        (91, {"roc_auc", "average_precision", "balanced_accuracy"}),
    ],
)
def test_a_score_of_few_rows_of_a_class_has_no_interval(positive: int, without: set[str]) -> None:
    schema = build_schema("binary")
    y = (np.arange(100) < positive).astype(float)
    predictions = outputs_of("binary", 100)._replace(y=y, weight=np.ones(100))
    bootstrapped = bootstrap(predictions, schema)
    expected = set(TASKS["binary"].scores) - without
    assert intervals(bootstrapped, schema).keys() == expected
    assert score_differences(bootstrapped, bootstrapped, schema).keys() == expected
    few = predictions._replace(threshold=np.sort(predictions.y_pred[:, 0])[-9])
    assert "precision" not in intervals(bootstrap(few, schema), schema)


def test_few_rows_or_groups_have_no_interval_and_perfect_scores_none_without_width() -> None:
    schema, predictions = build_schema("binary"), outputs_of("binary", 100)
    predictions = predictions._replace(weight=np.ones(100))
    assert not intervals(bootstrap(predictions.first(9), schema), schema)
    group = np.arange(100) // 12
    in_groups = bootstrap(predictions._replace(group=group), schema)
    assert intervals(in_groups, schema).keys() == {"accuracy", "loss"}
    one_group = bootstrap(predictions._replace(group=np.zeros(100, int)), schema)
    low, high = intervals(one_group, schema).pop("accuracy", (0, 1))
    assert high - low > 0.7
    assert "loss" not in intervals(one_group, schema)
    perfect = predictions._replace(y_pred=np.abs(predictions.y - 0.1)[:, None])
    limits = intervals(bootstrap(perfect, schema), schema)
    assert limits.keys() == {"accuracy", "brier", "loss"}
    assert limits["accuracy"][0] < 0.99


@pytest.mark.parametrize("kind", ["error", "share", "share of 1"])
def test_copies_of_a_row_in_a_group_tell_no_more_than_the_row(kind: str) -> None:
    rng, ones, share = np.random.default_rng(0), np.ones(48), kind != "error"
    values = ones if kind == "share of 1" else rng.integers(0, 2, 48).astype(float)
    values = values if share else rng.gamma(4, 0.5, 48)
    group = np.repeat(np.arange(48), 12)
    copies, weight = values[group], ones[group]
    interval = mean_interval(copies, weight, share, group=group)
    assert interval == pytest.approx(mean_interval(values, ones, share), abs=0.01)
    difference = mean_difference(copies, 1 + 0 * copies, weight, False, group)
    assert difference == pytest.approx(mean_difference(values, ones, ones, False))


def test_many_rows_in_pairs_are_as_sure_as_the_pairs_are_many() -> None:
    """The bootstrap draws whole groups of some rows: it agrees with the formula for groups."""
    rng, schema = np.random.default_rng(3), build_schema("regression")
    group = rng.permutation(np.repeat(np.arange(30_000), 2))
    y = rng.normal(size=30_000)[group]
    predictions = Predictions(y, np.zeros((60_000, 1)), np.ones(60_000), group=group)
    low, high = intervals(bootstrap(predictions, schema), schema)["loss"]
    error = row_losses(y, predictions.y_pred, schema).std() / 30_000**0.5
    assert (high - low) / 2 / 1.96 == pytest.approx(error, rel=0.15)
    rows, copies = resampled_rows(y, schema, group)
    assert len(rows) == pytest.approx(10_000, abs=1)
    assert np.bincount(group[rows])[group[rows]].min() == 2
    assert copies.sum() == pytest.approx(60_000, rel=0.01)


def mean_absolute_error(rows: Predictions) -> float:
    return float(np.average(np.abs(rows.y - rows.y_pred[:, 0]), weights=rows.weight))


def test_a_metric_of_the_project_is_scored_and_compared_as_one_of_the_task() -> None:
    """Here it is one of the task, too. A metric that is undefined is left out."""
    schema, metrics = build_schema("regression"), []
    for name, compute in (("same", mean_absolute_error), ("none", lambda rows: np.nan)):
        metrics.append(CustomMetric(name, compute, greater_is_better=False))
    first, second = (
        bootstrap(
            outputs_of("regression", seed=0)._replace(y_pred=p, custom_metrics=metrics), schema
        )
        for p in (outputs_of("regression").y_pred, np.ones((300, 1)))
    )
    assert first.scores.get("custom.none") is None
    limits, differences = intervals(first, schema), score_differences(first, second, schema)
    for key in ("custom.same", "mae"):
        assert first.scores.value(key) == pytest.approx(first.scores.value("mae"))
        assert limits[key] == pytest.approx(limits["mae"], abs=0.02)
        assert differences[key] == pytest.approx(differences["mae"], abs=0.02)
    few = first.predictions.first(9)
    assert "custom.same" not in intervals(bootstrap(few, schema), schema)
