"""Intervals of scores and of their differences, by formulas or by resampling rows."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from math import isclose
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from keras_tabular.config.metrics import COST, CUSTOM, metric
from keras_tabular.evaluation.records import Difference, Interval
from keras_tabular.evaluation.scores import Predictions, score, scores_by_weights

MAX_BLOCKS = 100
MIN_BLOCKS = 20
MAX_CELLS = 2**24  # rows, times classes, times blocks: above it, there are fewer blocks
MAX_WEIGHTS = 2**22  # in memory at a time


def jackknife_weights(group: np.ndarray, n_classes: int) -> Iterator[np.ndarray]:
    """Yield which rows remain without each of up to 100 blocks of rows, for some blocks at a time.

    The groups of rows are dealt to the blocks in turn, in a fixed order without a
    pattern.

    Args:
        group: Number of the group of each row, shape (rows,).

    Yields:
        1 or 0; float64, shape (some blocks, rows).
    """
    n_groups = group.max() + 1
    rows = len(group)
    affordable = max(MAX_CELLS // (rows * max(n_classes, 1)), MIN_BLOCKS)
    blocks = min(affordable, MAX_BLOCKS, n_groups)
    block = np.random.default_rng(0).permutation(n_groups) % blocks
    batches = min(blocks, -(-blocks * rows // MAX_WEIGHTS))
    for left_out in np.array_split(np.arange(blocks), batches):
        yield (block[group] != left_out[:, None]).astype(np.float64)


ALPHA = 0.05  # probability that an interval misses the true value
MIN_ROWS_FOR_INTERVAL = 10


class ScoredPredictions(NamedTuple):
    """Scores of predictions, and what their intervals are computed from.

    Attributes:
        values: The scores by metric.
        row_values: The value of each row in the scores that are means over the rows, by
            metric key.
        replicates: Every other score without each block of rows, by metric key;
            float64, shape (blocks,), NaN if it is undefined. See `jackknife_weights`.
        deciding_rows: Number of rows that decide each score, by metric key.
    """

    predictions: Predictions
    values: dict[str, float]
    row_values: dict[str, np.ndarray]
    replicates: dict[str, np.ndarray]
    deciding_rows: dict[str, float]

    def intervals(self, keys: Collection[str] | None = None) -> dict[str, Interval]:
        """Compute the 95% confidence interval of each score, by its metric key.

        An interval without a width is left out, since other rows may well have another
        score. That happens with a jackknife or Student's interval, but never with
        Wilson's.

        Args:
            keys: Metric keys; None for all scores.
        """
        weight = self.predictions.weight
        group = self.predictions.group
        intervals = {}
        for key, value in self.values.items():
            rows = self.deciding_rows[key]
            if (keys is not None and key not in keys) or rows < MIN_ROWS_FOR_INTERVAL:
                continue
            if key == "accuracy":
                interval = share_interval(self.row_values[key], weight, group)
            elif key == COST:
                costs = np.unique(np.array(self.predictions.costs))
                interval = cost_interval(self.row_values[key], costs, weight, group)
            elif key in self.row_values:
                interval = mean_interval(self.row_values[key], weight, group)
            elif key in ("rmse", "rmsle"):
                interval = root_interval(key, self.predictions)
            elif key == "r2":
                interval = r2_interval(value, self.predictions)
            else:
                on_logit_scale = not key.startswith(CUSTOM) and metric(key).is_share
                interval = jackknife_interval(
                    self.replicates[key],
                    value,
                    rows,
                    on_logit_scale,
                )
            if np.isfinite(interval).all() and not isclose(*interval):
                intervals[key] = interval
        return intervals

    def differences(
        self,
        other: "ScoredPredictions",
        keys: Collection[str] | None = None,
    ) -> dict[str, Difference]:
        """Compare the scores that both have for the same rows: these minus the other ones.

        Scores that too few rows decide, and those without a finite interval, are not
        compared.

        Args:
            keys: Metric keys; None for all scores.
        """
        weight = self.predictions.weight
        group = self.predictions.group
        differences = {}
        for key in self.values.keys() & (other.values if keys is None else keys):
            rows = min(self.deciding_rows[key], other.deciding_rows[key])
            if rows < MIN_ROWS_FOR_INTERVAL:
                continue
            if key in self.row_values:
                changes = self.row_values[key] - other.row_values[key]
                value, low, high = mean_difference(
                    changes,
                    weight,
                    group,
                    key == "accuracy",
                )
            else:
                value = self.values[key] - other.values[key]
                replicates = self.replicates[key] - other.replicates[key]
                low, high = jackknife_interval(replicates, value, rows)
            if np.isfinite((value, low, high)).all():
                differences[key] = Difference(value=value, low=low, high=high)
        return differences


def score_and_resample(predictions: Predictions) -> ScoredPredictions:
    """Score the rows, and score them again without each block of rows.

    The blocks are the same for all predictions of the same rows.
    """
    task = predictions.task
    y = predictions.y
    weight = predictions.weight
    group = predictions.group
    group = (
        np.arange(len(y)) if group is None else np.unique(group, return_inverse=True)[1]
    )
    row_values = {
        task.main_metric: predictions.row_scores,
        "loss": predictions.row_losses,
    }
    if task.has_threshold:
        row_values["brier"] = np.square(predictions.y_pred[:, 0].astype(np.float64) - y)
    if predictions.costs:
        row_values[COST] = predictions.row_costs()
    batches = [
        scores_by_weights(predictions, each * weight)
        | predictions.custom_scores(each * weight)
        for each in jackknife_weights(group, len(task.classes))
    ]
    keys = batches[0].keys() - row_values.keys()
    replicates = {
        key: np.concatenate([batch[key] for batch in batches]) for key in keys
    }
    values = score(predictions)
    counts = deciding_rows(predictions)
    counts = {key: counts[key] for key in values}
    return ScoredPredictions(predictions, values, row_values, replicates, counts)


def deciding_rows(predictions: Predictions) -> dict[str, float]:
    """Count the rows that decide each score, by metric key.

    - The accuracy, the loss, the cost and the mean absolute error: all rows, even if
      they are in groups. Their formulas hold for a few groups, too.
    - Scores that treat all classes alike: the rows of the smallest class.
    - Recall and F1 of two classes: the positive rows. Precision: the rows predicted as
      positive.
    - All other scores: all rows.

    The rows of a group count as one row, except in the first case.
    """
    task = predictions.task
    y = predictions.y
    weight = predictions.weight
    group = predictions.group

    def count(mask: np.ndarray) -> float:
        weights = weight * mask
        weights = weights if group is None else np.bincount(group, weights)
        return round(
            effective_sample_size(weights),
            6,
        )  # 10 rows of equal weight are 10.0

    all_rows = count(np.ones(len(y)))
    rows: dict[str, float] = defaultdict(lambda: all_rows)
    if task.classes:
        rows_of_classes = [count(y == k) for k in range(len(task.classes))]
        macro = [key for key in task.metrics if key.startswith("macro.")]
        rows |= dict.fromkeys((*macro, *task.rare_metrics), min(rows_of_classes))
        rows["balanced_accuracy"] = min((n for n in rows_of_classes if n), default=0.0)
    if task.has_threshold:
        rows |= dict.fromkeys(("recall", "f1"), rows_of_classes[1])
        rows["precision"] = count(predictions.predicted_classes == 1)
    return rows | dict.fromkeys(
        (task.main_metric, "loss", COST),
        effective_sample_size(weight),
    )


def share_interval(
    values: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
    alpha: float = ALPHA,
) -> Interval:
    """Compute the interval of a share, such as the accuracy, by Wilson's formula.

    With rows in groups, Wilson's formula gets the number n of independent rows for
    which the normal interval, p ± z sqrt(p (1 - p) / n), is as wide as Student's
    interval over the groups: at least 1, and at most the effective number of rows.

    Args:
        values: 1 for each row that belongs to the share, for example a correct one, and
            0 for the others; shape (rows,).
        weight: Weight of each row, shape (rows,).
        group: Number of the group of each row, shape (rows,); None if the rows are
            independent.
        alpha: Probability that the interval misses the true share.
    """
    share = float(np.average(values, weights=weight))
    rows = effective_sample_size(weight)
    z = NormalDist().inv_cdf(1 - alpha / 2)
    if group is not None:
        half = min(student_widths(values, weight, group, alpha))
        variance = share * (1 - share)
        if variance and half > 1e-9:  # equal deviations may leave a rounding error
            rows = min(max(variance * (z / half) ** 2, 1), rows)
        else:  # all rows or all groups are alike, so that their spread says nothing
            rows = effective_sample_size(np.bincount(group, weight))
    center = share + z**2 / (2 * rows)
    spread = z * (share * (1 - share) / rows + z**2 / (4 * rows * rows)) ** 0.5
    scale = 1 + z**2 / rows
    return max((center - spread) / scale, 0.0), min((center + spread) / scale, 1.0)


def cost_interval(
    values: np.ndarray,
    costs: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
) -> Interval:
    """Compute the interval of a mean cost from the intervals of the shares of all costs.

    Student's interval would end too early if an expensive mistake is so rare that these
    rows may not contain it. The square of each half width is the sum of the squares of
    those of the shares, times the costs (Zou and Donner 2008).

    Args:
        values: Cost of each row, shape (rows,).
        costs: All costs that a row can have, in ascending order.
        weight, group: See `share_interval`.
    """
    squares = np.zeros(2)
    for extra in costs - costs[0]:
        has_cost = np.isclose(values - costs[0], extra).astype(np.float64)
        share = np.average(has_cost, weights=weight)
        squares += np.square(
            extra * (np.array(share_interval(has_cost, weight, group)) - share),
        )
    below, above = np.sqrt(squares)
    mean = float(np.average(values, weights=weight))
    return mean - float(below), mean + float(above)


def mean_interval(
    values: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
) -> Interval:
    """Compute the interval of a mean, see `student_widths`; it ends at 0 if no value is negative.

    It is infinite if the rows say nothing about the spread of the values: for a single
    row, a single group, or equal values. The arguments are those of `share_interval`.
    """
    mean = float(np.average(values, weights=weight))
    below, above = student_widths(values, weight, group)
    if below == np.inf or below <= 1e-12 * abs(
        mean,
    ):  # equal values may leave a rounding error
        return -np.inf, np.inf
    return max(mean - below, 0.0 if values.min() >= 0 else -np.inf), mean + above


def root_interval(key: str, rows: Predictions) -> Interval:
    """Compute the interval of `rmse` or `rmsle` from that of the logarithm of its square."""
    y = rows.y
    y_pred = rows.y_pred[:, 0].astype(np.float64)
    if key == "rmsle":
        y = np.log1p(y)
        y_pred = np.log1p(np.maximum(y_pred, 0))
    squares = np.square(y_pred - y)
    mean = rows.mean(squares)
    below, above = student_widths(squares, rows.weight, rows.group) / (
        2 * (mean or 1.0)
    )
    return float(mean**0.5 * np.exp(-below)), float(mean**0.5 * np.exp(above))


def r2_interval(value: float, rows: Predictions) -> Interval:
    """Compute the interval of R², which is 1 minus the ratio of two means.

    Each row changes the ratio, as a share of it, by its squared error and its squared
    deviation from the mean, each one divided by its mean. A few rows may have most of
    the error: the lower end is moved outwards as that of the mean squared error is.
    """
    errors = np.square(rows.y_pred[:, 0].astype(np.float64) - rows.y)
    deviations = np.square(rows.y - rows.mean(rows.y))
    if not errors.any():
        return -np.inf, np.inf
    errors = errors / rows.mean(errors)
    deviations = deviations / rows.mean(deviations)
    below, above = map(
        float,
        student_widths(errors - deviations, rows.weight, rows.group),
    )
    of_errors = student_widths(errors, rows.weight, rows.group)
    above = max(above, min(below, above) * float(of_errors[1] / of_errors[0]))
    return 1 - (1 - value) * (1 + above), 1 - (1 - value) * max(1 - below, 0.0)


def mean_difference(
    differences: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None,
    is_share: bool,
) -> tuple[float, float, float]:
    """Return the difference between two means over the same rows, and the ends of its interval.

    For shares, the interval of Bonett and Price has two more rows: one that only the
    first model predicts correctly, and one that only the second does. It is not too
    narrow if few rows differ, and agrees with McNemar's exact test. The interval of a
    single row or group is infinite.

    Args:
        differences: Value of each row in the first mean minus that in the second, shape
            (rows,).
        weight, group: Weight and group of each row, as in `share_interval`.
        is_share: Whether all values are 0 or 1.
    """
    mean = center = float(np.average(differences, weights=weight))
    if is_share:
        added = np.square(weight).sum() / weight.sum()  # weight of each added row
        differences = np.r_[differences, 1, -1]
        weight = np.r_[weight, added, added]
        group = (
            None if group is None else np.r_[group, group.max() + 1, group.max() + 2]
        )
        center = float(np.average(differences, weights=weight))
    below, above = student_widths(differences, weight, group)
    if below == np.inf:
        return mean, -np.inf, np.inf
    return mean, center - below, center + above


def student_widths(
    values: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None,
    alpha: float = ALPHA,
) -> np.ndarray:
    """Compute how far Student's interval of a mean reaches below and above it.

    If the values are skewed, the end on the side of their long tail is moved outwards
    to where Hall's transformation of Student's t puts it. It would also move the other
    end inwards, which is not done: a sample may show only one of two long tails. A
    single row or group has infinite widths.

    Returns:
        Both widths, shape (2,).
    """
    from scipy.special import stdtrit  # importing it takes 0.2 s

    relative_weight = weight / weight.sum()
    deviations = relative_weight * (values - (relative_weight * values).sum())
    if group is not None:
        deviations = np.bincount(group, deviations)
        weight = np.bincount(group, weight)
    rows = effective_sample_size(weight)
    if rows < 2:
        return np.full(2, np.inf)
    quantile = float(
        stdtrit(rows - 1, 1 - alpha / 2),
    )  # with rows - 1 degrees of freedom
    norm = float(np.square(deviations).sum()) ** 0.5
    error = norm * (rows / (rows - 1)) ** 0.5
    skewness = np.power(deviations / (norm or 1.0), 3).sum() * np.array(
        [-1, 1],
    )  # as each end sees
    corrected = quantile + skewness / 6
    root = np.cbrt(1 - skewness * corrected)
    return np.maximum(quantile, 3 * corrected / (root**2 + root + 1)) * error


def effective_sample_size(weight: np.ndarray) -> float:
    """Compute how many rows of equal weight give a mean of the same precision (Kish)."""
    return float(weight.sum() ** 2 / np.square(weight).sum()) if weight.any() else 0.0


def jackknife_interval(
    replicates: np.ndarray,
    value: float,
    rows: float,
    on_logit_scale: bool = False,
) -> Interval:
    """Compute Student's interval of a score, or of a difference, by the jackknife.

    Its variance is that of the scores without each block, times blocks - 1.

    Args:
        replicates: The score without each block, shape (blocks,).
        value: The score itself.
        rows: Number of independent rows that decide the score.
        on_logit_scale: Whether to compute the interval on the logit scale. The
            distribution of a share near 1 is very skewed.
    """
    from scipy.special import expit, logit, stdtrit  # importing it takes 0.2 s

    defined = replicates[np.isfinite(replicates)]
    if len(defined) < 2:
        return -np.inf, np.inf
    error = np.std(defined) * (len(defined) - 1) ** 0.5
    half = float(stdtrit(min(rows, len(defined)) - 1, 1 - ALPHA / 2) * error)
    if not on_logit_scale or round(value, 9) in (0, 1):
        return value - half, value + half
    half /= value * (1 - value)
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))
