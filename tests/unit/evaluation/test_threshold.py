"""The threshold is the one that a person would find by trying all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn import metrics

from tabular.evaluation.threshold import choose_threshold
from tabular.params.evaluate import Choice, Evaluate

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=40
)


def score(choice: Choice, y: np.ndarray, y_pred: np.ndarray, weight: np.ndarray) -> float:
    """What is to be as high as it can be, by scikit-learn."""
    wrong = metrics.confusion_matrix(y, y_pred, labels=[0, 1], sample_weight=weight)
    if choice.cost:
        costs = choice.cost
        return -float(wrong[1, 0] * costs.false_negative + wrong[0, 1] * costs.false_positive)
    if choice.best == "balanced_accuracy":
        shares = wrong.diagonal() / np.maximum(wrong.sum(axis=1), 1e-9)
        return float(shares.sum())
    function = metrics.f1_score if choice.best == "f1" else metrics.accuracy_score
    kwargs: dict[str, Any] = {"zero_division": 0} if choice.best == "f1" else {}
    return float(function(y, y_pred, sample_weight=weight, **kwargs))


@given(
    ROWS,
    st.sampled_from(
        [
            *({"best": name} for name in ("accuracy", "balanced_accuracy", "f1")),
            {"cost": {"false_negative": 5, "false_positive": 1}},
        ]
    ),
)
def test_no_other_threshold_is_better(rows: list[tuple[int, int, int]], policy: Any) -> None:
    y, place, weight = np.array(rows).T
    probability, choice = place / 20, Choice.model_validate(policy)
    found = choose_threshold(choice, y, probability, weight.astype(float))
    mine = score(choice, y, probability >= found, weight)
    for other in [*np.unique(probability), 1.1]:
        assert mine >= score(choice, y, probability >= other, weight) - 1e-9


@given(ROWS, st.sampled_from([0.3, 0.9]))
def test_a_recall_is_reached_with_the_fewest_false_alarms(
    rows: list[tuple[int, int, int]], asked: float
) -> None:
    y, place, weight = np.array(rows).T
    probability = place / 20
    if not y.any():
        return
    found = choose_threshold(Choice(recall=asked), y, probability, weight.astype(float))

    def recall_and_alarms(threshold: float) -> tuple[float, float]:
        positive = probability >= threshold
        alarms = weight[positive & (y == 0)].sum()
        return weight[positive & (y == 1)].sum() / weight[y == 1].sum(), alarms

    recall, alarms = recall_and_alarms(found)
    assert recall >= asked
    for other in np.unique(probability):
        other_recall, other_alarms = recall_and_alarms(other)
        assert other_recall < asked or other_alarms >= alarms


def test_a_number_is_itself_and_a_choice_is_one_thing() -> None:
    assert choose_threshold(0.3, np.array([1.0]), np.array([0.5]), None) == 0.3
    assert choose_threshold(
        Choice(precision=0.9), np.array([1, 0]), np.array([0.9, 0.2]), None
    ) == (pytest.approx(0.55))
    for wrong in ({"best": "f1", "recall": 0.9}, {}, {"best": "auc"}, {"recall": 1.5}, 1.0):
        with pytest.raises(ValidationError):
            Evaluate.model_validate({"threshold": wrong})


def test_neighbours_of_float32_are_told_apart() -> None:
    upper = np.float32(0.7)
    probability = np.array([upper, np.nextafter(upper, np.float32(0))])
    found = choose_threshold(Choice(best="accuracy"), np.array([1, 0]), probability, None)
    assert (probability >= found).tolist() == [True, False]
