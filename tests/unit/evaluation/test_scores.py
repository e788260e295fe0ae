"""Scores are scikit-learn's, and an undefined one is left out."""

import numpy as np
import pytest

from tabular.evaluation.scores import binary_scores, score
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


def test_rows_of_one_class_have_no_curve_and_no_rows_no_score() -> None:
    assert "roc_auc" not in binary_scores(np.ones(3), np.array([0.1, 0.2, 1.0]), 0.5)
    # Of no row that is called positive nobody knows how many are right.
    assert "precision" not in binary_scores(np.array([0.0, 1.0]), np.array([0.1, 0.2]), 0.5)
    assert score(np.ones(0), np.ones((0, 1)), BINARY, 0.5) == {"rows": 0}
