"""The data of the plots of the test rows that dvc.yaml declares, as small CSV files.

Every file is there for every task; of one that is not of the task the header alone, and DVC draws
no plot. With three or more classes the curves pool each class against the rest (micro average).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.metrics import precision_recall_curve, roc_curve

from tabular.files import write_points
from tabular.schema import Schema
from tabular.table.arrays import predicted_classes
from tabular.table.cells import TEXTS, numbers
from tabular.table.parquet import read_parts

CALIBRATION_BINS = 10  # of the same number of rows each
YEAR = 365.2425 * 86_400  # seconds
HISTOGRAM_BINS = 20  # of the same width each
MAX_COLUMNS = 30  # in the plot of importances; more cannot be read
MAX_BYTES = 150_000  # of the confusion's rows

HEADERS = {
    "roc": ("false positive rate", "true positive rate"),
    "precision_recall": ("recall", "precision"),
    "calibration": ("probability", "actual", "ideal"),
    "histogram": ("probability", "rows of the class", "other rows"),
    "confusion": ("true class", "predicted class"),
    "values": ("true value", "predicted value", "residual"),
    "residuals_over_time": ("time", "residual"),
    "importance": ("column", "rise", "low", "high"),
}

Plots = dict[str, tuple[Any, ...]]  # for each name the columns of its header


def write_plot_data(
    folder: Path,
    y: np.ndarray,
    predicted: np.ndarray,
    importance: dict[str, np.ndarray],
    schema: Schema,
    threshold: float,
    time: np.ndarray | None = None,
) -> None:
    """Write the points of every plot into `folder`.

    Args:
        y: shape (rows,), as in `scores.score`, and so is `predicted`, shape (rows, outputs).
        importance: for each column the rise of the loss in each repetition.
        time: of each row, see `times`.
    """
    plots = importance_plot(importance)
    if schema.task == "regression":
        value = predicted[:, 0].astype(np.float64)
        plots["values"] = (y, value, y - value)
        if time is not None:
            plots["residuals_over_time"] = (time, y - value)
    else:
        plots |= probability_plots(y, predicted.astype(np.float64), schema)
        plots["confusion"] = confusion(y, predicted, schema, threshold)
    for name, header in HEADERS.items():
        columns = dict(zip(header, plots.get(name, [()] * len(header)), strict=True))
        picked = {"points": len(columns["true class"])} if name == "confusion" else {}
        write_points(folder / f"{name}.csv", columns, **picked)


def times(folder: Path, schema: Schema) -> np.ndarray | None:
    """When the rows of a table were: float64, (rows,), a moment in years; NaN where it is missing.

    By the column that `time` of the schema names or the first one of moments; None without, or
    where the task has no residuals.
    """
    moments = [name for name, column in schema.columns.items() if column.kind == "datetime"]
    name = schema.time or next(iter(moments), None)
    if name is None or schema.columns[name].kind in TEXTS or schema.task != "regression":
        return None
    values = pa.concat_tables(read_parts(folder, [name]))[name]
    found = numbers(values, schema.columns[name]).to_numpy(zero_copy_only=False)
    return 1970 + found / YEAR if name in moments else found


def importance_plot(importance: dict[str, np.ndarray]) -> Plots:
    """Mean, lowest and highest rise of the loss, the most important column first."""
    names = sorted(importance, key=lambda name: -importance[name].mean())[:MAX_COLUMNS]
    spread = ([function(importance[n]) for n in names] for function in (np.mean, np.min, np.max))
    return {"importance": (names, *spread)}


def probability_plots(y: np.ndarray, predicted: np.ndarray, schema: Schema) -> Plots:
    """The curves of a probability and of whether the row is of the class."""
    classes = np.arange(1, 2) if schema.task == "binary" else np.arange(len(schema.classes))
    truth = (y[:, None] == classes).ravel()
    probability = predicted.ravel()
    edges = np.linspace(0, 1, HISTOGRAM_BINS + 1)
    counts = (np.histogram(probability[truth == k], edges)[0] for k in (True, False))
    order = np.argsort(probability, kind="stable")
    bins = [rows for rows in np.array_split(order, CALIBRATION_BINS) if len(rows)]
    means = [probability[rows].mean() for rows in bins]
    plots: Plots = {
        "histogram": ((edges[1:] + edges[:-1]) / 2, *counts),
        "calibration": (means, [truth[rows].mean() for rows in bins], means),
    }
    if 0 < truth.sum() < len(truth):
        plots["roc"] = roc_curve(truth, probability)[:2]
        precision, recall, _ = precision_recall_curve(truth, probability)
        best = np.lexsort((-precision, recall))  # the best precision of each recall comes first
        recall, first = np.unique(recall[best], return_index=True)
        plots["precision_recall"] = (recall, precision[best][first])
    return plots


def confusion(
    y: np.ndarray, predicted: np.ndarray, schema: Schema, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """The true and the predicted class of each row, in words, sorted; DVC's template counts them.

    Of many rows it is every n-th, and the words of the true class say so.
    """
    names = np.array([str(value) for value in schema.classes])
    y_pred = predicted_classes(predicted, schema, threshold)
    order = np.lexsort((y_pred, y))
    longest = max(len(str(name).encode()) + str(name).count('"') for name in names)
    line = 2 * longest + len('"" (1 row of 9999999),""\n')
    step = max(-(-len(y) * line // MAX_BYTES), 1)
    order = order[step // 2 :: step]
    actual = names if step == 1 else np.array([f"{name} (1 row of {step})" for name in names])
    return actual[y.astype(int)][order], names[y_pred][order]
