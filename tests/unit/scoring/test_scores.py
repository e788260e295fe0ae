"""Scores are those of scikit-learn, and undefined scores are left out."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from keras_tabular.core.errors import UserError
from keras_tabular.scoring.scores import Predictions, score, scores_by_weights
from keras_tabular.scoring.uncertainty import score_and_resample
from keras_tabular.tasks.metrics import CustomMetric, check_custom_metrics
from keras_tabular.tasks.task import TASKS
from tests.helpers import BINARY
from tests.unit.scoring.test_uncertainty import draw_predictions


def compute_with_sklearn(task: str, predictions: Predictions) -> dict[str, float]:
    """Compute the scores of weighted rows with scikit-learn."""
    _, y, outputs, weight, threshold, *_ = predictions
    losses, weighted = predictions.row_losses, {"sample_weight": weight}
    expected, value = {"loss": np.average(losses, weights=weight)}, outputs[:, 0]
    if task == "regression":
        return expected | {
            "mae": metrics.mean_absolute_error(y, value, **weighted),
            "mape": metrics.mean_absolute_percentage_error(y, value, **weighted),
            "r2": metrics.r2_score(y, value, **weighted),
            "rmse": metrics.root_mean_squared_error(y, value, **weighted),
            "rmsle": metrics.root_mean_squared_log_error(y, np.maximum(value, 0), **weighted),
        }
    truth, ranked, classes, prefix = np.eye(3)[y.astype(int)], outputs, outputs.argmax(1), "macro."
    averages = {"macro.": "macro", "weighted.": "weighted"}
    if task == "binary":
        truth, ranked, classes, prefix, averages = y, value, value >= threshold, "", {"": "binary"}
        expected["brier"] = metrics.brier_score_loss(y, value, **weighted)
    for average_prefix, average in averages.items():
        options = weighted | {"average": average, "zero_division": 0}
        of_classes = metrics.precision_recall_fscore_support(y, classes, **options)
        names = [average_prefix + name for name in ("precision", "recall", "f1")]
        expected |= dict(zip(names, of_classes[:3], strict=True))
    return expected | {
        "accuracy": metrics.accuracy_score(y, classes, **weighted),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, classes, **weighted),
        f"{prefix}roc_auc": metrics.roc_auc_score(truth, ranked, **weighted),
        f"{prefix}average_precision": metrics.average_precision_score(truth, ranked, **weighted),
    }


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_scikit_learn_also_under_many_weights(task: str) -> None:
    predictions = draw_predictions(task)
    expected = compute_with_sklearn(task, predictions)
    scores = score(predictions)
    assert scores == pytest.approx(expected)
    assert scores.keys() == set(predictions.task.metrics)
    weights = np.stack([predictions.weight, 3 * predictions.weight])
    many = scores_by_weights(predictions, weights)
    assert many.keys() == expected.keys()
    for key, values in many.items():
        assert values == pytest.approx([expected[key]] * 2), key
    for key, rows in score_and_resample(predictions).row_values.items():
        assert np.average(rows, weights=predictions.weight) == pytest.approx(expected[key])


def test_r2_does_not_depend_on_the_mean_of_the_target_and_needs_values_that_differ() -> None:
    rows = draw_predictions("regression")
    far_from_0 = score(rows._replace(y=rows.y + 1e9, y_pred=rows.y_pred + 1e9))
    assert far_from_0["r2"] == pytest.approx(score(rows)["r2"], abs=1e-4)
    assert "r2" not in score(rows._replace(y=np.full(300, 0.1)))


def test_an_undefined_score_is_left_out() -> None:
    def scores(y: list[float], *probability: float) -> dict[str, float]:
        y_pred = np.array(probability)[:, None]
        return score(Predictions(BINARY, np.array(y), y_pred, np.ones(len(y))))

    assert not {"roc_auc", "average_precision"} & scores([1, 1, 1], 0.1, 0.2, 1.0).keys()
    # Precision is undefined without a row that is predicted as positive.
    none_predicted = scores([0, 1], 0.1, 0.2)
    assert "precision" not in none_predicted
    assert none_predicted["f1"] == none_predicted["recall"] == 0
    # Recall is undefined without a positive row.
    defined = {"loss", "accuracy", "balanced_accuracy", "brier"}
    assert scores([0, 0], 0.1, 0.2).keys() == defined
    assert scores([0, 0], 0.1, 0.9)["f1"] == 0
    assert score(Predictions(BINARY, np.ones(0), np.ones((0, 1)), np.ones(0))) == {}


@pytest.mark.parametrize("names", [["a.b"], ["cost_low"], ["2"], ["cost", "cost"]])
def test_a_metric_name_that_cannot_be_a_key_is_an_error(names: list[str]) -> None:
    metrics = [CustomMetric(name, lambda rows: 0.0, greater_is_better=True) for name in names]
    with pytest.raises(UserError, match=r"^custom\.py: METRICS: "):
        check_custom_metrics(metrics, "auto")


def test_an_error_in_a_metric_names_the_metric() -> None:
    """It is a RuntimeError, so that its traceback is shown."""

    def read_costs(rows: Predictions) -> float:
        return float(Path("none.txt").read_text())

    cost = CustomMetric("cost", read_costs, greater_is_better=False)
    predictions = Predictions(BINARY, np.ones(3), np.ones((3, 1)), np.ones(3))
    with pytest.raises(RuntimeError, match=r"^custom\.py: .* cost") as failure:
        score(predictions._replace(custom_metrics=[cost]))
    assert isinstance(failure.value.__cause__, FileNotFoundError)
