"""Scores of predictions, with the uncertainty of few rows."""

from typing import Any

import numpy as np
from sklearn import metrics

from tabular.metrics import TASKS, flatten
from tabular.schema import Schema
from tabular.table.arrays import predicted_classes, row_losses

NORMAL_95 = 1.959964  # standard deviations on each side of the mean that hold 95%

Scores = dict[str, Any]


def score(
    y: np.ndarray,
    predicted: np.ndarray,
    schema: Schema,
    threshold: float,
    weight: np.ndarray | None = None,
) -> Scores:
    """The scores of the task; only `rows` where there are no rows, or none that counts.

    Args:
        y: shape (rows,); the index of the class in `schema.classes`, or the value.
        predicted: shape (rows, outputs); the probability of the positive class, of each class, or
            the value.
        threshold: of a binary task; a probability from here on counts as positive.
        weight: how much each row counts, shape (rows,); all alike where it is not given.
    """
    scores: Scores = {"rows": len(y)}
    if not len(y) or (weight is not None and not weight.any()):
        return scores
    match schema.task:
        case "binary":
            scores |= binary_scores(y, predicted[:, 0], threshold, weight)
        case "multiclass":
            scores |= multiclass_scores(y, predicted, weight)
        case "regression":
            scores |= regression_scores(y, predicted[:, 0], weight)
    return scores | {"loss": loss(y, predicted, schema, weight)}


def loss(
    y: np.ndarray, predicted: np.ndarray, schema: Schema, weight: np.ndarray | None = None
) -> float:
    """The mean cross-entropy, probabilities kept 1e-7 from 0 as in Keras, or squared error.

    The arguments are those of `score`, of one row at least.
    """
    return float(np.average(row_losses(y, predicted, schema), weights=weight))


def binary_scores(
    y: np.ndarray, probability: np.ndarray, threshold: float, weight: np.ndarray | None = None
) -> Scores:
    """`roc_auc` and `average_precision` are left out where all rows are of one class."""
    y_pred = probability >= threshold
    of_rows: Any = {"sample_weight": weight}
    scores = {
        "accuracy": float(metrics.accuracy_score(y, y_pred, **of_rows)),
        "balanced_accuracy": balanced_accuracy(y, y_pred, weight),
        "precision": float(metrics.precision_score(y, y_pred, zero_division=0, **of_rows)),
        "recall": float(metrics.recall_score(y, y_pred, zero_division=0, **of_rows)),
        "f1": float(metrics.f1_score(y, y_pred, zero_division=0, **of_rows)),
        "brier": float(np.average(np.square(probability.astype(np.float64) - y), weights=weight)),
    }
    if len(np.unique(y if weight is None else y[weight > 0])) > 1:
        scores["roc_auc"] = float(metrics.roc_auc_score(y, probability, **of_rows))
        scores["average_precision"] = float(
            metrics.average_precision_score(y, probability, **of_rows)
        )
    return scores


def balanced_accuracy(y: np.ndarray, y_pred: np.ndarray, weight: np.ndarray | None) -> float:
    """The mean over the classes that have rows of the share of their rows that are right."""
    right = np.asarray(y == y_pred, np.float64)
    of_rows = np.ones(len(y)) if weight is None else weight
    classes = [y == k for k in np.unique(y[of_rows > 0])]
    return float(np.mean([np.average(right[own], weights=of_rows[own]) for own in classes]))


def multiclass_scores(
    y: np.ndarray, probabilities: np.ndarray, weight: np.ndarray | None = None
) -> Scores:
    """Precision, recall and F1 as `macro` (each class alike) and `weighted` (each row alike).

    `macro.roc_auc` is the mean over the classes of one against the rest; it is left out where a
    class has no row.
    """
    y_pred = probabilities.argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    of_rows: Any = {"sample_weight": weight}
    scores: Scores = {
        "accuracy": float(metrics.accuracy_score(y, y_pred, **of_rows)),
        "balanced_accuracy": balanced_accuracy(y, y_pred, weight),
    }
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            y, y_pred, labels=classes, average=average, zero_division=0, **of_rows
        )
        scores[average] = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
    if len(np.unique(y if weight is None else y[weight > 0])) == len(classes):
        each = [metrics.roc_auc_score(y == k, probabilities[:, k], **of_rows) for k in classes]
        scores["macro"]["roc_auc"] = float(np.mean(each))
    return scores


def regression_scores(y: np.ndarray, value: np.ndarray, weight: np.ndarray | None = None) -> Scores:
    """`mae` and `rmse` in the target's units, and what the values allow.

    `r2` where they are not all one; `mape`, a share of the value, where all are above 0, and
    `rmsle`, of log(1 + value), where none is below.
    """
    of_rows: Any = {"sample_weight": weight}
    scores = {
        "rmse": float(metrics.root_mean_squared_error(y, value, **of_rows)),
        "mae": float(metrics.mean_absolute_error(y, value, **of_rows)),
    }
    if len(np.unique(y if weight is None else y[weight > 0])) > 1:
        scores["r2"] = float(metrics.r2_score(y, value, **of_rows))
    if (y > 0).all():
        scores["mape"] = float(metrics.mean_absolute_percentage_error(y, value, **of_rows))
    if (y >= 0).all():
        scores["rmsle"] = float(
            metrics.root_mean_squared_log_error(y, np.maximum(value, 0), **of_rows)
        )
    return scores


def row_scores(
    y: np.ndarray, predicted: np.ndarray, schema: Schema, threshold: float
) -> np.ndarray:
    """The part of each row in the main score, which is their mean: float64, shape (rows,).

    1 for a right class and 0 for a wrong one; of a regression the absolute error.
    """
    if schema.task == "regression":
        return np.abs(y - predicted[:, 0])
    right = predicted_classes(predicted, schema, threshold) == y
    return right.astype(np.float64)


def interval(
    of_rows: np.ndarray, schema: Schema, weight: np.ndarray | None = None
) -> tuple[float, float]:
    """The 95% interval of the main score, from `row_scores` of independent rows.

    Of an accuracy it is the Wilson score interval: Wilson, "Probable inference, the law of
    succession, and statistical inference" (1927), of as many rows as the weights are worth: Kish,
    "Survey Sampling" (1965). Of a mean absolute error it is that of the normal law of means, and 0
    at least.
    """
    mean = float(np.average(of_rows, weights=weight))
    if schema.task == "regression":
        half = _half_interval(of_rows, weight)
        return max(mean - half, 0.0), mean + half
    n = len(of_rows) if weight is None else weight.sum() ** 2 / np.square(weight).sum()
    z2 = NORMAL_95**2
    middle, spread = (
        mean + z2 / (2 * n),
        NORMAL_95 * (mean * (1 - mean) / n + z2 / (4 * n * n)) ** 0.5,
    )
    low, high = ((middle + sign * spread) / (1 + z2 / n) for sign in (-1, 1))
    return max(float(low), 0.0), min(float(high), 1.0)


def paired_difference(
    of_rows: np.ndarray, other: np.ndarray, weight: np.ndarray | None = None
) -> Scores:
    """By how much a main score differs from another one of the same rows.

    Args:
        of_rows, other: `row_scores` of the two.
        weight: of the rows.

    Returns:
        `difference`, and `low` and `high` of its 95% interval by the normal law of means. Rows
        that both predict alike do not widen it.
    """
    differences = of_rows - other
    mean, half = float(np.average(differences, weights=weight)), _half_interval(differences, weight)
    return {"difference": mean, "low": mean - half, "high": mean + half}


def _half_interval(values: np.ndarray, weight: np.ndarray | None = None) -> float:
    """Of a mean of independent values, each with its weight."""
    n = len(values)
    shares = np.full(n, 1 / n) if weight is None else weight / weight.sum()
    deviations = shares * (values - (shares * values).sum())
    return NORMAL_95 * float(np.square(deviations).sum() * n / max(n - 1, 1)) ** 0.5


def headline(scores: Scores, schema: Schema) -> tuple[Scores, Scores]:
    """All scores of a run in two: the few that decide, and the rest. No score is in both.

    The first holds the main score, the second one and the loss of the test rows and the folds,
    the interval, and the main score of each baseline.
    """
    task = TASKS[schema.task]
    keys = {f"test.{task.main}_low", f"test.{task.main}_high"}
    keys |= {
        f"{rows}.{score}"
        for rows in ("test", "cross_validation")
        for score in (task.main, task.second, "loss")
    }
    keys |= {f"baseline.{name}.{task.main}" for name in task.baselines.values()}
    first: Scores = {}
    rest: Scores = {}
    for key, value in flatten(scores):
        *path, last = key.split(".")
        place = first if key in keys else rest
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return first, rest
