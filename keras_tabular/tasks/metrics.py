"""Names of metrics and row sets, the same in parameters, files and reports."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from keras_tabular.core.errors import UserError
from keras_tabular.tasks.task import CostMatrix

COST = "cost"  # key of the mean cost of the predicted classes, see `evaluate.threshold`
CUSTOM = "custom."  # prefix of the keys of metrics that a project adds in custom.py
# How a metric is averaged over classes, by the prefix of its key.
AVERAGES = {"macro": "each class alike", "weighted": "each row alike"}
# The sets of rows that are scored, by their key in the metrics files.
ROW_SETS = {
    "test": "Test rows",
    "cross_validation": "Cross-validation",
    "forward_chaining": "Later rows, by models of earlier ones",
    "validation": "Validation rows",
    "train": "Training rows",
}


class Metric(NamedTuple):
    """How a metric is called, and what its scores are."""

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
    COST: Metric("Cost per row", greater_is_better=False),
}


class CustomMetric(NamedTuple):
    """A metric that a project adds in `custom.py`.

    Attributes:
        name: Name of the metric; the key of its score is `custom.` and the name.
        compute: Takes `Predictions` for some rows and returns their score, in which
            each row should count by its weight. NaN means that the score is undefined.
        greater_is_better: Whether a greater score is better.
    """

    name: str
    compute: Callable[[Any], float]
    greater_is_better: bool


def check_custom_metrics(
    metrics: Sequence[CustomMetric],
    primary_metric: str,
) -> None:
    """Check the names of the metrics that a project adds.

    Args:
        metrics: The metrics that the project adds.
        primary_metric: The value of `evaluate.metric`, which may be one of them.

    Raises:
        UserError: A name cannot be a key of the metrics files, two metrics have the
            same name, or the primary metric is missing.
    """
    names = [metric.name for metric in metrics]
    for name in names:
        if not re.fullmatch(r"[A-Za-z]\w*", name) or name.endswith(("_low", "_high")):
            raise UserError(
                "custom.py: METRICS: expected a name of letters, digits and underscores"
                f" that does not end in _low or _high, got {name!r}",
            )
        if names.count(name) > 1:
            raise UserError(
                f"custom.py: METRICS: Two metrics are called {name}. Rename one of"
                " them.",
            )
    is_custom = primary_metric.startswith(CUSTOM)
    if is_custom and primary_metric.removeprefix(CUSTOM) not in names:
        raise UserError(
            "params.yaml: evaluate.metric: expected a metric of custom.py: METRICS,"
            f" which has {names}, got {primary_metric}",
        )


def choose_primary_metric(choice: str, loss: str, costs: CostMatrix | None) -> str:
    """Return the key of the primary metric.

    Args:
        choice: The value of `evaluate.metric`. With `auto`, it is the cost if there are
            costs, and otherwise the loss that was minimised.
        loss: The value of `train.loss`.
        costs: The costs by which classes are predicted, if there are any.
    """
    if choice != "auto":
        return choice
    if costs:
        return COST
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
        custom_metrics: Whether a greater score is better, by the name of each metric
            that the project adds.
    """
    metrics = dict(METRICS)
    for average in AVERAGES:
        for name in METRICS:
            metrics[f"{average}.{name}"] = METRICS[name]
    for name, greater_is_better in custom_metrics.items():
        metrics[CUSTOM + name] = Metric(name, greater_is_better)
    return metrics
