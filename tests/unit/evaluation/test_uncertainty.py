"""Intervals are the textbook's, and the bootstrap draws the scores that scikit-learn computes."""

import numpy as np
import pytest

from tabular.evaluation import uncertainty
from tabular.evaluation.scores import score
from tabular.evaluation.uncertainty import (
    Outputs,
    differences,
    intervals,
    mean_difference,
    mean_interval,
    row_scores,
    weighted_scores,
)
from tabular.metrics import TASKS, numbers, with_digits
from tests.helpers import schema_of


def outputs_of(task: str, rows: int = 300, seed: int = 0) -> Outputs:
    """Labels, and outputs that say something of them."""
    rng = np.random.default_rng(seed)
    classes = {"binary": 2, "multiclass": 3}.get(task)
    if classes is None:
        y = rng.exponential(size=rows)
        return Outputs(y, (y + rng.normal(size=rows))[:, None], rng.random(rows))
    y = rng.integers(0, classes, rows).astype(float)
    p = rng.dirichlet(np.ones(classes), rows) + np.eye(classes)[y.astype(int)] / 2
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)  # with ties
    return Outputs(y, p if classes > 2 else p[:, 1:], rng.random(rows), 0.4)


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_of_a_draw_are_those_of_weighted_rows(task: str) -> None:
    found, schema = outputs_of(task), schema_of(task)
    expected = numbers(score(*found[:2], schema, found.threshold, found.weight))
    drawn = weighted_scores(found, np.stack([found.weight, 3 * found.weight]), schema)
    assert set(drawn) == set(expected) - {"rows"}
    for key, values in drawn.items():
        assert values == pytest.approx([expected[key]] * 2), key


@pytest.mark.parametrize("task", TASKS)
def test_the_main_score_is_the_mean_of_its_rows(task: str) -> None:
    found = outputs_of(task)
    expected = score(*found[:2], schema_of(task), found.threshold, found.weight)
    mean = np.average(row_scores(found, schema_of(task)), weights=found.weight)
    assert mean == pytest.approx(expected[TASKS[task].main])


def test_the_interval_of_185_right_of_254() -> None:
    """Against the textbook's formula."""
    p, n, z = 185 / 254, 254, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    found = mean_interval(np.repeat([1.0, 0.0], [185, 69]), np.ones(254), share=True)
    assert found == pytest.approx((middle - half, middle + half), abs=1e-6)
    # No test set is large enough to be sure.
    assert mean_interval(np.ones(10), np.ones(10), share=True)[0] < 1


def test_the_interval_of_an_error_is_that_of_its_mean() -> None:
    def of(values: np.ndarray) -> tuple[float, float]:
        return mean_interval(values, np.ones(len(values)), share=False)

    assert of(np.repeat([0.0, 1.0], 50)) == pytest.approx((0.4015, 0.5985), abs=1e-3)
    assert of(np.array([0.0, 0.0, 9.0]))[0] == 0.0
    assert of(np.array([3.0])) == (3.0, 3.0)


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
    assert set(mean_difference(mine, mine, np.ones(254), share=True)) == {0.0}


def test_the_interval_of_a_ranking_is_that_of_hanley_and_mcneil() -> None:
    """Their standard error of the area under the curve, of many draws of 200 rows: 1982."""
    schema, weight = schema_of("binary"), np.ones(200)
    y = np.repeat([0.0, 1.0], 100)
    p = 1 / (1 + np.exp(-np.random.default_rng(1).normal(size=200) - y))
    low, high = intervals(Outputs(y, p[:, None], weight), schema)["roc_auc"]
    a = score(y, p[:, None], schema, 0.5)["roc_auc"]
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + 99 * (q1 - a * a) + 99 * (q2 - a * a)) / 1e4)
    assert (high - low) / 2 / 1.96 == pytest.approx(error, rel=0.1)


def test_a_paired_difference_is_narrower_than_two_intervals_and_repeats() -> None:
    schema, mine = schema_of("binary"), outputs_of("binary")
    other = mine._replace(outputs=mine.outputs * 0.9 + 0.02 * outputs_of("binary", seed=1).outputs)
    keys = ("roc_auc", "accuracy", "no_score")
    found = differences(mine, other, schema, keys)
    assert set(found) == {"roc_auc", "accuracy"}
    low, high = intervals(mine, schema, keys)["roc_auc"]
    assert found["roc_auc"].high - found["roc_auc"].low < (high - low) / 2
    assert differences(mine, other, schema, keys) == found


def test_of_more_rows_than_are_drawn_the_interval_is_narrower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schema, found = schema_of("binary"), outputs_of("binary", 4000)
    whole = intervals(found, schema, ("roc_auc",))["roc_auc"]
    monkeypatch.setattr(uncertainty, "MAX_ROWS", 1000)
    assert intervals(found, schema, ("roc_auc",))["roc_auc"] == pytest.approx(whole, abs=0.004)


@pytest.mark.parametrize(
    ("value", "half", "said"),
    [
        (0.7205, 0.0549, "0.72"), (0.0123, 0.0149, "0.012"), (12345.6, 234, "12,350"),
        (12345.6, 96, "12,300"), (-0.0004, 0.07, "-0.0004"), (6000.0, 900_000, "6,000"),
        (0.5, 0.0, "0.5"), (0.0, 0.03, "0.000"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_that_their_interval_deserves(
    value: float, half: float, said: str
) -> None:
    assert with_digits(value, half) == said
