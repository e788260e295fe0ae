"""Names of scores, tasks and baselines: one vocabulary for parameters, files and reports."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """A score of predictions."""

    label: str
    greater_is_better: bool = True


# In the order in which they are shown.
METRICS = {
    "accuracy": Metric("Accuracy"),
    "balanced_accuracy": Metric("Balanced accuracy"),
    "roc_auc": Metric("ROC AUC"),
    "average_precision": Metric("Average precision"),
    "precision": Metric("Precision"),
    "recall": Metric("Recall"),
    "f1": Metric("F1"),
    "brier": Metric("Brier score", greater_is_better=False),
    "mae": Metric("Mean absolute error", greater_is_better=False),
    "rmse": Metric("Root mean squared error", greater_is_better=False),
    "r2": Metric("R²"),
    "mape": Metric("Mean absolute percentage error", greater_is_better=False),
    "rmsle": Metric("Root mean squared log error", greater_is_better=False),
    "loss": Metric("Loss", greater_is_better=False),
}
# How a score of several classes is averaged: the prefix of its key.
AVERAGES = {"macro": "each class alike", "weighted": "each row alike"}


class Task(NamedTuple):
    """What is predicted, and the keys of its scores and baselines in the metrics files.

    `main` is the score that the gate, the baselines and the report speak of first; `main`,
    `second` and `loss` make the headline.
    """

    label: str
    scores: tuple[str, ...]
    main: str
    second: str
    baselines: dict[str, str]


_CLASSIFIERS = {
    "constant": "majority",
    "linear": "logistic_regression",
    "boosted": "gradient_boosting",
}
TASKS = {
    "binary": Task(
        "Two classes",
        (
            *("accuracy", "average_precision", "balanced_accuracy", "brier", "f1", "loss"),
            *("precision", "recall", "roc_auc"),
        ),
        main="accuracy",
        second="roc_auc",
        baselines=_CLASSIFIERS,
    ),
    "multiclass": Task(
        "Several classes",
        (
            *("accuracy", "balanced_accuracy", "loss", "macro.f1", "macro.precision"),
            *("macro.recall", "macro.roc_auc"),
            *("weighted.f1", "weighted.precision", "weighted.recall"),
        ),
        main="accuracy",
        second="macro.roc_auc",
        baselines=_CLASSIFIERS,
    ),
    "regression": Task(
        "Regression",
        ("loss", "mae", "mape", "r2", "rmse", "rmsle"),
        main="mae",
        second="r2",
        baselines={"constant": "mean", "linear": "ridge", "boosted": "gradient_boosting"},
    ),
}
BASELINES = {
    "majority": "majority class",
    "logistic_regression": "logistic regression",
    "mean": "the mean",
    "ridge": "ridge regression",
    "gradient_boosting": "gradient boosting",
}
# The rows that are scored, by their key.
ROWS = {
    "test": "Test rows",
    "cross_validation": "Cross-validation",
    "validation": "Validation rows",
    "train": "Training rows",
}


def metric(key: str) -> Metric:
    """The metric of a dotted key such as `test.macro.f1`.

    Raises:
        KeyError: the last part of the key is no metric.
    """
    return METRICS[key.rpartition(".")[2]]


def numbers(nested: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers among the leaves of nested mappings, by dotted key."""
    return {key: value for key, value in flatten(nested) if isinstance(value, int | float)}


def flatten(nested: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings, each with its keys joined by dots as DVC does.

    Lists and empty mappings are leaves.
    """
    for key, value in nested.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{name}.")
        else:
            yield name, value
