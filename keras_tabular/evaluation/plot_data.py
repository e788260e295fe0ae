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
from keras_tabular.evaluation.scores import Predictions, rank_rows
from keras_tabular.evaluation.uncertainty import share_interval
from keras_tabular.table.groups import stable_row_hashes
from keras_tabular.table.parquet import FILE, LINE
from keras_tabular.table.profile import quantiles

CALIBRATION_BINS = 10  # of equal width
MAX_COLUMNS = 30  # in the plot of importances; more would not be readable
MAX_CONFUSION_CELLS = 2500  # all of 50 classes; of more, the cells with the most rows
EVEN_THRESHOLDS = np.arange(1, 100) / 100
THRESHOLD_QUANTILES = 50  # of the predictions, in addition to the even thresholds
# Test rows that are kept so that later runs can be compared on them.
MAX_KEPT_ROWS = 2000
MAX_KEPT_PREDICTIONS = 20_000
MIN_ROWS_TO_SAMPLE = 200  # of a class; all rows of a class with fewer are kept
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
Keys = dict[str, np.ndarray]  # see `row_keys`


def compute_plots(test: Predictions, importance: dict[str, np.ndarray]) -> Plots:
    """Compute the points of the plots that the task needs, by the name of their file.

    Args:
        importance: Increase of the loss in each repetition, by column.
    """
    names = sorted(importance, key=lambda name: -importance[name].mean())
    names = names[:MAX_COLUMNS]
    rises = [importance[name] for name in names]
    statistics = [[*map(each, rises)] for each in (np.mean, np.min, np.max)]
    plots: Plots = {"importance": (names, *statistics)}
    if test.task.classes:
        pooled = pool_classes(test)
        plots["calibration"] = calibration_plot(pooled)
        if len(np.unique(pooled.y)) == 2:
            plots |= ranking_plots(pooled.y, pooled.y_pred, pooled.weight)
        plots["confusion"] = confusion(test)
    else:
        predicted = test.first_output
        plots["values"] = (test.y, predicted, test.y - predicted)
    if test.task.has_threshold:
        plots["threshold"] = threshold_plot(test)
    return plots


def write_plots(
    folder: Path,
    plots: Plots,
    test: Predictions,
    keys: Keys,
) -> None:
    """Write the points of every plot, and the test rows that are kept.

    Args:
        plots: The result of `compute_plots`; empty if that failed.
        keys: The `row_keys` of the test rows.
    """
    files = {"test_rows": kept_test_rows(test, keys)}
    for name, header in HEADERS.items():
        columns = plots.get(name) or [()] * len(header)
        files[name] = dict(zip(header, columns, strict=True))
    limits = {"confusion": MAX_CONFUSION_CELLS, "test_rows": MAX_KEPT_ROWS}
    with atomic_write(folder) as partial:
        partial.mkdir()
        for name, points in files.items():
            write_points(partial / f"{name}.csv", points, limits.get(name, MAX_POINTS))


def row_keys(
    folder: Path,
    schema: Schema,
    ignored: Iterable[str] = (),
) -> Keys:
    """Hash each row to keys by which it is found in another run: int64, (rows,).

    Returns:
        As `row`, a hash of the target, the features and the `ignored` columns, in any
        order: it finds the row in another table. As `line`, a hash of its place and its
        target: in the same table, it is the same if another schema reads other cells
        differently.
    """
    columns = {
        "row": sorted({schema.target, *schema.features, *ignored}),
        "line": [FILE, LINE, schema.target],
    }
    keys = {}
    for key, names in columns.items():
        hashes = stable_row_hashes(folder, names, seed=0)
        keys[key] = (hashes % MAX_KEY).astype(np.int64)
    return keys


def kept_test_rows(test: Predictions, keys: Keys) -> dict[str, Any]:
    """Return the keys, labels and predictions of the test rows that are kept.

    All rows of classes with few rows are kept, if these are at most half of the kept
    rows. Of the others, those with the smallest keys of either kind are kept, so that a
    later run keeps many of the same ones, also if the table has more rows or another
    schema, and each of them has the weight of those that it represents. There are also
    groups, if any.
    """
    max_rows = min(MAX_KEPT_ROWS, MAX_KEPT_PREDICTIONS // test.task.n_outputs)
    _, codes, counts = np.unique(test.y, return_inverse=True, return_counts=True)
    is_rare = (counts < MIN_ROWS_TO_SAMPLE)[codes]
    if not test.task.classes or is_rare.sum() > max_rows // 2:
        is_rare[:] = False
    kept_common = max_rows - is_rare.sum()
    represented = max((~is_rare).sum() / kept_common, 1.0)
    weight = test.weight * np.where(is_rare, 1.0, represented)
    smaller_key = np.minimum(keys["row"], keys["line"])
    rare_first = np.lexsort((smaller_key, ~is_rare))
    rows = np.sort(rare_first[:max_rows])
    test = test._replace(weight=weight).select(rows)
    label_type = int if test.task.classes else str
    columns = {name: values[rows] for name, values in keys.items()}
    columns["y"] = test.y.astype(label_type)
    for k, values in enumerate(test.y_pred.astype(float).T):
        columns[f"output_{k}"] = values
    if (test.weight != 1).any():
        columns["weight"] = test.weight
    if test.group is not None:
        columns["group"] = test.group
    return columns


def pool_classes(test: Predictions) -> Predictions:
    """Return a row for each row of a weight and output of the model.

    Returns:
        `y` is whether the row is of the class of the output, and `y_pred` its
        probability; both of shape (rows x outputs,).
    """
    classes = np.array(test.task.output_classes)
    repeated = test.select(np.repeat(np.arange(len(test.y)), len(classes)))
    pooled = repeated._replace(
        y=(test.y[:, None] == classes).ravel(),
        y_pred=test.y_pred.astype(np.float64).ravel(),
    )
    return pooled.select(pooled.weight > 0)


def calibration_plot(pooled: Predictions) -> tuple[tuple[float, ...], ...]:
    """Compare the probabilities with the shares of positive rows, in bins of them.

    Args:
        pooled: The result of `pool_classes`.
    """
    bins = (pooled.y_pred * CALIBRATION_BINS).astype(int)
    bins = np.minimum(bins, CALIBRATION_BINS - 1)  # the last one includes 1
    points = []
    for number in np.unique(bins):
        rows = pooled.select(bins == number)
        estimate = share_interval(rows.y, rows.weight, rows.group)
        actual = np.clip(estimate, 0.0, 1.0)  # the ends are infinite for a single group
        mean = rows.mean(rows.y_pred)
        points.append((mean, actual[0], mean, *actual[1:]))
    return tuple(zip(*points, strict=True))


def ranking_plots(
    truth: np.ndarray,
    probability: np.ndarray,
    weight: np.ndarray,
) -> Plots:
    """Compute the ROC curve and the best precision at each recall.

    The points inside of a line are left out of the ROC curve. The arguments are those
    of `rank_rows`.

    >>> truth = np.array([True, True, False])
    >>> ranking_plots(truth, np.array([0.9, 0.8, 0.5]), np.ones(3))["roc"]
    (array([0., 0., 1.]), array([0., 1., 1.]))
    """
    ranking = rank_rows(truth, probability, weight)
    hits = ranking.hits
    alarms = ranking.alarms
    recall = hits / hits[-1]
    false_positive_rate = alarms / alarms[-1]
    bends = np.diff([hits, alarms], 2)
    turns = (bends != 0).any(axis=0)
    is_corner = np.concatenate([[True], turns, [True]])
    precision = ranking.precision(undefined=1)
    distinct_recall, first_points = np.unique(recall, return_index=True)
    best_precision = np.maximum.reduceat(precision, first_points)
    return {
        "roc": (false_positive_rate[is_corner], recall[is_corner]),
        "precision_recall": (distinct_recall, best_precision),
    }


def confusion(test: Predictions) -> tuple[np.ndarray, ...]:
    """Count the rows of each true and predicted class, also as shares of the true one.

    Of many classes, only the cells with the most rows are returned.
    """
    names = np.array([truncate(str(name)) for name in test.task.classes])
    n_classes = len(names)
    # A cell is a pair of a true and a predicted class.
    cell_of_row = test.y.astype(int) * n_classes + test.predicted_classes
    counts = np.bincount(cell_of_row, minlength=n_classes**2)
    by_class = counts.reshape(n_classes, n_classes)  # (true classes, predicted classes)
    class_rows = by_class.sum(axis=1)
    largest = np.argsort(-counts, kind="stable")[:MAX_CONFUSION_CELLS]
    cells = np.sort(largest)
    true, predicted = np.divmod(cells, n_classes)
    rows = counts[cells]
    shares = rows / np.maximum(class_rows[true], 1)
    return names[true], names[predicted], rows, shares


def threshold_plot(test: Predictions) -> tuple[np.ndarray, ...]:
    """Score the test rows at many thresholds; undefined scores are NaN.

    The thresholds are even numbers, quantiles of the predictions, and the chosen one.
    """
    probability = test.first_output
    predicted = [
        float(f"{p:.{DIGITS}g}") for p in quantiles(probability, THRESHOLD_QUANTILES)
    ]
    thresholds = np.unique(np.r_[EVEN_THRESHOLDS, predicted, test.threshold])
    ranking = rank_rows(test.y == 1, probability, test.weight)
    positive = ranking.hits[-1]
    rows = positive + ranking.alarms[-1]
    # The place of the lowest probability that each threshold predicts as positive.
    place = np.searchsorted(-ranking.thresholds, -thresholds, side="right") - 1
    hits = ranking.hits[place]
    alarms = ranking.alarms[place]
    misses = positive - hits
    cost = np.full(len(thresholds), np.nan)
    if test.costs:
        cost = total_costs(test.costs, ranking)[place] / rows
    with np.errstate(all="ignore"):
        recall = hits / positive
        precision = hits / (hits + alarms)
        f1 = 2 * hits / (hits + alarms + positive)
    return thresholds, recall, precision, f1, (misses + alarms) / rows, cost
