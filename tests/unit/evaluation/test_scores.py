"""Scores are those of scikit-learn, and undefined scores are left out."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from keras_tabular.core.errors import UserError
from keras_tabular.core.metrics import TASKS, CustomMetric, check_custom_metrics
from keras_tabular.evaluation.evaluation import Scores
from keras_tabular.evaluation.scores import Predictions, row_scores, score, scores_by_weights
from keras_tabular.table.arrays import row_losses
from tests.helpers import build_schema, score_values
from tests.unit.evaluation.test_uncertainty import draw_predictions


def expected_scores(task: str, predictions: Predictions) -> dict[str, float]:
    """Compute the scores of weighted rows with scikit-learn."""
    y, outputs, weight, threshold, *_ = predictions
    weighted: Any = {"sample_weight": weight}

    def compute(function: Callable[..., Any], predicted: np.ndarray, **options: Any) -> float:
        return float(function(y, predicted, **weighted, **options))

    losses = row_losses(y, outputs, build_schema(task))
    expected = {"loss": float(np.average(losses, weights=weight))}
    if task == "regression":
        value = outputs[:, 0]
        return expected | {
            "mae": compute(metrics.mean_absolute_error, value),
            "mape": compute(metrics.mean_absolute_percentage_error, value),
            "r2": compute(metrics.r2_score, value),
            "rmse": compute(metrics.root_mean_squared_error, value),
            "rmsle": compute(metrics.root_mean_squared_log_error, np.maximum(value, 0)),
        }
    binary = task == "binary"
    classes = (outputs[:, 0] >= threshold).astype(int) if binary else outputs.argmax(axis=1)
    expected |= {
        "accuracy": compute(metrics.accuracy_score, classes),
        "balanced_accuracy": compute(metrics.balanced_accuracy_score, classes),
    }
    for average in ("binary",) if binary else ("macro", "weighted"):
        prefix = "" if binary else f"{average}."
        for name in ("precision", "recall", "f1"):
            function = getattr(metrics, f"{name}_score")
            expected[f"{prefix}{name}"] = compute(
                function, classes, average=average, zero_division=0
            )
    ranks = {"roc_auc": metrics.roc_auc_score, "average_precision": metrics.average_precision_score}
    for name, function in ranks.items():
        of_class = [
            function(y == k, column, **weighted)
            for k, column in enumerate(outputs.T, start=int(binary))
        ]
        expected[name if binary else f"macro.{name}"] = float(np.mean(of_class))
    if binary:
        expected["brier"] = compute(metrics.brier_score_loss, outputs[:, 0])
    return expected


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_scikit_learn_also_under_many_weights(task: str) -> None:
    predictions, schema = draw_predictions(task), build_schema(task)
    expected = expected_scores(task, predictions)
    scores = score(predictions, schema)
    assert scores.rows == len(predictions.y)
    assert score_values(scores) == pytest.approx(expected)
    assert score_values(scores).keys() == set(TASKS[task].scores)
    many = scores_by_weights(
        predictions, np.stack([predictions.weight, 3 * predictions.weight]), schema
    )
    assert many.keys() == expected.keys()
    for key, values in many.items():
        assert values == pytest.approx([expected[key]] * 2), key
    mean = np.average(row_scores(predictions, schema), weights=predictions.weight)
    assert mean == pytest.approx(expected[TASKS[task].main])


def test_an_undefined_score_is_left_out() -> None:
    binary = build_schema("binary")

    def scores(y: list[float], *probability: float) -> dict[str, float]:
        y_pred = np.array(probability)[:, None]
        return score_values(score(Predictions(np.array(y), y_pred, np.ones(len(y))), binary))

    assert not {"roc_auc", "average_precision"} & scores([1, 1, 1], 0.1, 0.2, 1.0).keys()
    # Precision is undefined without a row that is predicted as positive.
    none_predicted = scores([0, 1], 0.1, 0.2)
    assert "precision" not in none_predicted
    assert none_predicted["f1"] == none_predicted["recall"] == 0
    # Recall is undefined without a positive row.
    defined = {"loss", "accuracy", "balanced_accuracy", "brier"}
    assert scores([0, 0], 0.1, 0.2).keys() == defined
    assert scores([0, 0], 0.1, 0.9)["f1"] == 0
    assert score(Predictions(np.ones(0), np.ones((0, 1)), np.ones(0)), binary) == Scores(0)


@pytest.mark.parametrize("names", [["a.b"], ["cost_low"], ["2"], ["cost", "cost"]])
def test_a_metric_name_that_cannot_be_a_key_is_an_error(names: list[str]) -> None:
    metrics = [CustomMetric(name, lambda rows: 0.0, greater_is_better=True) for name in names]
    with pytest.raises(UserError, match=r"^stages/evaluate\.py: METRICS: "):
        check_custom_metrics(metrics)
