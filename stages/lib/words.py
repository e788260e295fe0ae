"""Scores, baselines and keys in the words of a reader."""

from collections.abc import Iterator, Mapping
from typing import Any

# The scores in the order in which they are shown.
SCORE_WORDS = {
    "accuracy": "Accuracy",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "brier": "Brier score",
    "mae": "Mean absolute error",
    "rmse": "Root mean squared error",
    "r2": "R²",
    "loss": "Loss",
}
BASELINE_WORDS = {
    "majority": "majority class",
    "logistic_regression": "logistic regression",
    "mean": "the mean",
    "ridge": "ridge regression",
}

# What is expected of the model's outputs.
FINITE = (
    "a number from the model; is a cell empty while train.imputation is none, or far from what "
    "the model has learnt?"
)


def flat(value: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, each with its keys joined by dots as DVC does.

    Lists are leaves.
    """
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping) and item:
            yield from flat(item, f"{name}.")
        else:
            yield name, item
