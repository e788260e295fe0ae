"""Scores of predictions, defined once for the rows themselves and for some of them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from keras_tabular.config.metrics import COST, CUSTOM, CustomMetric
from keras_tabular.config.task import Binary, CostMatrix, Regression, Task, Threshold
from keras_tabular.core.errors import code_of_project

# A target is constant if its variance is at most this share of its squared mean;
# rounding leaves some variance.
MAX_RELATIVE_VARIANCE_OF_CONSTANT = 1e-24


class Predictions(NamedTuple):
    """Predictions of a model for labelled rows.

    Attributes:
        task: What was predicted.
        y: Code of the class in `task.classes`, or the value; shape (rows,).
        y_pred: Predicted probabilities or values, shape (rows, outputs).
        weight: Weight of each row, shape (rows,).
        threshold: What turns probabilities into classes. It differs by row if it was
            chosen on the other folds of the row.
        group: Number of the group of each row, int64 from 0, shape (rows,). Rows of one
            group depend on each other. None if the rows are independent.
        custom_metrics: Metrics of the project, which are computed in addition to those
            of the task.
        costs: The costs by which classes are predicted, if there are any.
    """

    task: Task
    y: np.ndarray
    y_pred: np.ndarray
    weight: np.ndarray
    threshold: Threshold = 0.5
    group: np.ndarray | None = None
    custom_metrics: Sequence[CustomMetric] = ()
    costs: CostMatrix | None = None

    def select(self, rows: slice | np.ndarray) -> "Predictions":
        """Return the predictions for some of the rows."""
        selected = (
            each[rows] if isinstance(each, np.ndarray) else each for each in self
        )
        return Predictions._make(selected)

    @property
    def predicted_classes(self) -> np.ndarray:
        """The code of the predicted class of each row, int64, shape (rows,)."""
        return self.task.predicted_classes(self.y_pred, self.threshold)

    @property
    def row_losses(self) -> np.ndarray:
        """The loss of each row, float64, shape (rows,)."""
        return self.task.row_losses(self.y, self.y_pred)

    @property
    def row_scores(self) -> np.ndarray:
        """The values whose mean is the main metric, float64, shape (rows,)."""
        return self.task.row_scores(self.y, self.y_pred, self.threshold)

    @property
    def row_errors(self) -> np.ndarray:
        """The error of each row, 0 or 1 for a class, and absolute for a regression: (rows,)."""
        return 1 - self.row_scores if self.task.classes else self.row_scores

    def mean(self, values: np.ndarray) -> float:
        """Return the weighted mean of a value of each row, shape (rows,)."""
        return float(np.average(values, weights=self.weight))

    def row_costs(self, predicted: np.ndarray | int | None = None) -> np.ndarray:
        """Return the cost of each row, float64, shape (rows,).

        Args:
            predicted: Codes of predicted classes, shape (rows,), or one for all rows;
                by default those of the threshold.
        """
        predicted = self.predicted_classes if predicted is None else predicted
        return np.array(self.costs)[self.y.astype(int), predicted]

    def custom_scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the metrics of the project under many weights, see `scores_by_weights`.

        Weights that are 0 for all rows are left out.

        Raises:
            RuntimeError: A metric raised an error.
        """
        weighted = [self._replace(weight=weight) for weight in weights if weight.any()]
        scores = {}
        for metric in self.custom_metrics:
            with code_of_project(f"custom.py: the metric {metric.name}"):
                values = np.array([metric.compute(rows) for rows in weighted], float)
            scores[CUSTOM + metric.name] = values
        return scores


# Predictions by the name of the baseline and by row set, shape (rows, outputs). For
# many rows, they are predictions for the first rows only.
Baselines = dict[str, dict[str, np.ndarray]]


def score(predictions: Predictions) -> dict[str, float]:
    """Compute the scores of the task and of the project by metric.

    Undefined scores are left out: the precision if no row is predicted as positive, and
    the recall if no row is positive. If all weights are 0, there are no scores.
    """
    if not predictions.weight.any():
        return {}
    values = scores_by_weights(predictions, predictions.weight[None])
    values |= predictions.custom_scores(predictions.weight[None])
    return {key: float(v[0]) for key, v in values.items() if np.isfinite(v[0])}


def scores_by_weights(
    predictions: Predictions,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute the scores of the same rows under many weights at once, as scikit-learn defines them.

    With more than two classes, precision, recall and F1 have a `macro` average, in
    which all classes count alike, and a `weighted` one, in which all rows do. Classes
    without a defined score count as 0. `macro.roc_auc` and `macro.average_precision`
    are means over the classes, each one against all others.

    Args:
        weights: float64, shape (n, rows).

    Returns:
        The scores by metric key, float64, shape (n,); NaN if a score is undefined.
    """
    task = predictions.task
    y = predictions.y
    y_pred = predictions.y_pred.astype(np.float64)
    with np.errstate(all="ignore"):
        scores = {"loss": _mean(task.row_losses(y, y_pred), weights)}
        if isinstance(task, Regression):
            return scores | _regression_scores(y, y_pred[:, 0], weights)
        predicted = predictions.predicted_classes
        total = weights.sum(axis=1)
        classes = np.arange(len(task.classes))
        is_true = y == classes[:, None]
        is_predicted = predicted == classes[:, None]
        hits, true_rows, predicted_rows = (  # shape (classes, n)
            np.stack([(weights * mask).sum(axis=1) for mask in masks])
            for masks in (is_true & is_predicted, is_true, is_predicted)
        )
        by_class = {
            "precision": hits / predicted_rows,
            "recall": hits / true_rows,
            "f1": 2 * hits / (true_rows + predicted_rows),
        }
        has_rows = np.isfinite(by_class["recall"])
        recall = np.nan_to_num(by_class["recall"])
        scores["accuracy"] = hits.sum(axis=0) / total
        if predictions.costs:
            scores[COST] = _mean(predictions.row_costs(), weights)
        scores["balanced_accuracy"] = recall.sum(axis=0) / has_rows.sum(axis=0)
        if isinstance(task, Binary):
            area, average = auc_and_average_precision(y == 1, y_pred[:, 0], weights)
            scores |= {key: values[1] for key, values in by_class.items()}
            scores["brier"] = _mean(np.square(y_pred[:, 0] - y), weights)
            return scores | {"roc_auc": area, "average_precision": average}
        for key, values in by_class.items():
            scores[f"macro.{key}"] = np.nan_to_num(values).mean(axis=0)
            scores[f"weighted.{key}"] = (
                np.nan_to_num(values) * (true_rows / total)
            ).sum(axis=0)
        rankings = [
            auc_and_average_precision(y == k, y_pred[:, k], weights) for k in classes
        ]
        areas, averages = np.mean(rankings, axis=0)
        return scores | {"macro.roc_auc": areas, "macro.average_precision": averages}


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.divide((weights * values).sum(axis=1), weights.sum(axis=1))


def _regression_scores(
    y: np.ndarray,
    y_pred: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute the scores of a regression.

    `r2` is defined if the values differ, `mape` if all are above 0, and `rmsle`, the
    error of log(1 + value), if none is below 0.
    """
    squared = _mean(np.square(y - y_pred), weights)
    centered = y - y.mean()
    variance = _mean(np.square(centered), weights) - np.square(_mean(centered, weights))
    varies = variance > MAX_RELATIVE_VARIANCE_OF_CONSTANT * np.square(y.mean())
    scores = {
        "mae": _mean(np.abs(y - y_pred), weights),
        "rmse": np.sqrt(squared),
        "r2": np.where(varies, 1 - squared / variance, np.nan),
    }
    if (y > 0).all():
        scores["mape"] = _mean(np.abs(y - y_pred) / y, weights)
    if (y >= 0).all():
        logs = np.log1p(y) - np.log1p(np.maximum(y_pred, 0))
        scores["rmsle"] = np.sqrt(_mean(np.square(logs), weights))
    return scores


def hits_and_alarms(
    positive: np.ndarray,
    probability: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the weights of the rows above each threshold: of positive rows, and of negative ones.

    Args:
        positive: Whether each row is positive, shape (rows,).
        probability: Predicted probability, shape (rows,).
        weights: Shape (n, rows).

    Returns:
        The thresholds in descending order, shape (thresholds,): infinity, and each
        probability that occurs. The weight of the positive rows with at least this
        probability, and that of the negative ones; both float64, shape (n, thresholds).
    """
    order = np.argsort(-probability, kind="stable")
    # The last row of each probability.
    ends = np.flatnonzero(np.diff(probability[order], append=np.inf))
    hits, alarms = (
        np.insert(
            np.cumsum(weights[:, order] * mask[order], axis=1)[:, ends],
            0,
            0,
            axis=1,
        )
        for mask in (positive, ~positive)
    )
    return (
        np.insert(probability[order][ends].astype(np.float64), 0, np.inf),
        hits,
        alarms,
    )


def auc_and_average_precision(
    positive: np.ndarray,
    probability: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the area under the ROC curve and the average precision under many weights.

    The arguments are those of `hits_and_alarms`. Both results have shape (n,).
    """
    _, hits, alarms = hits_and_alarms(positive, probability, weights)
    new_hits = np.diff(hits)
    new_alarms = np.diff(alarms)
    hits = hits[:, 1:]
    alarms = alarms[:, 1:]
    area = (new_alarms * (hits - new_hits / 2)).sum(axis=1) / (
        hits[:, -1] * alarms[:, -1]
    )
    precision = np.divide(
        hits,
        hits + alarms,
        out=np.zeros_like(hits),
        where=hits + alarms > 0,
    )
    average = (new_hits * precision).sum(axis=1) / hits[:, -1]
    return area, np.where(alarms[:, -1] > 0, average, np.nan)
