"""The data of the plots that dvc.yaml declares, as small CSV files."""

import csv
from pathlib import Path

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from stages.lib.params import Data

MAX_POINTS = 1000  # of a plot; more cannot be seen and would fill git


def write_points(path: Path, **columns: np.ndarray) -> None:
    """The points of a plot as CSV, at most `MAX_POINTS` of them, evenly picked."""
    rows = len(next(iter(columns.values())))
    picked = np.linspace(0, max(rows - 1, 0), min(rows, MAX_POINTS)).round().astype(int)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in picked:
            values = [column[row] for column in columns.values()]
            writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in values])


def write_plots(
    folder: Path, y: np.ndarray, predicted: np.ndarray, data: Data, threshold: float
) -> None:
    """The points of each plot; those that are not of the task have none."""
    none = np.empty(0)
    false_rate, true_rate, precision, recall = none, none, none, none
    if data.task == "binary":
        false_rate, true_rate, _ = roc_curve(y, predicted[:, 0])
        precision, recall, _ = precision_recall_curve(y, predicted[:, 0])
    write_points(folder / "roc.csv", false_positive_rate=false_rate, true_positive_rate=true_rate)
    write_points(folder / "precision_recall.csv", recall=recall, precision=precision)

    guess, actual = none, none
    if data.task != "regression":
        names = np.array([str(value) for value in data.classes])
        one = predicted[:, 0] >= threshold if data.task == "binary" else predicted.argmax(axis=1)
        order = np.lexsort((one, y))
        guess, actual = names[one.astype(int)][order], names[y.astype(int)][order]
    write_points(folder / "confusion.csv", actual=actual, predicted=guess)

    values = (y, predicted[:, 0]) if data.task == "regression" else (none, none)
    write_points(folder / "predicted.csv", actual=values[0], predicted=values[1])
