"""Scores of predictions."""

from typing import Any

import numpy as np
from sklearn import metrics

from tabular.config.schema import Schema
from tabular.table.arrays import row_losses

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
    """Undefined scores are left out.

    They are `roc_auc` and `average_precision` where all rows are of one class, and `precision`
    where none is predicted to be positive.
    """
    y_pred = probability >= threshold
    of_rows: Any = {"sample_weight": weight}
    scores = {
        "accuracy": float(metrics.accuracy_score(y, y_pred, **of_rows)),
        "balanced_accuracy": balanced_accuracy(y, y_pred, weight),
        "recall": float(metrics.recall_score(y, y_pred, zero_division=0, **of_rows)),
        "f1": float(metrics.f1_score(y, y_pred, zero_division=0, **of_rows)),
        "brier": float(np.average(np.square(probability.astype(np.float64) - y), weights=weight)),
    }
    if (y_pred if weight is None else y_pred * weight).any():
        scores["precision"] = float(metrics.precision_score(y, y_pred, **of_rows))
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

    `macro.roc_auc` and `macro.average_precision` are the means over the classes of one against the
    rest; they are left out where a class has no row.
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
        for key, of_class in {
            "roc_auc": metrics.roc_auc_score,
            "average_precision": metrics.average_precision_score,
        }.items():
            each = [of_class(y == k, probabilities[:, k], **of_rows) for k in classes]
            scores["macro"][key] = float(np.mean(each))
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
