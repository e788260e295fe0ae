"""The threshold is the one that a person would find by trying all."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keras_tabular.config.sections import Evaluate, ThresholdRule
from keras_tabular.evaluation.calibration import choose_threshold

ROWS = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 3)), min_size=1, max_size=40
)


# What a person may ask for.
CHOICES: list[dict[str, Any]] = [
    *({"best": name} for name in ("accuracy", "balanced_accuracy", "f1")),
    {"cost": {"false_negative": 5, "false_positive": 1}},
    *({key: asked} for key in ("recall", "precision") for asked in (0.3, 0.9)),
]


def worth(
    choice: ThresholdRule, y: np.ndarray, y_pred: np.ndarray, weight: np.ndarray
) -> tuple[bool, float]:
    """Whether the asked share is reached, and what is to be as high as it can be then."""
    hits, alarms, misses, rest = (
        float(weight[(y_pred == called) & (y == actual)].sum())
        for called, actual in ((True, 1), (True, 0), (False, 1), (False, 0))
    )
    recall, precision = hits / max(hits + misses, 1), hits / max(hits + alarms, 1)
    if choice.recall:  # with the fewest false alarms
        reached = recall >= choice.recall
        return reached, -alarms if reached else recall
    if choice.precision:
        reached = precision >= choice.precision
        return reached, recall if reached else precision
    if choice.cost:
        costs = choice.cost
        return True, -(misses * costs.false_negative + alarms * costs.false_positive)
    scores = {
        "accuracy": (hits + rest) / weight.sum(),
        "balanced_accuracy": (recall + rest / max(alarms + rest, 1)) / 2,
        "f1": 2 * hits / max(2 * hits + alarms + misses, 1),
    }
    return True, round(scores[str(choice.best)], 9)


@given(ROWS)
def test_no_other_threshold_is_better(rows: list[tuple[int, int, int]]) -> None:
    y, place, weight = np.array(rows).T
    probability = place / 20
    for asked in CHOICES:
        choice = ThresholdRule.model_validate(asked)
        found = choose_threshold(choice, y, probability, weight.astype(float))
        mine = worth(choice, y, probability >= found, weight)
        for other in [*np.unique(probability), 1.1]:
            assert mine >= worth(choice, y, probability >= other, weight)


def test_a_number_is_itself_and_a_choice_is_one_thing() -> None:
    y, probability = np.array([1, 0]), np.array([0.9, 0.2])
    assert choose_threshold(0.3, y, probability, None) == 0.3
    assert choose_threshold(ThresholdRule(precision=0.9), y, probability, None) == pytest.approx(
        0.55
    )
    for wrong in ({"best": "f1", "recall": 0.9}, {}, {"best": "auc"}, {"recall": 1.5}, 1.0):
        with pytest.raises(ValidationError):
            Evaluate.model_validate({"threshold": wrong})


def test_neighbours_of_float32_are_told_apart() -> None:
    upper = np.float32(0.7)
    probability = np.array([upper, np.nextafter(upper, np.float32(0))])
    found = choose_threshold(ThresholdRule(best="accuracy"), np.array([1, 0]), probability, None)
    assert (probability >= found).tolist() == [True, False]
