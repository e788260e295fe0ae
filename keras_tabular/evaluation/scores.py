"""Scores of predictions: one definition for the rows as they are, and for rows drawn again."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.core.metrics import CUSTOM, CustomMetric
from keras_tabular.evaluation.evaluation import Estimate, Scores
from keras_tabular.table.arrays import predicted_classes, row_losses
from keras_tabular.table.parquet import read_parts

TINY = 1e-24  # of its square, the variance of a constant that is not quite one


class Predictions(NamedTuple):
    """Predictions of a model for labelled rows.

    Attributes:
        y: Index of the class in `schema.classes`, or the value; shape (rows,).
        y_pred: Output of the model; shape (rows, outputs).
        weight: How much each row counts; shape (rows,).
        threshold: The least probability that counts as positive.
        group: Number of the group of each row, int64 from 0, shape (rows,); rows of one group
            depend on each other. None where rows are independent.
        custom_metrics: Metrics of the project, by which these rows are scored as well.
    """

    y: np.ndarray
    y_pred: np.ndarray
    weight: np.ndarray
    threshold: float = 0.5
    group: np.ndarray | None = None
    custom_metrics: Sequence[CustomMetric] = ()

    def select(self, rows: slice | np.ndarray) -> "Predictions":
        """Return the predictions for some of the rows."""
        group = None if self.group is None else self.group[rows]
        y, y_pred, weight = (self.y[rows], self.y_pred[rows], self.weight[rows])
        return self._replace(y=y, y_pred=y_pred, weight=weight, group=group)

    def first(self, rows: int) -> "Predictions":
        """Return the predictions for the first rows."""
        return self.select(slice(rows))

    def custom_scores(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Compute the metrics of the project under many weights, as `scores_by_weights` does.

        Weights that are all 0 are left out.
        """
        rows = [self._replace(weight=weight) for weight in weights if weight.any()]
        return {
            CUSTOM + metric.name: np.array([metric.compute(each) for each in rows], float)
            for metric in self.custom_metrics
        }


Folds = Mapping[str, np.ndarray]  # fold of the training rows, (rows,), see `read_oof`
OutOfFold = Mapping[str, pa.Table]
# By the name of the baseline and the set of rows, in the shape of the model's outputs. They may be
# for the first rows alone.
Baselines = dict[str, dict[str, np.ndarray]]


def read_oof(folder: Path) -> OutOfFold:
    """Read the predictions for training rows by networks that have not learnt from them.

    Returns:
        By the keys `cross_validation` and, if there is forward chaining, `forward_chaining` of
        `metrics.ROW_SETS`: the outputs for the first training rows, and the `fold` of each. It is
        -1 where there is no prediction.
    """
    folders = {"cross_validation": folder, "forward_chaining": folder / "forward_chaining"}
    return {
        name: pa.concat_tables(read_parts(path)) for name, path in folders.items() if path.is_dir()
    }


def score(predictions: Predictions, schema: Schema) -> Scores:
    """Compute the scores of the task, without intervals; undefined ones are left out.

    The precision without a row that is called positive is undefined, and the recall without a
    positive row. Without rows, or where no row has a weight, there are no scores.
    """
    if not predictions.weight.any():
        return Scores(len(predictions.y))
    values = scores_by_weights(predictions, predictions.weight[None], schema)
    values |= predictions.custom_scores(predictions.weight[None])
    estimates = {key: Estimate(float(v[0])) for key, v in values.items() if np.isfinite(v[0])}
    return Scores(len(predictions.y), estimates)


def row_scores(predictions: Predictions, schema: Schema) -> np.ndarray:
    """Compute the part of each row in the main score, which is their mean: float64, (rows,).

    1 for a right class and 0 for a wrong one; for a regression the absolute error.
    """
    if schema.task == "regression":
        return np.abs(predictions.y - predictions.y_pred[:, 0])
    classes = predicted_classes(predictions.y_pred, schema, predictions.threshold)
    return (classes == predictions.y).astype(np.float64)


def scores_by_weights(
    predictions: Predictions, weights: np.ndarray, schema: Schema
) -> dict[str, np.ndarray]:
    """Compute the scores of the same rows under many weights at once; they are scikit-learn's.

    For several classes, precision, recall and F1 are averaged as `macro` (each class alike) and
    `weighted` (each row alike), with 0 for a class without such rows; `macro.roc_auc` and
    `macro.average_precision` are the means over the classes of one against the rest.

    Args:
        weights: float64, shape (n, rows).

    Returns:
        By dotted key float64 of shape (n,), NaN where a score is undefined.
    """
    y, outputs = predictions.y, predictions.y_pred.astype(np.float64)
    with np.errstate(all="ignore"):
        loss = {"loss": _mean(row_losses(y, outputs, schema), weights)}
        if schema.task == "regression":
            return loss | _regression(y, outputs[:, 0], weights)
        predicted = predicted_classes(predictions.y_pred, schema, predictions.threshold)
        total, classes = weights.sum(axis=1), np.arange(len(schema.classes))
        is_actual, is_called = y == classes[:, None], predicted == classes[:, None]
        hits, actual, called = (
            np.stack([(weights * mask).sum(axis=1) for mask in masks])
            for masks in (is_actual & is_called, is_actual, is_called)
        )
        recall, precision, f1 = hits / actual, hits / called, 2 * hits / (actual + called)
        has_rows = np.isfinite(recall)
        common = loss | {
            "accuracy": hits.sum(axis=0) / total,
            "balanced_accuracy": np.where(has_rows, recall, 0).sum(axis=0) / has_rows.sum(axis=0),
        }
        if schema.task == "binary":
            common |= {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
            common["brier"] = _mean(np.square(outputs[:, 0] - y), weights)
            area, average = auc_and_average_precision(y == 1, outputs[:, 0], weights)
            return common | {"roc_auc": area, "average_precision": average}
        for key, each in {"precision": precision, "recall": recall, "f1": f1}.items():
            each = np.nan_to_num(each)
            common[f"macro.{key}"] = each.mean(axis=0)
            common[f"weighted.{key}"] = (each * (actual / total)).sum(axis=0)
        of_classes = [auc_and_average_precision(y == k, outputs[:, k], weights) for k in classes]
        areas, averages = np.mean(of_classes, axis=0)
        return common | {"macro.roc_auc": areas, "macro.average_precision": averages}


def _mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.divide((weights * values).sum(axis=1), weights.sum(axis=1))


def _regression(y: np.ndarray, value: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Compute `mae` and `rmse` in the units of the target, and `r2` if the values differ.

    Also `mape`, a share of the value, if all values are above 0, and `rmsle`, the error of
    log(1 + value), if no value is below 0.
    """
    squared, near_0 = _mean(np.square(y - value), weights), y - y.mean()
    spread = _mean(np.square(near_0), weights) - np.square(_mean(near_0, weights))
    scores = {
        "mae": _mean(np.abs(y - value), weights),
        "rmse": np.sqrt(squared),
        "r2": np.where(spread > TINY * np.square(y.mean()), 1 - squared / spread, np.nan),
    }
    if (y > 0).all():
        scores["mape"] = _mean(np.abs(y - value) / y, weights)
    if (y >= 0).all():
        logs = np.log1p(y) - np.log1p(np.maximum(value, 0))
        scores["rmsle"] = np.sqrt(_mean(np.square(logs), weights))
    return scores


def hits_and_alarms(
    positive: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum the weights of the rows with at least each probability: of the class, and of others.

    Args:
        positive: Whether each row is of the class, shape (rows,).
        probability: Predicted probability of the class, shape (rows,).
        weights: Shape (n, rows).

    Returns:
        The thresholds, shape (thresholds,): infinity, for no rows, and then each probability that
        occurs, the highest one first. The sums of both at each threshold, float64, shape
        (n, thresholds).
    """
    order = np.argsort(-probability, kind="stable")
    ends = np.flatnonzero(np.diff(probability[order], append=np.inf))  # of each probability
    hits, alarms = (
        np.insert(np.cumsum(weights[:, order] * mask[order], axis=1)[:, ends], 0, 0, axis=1)
        for mask in (positive, ~positive)
    )
    return np.insert(probability[order][ends].astype(np.float64), 0, np.inf), hits, alarms


def auc_and_average_precision(
    positive: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the area under the ROC curve and the average precision under many weights.

    The arguments are those of `hits_and_alarms`. Both results have the shape (n,).
    """
    _, hits, alarms = hits_and_alarms(positive, probability, weights)
    new_hits, new_alarms = np.diff(hits), np.diff(alarms)
    hits, alarms = hits[:, 1:], alarms[:, 1:]
    area = (new_alarms * (hits - new_hits / 2)).sum(axis=1) / (hits[:, -1] * alarms[:, -1])
    precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits + alarms > 0)
    average = (new_hits * precision).sum(axis=1) / hits[:, -1]
    return area, np.where(alarms[:, -1] > 0, average, np.nan)
