"""Scores of the model beside its baselines, and the data of the plots."""

import csv
import json
from argparse import ArgumentParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from stages.lib.params import load_params
from stages.lib.stage import run, whole, write_json
from stages.lib.table import feature_arrays, feature_matrix, labels, read_parts

MAX_POINTS = 1000  # of a plot; more cannot be seen and would fill git


def write_points(path: Path, **columns: np.ndarray) -> None:
    """The points of a plot as CSV, at most `MAX_POINTS` of them, evenly picked."""
    rows = len(next(iter(columns.values())))
    picked = np.unique(np.linspace(0, rows - 1, min(rows, MAX_POINTS)).round().astype(int))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in picked:
            values = [column[row] for column in columns.values()]
            writer.writerow([f"{v:.6f}" if isinstance(v, float) else v for v in values])


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path, help="the .keras file to score")
    parser.add_argument("split", type=Path, help="folder of the tables train, validation and test")
    parser.add_argument("held_out", type=Path, help="folder of the outputs of the folds' members")
    parser.add_argument("facts", type=Path, help="JSON file on how the training repeats")
    parser.add_argument("metrics", type=Path, help="JSON file for the scores")
    parser.add_argument("plots", type=Path, help="folder for the data of the plots")
    args = parser.parse_args()
    params = load_params()
    data, threshold = params.data, params.evaluate.threshold

    from sklearn.metrics import precision_recall_curve, roc_curve

    from stages.lib import scores
    from stages.lib.model_file import predict, read_model

    model = read_model(args.model)
    y, probability, raw = {}, {}, {}
    for name in ("train", "validation", "test"):
        parts = list(read_parts(args.split / name))
        y[name] = np.concatenate([labels(part, data) for part in parts])[:, 0]
        raw[name] = np.concatenate([feature_matrix(part, data) for part in parts])
        predicted = [predict(model, feature_arrays(part, data)) for part in parts]
        probability[name] = np.concatenate(predicted)[:, 0]

    result = {name: scores.binary_scores(y[name], probability[name], threshold) for name in y}
    test = result["test"]
    low, high = scores.accuracy_interval(test["accuracy"], int(test["rows"]))
    test |= {"accuracy_low": low, "accuracy_high": high}

    outputs = [pq.read_table(part)["output_0"] for part in sorted(args.held_out.iterdir())]
    if outputs:
        held_out = np.concatenate(outputs)
        result["cross_validation"] = scores.binary_scores(y["train"], held_out, threshold)

    # The baselines may learn from all rows that the network saw while it was trained.
    x_seen, y_seen = (np.concatenate([t["train"], t["validation"]]) for t in (raw, y))
    baseline = {}
    for name, classifier in scores.baselines().items():
        guess = classifier.fit(x_seen, y_seen).predict_proba(raw["test"])[:, 1]
        baseline[name] = scores.binary_scores(y["test"], guess, threshold)

    false_positive_rate, true_positive_rate, _ = roc_curve(y["test"], probability["test"])
    precision, recall, _ = precision_recall_curve(y["test"], probability["test"])
    order = np.lexsort((probability["test"] >= threshold, y["test"]))
    with whole(args.plots) as folder:
        folder.mkdir()
        write_points(
            folder / "roc.csv",
            false_positive_rate=false_positive_rate,
            true_positive_rate=true_positive_rate,
        )
        write_points(folder / "precision_recall.csv", recall=recall, precision=precision)
        write_points(
            folder / "confusion.csv",
            actual=y["test"][order].astype(int),
            predicted=(probability["test"] >= threshold)[order].astype(int),
        )
    write_json(args.metrics, result | {"baseline": baseline} | json.loads(args.facts.read_text()))
    print(
        f"Accuracy: {test['accuracy']:.2%} (95% interval {low:.2%} to {high:.2%}, majority class "
        f"{baseline['majority']['accuracy']:.2%}, logistic regression "
        f"{baseline['logistic_regression']['accuracy']:.2%})"
    )


if __name__ == "__main__":
    run(main)
