"""The data of all plots of the test rows, as small CSV files.

`HEADERS` lists the files. The plots are defined in `metrics/dvc.yaml` for `dvc plots`,
and in `report.pictures` for the report.

Every file is written for every task. A file that the task does not need has only a
header, and DVC draws no plot. With more than two classes, the curves are micro
averages: each class is compared with all others, and the rows of these comparisons are
pooled.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import truncate
from keras_tabular.core.files import DIGITS, MAX_POINTS, atomic_write, write_points
from keras_tabular.evaluation.calibration import total_costs
from keras_tabular.evaluation.scores import Predictions, hits_and_alarms
from keras_tabular.evaluation.uncertainty import share_interval
from keras_tabular.table.groups import stable_row_hashes
from keras_tabular.table.profile import quantiles

CALIBRATION_BINS = 10  # of equal width
MAX_COLUMNS = 30  # in the plot of importances; more would not be readable
MAX_CONFUSION_CELLS = 2500  # all of 50 classes; of more, the cells with the most rows
EVEN_THRESHOLDS = np.arange(1, 100) / 100
THRESHOLD_QUANTILES = 50  # of the predictions, in addition to the even thresholds
# Test rows that are kept so that later runs can be compared on them.
MAX_KEPT_ROWS = 2000
MAX_KEPT_PREDICTIONS = 20_000
MAX_KEY = 2**52  # which a float of a CSV file holds

HEADERS = {
    "roc": ("false positive rate", "true positive rate"),
    "precision_recall": ("recall", "precision"),
    "calibration": ("probability", "actual", "ideal", "low", "high"),
    "confusion": ("true class", "predicted class", "rows", "share"),
    "threshold": ("threshold", "recall", "precision", "f1", "wrong", "cost"),
    "values": ("true value", "predicted value", "residual"),
    "importance": ("column", "rise", "low", "high"),
}

Plots = dict[str, tuple[Any, ...]]  # the columns of each file, as in its header


def compute_plots(test: Predictions, importance: dict[str, np.ndarray]) -> Plots:
    """Compute the points of the plots that the task needs, by the name of their file.

    Args:
        importance: Increase of the loss in each repetition, by column.
    """
    names = sorted(importance, key=lambda name: -importance[name].mean())[:MAX_COLUMNS]
    mean, low, high = (
        [summarize(importance[name]) for name in names]
        for summarize in (np.mean, np.min, np.max)
    )
    plots: Plots = {"importance": (names, mean, low, high)}
    if not test.task.classes:
        y = test.y
        value = test.y_pred[:, 0].astype(np.float64)
        plots["values"] = (y, value, y - value)
    else:
        plots |= probability_plots(test)
        plots["confusion"] = confusion(test)
    if test.task.has_threshold:
        plots["threshold"] = threshold_plot(test)
    return plots


def write_plots(
    folder: Path,
    plots: Plots,
    test: Predictions,
    keys: np.ndarray,
) -> None:
    """Write the points of every plot, and the test rows that are kept.

    Args:
        plots: The result of `compute_plots`; empty if that failed.
        keys: The result of `row_keys` for the test rows.
    """
    files = {"test_rows": kept_test_rows(test, keys)}
    for name, header in HEADERS.items():
        files[name] = dict(
            zip(header, plots.get(name, [()] * len(header)), strict=True),
        )
    limits = {"confusion": MAX_CONFUSION_CELLS, "test_rows": MAX_KEPT_ROWS}
    with atomic_write(folder) as partial:
        partial.mkdir()
        for name, columns in files.items():
            write_points(partial / f"{name}.csv", columns, limits.get(name, MAX_POINTS))


def row_keys(folder: Path, schema: Schema, ignored: Iterable[str] = ()) -> np.ndarray:
    """Return a hash of each row, by which it is found in another table: int64, (rows,).

    It depends on the target, the features and the `ignored` columns, in any order.
    """
    names = sorted({schema.target, *schema.features, *ignored})
    return as_keys(stable_row_hashes(folder, names, seed=0))


def as_keys(hashes: np.ndarray) -> np.ndarray:
    """Shorten the hashes of rows to the keys that a CSV file can hold: int64, (rows,)."""
    return (hashes % MAX_KEY).astype(np.int64)


def kept_test_rows(test: Predictions, keys: np.ndarray) -> dict[str, Any]:
    """Return key, label, predictions, weight and group of the test rows that are kept.

    These are the rows with the smallest keys, so that a later run of a table with more
    rows keeps many of the same ones.

    Args:
        keys: The result of `row_keys`.
    """
    max_rows = min(MAX_KEPT_ROWS, MAX_KEPT_PREDICTIONS // test.y_pred.shape[1])
    rows = np.sort(np.argsort(keys, kind="stable")[:max_rows])
    test = test.select(rows)
    columns = {"row": keys[rows], "y": test.y.astype(int if test.task.classes else str)}
    columns |= {
        f"output_{k}": values for k, values in enumerate(test.y_pred.astype(float).T)
    }
    if (test.weight != 1).any():
        columns["weight"] = test.weight
    if test.group is not None:
        columns["group"] = test.group
    return columns


def probability_plots(test: Predictions) -> Plots:
    """Compute the calibration, and the ROC and precision-recall curves."""
    classes = np.array(test.task.output_classes)
    pooled = Predictions(
        test.task,
        (test.y[:, None] == classes).ravel(),
        test.y_pred.astype(np.float64).ravel(),
        np.repeat(test.weight, len(classes)),
        group=None if test.group is None else np.repeat(test.group, len(classes)),
    )
    pooled = pooled.select(pooled.weight > 0)
    bins = np.minimum(
        (pooled.y_pred * CALIBRATION_BINS).astype(int),
        CALIBRATION_BINS - 1,
    )
    filled = [pooled.select(bins == k) for k in np.unique(bins)]
    means = [np.average(rows.y_pred, weights=rows.weight) for rows in filled]
    actual = [np.average(rows.y, weights=rows.weight) for rows in filled]
    ends = [share_interval(rows.y, rows.weight, rows.group) for rows in filled]
    plots: Plots = {"calibration": (means, actual, means, *zip(*ends, strict=True))}
    if len(np.unique(pooled.y)) == 2:
        plots |= ranking_plots(pooled.y, pooled.y_pred, pooled.weight)
    return plots


def ranking_plots(
    truth: np.ndarray,
    probability: np.ndarray,
    weight: np.ndarray,
) -> Plots:
    """Compute the ROC curve without points inside of lines, and the best precision by recall."""
    _, (hits,), (alarms,) = hits_and_alarms(truth, probability, weight[None])
    is_corner = np.ones(len(hits), bool)
    is_corner[1:-1] = np.diff(hits, 2).astype(bool) | np.diff(alarms, 2).astype(bool)
    recall, first = np.unique(hits / hits[-1], return_index=True)
    precision = np.divide(
        hits,
        hits + alarms,
        out=np.ones_like(hits),
        where=hits + alarms > 0,
    )
    return {
        "roc": ((alarms / alarms[-1])[is_corner], (hits / hits[-1])[is_corner]),
        "precision_recall": (recall, np.maximum.reduceat(precision, first)),
    }


def confusion(test: Predictions) -> tuple[np.ndarray, ...]:
    """Count the rows of each true and predicted class, and their share of the true class."""
    names = np.array([truncate(str(value)) for value in test.task.classes])
    predicted = test.predicted_classes
    size = len(names)
    counts = np.bincount(test.y.astype(int) * size + predicted, minlength=size * size)
    cells = np.sort(np.argsort(-counts, kind="stable")[:MAX_CONFUSION_CELLS])
    true, predicted = np.divmod(cells, size)
    class_rows = np.maximum(counts.reshape(size, size).sum(axis=1), 1)
    return (
        names[true],
        names[predicted],
        counts[cells],
        counts[cells] / class_rows[true],
    )


def threshold_plot(test: Predictions) -> tuple[np.ndarray, ...]:
    """Score the test rows at many thresholds, with the chosen one; undefined scores are NaN."""
    probability = test.y_pred[:, 0].astype(np.float64)
    predicted = [
        float(f"{p:.{DIGITS}g}") for p in quantiles(probability, THRESHOLD_QUANTILES)
    ]
    thresholds = np.unique(np.r_[EVEN_THRESHOLDS, predicted, test.threshold])
    borders, (hits,), (alarms,) = hits_and_alarms(
        test.y == 1,
        probability,
        test.weight[None],
    )
    positive = hits[-1]
    negative = alarms[-1]
    last_border = np.searchsorted(-borders, -thresholds, side="right") - 1
    cost = (
        total_costs(test.costs, hits, alarms)
        if test.costs
        else np.full(len(hits), np.nan)
    )
    hits = hits[last_border]
    alarms = alarms[last_border]
    cost = cost[last_border]
    with np.errstate(all="ignore"):
        recall = hits / positive
        precision = hits / (hits + alarms)
        f1 = 2 * hits / (hits + alarms + positive)
    missed = positive - hits
    rows = positive + negative
    return thresholds, recall, precision, f1, (missed + alarms) / rows, cost / rows
