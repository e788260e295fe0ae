"""Scores of predictions, with the uncertainty of few rows."""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn import metrics

from tabular.metrics import TASKS, flatten
from tabular.schema import Schema
from tabular.table.arrays import predicted_classes, row_losses

NORMAL_95 = 1.959964  # standard deviations on each side of the mean that hold 95%

Scores = dict[str, Any]


def score(y: np.ndarray, predicted: np.ndarray, schema: Schema, threshold: float) -> Scores:
    """The scores of the task; only `rows` where there are no rows.

    Args:
        y: shape (rows,); the index of the class in `schema.classes`, or the value.
        predicted: shape (rows, outputs); the probability of the positive class, of each class, or
            the value.
        threshold: of a binary task; a probability from here on counts as positive.
    """
    scores: Scores = {"rows": len(y)}
    if not len(y):
        return scores
    match schema.task:
        case "binary":
            scores |= binary_scores(y, predicted[:, 0], threshold)
        case "multiclass":
            scores |= multiclass_scores(y, predicted)
        case "regression":
            scores |= regression_scores(y, predicted[:, 0])
    return scores | {"loss": loss(y, predicted, schema)}


def loss(y: np.ndarray, predicted: np.ndarray, schema: Schema) -> float:
    """The mean cross-entropy, probabilities kept 1e-7 from 0 as in Keras, or squared error.

    The arguments are those of `score`, of one row at least.
    """
    return float(row_losses(y, predicted, schema).mean())


def binary_scores(y: np.ndarray, probability: np.ndarray, threshold: float) -> Scores:
    """`roc_auc` and `average_precision` are left out where all rows are of one class."""
    y_pred = probability >= threshold
    scores = {
        "accuracy": float(metrics.accuracy_score(y, y_pred)),
        "precision": float(metrics.precision_score(y, y_pred, zero_division=0)),
        "recall": float(metrics.recall_score(y, y_pred, zero_division=0)),
        "f1": float(metrics.f1_score(y, y_pred, zero_division=0)),
        "brier": float(np.square(probability.astype(np.float64) - y).mean()),
    }
    if 0 < y.sum() < len(y):
        scores["roc_auc"] = float(metrics.roc_auc_score(y, probability))
        scores["average_precision"] = float(metrics.average_precision_score(y, probability))
    return scores


def multiclass_scores(y: np.ndarray, probabilities: np.ndarray) -> Scores:
    """Precision, recall and F1 as `macro` (each class alike) and `weighted` (each row alike).

    `macro.roc_auc` is the mean over the classes of one against the rest; it is left out where a
    class has no row.
    """
    y_pred = probabilities.argmax(axis=1)
    classes = np.arange(probabilities.shape[1])
    scores: Scores = {"accuracy": float(metrics.accuracy_score(y, y_pred))}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = metrics.precision_recall_fscore_support(
            y, y_pred, labels=classes, average=average, zero_division=0
        )
        scores[average] = {"precision": float(precision), "recall": float(recall), "f1": float(f1)}
    if len(np.unique(y)) == len(classes):
        each = [metrics.roc_auc_score(y == k, probabilities[:, k]) for k in classes]
        scores["macro"]["roc_auc"] = float(np.mean(each))
    return scores


def regression_scores(y: np.ndarray, value: np.ndarray) -> Scores:
    """`mae` and `rmse` in the target's units; `r2` is left out where all rows have one value."""
    scores = {
        "rmse": float(metrics.root_mean_squared_error(y, value)),
        "mae": float(metrics.mean_absolute_error(y, value)),
    }
    if len(np.unique(y)) > 1:
        scores["r2"] = float(metrics.r2_score(y, value))
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


def interval(of_rows: np.ndarray, schema: Schema) -> tuple[float, float]:
    """The 95% interval of the main score, from `row_scores` of independent rows.

    Of an accuracy it is the Wilson score interval: Wilson, "Probable inference, the law of
    succession, and statistical inference" (1927). Of a mean absolute error it is that of the
    normal law of means, and 0 at least.
    """
    if schema.task != "regression":
        test = binomtest(int(of_rows.sum()), len(of_rows))
        found = test.proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)
    mean, half = float(of_rows.mean()), _half_interval(of_rows)
    return max(mean - half, 0.0), mean + half


def paired_difference(of_rows: np.ndarray, other: np.ndarray) -> Scores:
    """By how much a main score differs from another one of the same rows.

    Args:
        of_rows, other: `row_scores` of the two.

    Returns:
        `difference`, and `low` and `high` of its 95% interval by the normal law of means. Rows
        that both predict alike do not widen it.
    """
    differences = of_rows - other
    mean, half = float(differences.mean()), _half_interval(differences)
    return {"difference": mean, "low": mean - half, "high": mean + half}


def _half_interval(values: np.ndarray) -> float:
    return NORMAL_95 * float(values.std(ddof=1)) / len(values) ** 0.5 if len(values) > 1 else 0.0


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
