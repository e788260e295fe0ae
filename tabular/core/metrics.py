"""Names of scores, tasks and baselines: one vocabulary for parameters, files and reports."""

from collections.abc import Iterator, Mapping, Sequence
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

    `main` is the score that the gate, the baselines and the report speak of first, unless a class
    is rare, see `primary_metrics`; `main`, `second` and `loss` make the headline.
    """

    label: str
    scores: tuple[str, ...]
    main: str
    second: str
    baselines: dict[str, str]
    rare: tuple[str, ...] = ()


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
        rare=("roc_auc", "average_precision"),
    ),
    "multiclass": Task(
        "Several classes",
        (
            *("accuracy", "balanced_accuracy", "loss", "macro.average_precision", "macro.f1"),
            *("macro.precision", "macro.recall", "macro.roc_auc"),
            *("weighted.f1", "weighted.precision", "weighted.recall"),
        ),
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
    "forward_chaining": "Later rows, by models of earlier ones",
    "validation": "Validation rows",
    "train": "Training rows",
}
ENDS = ("_low", "_high")  # of a score's interval: what their keys add to its key
MOST_DIGITS = 15  # that a float holds
RARE = 0.1  # of the rows; with more than five classes half of an equal share


def primary_metrics(task: str, rows: Sequence[float]) -> tuple[str, ...]:
    """The scores by which a model is compared with its baselines, the first one first.

    The main score; or where a class is rare, which an accuracy hardly notices, those that look at
    how the rows are ranked.

    Args:
        rows: of each class; empty for a regression.
    """
    rare = rows and min(rows) < min(RARE, 0.5 / len(rows)) * sum(rows)
    return TASKS[task].rare if rare else (TASKS[task].main,)


def metric(key: str) -> Metric:
    """The metric of a dotted key such as `test.macro.f1`.

    Raises:
        KeyError: the last part of the key is no metric.
    """
    return METRICS[key.rpartition(".")[2]]


def shown(value: float, *beside: float) -> str:
    """A number as a reader sees it everywhere: with three significant digits, or with more where
    these do not tell it apart from another one.

    Args:
        beside: what it is compared with. A share below 1 is never shown as 1.
    """
    others = {*beside, 1.0} - {value} if value < 1 else {*beside} - {value}
    precise = (
        digits
        for digits in range(3, MOST_DIGITS)
        if _rounded(value, digits) not in {_rounded(other, digits) for other in others}
    )
    return _rounded(value, next(precise, MOST_DIGITS))


def _rounded(value: float, digits: int) -> str:
    """A number with so many significant digits, those before the point always in full."""
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if exponent >= MOST_DIGITS:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - exponent, 0)
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # and no -0


def shown_scores(scores: Mapping[Any, Any], rows: str, key: str) -> dict[str, str]:
    """A score of some rows as a reader sees it: the `model`'s, and each baseline's by its name.

    So it is the same text wherever it stands. Undefined ones are left out.
    """
    mine = get_nested(scores, f"{rows}.{key}")
    path = key if rows == "test" else f"{rows}.{key}"
    found = {name: get_nested(of, path) for name, of in scores.get("baseline", {}).items()}
    theirs = {name: value for name, value in found.items() if value is not None}
    texts = {name: shown(value, *[mine] * (mine is not None)) for name, value in theirs.items()}
    return texts if mine is None else texts | {"model": shown(mine, *theirs.values())}


def flat_numbers(nested: Mapping[Any, Any]) -> dict[str, float]:
    """The numbers among the leaves of nested mappings, by dotted key."""
    return {key: value for key, value in flatten(nested) if isinstance(value, int | float)}


def get_nested(nested: Mapping[Any, Any], key: str) -> Any:
    """What nested mappings hold at a dotted key; None where there is nothing."""
    found: Any = nested
    for name in key.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Nested mappings of values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        *path, last = key.split(".")
        place = found
        for name in path:
            place = place.setdefault(name, {})
        place[last] = value
    return found


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
