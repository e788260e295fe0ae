"""How far scores may be off: intervals, and paired differences on the same rows.

Of a mean over the rows by a formula; of all other scores by the bootstrap: the same rows drawn
again with replacement, 1000 times, from a fixed seed (Efron and Tibshirani, "An introduction to the
bootstrap", 1993).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from tabular.metrics import TASKS
from tabular.schema import Schema
from tabular.table.arrays import predicted_classes, row_losses

NORMAL_95 = 1.959964  # standard deviations on each side of the mean that hold 95%
DRAWS, CELLS = 1000, 2**21  # weights of draws that are held at a time
MAX_ROWS = 10_000  # that are drawn; the interval of more is narrower by the root of their share


class Outputs(NamedTuple):
    """What a model says of rows whose answer is known.

    `y` (rows,), the index of the class in `schema.classes`, or the value; `outputs`
    (rows, outputs); `weight` (rows,), how much each row counts; `threshold` from which probability
    on a row counts as positive.
    """

    y: np.ndarray
    outputs: np.ndarray
    weight: np.ndarray
    threshold: float = 0.5

    def first(self, rows: int) -> "Outputs":
        """The same of the first rows."""
        return Outputs(self.y[:rows], self.outputs[:rows], self.weight[:rows], self.threshold)


class Difference(NamedTuple):
    """By how much a score is above another one of the same rows, with its 95% interval."""

    difference: float
    low: float
    high: float


def row_scores(found: Outputs, schema: Schema) -> np.ndarray:
    """The part of each row in the main score, which is their mean: float64, shape (rows,).

    1 for a right class and 0 for a wrong one; of a regression the absolute error.
    """
    if schema.task == "regression":
        return np.abs(found.y - found.outputs[:, 0])
    right = predicted_classes(found.outputs, schema, found.threshold) == found.y
    return right.astype(np.float64)


def mean_interval(
    values: np.ndarray, weight: np.ndarray, share: bool, deviations: float = NORMAL_95
) -> tuple[float, float]:
    """The interval of the mean of `row_scores` of independent rows.

    Of a share it is the Wilson score interval: Wilson, "Probable inference, the law of succession,
    and statistical inference" (1927), of as many rows as the weights are worth: Kish, "Survey
    Sampling" (1965). Of a mean absolute error it is that of the normal law of means, and 0 at
    least.

    Args:
        share: whether each value is 1 or 0.
        deviations: of the normal law on each side; those of 95% by default.
    """
    mean = float(np.average(values, weights=weight))
    if not share:
        half = _half_interval(values, weight, deviations)
        return max(mean - half, 0.0), mean + half
    n, z2 = weight.sum() ** 2 / np.square(weight).sum(), deviations**2
    middle = mean + z2 / (2 * n)
    spread = deviations * (mean * (1 - mean) / n + z2 / (4 * n * n)) ** 0.5
    low, high = ((middle + sign * spread) / (1 + z2 / n) for sign in (-1, 1))
    return max(float(low), 0.0), min(float(high), 1.0)


def _half_interval(values: np.ndarray, weight: np.ndarray, deviations: float) -> float:
    """Of a mean of independent values, each with its weight."""
    n, shares = len(values), weight / weight.sum()
    from_mean = shares * (values - (shares * values).sum())
    return deviations * float(np.square(from_mean).sum() * n / max(n - 1, 1)) ** 0.5


def mean_difference(
    mine: np.ndarray, other: np.ndarray, weight: np.ndarray, share: bool
) -> Difference:
    """By how much the mean of `row_scores` differs from that of others of the same rows.

    Rows that both predict alike do not widen the interval. It is that of the normal law of means;
    of shares with two rows more, one that only the one and one that only the other gets right, so
    that it is not too narrow where few rows differ, and agrees with McNemar's exact test: Bonett
    and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on
    paired data" (2012).
    """
    differences = mine - other
    mean = middle = float(np.average(differences, weights=weight))
    if share and differences.any():
        each = weight.sum() / len(weight)
        differences, weight = np.r_[differences, 1, -1], np.r_[weight, each, each]
        middle = float(np.average(differences, weights=weight))
    half = _half_interval(differences, weight, NORMAL_95)
    return Difference(mean, middle - half, middle + half)


def intervals(
    found: Outputs, schema: Schema, keys: tuple[str, ...] | None = None
) -> dict[str, tuple[float, float]]:
    """The 95% interval of each score of some rows, by its dotted key.

    Args:
        keys: of the scores; None of all.
    """
    points = weighted_scores(found, found.weight[None], schema)
    limits = {
        key: _limits(values, points[key][0], len(found.y))
        for key, values in drawn_scores(found, schema, keys).items()
        if np.isfinite(points[key][0])
    }
    of_rows, share = row_scores(found, schema), schema.task != "regression"
    return limits | {TASKS[schema.task].main: mean_interval(of_rows, found.weight, share)}


def differences(
    mine: Outputs, other: Outputs, schema: Schema, keys: tuple[str, ...]
) -> dict[str, Difference]:
    """By how much some scores differ from others' of the same rows.

    Scores that one of the two has not are left out.
    """
    main, found = TASKS[schema.task].main, {}
    if main in keys:
        own, theirs = (row_scores(each, schema) for each in (mine, other))
        found[main] = mean_difference(own, theirs, mine.weight, schema.task != "regression")
    rest = tuple(key for key in keys if key != main)
    if not rest:
        return found
    both = (mine, other)
    drawn = [drawn_scores(each, schema, rest) for each in both]
    points = [weighted_scores(each, each.weight[None], schema) for each in both]
    for key in rest:
        if key in drawn[0] and key in drawn[1]:
            point = points[0][key][0] - points[1][key][0]
            if np.isfinite(point):
                limits = _limits(drawn[0][key] - drawn[1][key], point, len(mine.y))
                found[key] = Difference(float(point), *limits)
    return found


def _limits(values: np.ndarray, point: float, rows: int) -> tuple[float, float]:
    """The 95% interval of what came to `values` in the draws, of more rows than are drawn too."""
    low, middle, high = (float(value) for value in np.nanpercentile(values, [2.5, 50, 97.5]))
    if rows <= MAX_ROWS:
        return low, high
    narrower = (MAX_ROWS / rows) ** 0.5
    return float(point) + narrower * (low - middle), float(point) + narrower * (high - middle)


def draws(weight: np.ndarray) -> Iterator[np.ndarray]:
    """The weight of each row in some draws of all rows at a time: float64, (draws, rows)."""
    rng, rows = np.random.default_rng(0), len(weight)
    at_a_time = max(CELLS // rows, 1)
    for start in range(0, DRAWS, at_a_time):
        count = min(at_a_time, DRAWS - start)
        picked = rng.integers(0, rows, (count, rows)) + rows * np.arange(count)[:, None]
        times = np.bincount(picked.ravel(), minlength=count * rows)
        yield times.reshape(count, rows) * weight


def drawn_scores(
    found: Outputs, schema: Schema, keys: tuple[str, ...] | None = None
) -> dict[str, np.ndarray]:
    """Each score in each draw of the first rows: float64, (draws,); NaN where it is undefined.

    Args:
        keys: of the scores; None of all.
    """
    found = found.first(MAX_ROWS)
    parts = [weighted_scores(found, weights, schema) for weights in draws(found.weight)]
    return {
        key: values
        for key in parts[0]
        if keys is None or key in keys
        if np.isfinite(values := np.concatenate([part[key] for part in parts])).any()
    }


def weighted_scores(found: Outputs, weights: np.ndarray, schema: Schema) -> dict[str, np.ndarray]:
    """The scores of the same rows under many weights at once, as `scores.score` defines them.

    Args:
        weights: float64, shape (n, rows).

    Returns:
        By dotted key float64 of shape (n,), NaN where a score is undefined.
    """
    total = weights.sum(axis=1)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.divide((weights * values).sum(axis=1), total)

    y, outputs = found.y, found.outputs.astype(np.float64)
    with np.errstate(all="ignore"):
        loss = {"loss": mean(row_losses(y, outputs, schema))}
        if schema.task == "regression":
            return loss | _regression(y, outputs[:, 0], mean)
        predicted = predicted_classes(found.outputs, schema, found.threshold)
        classes = np.arange(len(schema.classes))
        hits, actual, called = (
            np.stack([(weights * mask).sum(axis=1) for mask in masks])
            for masks in (
                [(y == k) & (predicted == k) for k in classes],
                [y == k for k in classes],
                [predicted == k for k in classes],
            )
        )
        recall, precision, f1 = hits / actual, hits / called, 2 * hits / (actual + called)
        common = loss | {
            "accuracy": hits.sum(axis=0) / total,
            "balanced_accuracy": np.nanmean(recall, axis=0),
        }
        if schema.task == "binary":
            common |= {"precision": precision[1], "recall": recall[1], "f1": f1[1]}
            common["brier"] = mean(np.square(outputs[:, 0] - y))
            area, average = ranking(y == 1, outputs[:, 0], weights)
            return common | {"roc_auc": area, "average_precision": average}
        shares = actual / total
        for key, each in {"precision": precision, "recall": recall, "f1": f1}.items():
            each = np.nan_to_num(each)
            common |= {f"macro.{key}": each.mean(axis=0)}
            common |= {f"weighted.{key}": (each * shares).sum(axis=0)}
        areas, averages = zip(
            *(ranking(y == k, outputs[:, k], weights) for k in classes), strict=True
        )
        common["macro.roc_auc"] = np.mean(areas, axis=0)
        common["macro.average_precision"] = np.mean(averages, axis=0)
        return common


def _regression(
    y: np.ndarray, value: np.ndarray, mean: Callable[[np.ndarray], np.ndarray]
) -> dict[str, np.ndarray]:
    squared = mean(np.square(y - value))
    spread = mean(np.square(y)) - np.square(mean(y))
    scores = {
        "mae": mean(np.abs(y - value)),
        "rmse": np.sqrt(squared),
        "r2": np.where(spread > 0, 1 - squared / spread, np.nan),
    }
    if (y > 0).all():
        scores["mape"] = mean(np.abs(y - value) / y)
    if (y >= 0).all():
        logs = np.log1p(y) - np.log1p(np.maximum(value, 0))
        scores["rmsle"] = np.sqrt(mean(np.square(logs)))
    return scores


def ranking(
    positive: np.ndarray, probability: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The area under the ROC curve and the average precision under many weights, (n,) each.

    Args:
        positive: which rows are of the class, shape (rows,).
        weights: shape (n, rows).
    """
    order = np.argsort(-probability, kind="stable")
    ends = np.flatnonzero(np.diff(probability[order], append=np.inf))  # of each probability
    hits, alarms = (
        np.cumsum(weights[:, order] * mask[order], axis=1)[:, ends]
        for mask in (positive, ~positive)
    )
    new_hits, new_alarms = np.diff(hits, prepend=0), np.diff(alarms, prepend=0)
    area = (new_alarms * (hits - new_hits / 2)).sum(axis=1) / (hits[:, -1] * alarms[:, -1])
    precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits + alarms > 0)
    average = (new_hits * precision).sum(axis=1) / hits[:, -1]
    return area, np.where(alarms[:, -1] > 0, average, np.nan)
