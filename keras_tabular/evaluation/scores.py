"""Scores of predictions, defined once for the rows themselves and for some of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_tabular.core.errors import code_of_project
from keras_tabular.tasks.metrics import COST, CUSTOM, CustomMetric
from keras_tabular.tasks.task import Binary, CostMatrix, Regression, Task, Threshold

# A target is constant if its variance is at most this share of its squared mean;
# rounding leaves some variance.
MAX_RELATIVE_VARIANCE_OF_CONSTANT = 1e-24

# Predictions by the name of the baseline and by row set, shape (rows, outputs). For
# many rows, they are predictions for the first rows only.
Baselines = dict[str, dict[str, np.ndarray]]
# Parameters of scikit-learn by the name of the baseline.
BaselineParams = dict[str, dict[str, Any]]


class FittedBaselines(NamedTuple):
    """The baselines on a split.

    Attributes:
        predictions: Predictions for the test rows and for the folds.
        chosen: The parameters for the test rows.
    """

    predictions: Baselines
    chosen: BaselineParams


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
        fields = [
            field[rows] if isinstance(field, np.ndarray) else field for field in self
        ]
        return Predictions._make(fields)

    @property
    def first_output(self) -> np.ndarray:
        """The predicted values, or probabilities of the positive class: (rows,)."""
        return self.y_pred[:, 0].astype(np.float64)

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
        """The error of each row: 0 or 1 for a class, else absolute; shape (rows,)."""
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
        """Compute the metrics of the project, as `scores_by_weights` does.

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


def score(predictions: Predictions) -> dict[str, float]:
    """Compute the scores of the task and of the project by metric.

    Undefined scores are left out: the precision if no row is predicted as positive, and
    the recall if no row is positive. If all weights are 0, there are no scores.
    """
    if not predictions.weight.any():
        return {}
    weights = predictions.weight[None]
    by_weights = scores_by_weights(predictions, weights)
    by_weights |= predictions.custom_scores(weights)
    return {
        key: float(value)
        for key, (value,) in by_weights.items()  # there is one vector of weights
        if np.isfinite(value)
    }


@np.errstate(all="ignore")
def scores_by_weights(
    predictions: Predictions,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute the scores of the same rows under many weights, as scikit-learn does.

    With more than two classes, precision, recall and F1 have a `macro` average, in
    which all classes count alike, and a `weighted` one, in which all rows do. Classes
    without a defined score count as 0, but a class without true and predicted rows does
    not count. `macro.roc_auc` and `macro.average_precision` are means over the classes,
    each one against all others.

    Args:
        weights: float64, shape (n, rows).

    Returns:
        The scores by metric key, float64, shape (n,); NaN if a score is undefined.
    """
    task = predictions.task
    y = predictions.y
    y_pred = predictions.y_pred.astype(np.float64)
    scores = {"loss": mean_by_weights(task.row_losses(y, y_pred), weights)}
    if isinstance(task, Regression):
        return scores | _regression_scores(y, y_pred[:, 0], weights)
    return scores | _class_scores(predictions, y_pred, weights)


def _class_scores(
    predictions: Predictions,
    y_pred: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute the scores of classes besides the loss."""
    y = predictions.y
    classes = np.arange(len(predictions.task.classes))
    is_true = y == classes[:, None]  # (classes, rows)
    is_predicted = predictions.predicted_classes == classes[:, None]
    hits = sum_weights(weights, is_true & is_predicted)  # (classes, n)
    true_rows = sum_weights(weights, is_true)
    predicted_rows = sum_weights(weights, is_predicted)
    precision = hits / predicted_rows
    recall = hits / true_rows
    f1 = 2 * hits / (true_rows + predicted_rows)
    by_class = {"precision": precision, "recall": recall, "f1": f1}

    total = weights.sum(axis=1)  # (n,)
    scores = {"accuracy": hits.sum(axis=0) / total}
    if predictions.costs:
        scores[COST] = mean_by_weights(predictions.row_costs(), weights)
    n_classes_with_rows = np.isfinite(recall).sum(axis=0)
    sum_of_recalls = np.nan_to_num(recall).sum(axis=0)
    scores["balanced_accuracy"] = sum_of_recalls / n_classes_with_rows

    if isinstance(predictions.task, Binary):
        probability = y_pred[:, 0]
        for key, (_, of_positive) in by_class.items():
            scores[key] = of_positive
        scores["brier"] = mean_by_weights(np.square(probability - y), weights)
        area, average = auc_and_average_precision(y == 1, probability, weights)
        return scores | {"roc_auc": area, "average_precision": average}
    class_shares = true_rows / total
    n_classes = (true_rows + predicted_rows > 0).sum(axis=0)
    for key, values in by_class.items():
        values = np.nan_to_num(values)
        scores[f"macro.{key}"] = values.sum(axis=0) / n_classes
        scores[f"weighted.{key}"] = (values * class_shares).sum(axis=0)
    ranked = [
        auc_and_average_precision(y == code, y_pred[:, code], weights)
        for code in classes
    ]  # (classes, 2, n)
    area, average = np.mean(ranked, axis=0)
    return scores | {"macro.roc_auc": area, "macro.average_precision": average}


def mean_by_weights(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Compute the mean of a value of each row under each of many weights.

    >>> mean_by_weights(np.array([1.0, 2.0, 6.0]), np.array([[1, 1, 1], [2, 2, 0]]))
    array([3. , 1.5])
    """
    return (weights * values).sum(axis=1) / weights.sum(axis=1)


def sum_weights(weights: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Sum each of many weights over the rows of each mask.

    Args:
        weights: float64, shape (n, rows).
        masks: Whether each row is counted; bool, shape (masks, rows).

    Returns:
        The sums, shape (masks, n).

    >>> sum_weights(np.array([[1, 1, 1], [2, 3, 0]]), np.array([[True, True, False]]))
    array([[2, 5]])
    """
    return np.stack([(weights * mask).sum(axis=1) for mask in masks])


def _regression_scores(
    y: np.ndarray,
    y_pred: np.ndarray,
    weights: np.ndarray,
) -> dict[str, np.ndarray]:
    """Compute the scores of a regression.

    `r2` is defined if the values differ, `mape` if all are above 0, and `rmsle`, the
    error of log(1 + value), if none is below 0.
    """
    absolute_errors = np.abs(y - y_pred)
    mean_square = mean_by_weights(np.square(y - y_pred), weights)
    # The sample mean is subtracted first, so that large values leave no rounding error.
    centered = y - y.mean()
    mean = mean_by_weights(centered, weights)
    mean_of_squares = mean_by_weights(np.square(centered), weights)
    variance = mean_of_squares - np.square(mean)
    varies = variance > MAX_RELATIVE_VARIANCE_OF_CONSTANT * np.square(y.mean())
    scores = {
        "mae": mean_by_weights(absolute_errors, weights),
        "rmse": np.sqrt(mean_square),
        "r2": np.where(varies, 1 - mean_square / variance, np.nan),
    }
    if (y > 0).all():
        scores["mape"] = mean_by_weights(absolute_errors / y, weights)
    if (y >= 0).all():
        log_pred = np.log1p(np.maximum(y_pred, 0))
        squares = np.square(np.log1p(y) - log_pred)
        scores["rmsle"] = np.sqrt(mean_by_weights(squares, weights))
    return scores


def auc_and_average_precision(
    positive: np.ndarray,
    probability: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the area under the ROC curve and the average precision.

    Args:
        positive: Whether each row is positive, shape (rows,).
        probability: Predicted probability, shape (rows,).
        weights: Many weights of each row, shape (n, rows).

    Returns:
        The area and the average precision under each of the weights, both shape (n,).

    >>> truth = np.array([True, False, True])
    >>> auc_and_average_precision(truth, np.array([0.9, 0.5, 0.2]), np.ones((1, 3)))
    (array([0.5]), array([0.83333333]))
    """
    ranking = rank_rows(positive, probability, weights)
    # The rows that are added at each probability; shape (n, probabilities).
    new_hits = np.diff(ranking.hits)
    new_alarms = np.diff(ranking.alarms)
    total_hits = ranking.hits[:, -1]
    total_alarms = ranking.alarms[:, -1]
    # A negative row is below the hits above it, and ties with those that are new.
    hits_above = ranking.hits[:, 1:] - new_hits / 2
    pairs = total_hits * total_alarms
    area = (new_alarms * hits_above).sum(axis=1) / pairs
    precision = ranking.precision(undefined=0)[:, 1:]
    average_precision = (new_hits * precision).sum(axis=1) / total_hits
    return area, np.where(total_alarms > 0, average_precision, np.nan)


class Ranking(NamedTuple):
    """How many positive and negative rows each threshold predicts as positive.

    Attributes:
        thresholds: Infinity, then each probability that occurs, in descending order;
            float64, shape (thresholds,).
        hits: Weight of the positive rows with at least this probability; float64, shape
            (thresholds,) or (n, thresholds).
        alarms: Weight of the negative rows with at least this probability; as `hits`.
    """

    thresholds: np.ndarray
    hits: np.ndarray
    alarms: np.ndarray

    def precision(self, undefined: float) -> np.ndarray:
        """Return the precision at each threshold, `undefined` if it predicts no row."""
        rows = self.hits + self.alarms
        precision = np.full_like(rows, undefined)
        return np.divide(self.hits, rows, out=precision, where=rows > 0)


def rank_rows(
    positive: np.ndarray,
    probability: np.ndarray,
    weights: np.ndarray,
) -> Ranking:
    """Count the rows above each threshold that could be chosen.

    Args:
        positive: Whether each row is positive; bool, shape (rows,).
        probability: Predicted probability, shape (rows,).
        weights: float64, shape (rows,), or (n, rows) for many weights.

    >>> truth = np.array([True, False, True])
    >>> rank_rows(truth, np.array([0.9, 0.5, 0.5]), np.ones(3)).hits
    array([0., 1., 2.])
    """
    descending = np.argsort(-probability, kind="stable")
    probability = probability[descending]
    is_positive = positive[descending]
    weights = weights[..., descending]
    last = np.flatnonzero(np.diff(probability, append=np.inf))  # row of a probability
    hits = np.cumsum(weights * is_positive, axis=-1)[..., last]
    alarms = np.cumsum(weights * ~is_positive, axis=-1)[..., last]
    thresholds = probability[last].astype(np.float64)
    return Ranking(
        thresholds=np.insert(thresholds, 0, np.inf),
        hits=np.insert(hits, 0, 0, axis=-1),
        alarms=np.insert(alarms, 0, 0, axis=-1),
    )
