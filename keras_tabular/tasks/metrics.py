"""Names of metrics, tasks and baselines, the same in parameters, files and reports."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from keras_tabular.core.errors import UserError


class Metric(NamedTuple):
    """How a metric is called, and which scores are better."""

    label: str
    greater_is_better: bool = True


# All metrics, in the order in which they are shown.
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
# How a metric is averaged over classes, by the prefix of its key.
AVERAGES = {"macro": "each class alike", "weighted": "each row alike"}
# Every key that a score may have, in the order in which scores are shown.
METRIC_KEYS = (*METRICS, *(f"{average}.{name}" for average in AVERAGES for name in METRICS))
CUSTOM = "custom."  # prefix of the keys of metrics that a project adds in stages/evaluate.py


class CustomMetric(NamedTuple):
    """A metric that a project adds in `stages/evaluate.py`.

    Attributes:
        name: Name of the metric; the key of its score is `custom.` and the name.
        compute: Takes `Predictions` for some rows and returns their score, in which each row should
            count by its weight. NaN means that the score is undefined.
        greater_is_better: Whether a greater score is better.
    """

    name: str
    compute: Callable[[Any], float]
    greater_is_better: bool


def check_custom_metrics(metrics: Sequence[CustomMetric]) -> None:
    """Check the names of the metrics that a project adds.

    Raises:
        UserError: A name cannot be a key of the metrics files, or two metrics have the same name.
    """
    where, names = "stages/evaluate.py: METRICS", [metric.name for metric in metrics]
    for name in names:
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name.endswith(("_low", "_high")):
            allowed = "a name of letters, digits and underscores that does not end in _low or _high"
            raise UserError(f"{where}: expected {allowed}, got {name!r}")
        if names.count(name) > 1:
            raise UserError(f"{where}: Two metrics are called {name}. Rename one of them.")


class Task(NamedTuple):
    """What a model predicts, with the keys of its scores and baselines in the metrics files.

    Attributes:
        label: How the report calls the task.
        scores: Keys of the scores.
        main: The primary metric, unless a class is rare; see `primary_metrics`.
        second: The metric that a summary shows after `main`.
        baselines: Names of the baselines by their complexity.
        rare: The primary metrics if a class is rare.
    """

    label: str
    scores: tuple[str, ...]
    main: str
    second: str
    baselines: dict[str, str]
    rare: tuple[str, ...] = ()


_CLASSIFIERS = {
    "constant": "majority", "linear": "logistic_regression", "boosted": "gradient_boosting",
}  # fmt: skip
TASKS = {
    "binary": Task(
        "Two classes",
        ("accuracy", "average_precision", "balanced_accuracy", "brier", "f1", "loss", "precision",
         "recall", "roc_auc"),
        main="accuracy",
        second="roc_auc",
        baselines=_CLASSIFIERS,
        rare=("roc_auc", "average_precision"),
    ),
    "multiclass": Task(
        "Several classes",
        ("accuracy", "balanced_accuracy", "loss", "macro.average_precision", "macro.f1",
         "macro.precision", "macro.recall", "macro.roc_auc", "weighted.f1", "weighted.precision",
         "weighted.recall"),
        main="accuracy",
        second="macro.roc_auc",
        baselines=_CLASSIFIERS,
        rare=("macro.roc_auc", "macro.average_precision"),
    ),
    "regression": Task(
        "Regression",
        ("loss", "mae", "mape", "r2", "rmse", "rmsle"),
        main="mae",
        second="r2",
        baselines={"constant": "mean", "linear": "ridge", "boosted": "gradient_boosting"},
    ),
}  # fmt: skip
BASELINES = {
    "majority": "majority class",
    "logistic_regression": "logistic regression",
    "mean": "the best constant",  # the mean, or for absolute errors the median
    "ridge": "ridge regression",
    "gradient_boosting": "gradient boosting",
}
# What the constant baselines do.
CONSTANTS = {
    "majority": "always predicting the most frequent class",
    "mean": "always predicting the best constant",
}
# The sets of rows that are scored, by their key in the metrics files.
ROW_SETS = {
    "test": "Test rows",
    "cross_validation": "Cross-validation",
    "forward_chaining": "Later rows, by models of earlier ones",
    "validation": "Validation rows",
    "train": "Training rows",
}
# What groups of test rows are compared by, in the order in which it is shown.
GROUP_MEASURES = {
    "binary": ("selection_rate", "true_positive_rate", "false_positive_rate", "error"),
    "multiclass": ("error",),
    "regression": ("mean_prediction", "error", "coverage"),
}
MIN_GROUP_ROWS = 30  # that decide a measure; groups with fewer rows are shown, but not compared
# A class with a smaller share of the rows is rare. With more than five classes, the limit is half
# the share that each class has in a balanced table.
MAX_RARE_SHARE = 0.1


def primary_metrics(task: str, rows: Sequence[float]) -> tuple[str, ...]:
    """Return the keys of the metrics by which a model is compared with its baselines.

    This is `Task.main`. If a class is rare, accuracy hardly depends on it, and the primary metrics
    are those that judge the ranking of the rows.

    Args:
        rows: Number of rows of each class; empty for a regression.
    """
    rare = rows and min(rows) < min(MAX_RARE_SHARE, 0.5 / len(rows)) * sum(rows)
    return TASKS[task].rare if rare else (TASKS[task].main,)


def deciding_metric(loss: str) -> str:
    """Return the key of the metric that decides comparisons: the loss that was minimised.

    Args:
        loss: The value of `train.loss`.
    """
    return "mae" if loss == "mean_absolute_error" else "loss"


def metric(key: str) -> Metric:
    """Return the metric of a dotted key such as `test.macro.f1`.

    Raises:
        KeyError: The last part of the key is not the name of a metric.
    """
    return METRICS[key.rpartition(".")[2]]


def metrics_by_key(custom_metrics: Mapping[str, bool]) -> dict[str, Metric]:
    """Return the metric of each key, in the order in which metrics are shown.

    Args:
        custom_metrics: Whether a greater score is better, by the name of each metric that the
            project adds.
    """
    custom = {CUSTOM + name: Metric(name, greater) for name, greater in custom_metrics.items()}
    return {key: metric(key) for key in METRIC_KEYS} | custom
