"""Scores are scikit-learn's, intervals are the textbook's, and a score stands in one place."""

from typing import Any

import numpy as np
import pytest

from tabular.evaluation.scores import (
    binary_scores,
    headline,
    interval,
    paired_difference,
    regression_scores,
    row_scores,
    score,
)
from tabular.metrics import TASKS, flatten
from tests.helpers import schema_of

BINARY, MULTICLASS, REGRESSION = map(schema_of, ("binary", "multiclass", "regression"))


def test_scores_of_four_rows() -> None:
    predicted = np.array([[0.1], [0.6], [0.5], [0.9]])
    scores = score(np.array([0, 0, 1, 1]), predicted, BINARY, 0.5)
    assert scores["accuracy"] == 0.75
    assert scores["precision"] == pytest.approx(2 / 3)
    assert scores["recall"] == 1
    assert scores["roc_auc"] == 0.75
    assert scores["brier"] == pytest.approx((0.01 + 0.36 + 0.25 + 0.01) / 4)
    assert scores["loss"] == pytest.approx(-np.log([0.9, 0.4, 0.5, 0.9]).mean())


def test_scores_of_three_classes() -> None:
    probabilities = np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    scores = score(np.array([0, 1, 2, 2]), probabilities, MULTICLASS, 0.5)
    assert scores["accuracy"] == 0.75
    assert scores["macro"]["recall"] == pytest.approx((1 + 1 + 0.5) / 3)
    assert scores["weighted"]["recall"] == 0.75
    assert scores["macro"]["precision"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert scores["loss"] == pytest.approx(-np.log([0.8, 0.5, 0.3, 0.6]).mean())
    # In rank, row 2's 0.6 for class b stands above the true row's 0.5, and ties count a half.
    assert scores["macro"]["roc_auc"] == pytest.approx((1 + 2 / 3 + 7 / 8) / 3)


def test_scores_of_values() -> None:
    scores = regression_scores(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 5.0]))
    assert scores["mae"] == pytest.approx(2 / 3)
    assert scores["rmse"] == pytest.approx((4 / 3) ** 0.5)
    assert scores["r2"] == pytest.approx(1 - 4 / 2)


def test_rows_of_one_class_have_no_curve_and_no_rows_no_score() -> None:
    assert "roc_auc" not in binary_scores(np.ones(3), np.array([0.1, 0.2, 1.0]), 0.5)
    assert score(np.ones(0), np.ones((0, 1)), BINARY, 0.5) == {"rows": 0}


def test_the_main_score_is_the_mean_of_its_rows() -> None:
    rng = np.random.default_rng(0)
    for schema, outputs in ((BINARY, 1), (MULTICLASS, 3), (REGRESSION, 1)):
        y, predicted = rng.integers(0, max(outputs, 2), 50).astype(float), rng.random((50, outputs))
        of_rows = row_scores(y, predicted, schema, 0.7)
        expected = score(y, predicted, schema, 0.7)[TASKS[schema.task].main]
        assert of_rows.mean() == pytest.approx(expected)


def test_the_interval_of_185_right_of_254() -> None:
    """Against the textbook's formula."""
    p, n, z = 185 / 254, 254, 1.959964
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    of_rows = np.repeat([1.0, 0.0], [185, 69])
    assert interval(of_rows, BINARY) == pytest.approx((middle - half, middle + half), abs=1e-6)
    assert interval(np.ones(10), MULTICLASS)[0] < 1  # no test set is large enough to be sure


def test_the_interval_of_an_error_is_that_of_its_mean() -> None:
    low, high = interval(np.r_[np.zeros(50), np.ones(50)], REGRESSION)
    assert (low, high) == pytest.approx((0.5 - 0.0985, 0.5 + 0.0985), abs=1e-3)
    assert interval(np.r_[0.0, 0.0, 9.0], REGRESSION)[0] == 0.0
    assert interval(np.array([3.0]), REGRESSION) == (3.0, 3.0)


def test_a_paired_difference_counts_only_the_rows_that_differ() -> None:
    mine, other = np.array([1.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0, 0.0])
    half = 1.959964 * np.sqrt(1 / 3) / 2
    found = paired_difference(mine, other)
    assert found == pytest.approx({"difference": 0.5, "low": 0.5 - half, "high": 0.5 + half})
    back = paired_difference(other, mine)
    assert back == pytest.approx({"difference": -0.5, "low": -0.5 - half, "high": half - 0.5})
    assert set(paired_difference(mine, mine).values()) == {0.0}
    # Of 254 rows one more wrong is well within what luck does.
    many = np.repeat([1.0, 0.0], [185, 69])
    loses = paired_difference(many, np.r_[many[:-1], 1.0])
    assert loses["difference"] == pytest.approx(-1 / 254)
    assert loses["low"] < loses["difference"] < 0 < loses["high"]
    assert loses["high"] - loses["low"] < 0.02  # two independent ones: 0.15


SCORES: dict[str, Any] = {
    task: {
        **{
            rows: dict.fromkeys([*of.scores, "rows"], 0.5)
            for rows in ("train", "test", "validation", "cross_validation")
        },
        "baseline": {
            name: dict.fromkeys([*of.scores, "rows"], 0.5)
            | {"cross_validation": dict.fromkeys([*of.scores, "rows"], 0.5)}
            for name in of.baselines.values()
        },
        "paired_difference": {"test": {"baseline": "x", "difference": 0.5, "low": 0, "high": 1}},
    }
    for task, of in TASKS.items()
}


@pytest.mark.parametrize("task", TASKS)
def test_the_headline_is_short_and_no_score_is_in_both(task: str) -> None:
    of = TASKS[task]
    every = dict(flatten(SCORES[task]))
    every |= {f"test.{of.main}_{end}": 0.5 for end in ("low", "high")}
    first, rest = (dict(flatten(half)) for half in headline(every, schema_of(task)))
    assert len(first) <= 12
    assert not first.keys() & rest.keys()
    assert first | rest == every
    assert first.keys() == {
        *(f"{rows}.{name}" for rows in ("test", "cross_validation")
          for name in (of.main, of.second, "loss")),
        *(f"test.{of.main}_low", f"test.{of.main}_high"),
        *(f"baseline.{name}.{of.main}" for name in of.baselines.values()),
    }  # fmt: skip
