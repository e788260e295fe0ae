"""Scores are scikit-learn's, and a score stands in one place."""

from typing import Any

import numpy as np
import pytest

from tabular.evaluation.scores import binary_scores, headline, regression_scores, score
from tabular.metrics import TASKS, flatten
from tests.helpers import schema_of

BINARY, MULTICLASS = map(schema_of, ("binary", "multiclass"))


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
    # Of no row that is called positive nobody knows how many are right.
    assert "precision" not in binary_scores(np.array([0.0, 1.0]), np.array([0.1, 0.2]), 0.5)
    assert score(np.ones(0), np.ones((0, 1)), BINARY, 0.5) == {"rows": 0}


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
        "decides": [of.main],
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
