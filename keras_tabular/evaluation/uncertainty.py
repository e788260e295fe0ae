"""Intervals of scores and of their differences, by formulas or by resampling rows."""

from collections.abc import Collection, Iterator, Sequence
from math import ceil, isclose
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from keras_tabular.evaluation.records import Difference, Interval
from keras_tabular.evaluation.scores import Predictions, score, scores_by_weights
from keras_tabular.tasks.metrics import COST, CUSTOM

ALPHA = 0.05  # probability that an interval misses the true value
MIN_ROWS_FOR_INTERVAL = 10
MEANS_OF_RECALLS = ("recall", "balanced_accuracy", "macro.recall")
# Their differences are multiples of that of the loss of a regression.
FUNCTIONS_OF_LOSS = ("rmse", "r2")
# Blocks of rows that the jackknife leaves out, one after the other.
MIN_BLOCKS = 20
MAX_BLOCKS = 100
# Limits the time: with more rows, times classes, times blocks, there are fewer blocks.
MAX_CELLS = 2**24
# Limits the memory: so many weights are computed at a time.
MAX_WEIGHTS = 2**22
# The largest rounding errors that deviations from a mean may have.
MAX_ROUNDING_OF_SHARE = 1e-9
MAX_RELATIVE_ROUNDING_OF_MEAN = 1e-12

Estimate = tuple[float, float, float]  # a value, and the ends of its interval


class ScoredPredictions(NamedTuple):
    """Scores of predictions, and what their intervals are computed from.

    Attributes:
        values: The scores by metric.
        row_values: The value of each row in the scores that are means over the rows, by
            metric key.
        replicates: Every other score without each block of rows, by metric key;
            float64, shape (blocks,), NaN if it is undefined. See `remaining_rows`.
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
        intervals = {}
        for key in keys or self.values:
            if self.deciding_rows.get(key, 0) < MIN_ROWS_FOR_INTERVAL:
                continue
            low, high = self._interval(key)
            is_finite = np.isfinite((low, high)).all()
            if is_finite and not isclose(low, high):
                intervals[key] = low, high
        return intervals

    def _interval(self, key: str) -> Interval:
        """Compute the interval of a score by the method for its metric."""
        value = self.values[key]
        rows = self.predictions
        if key in ("rmse", "rmsle", "r2"):
            return squared_error_interval(key, value, rows)
        if key in MEANS_OF_RECALLS:
            return mean_recall(key, rows)[1:]
        if key not in self.row_values:
            return jackknife_interval(
                self.replicates[key],
                value,
                self.deciding_rows[key],
                on_logit_scale=bool(rows.task.classes) and not key.startswith(CUSTOM),
            )
        row_values = self.row_values[key]
        if key == "accuracy":
            return share_interval(row_values, rows.weight, rows.group)[1:]
        if key == COST:
            return cost_interval(rows)
        return mean_interval(row_values, rows.weight, rows.group)[1:]

    def differences(
        self,
        other: "ScoredPredictions",
        keys: Collection[str] | None = None,
    ) -> dict[str, Difference]:
        """Compare the scores that both have for the same rows: these minus the others.

        Scores that too few rows decide, and those without a finite interval, are not
        compared.

        Args:
            keys: Metric keys; None for all scores.
        """
        rows = self.predictions
        differences = {}
        for key in keys or self.values:
            n_rows = min(
                self.deciding_rows.get(key, 0),
                other.deciding_rows.get(key, 0),
            )
            if n_rows < MIN_ROWS_FOR_INTERVAL:
                continue
            if key in self.row_values:
                changes = self.row_values[key] - other.row_values[key]
                value, low, high = mean_difference(
                    changes,
                    rows.weight,
                    rows.group,
                    is_share=key == "accuracy",
                )
            elif key in MEANS_OF_RECALLS:
                value, low, high = mean_recall(key, rows, other.predictions)
            elif key in FUNCTIONS_OF_LOSS:
                value, low, high = self._scaled_difference(key, other)
            else:
                value = self.values[key] - other.values[key]
                replicates = self.replicates[key] - other.replicates[key]
                low, high = jackknife_interval(replicates, value, n_rows)
            if np.isfinite((value, low, high)).all():
                differences[key] = Difference(value=value, low=low, high=high)
        return differences

    def _scaled_difference(self, key: str, other: "ScoredPredictions") -> Estimate:
        """Return a difference that is a multiple of that of the mean squared error.

        Two root mean squared errors differ by the difference of their squares, divided
        by their sum, and two R² by that of the errors, divided by the variance.
        """
        rows = self.predictions
        changes = self.row_values["loss"] - other.row_values["loss"]
        of_loss = mean_difference(changes, rows.weight, rows.group, is_share=False)
        value = self.values[key] - other.values[key]
        factor = value / of_loss[0] if of_loss[0] else 0.0
        low, high = sorted(factor * end for end in of_loss[1:])
        return value, low, high


def score_and_resample(predictions: Predictions) -> ScoredPredictions:
    """Score the rows, and score them again without each block of rows.

    The blocks are the same for all predictions of the same rows.
    """
    task = predictions.task
    y = predictions.y
    weight = predictions.weight
    row_values = {
        task.main_metric: predictions.row_scores,
        "loss": predictions.row_losses,
    }
    if task.has_threshold:
        row_values["brier"] = np.square(predictions.first_output - y)
    if predictions.costs:
        row_values[COST] = predictions.row_costs()

    group = np.arange(len(y)) if predictions.group is None else predictions.group
    _, group = np.unique(group, return_inverse=True)
    batches = []
    for remaining in remaining_rows(group, len(task.classes)):
        weights = remaining * weight  # (some blocks, rows)
        scores = scores_by_weights(predictions, weights)
        batches.append(scores | predictions.custom_scores(weights))
    replicates = {
        key: np.concatenate([scores[key] for scores in batches])
        for key in batches[0].keys() - row_values.keys()
    }

    values = score(predictions)
    return ScoredPredictions(
        predictions,
        values,
        row_values,
        replicates,
        deciding_rows(predictions, values),
    )


def remaining_rows(group: np.ndarray, n_classes: int) -> Iterator[np.ndarray]:
    """Yield which rows remain without each block of rows, for some blocks at a time.

    The groups of rows are dealt to at most 100 blocks in turn, in a fixed order without
    a pattern.

    Args:
        group: Number of the group of each row, shape (rows,).

    Yields:
        Whether each row remains; bool, shape (some blocks, rows).

    >>> [remains.tolist() for remains in remaining_rows(np.array([0, 0, 1]), 0)]
    [[[False, False, True], [True, True, False]]]
    """
    n_rows = len(group)
    n_groups = group.max() + 1
    cells_of_block = n_rows * max(n_classes, 1)
    affordable = max(MAX_CELLS // cells_of_block, MIN_BLOCKS)
    n_blocks = min(affordable, MAX_BLOCKS, n_groups)
    block_of_group = np.random.default_rng(0).permutation(n_groups) % n_blocks
    block = block_of_group[group]  # (rows,)
    n_batches = min(n_blocks, ceil(n_blocks * n_rows / MAX_WEIGHTS))
    for left_out in np.array_split(np.arange(n_blocks), n_batches):
        yield block != left_out[:, None]  # (some blocks, rows)


def deciding_rows(
    predictions: Predictions,
    keys: Collection[str],
) -> dict[str, float]:
    """Count the rows that decide each score, by metric key.

    - The accuracy, the loss, the cost and the mean absolute error: all rows, even if
      they are in groups. Their formulas hold for a few groups, too.
    - Scores that treat all classes alike: the rows of the smallest class.
    - Recall and F1 of two classes: the positive rows. Precision: the rows predicted as
      positive.
    - All other scores: all rows.

    The rows of a group count as two rows at most, except in the first case: from five
    groups on, the intervals hold.

    Args:
        keys: Metric keys of the scores.
    """
    task = predictions.task
    weight = predictions.weight
    group = predictions.group

    def count(mask: np.ndarray) -> float:
        weights = weight * mask
        rows = effective_sample_size(weights)
        if group is not None:
            rows = min(rows, 2 * effective_sample_size(np.bincount(group, weights)))
        # Rounded, so that 10 rows of equal weight are 10.0.
        return round(rows, 6)

    all_rows = count(np.ones(len(predictions.y)))
    rows_by_class = [count(predictions.y == k) for k in range(len(task.classes))]
    rows_by_class = rows_by_class or [all_rows]
    smallest = min(rows_by_class)
    positive = rows_by_class[-1]
    counts = dict.fromkeys((*task.rare_metrics, "balanced_accuracy"), smallest)
    counts |= dict.fromkeys(
        (task.main_metric, "loss", COST), effective_sample_size(weight)
    )
    predicted_positive = count(predictions.predicted_classes == 1)
    counts |= {"recall": positive, "f1": positive, "precision": predicted_positive}
    return {
        key: counts.get(key, smallest if key.startswith("macro.") else all_rows)
        for key in keys
    }


def effective_sample_size(weight: np.ndarray) -> float:
    """Compute how many rows of equal weight give a mean of the same precision (Kish).

    >>> effective_sample_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    if not weight.any():
        return 0.0
    return float(weight.sum() ** 2 / np.square(weight).sum())


def share_interval(
    values: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
) -> Estimate:
    """Return a share, such as the accuracy, and its interval by Wilson's formula.

    With rows in groups, Wilson's formula gets the number n of independent rows for
    which the normal interval, p ± z sqrt(p (1 - p) / n), is as wide as Student's
    interval over the groups: at least 1, and at most the effective number of rows. The
    interval of a single group is infinite.

    Args:
        values: 1 for each row that belongs to the share, for example a correct one, and
            0 for the others; shape (rows,).
        weight: Weight of each row, shape (rows,).
        group: Number of the group of each row, shape (rows,); None if the rows are
            independent.

    >>> share, low, high = share_interval(np.arange(10) < 5, np.ones(10))
    >>> round(share, 3), round(low, 3), round(high, 3)
    (0.5, 0.237, 0.763)
    """
    share = float(np.average(values, weights=weight))
    rows = effective_sample_size(weight)
    z = NormalDist().inv_cdf(1 - ALPHA / 2)
    if group is not None:
        half_width = min(student_widths(values, weight, group))
        if half_width == np.inf:
            return share, -np.inf, np.inf
        variance = share * (1 - share)
        if variance and half_width > MAX_ROUNDING_OF_SHARE:
            rows = min(max(variance * (z / half_width) ** 2, 1), rows)
        else:  # all rows or all groups are alike, so that their spread says nothing
            rows = effective_sample_size(np.bincount(group, weight))
    center = share + z**2 / (2 * rows)
    variance = share * (1 - share) / rows + z**2 / (4 * rows * rows)
    spread = z * variance**0.5
    scale = 1 + z**2 / rows
    low = (center - spread) / scale
    high = (center + spread) / scale
    return share, max(low, 0.0), min(high, 1.0)


def cost_interval(rows: Predictions) -> Interval:
    """Compute the interval of a mean cost from those of the shares of all costs.

    Student's interval would end too early if an expensive mistake is so rare that these
    rows may not contain it.
    """
    costs = np.unique(np.array(rows.costs))
    row_costs = rows.row_costs()
    shares = [
        share_interval(row_costs == cost, rows.weight, rows.group) for cost in costs[1:]
    ]
    _, low, high = combine_estimates(shares, costs[1:] - costs[0])
    return costs[0] + max(low, 0.0), costs[0] + high


def combine_estimates(
    estimates: Sequence[Estimate],
    factors: np.ndarray | float,
) -> Estimate:
    """Sum estimates times factors.

    The square of each half width is the sum of the squares of those of the products
    (Zou and Donner 2008).

    Args:
        estimates: Independent estimates.
        factors: Numbers of 0 or more, shape (estimates,), or one for all.

    >>> combine_estimates([(3, 0, 7), (2, -2, 5)], 1.0)
    (5.0, 0.0, 10.0)
    """
    products = np.reshape(factors, (-1, 1)) * np.reshape(estimates, (-1, 3))
    values, lows, highs = products.T
    value = float(values.sum())
    below = float(np.square(values - lows).sum()) ** 0.5
    above = float(np.square(highs - values).sum()) ** 0.5
    return value, value - below, value + above


def mean_recall(
    key: str,
    rows: Predictions,
    other: Predictions | None = None,
) -> Estimate:
    """Return a mean of recalls, or its difference from that of other predictions.

    The recall of a class has Wilson's interval, and a difference that of Bonett and
    Price.

    Args:
        key: One of `MEANS_OF_RECALLS`.
        other: Other predictions for the same rows.
    """
    classes = [1] if key == "recall" else np.unique(rows.y[rows.weight > 0])
    group = rows.group
    hits = rows.row_scores
    estimates = []
    for code in classes:
        weight = rows.weight * (rows.y == code)
        if other is None:
            estimates.append(share_interval(hits, weight, group))
        else:
            changes = hits - other.row_scores
            estimates.append(mean_difference(changes, weight, group, is_share=True))
    return combine_estimates(estimates, 1 / len(classes))


def mean_interval(
    values: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
) -> Estimate:
    """Return a mean and Student's interval, which ends at 0 if no value is negative.

    It has no upper end if the rows say nothing about the spread of the values: for a
    single row, a single group, or equal values. The arguments are those of
    `share_interval`.

    >>> mean, low, high = mean_interval(np.repeat([0.0, 1.0], 50), np.ones(100))
    >>> round(mean, 4), round(low, 4), round(high, 4)
    (0.5, 0.4003, 0.5997)
    >>> mean_interval(np.array([0.0, 0.0, 9.0]), np.ones(3))[1]
    0.0
    >>> mean_interval(np.array([0.1, 0.1, 0.1]), np.ones(3))[2]
    inf
    """
    mean, low, high = mean_difference(values, weight, group, is_share=False)
    if high - mean <= MAX_RELATIVE_ROUNDING_OF_MEAN * abs(mean):
        high = np.inf
    if values.min() >= 0:
        low = max(low, 0.0)
    return mean, low, high


def squared_error_interval(key: str, value: float, rows: Predictions) -> Interval:
    """Compute the interval of `rmse`, `rmsle` or `r2` from that of a logarithm.

    It is that of the mean squared error or, for R², of its ratio to the variance. Each
    row changes the logarithm by its squared error, divided by the mean, and that of a
    ratio also by its squared deviation.

    >>> from keras_tabular.tasks.task import Regression
    >>> y_pred = np.array([[1.5], [2.5], [3.5], [3.5]])
    >>> rows = Predictions(Regression(), np.arange(1.0, 5.0), y_pred, np.ones(4))
    >>> np.round(squared_error_interval("r2", 0.8, rows), 2)
    array([0.13, 0.95])
    """
    y = rows.y
    y_pred = rows.first_output
    if key == "rmsle":
        y = np.log1p(y)
        y_pred = np.log1p(np.maximum(y_pred, 0))
    squares = np.square(y_pred - y)
    mean_square = rows.mean(squares)
    if not mean_square:
        return value, value
    changes = squares / mean_square
    if key == "r2":
        deviations = np.square(y - rows.mean(y))
        changes -= deviations / rows.mean(deviations)
    below, above = student_widths(changes, rows.weight, rows.group)
    factors = np.exp([-below, above])
    if key == "r2":
        high, low = 1 - (1 - value) * factors
    else:
        low, high = value * factors**0.5
    return low, high


def mean_difference(
    differences: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None,
    is_share: bool,
    alpha: float = ALPHA,
) -> Estimate:
    """Return the difference of two means over the same rows, and its interval.

    For shares, the interval of Bonett and Price has two more rows: one that only the
    first model predicts correctly, and one that only the second does. It is not too
    narrow if few rows differ, and agrees with McNemar's exact test. The interval of a
    single row or group is infinite.

    Args:
        differences: Value of each row in the first mean minus that in the second, shape
            (rows,).
        weight, group: Weight and group of each row, as in `share_interval`.
        is_share: Whether all values are 0 or 1.
        alpha: Probability that the interval misses the true difference.

    >>> differences = np.array([1.0, 2.0, 3.0])
    >>> value, low, high = mean_difference(differences, np.ones(3), None, False)
    >>> round(value, 2), round(low, 2), round(high, 2)
    (2.0, -0.48, 4.48)
    """
    mean = float(np.average(differences, weights=weight))
    center = mean
    if is_share:
        added_weight = np.square(weight).sum() / weight.sum()
        differences = np.r_[differences, 1, -1]
        weight = np.r_[weight, added_weight, added_weight]
        if group is not None:
            group = np.r_[group, group.max() + 1, group.max() + 2]
        center = float(np.average(differences, weights=weight))
    below, above = student_widths(differences, weight, group, alpha)
    if below == np.inf:
        return mean, -np.inf, np.inf
    return mean, center - below, center + above


def student_widths(
    values: np.ndarray,
    weight: np.ndarray,
    group: np.ndarray | None = None,
    alpha: float = ALPHA,
) -> tuple[float, float]:
    """Compute how far Student's interval of a mean reaches below and above it.

    If the values are skewed, the end on the side of their long tail is moved outwards,
    see `skewed_quantile`. A single row or group has infinite widths. Groups count by
    their effective number, the Hill number of order 4: with Kish's, of order 2, the
    interval is too narrow if few groups are much larger than the others.

    >>> below, above = student_widths(np.array([1.0, 2.0, 6.0]), np.ones(3))
    >>> round(below, 2), round(above, 2)
    (6.57, 23.91)
    """
    from scipy.special import stdtrit  # importing it takes 0.2 s

    relative_weight = weight / weight.sum()
    mean = (relative_weight * values).sum()
    deviations = relative_weight * (values - mean)  # (rows,), then (groups,)
    rows = effective_sample_size(weight)
    if group is not None:
        deviations = np.bincount(group, deviations)
        weight = np.bincount(group, weight)
        # The largest groups decide the spread more than they decide the mean.
        rows = (weight.sum() ** 4 / np.power(weight, 4).sum()) ** (1 / 3)
    if rows < 2:
        return np.inf, np.inf
    degrees_of_freedom = rows - 1
    quantile = float(stdtrit(degrees_of_freedom, 1 - alpha / 2))
    norm = float(np.square(deviations).sum()) ** 0.5
    if not norm:
        return 0.0, 0.0
    error = norm * (rows / degrees_of_freedom) ** 0.5
    skewness = np.power(deviations / norm, 3).sum()
    below = skewed_quantile(quantile, -skewness) * error
    above = skewed_quantile(quantile, skewness) * error
    return below, above


def skewed_quantile(quantile: float, skewness: float) -> float:
    """Move a quantile of Student's t outwards, to where Hall's transformation puts it.

    It would also move the other end of the interval inwards, which is not done: a
    sample may show only one of two long tails.

    >>> skewed_quantile(2.0, -0.5), round(skewed_quantile(2.0, 0.3), 3)
    (2.0, 2.725)
    """
    corrected = quantile + skewness / 6
    root = np.cbrt(1 - skewness * corrected)
    moved = float(3 * corrected / (root * root + root + 1))
    return max(quantile, moved)


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

    >>> low, high = jackknife_interval(np.array([0.4, 0.5, 0.6]), value=0.5, rows=3)
    >>> round(low, 3), round(high, 3)
    (0.003, 0.997)
    """
    from scipy.special import expit, logit, stdtrit  # importing it takes 0.2 s

    defined = replicates[np.isfinite(replicates)]
    n_blocks = len(defined)
    if n_blocks < 2:
        return -np.inf, np.inf
    error = np.std(defined) * (n_blocks - 1) ** 0.5
    degrees_of_freedom = min(rows, n_blocks) - 1
    half_width = float(stdtrit(degrees_of_freedom, 1 - ALPHA / 2) * error)
    if not on_logit_scale or round(value, 9) in (0, 1):
        return value - half_width, value + half_width
    half_width /= value * (1 - value)
    low, high = expit(logit(value) + half_width * np.array([-1, 1]))
    return low, high
