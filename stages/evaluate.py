"""Scores of the model beside its baselines, and the data of the plots."""

import csv
import json
from argparse import ArgumentParser
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from stages.lib.params import Data, load_params
from stages.lib.stage import run, whole, write_json
from stages.lib.table import feature_arrays, labels, read_parts, write_part

MAX_POINTS = 1000  # of a plot; more cannot be seen and would fill git
MAX_BASELINE_ROWS = 200_000  # enough for a linear model, and bounded in time and memory
WORDS = {
    "accuracy": "Accuracy",
    "mae": "Mean absolute error",
    "majority": "majority class",
    "logistic_regression": "logistic regression",
    "mean": "the mean",
    "ridge": "ridge regression",
}


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


def score_baselines(split: Path, data: Data, threshold: float) -> dict[str, Any]:
    """The scores of each baseline on the test rows.

    They learn from the rows that the network saw while it was trained, train and validation, up
    to `MAX_BASELINE_ROWS` of them (the rows lie shuffled in the parts).
    """
    from stages.lib import scores

    seen, y_seen, rows = [], [], 0
    for part in chain(read_parts(split / "train"), read_parts(split / "validation")):
        part = part[: MAX_BASELINE_ROWS - rows]
        rows += len(part)
        seen.append(scores.feature_frame(part, data))
        y_seen.append(labels(part, data)[:, 0])
    x, y = pd.concat(seen, ignore_index=True), np.concatenate(y_seen)
    test = list(read_parts(split / "test"))
    y_test = np.concatenate([labels(part, data)[:, 0] for part in test])
    result = {}
    for name, estimator in scores.baselines(data).items():
        estimator.fit(x, y)
        guesses = [
            scores.predict(estimator, scores.feature_frame(part, data), data) for part in test
        ]
        result[name] = scores.score(y_test, np.concatenate(guesses), data, threshold)
    return result


def write_plots(
    folder: Path, y: np.ndarray, predicted: np.ndarray, data: Data, threshold: float
) -> None:
    """The points of each plot; those that are not of the task have none."""
    from sklearn.metrics import precision_recall_curve, roc_curve

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


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the .keras file to score")
    parser.add_argument("split", type=Path, help="folder of the tables train, validation and test")
    parser.add_argument("held_out", type=Path, help="folder of the outputs of the folds' members")
    parser.add_argument("facts", type=Path, help="JSON file on how the training repeats")
    parser.add_argument("metrics", type=Path, help="JSON file for the scores")
    parser.add_argument("plots", type=Path, help="folder for the data of the plots")
    parser.add_argument("predicted", type=Path, help="folder for what the model says of test rows")
    args = parser.parse_args()
    params = load_params()
    data, threshold = params.data, params.evaluate.threshold

    from stages.lib import scores
    from stages.lib.model_file import predict, read_model

    model = read_model(args.model)
    y, predicted = {}, {}
    for name in ("train", "validation", "test"):
        outputs = [
            (labels(part, data)[:, 0], predict(model, feature_arrays(part, data)))
            for part in read_parts(args.split / name)
        ]
        y[name], predicted[name] = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
    result = {name: scores.score(y[name], predicted[name], data, threshold) for name in y}
    test = result["test"]
    main_score = "mae" if data.task == "regression" else "accuracy"
    low, high = (
        scores.mae_interval(y["test"], predicted["test"][:, 0])
        if data.task == "regression"
        else scores.accuracy_interval(test["accuracy"], test["rows"])
    )
    test |= {f"{main_score}_low": low, f"{main_score}_high": high}

    held_out = [np.column_stack(part.columns) for part in read_parts(args.held_out)]
    if any(map(len, held_out)):
        folds = np.concatenate(held_out)
        result["cross_validation"] = scores.score(y["train"], folds, data, threshold)
        if not len(y["validation"]):  # the folds are what watched the training
            result["validation"] = result["cross_validation"]

    baseline = score_baselines(args.split, data, threshold)
    with whole(args.plots) as folder:
        folder.mkdir()
        write_plots(folder, y["test"], predicted["test"], data, threshold)
    with whole(args.predicted) as folder:
        outputs = {f"output_{i}": column for i, column in enumerate(predicted["test"].T)}
        write_part(folder, 0, pa.table({"actual": y["test"], **outputs}))
    facts = json.loads(args.facts.read_text())
    write_json(args.metrics, result | {"baseline": baseline} | facts)

    shown = "{:.6g}" if data.task == "regression" else "{:.2%}"
    others = ", ".join(
        f"{WORDS[name]} {shown.format(found[main_score])}" for name, found in baseline.items()
    )
    print(
        f"{WORDS[main_score]}: {shown.format(test[main_score])} "
        f"(95% interval {shown.format(low)} to {shown.format(high)}, {others})"
    )


if __name__ == "__main__":
    run(main)
