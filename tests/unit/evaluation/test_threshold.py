"""The threshold is the best of all that a person could try."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.metrics import confusion_matrix

from keras_tabular.config.sections import Evaluate, ThresholdRule
from keras_tabular.evaluation.calibration import choose_threshold

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=40
)


RULES: list[dict[str, Any]] = [
    *({"best": name} for name in ("accuracy", "balanced_accuracy", "f1")),
    {"cost": {"false_negative": 5, "false_positive": 1}},
    *({key: content} for key in ("recall", "precision") for content in (0.3, 0.9)),
]


def rate_threshold(
    rule: ThresholdRule, y: np.ndarray, y_pred: np.ndarray, weight: np.ndarray
) -> tuple[bool, float]:
    """Return whether the required share is reached, and the value to maximise."""
    (rest, alarms), (misses, hits) = confusion_matrix(
        y, y_pred, labels=[0, 1], sample_weight=weight
    )
    recall, precision = hits / max(hits + misses, 1), hits / max(hits + alarms, 1)
    if rule.recall:  # with the fewest false alarms
        reached = recall >= rule.recall
        return reached, -alarms if reached else recall
    if rule.precision:
        reached = precision >= rule.precision
        return reached, recall if reached else precision
    if rule.cost:
        return True, -(misses * rule.cost.false_negative + alarms * rule.cost.false_positive)
    scores = {
        "accuracy": (hits + rest) / weight.sum(),
        "balanced_accuracy": (recall + rest / max(alarms + rest, 1)) / 2,
        "f1": 2 * hits / max(2 * hits + alarms + misses, 1),
    }
    return True, round(scores[str(rule.best)], 9)


@given(ROWS)
def test_no_other_threshold_is_better(rows: list[tuple[int, int, int]]) -> None:
    y, place, weight = np.array(rows).T
    probability = place / 20
    for content in RULES:
        rule = ThresholdRule.model_validate(content)
        threshold = choose_threshold(rule, y, probability, weight.astype(float))
        rating = rate_threshold(rule, y, probability >= threshold, weight)
        for other in [*np.unique(probability), 1.1]:
            assert rating >= rate_threshold(rule, y, probability >= other, weight)


def test_a_number_is_used_as_it_is_and_a_rule_has_one_key() -> None:
    y, probability, precise = np.array([1, 0]), np.array([0.9, 0.2]), ThresholdRule(precision=0.9)
    for rule, threshold in ((0.3, 0.3), (precise, 0.55)):
        assert choose_threshold(rule, y, probability, np.ones(2)) == pytest.approx(threshold)
    for wrong in ({"best": "f1", "recall": 0.9}, {}, {"best": "auc"}, {"recall": 1.5}, 1.0):
        with pytest.raises(ValidationError):
            Evaluate.model_validate({"threshold": wrong})


def test_the_threshold_separates_neighbours_of_float32() -> None:
    upper, rule = np.float32(0.7), ThresholdRule(best="accuracy")
    probability = np.array([upper, np.nextafter(upper, np.float32(0))])
    threshold = choose_threshold(rule, np.array([1, 0]), probability, np.ones(2))
    assert (probability >= threshold).tolist() == [True, False]
