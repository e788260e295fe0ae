"""Intervals of scores and of their differences, by formulas or by resampling rows."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from keras_tabular.config.metrics import COST, CUSTOM, metric
from keras_tabular.evaluation.records import MODEL, Difference, Interval, Score
from keras_tabular.evaluation.scores import Predictions, score, scores_by_weights
from keras_tabular.table.groups import rarest_classes

MAX_DRAWN_ROWS = 10_000  # of a regression; a class has fewer, see `rows_to_draw`
MIN_DRAWN_ROWS = 30  # of each class
MAX_WEIGHTS = 2**21  # in memory at a time


def rows_to_draw(classes: np.ndarray, group: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows that are drawn: all rows, or a sample if there are many.

    A sample has the first groups of each class, so that a rare class is complete. Each group
    belongs to its rarest class, and without groups every row is a group. If the groups are so large
    that the sample still has many rows, only every n-th row is drawn.

    Returns:
        The indices of the rows, and how many rows each one represents; both of shape (drawn,).
    """
    rows = len(classes)
    group = np.arange(rows) if group is None else np.unique(group, return_inverse=True)[1]
    rarest, _ = rarest_classes(classes, group)
    strata = [np.flatnonzero(rarest == k) for k in np.unique(rarest)]
    # All classes are scored in every row, so the work grows with the square of their number.
    limit = max(MAX_DRAWN_ROWS // len(strata) ** 2, MIN_DRAWN_ROWS)
    if rows <= limit * len(strata):
        return np.arange(rows), np.ones(rows)
    sizes, copies = np.bincount(group), np.zeros(len(rarest))
    for groups in strata:
        ends = np.cumsum(sizes[groups])
        first = groups[: max(int(np.searchsorted(ends, limit, side="right")), MIN_DRAWN_ROWS)]
        copies[first] = len(groups) / len(first)
    drawn = np.flatnonzero(copies[group])
    if (step := len(drawn) // (limit * len(strata))) > 1:
        by_group_and_class = drawn[np.lexsort((classes[drawn], group[drawn]))]
        drawn = np.sort(by_group_and_class[::step])
    return drawn, copies[group[drawn]]


def resampling_weights(
    copies: np.ndarray, draws: int, group: np.ndarray | None
) -> Iterator[np.ndarray]:
    """Yield how often each row is drawn, for some of the draws at a time.

    The counts follow a Poisson distribution, as in draws from many rows. A row that represents
    others is drawn as often as all of these, and rows of a group are drawn together.

    Args:
        copies: Number of rows that each row represents, shape (rows,).
        draws: Number of draws.
        group: Number of the group of each row, shape (rows,); None if the rows are independent.

    Yields:
        float64, shape (some draws, rows).
    """
    rng, draws_at_a_time = np.random.default_rng(0), max(MAX_WEIGHTS // len(copies), 1)
    if group is not None:
        _, first_rows, group = np.unique(group, return_index=True, return_inverse=True)
        copies = copies[first_rows]
    for start in range(0, draws, draws_at_a_time):
        shape = (min(draws_at_a_time, draws - start), len(copies))
        counts = rng.poisson(copies, shape).astype(np.float64)
        yield counts if group is None else counts[:, group]


ALPHA = 0.05  # probability that an interval misses the true value
MIN_ROWS_FOR_INTERVAL = 10
DRAWS, DRAWS_FOR_MANY_CLASSES = 1000, 200
DRAWS_FOR_CUSTOM_METRICS = 200  # a function of the project is called for each draw
MAX_FEW_CLASSES = 10


class ScoredPredictions(NamedTuple):
    """Scores of predictions, and what their intervals are computed from.

    Attributes:
        values: The scores by metric.
        row_values: The value of each row in the scores that are means over the rows, by metric key.
        replicates: Every other score in each bootstrap draw, by metric key; float64, shape
            (draws,), NaN if the score of a draw is undefined.
        deciding_rows: Number of rows that decide each score, by metric key.
    """

    predictions: Predictions
    values: dict[str, float]
    row_values: dict[str, np.ndarray]
    replicates: dict[str, np.ndarray]
    deciding_rows: dict[str, float]

    def intervals(self, keys: Collection[str] | None = None) -> dict[str, Interval]:
        """Compute the 95% confidence interval of each score, by its metric key.

        An interval that is only 0 or only 1 is left out, since other rows may well have another
        score. That happens with a bootstrap or Student's interval, but never with Wilson's.

        Args:
            keys: Metric keys; None for all scores.
        """
        weight, group = self.predictions.weight, self.predictions.group
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
            else:
                on_logit_scale = not key.startswith(CUSTOM) and metric(key).is_share
                interval = bootstrap_interval(self.replicates[key], value, rows, on_logit_scale)
            is_certain = tuple(np.round(interval, 9)) in ((0, 0), (1, 1))
            if np.isfinite(interval).all() and not is_certain:
                intervals[key] = interval
        return intervals

    def differences(self, other: "ScoredPredictions") -> dict[str, Difference]:
        """Compare the scores that both have for the same rows: these minus the other ones.

        Scores that too few rows decide, and those without a finite interval, are not compared.
        """
        weight, group = self.predictions.weight, self.predictions.group
        differences = {}
        for key in (key for key in self.values if key in other.values):
            rows = min(self.deciding_rows[key], other.deciding_rows[key])
            if rows < MIN_ROWS_FOR_INTERVAL:
                continue
            if key in self.row_values:
                changes = self.row_values[key] - other.row_values[key]
                value, low, high = mean_difference(changes, weight, group, key == "accuracy")
            else:
                value = self.values[key] - other.values[key]
                replicates = self.replicates[key] - other.replicates[key]
                low, high = bootstrap_interval(replicates, value, rows)
            if np.isfinite((value, low, high)).all():
                differences[key] = Difference(value=value, low=low, high=high)
        return differences


def score_and_resample(predictions: Predictions) -> ScoredPredictions:
    """Score the rows, and score them again in bootstrap draws for the scores without a formula.

    The draws are the same for all predictions of the same rows.
    """
    task = predictions.task
    row_values = {task.main_metric: predictions.row_scores, "loss": predictions.row_losses}
    if predictions.costs:
        row_values[COST] = predictions.row_costs()
    rows, copies = rows_to_draw(task.strata(predictions.y), predictions.group)
    sample = predictions.select(rows)
    draws = DRAWS if len(task.classes) <= MAX_FEW_CLASSES else DRAWS_FOR_MANY_CLASSES
    batches = [
        scores_by_weights(sample, counts * sample.weight)
        for counts in resampling_weights(copies, draws, sample.group)
    ]
    keys = batches[0].keys() - row_values.keys()
    replicates = {key: np.concatenate([batch[key] for batch in batches]) for key in keys}
    if sample.custom_metrics:
        counts = next(resampling_weights(copies, DRAWS_FOR_CUSTOM_METRICS, sample.group))
        replicates |= sample.custom_scores(counts * sample.weight)
    values, rows_by_key = score(predictions), deciding_rows(predictions)
    return ScoredPredictions(predictions, values, row_values, replicates, rows_by_key)


def deciding_rows(predictions: Predictions) -> dict[str, float]:
    """Count the rows that decide each score, by metric key.

    - The accuracy, the loss, the cost and the mean absolute error: all rows, even if they are in
      groups. Their formulas hold for a few groups, too.
    - Scores that treat all classes alike: the rows of the smallest class.
    - Recall and F1 of two classes: the positive rows. Precision: the rows predicted as positive.
    - All other scores: all rows.

    The rows of a group count as one row, except in the first case.
    """
    task, y, weight, group = predictions.task, predictions.y, predictions.weight, predictions.group

    def count(mask: np.ndarray) -> float:
        weights = weight * mask
        weights = weights if group is None else np.bincount(group, weights)
        return round(effective_sample_size(weights), 6)  # 10 rows of equal weight are 10.0

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
    return rows | dict.fromkeys((task.main_metric, "loss", COST), effective_sample_size(weight))


def score_mean(
    row_set: str, metric: str, values: np.ndarray, weight: np.ndarray, group: np.ndarray | None
) -> Score:
    """Return the mean of some rows as a score of the model, with its interval if that is finite.

    The interval is that of a share if all values are 0 or 1, and that of a mean otherwise. Rows of
    weight 0 are not counted. The arguments are those of `share_interval`.
    """
    compute_interval = share_interval if np.isin(values, (0, 1)).all() else mean_interval
    low, high = compute_interval(values, weight, group)
    return Score(
        row_set=row_set,
        model=MODEL,
        metric=metric,
        value=float(np.average(values, weights=weight)),
        rows=int(np.count_nonzero(weight)),
        interval=(low, high) if np.isfinite(high) else None,
    )


def share_interval(
    values: np.ndarray, weight: np.ndarray, group: np.ndarray | None = None
) -> Interval:
    """Compute the interval of a share, such as the accuracy, by Wilson's formula.

    With rows in groups, Wilson's formula gets the number n of independent rows for which the normal
    interval, p ± z sqrt(p (1 - p) / n), is as wide as Student's interval over the groups: at least
    1, and at most the effective number of rows.

    Args:
        values: 1 for each row that belongs to the share, for example a correct one, and 0 for the
            others; shape (rows,).
        weight: Weight of each row, shape (rows,).
        group: Number of the group of each row, shape (rows,); None if the rows are independent.
    """
    share, rows = float(np.average(values, weights=weight)), effective_sample_size(weight)
    z = NormalDist().inv_cdf(1 - ALPHA / 2)
    if group is not None:
        half = min(student_widths(values, weight, group))
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
    values: np.ndarray, costs: np.ndarray, weight: np.ndarray, group: np.ndarray | None = None
) -> Interval:
    """Compute the interval of a mean cost from the intervals of the shares of all costs.

    Student's interval would end too early if an expensive mistake is so rare that these rows may
    not contain it. The square of each half width is the sum of the squares of those of the shares,
    times the costs (Zou and Donner 2008).

    Args:
        values: Cost of each row, shape (rows,).
        costs: All costs that a row can have, in ascending order.
        weight, group: See `share_interval`.
    """
    squares = np.zeros(2)
    for extra in costs - costs[0]:
        has_cost = np.isclose(values - costs[0], extra).astype(np.float64)
        share = np.average(has_cost, weights=weight)
        squares += np.square(extra * (np.array(share_interval(has_cost, weight, group)) - share))
    below, above = np.sqrt(squares)
    mean = float(np.average(values, weights=weight))
    return mean - float(below), mean + float(above)


def mean_interval(
    values: np.ndarray, weight: np.ndarray, group: np.ndarray | None = None
) -> Interval:
    """Compute the interval of a mean, see `student_widths`; it ends at 0 if no value is negative.

    It is infinite if the rows say nothing about the spread of the values: for a single row, a
    single group, or equal values. The arguments are those of `share_interval`.
    """
    mean = float(np.average(values, weights=weight))
    below, above = student_widths(values, weight, group)
    if below == np.inf or below <= 1e-12 * abs(mean):  # equal values may leave a rounding error
        return -np.inf, np.inf
    return max(mean - below, 0.0 if values.min() >= 0 else -np.inf), mean + above


def mean_difference(
    differences: np.ndarray, weight: np.ndarray, group: np.ndarray | None, is_share: bool
) -> tuple[float, float, float]:
    """Return the difference between two means over the same rows, and the ends of its interval.

    For shares, the interval of Bonett and Price has two more rows: one that only the first model
    predicts correctly, and one that only the second does. It is not too narrow if few rows differ,
    and agrees with McNemar's exact test. The interval of a single row or group contains 0.

    Args:
        differences: Value of each row in the first mean minus that in the second, shape (rows,).
        weight, group: Weight and group of each row, as in `share_interval`.
        is_share: Whether all values are 0 or 1.
    """
    mean = center = float(np.average(differences, weights=weight))
    if is_share:
        added = np.square(weight).sum() / weight.sum()  # weight of each added row
        differences, weight = np.r_[differences, 1, -1], np.r_[weight, added, added]
        group = None if group is None else np.r_[group, group.max() + 1, group.max() + 2]
        center = float(np.average(differences, weights=weight))
    below, above = student_widths(differences, weight, group)
    if below == np.inf:
        return mean, mean - abs(mean), mean + abs(mean)
    return mean, center - below, center + above


def student_widths(values: np.ndarray, weight: np.ndarray, group: np.ndarray | None) -> np.ndarray:
    """Compute how far Student's interval of a mean reaches below and above it.

    If the values are skewed, the end on the side of their long tail is moved outwards to where
    Hall's transformation of Student's t puts it. It would also move the other end inwards, which is
    not done: a sample may show only one of two long tails. A single row or group has infinite
    widths.

    Returns:
        Both widths, shape (2,).
    """
    from scipy.special import stdtrit  # importing it takes 0.2 s

    relative_weight = weight / weight.sum()
    deviations = relative_weight * (values - (relative_weight * values).sum())
    if group is not None:
        deviations, weight = np.bincount(group, deviations), np.bincount(group, weight)
    rows = effective_sample_size(weight)
    if rows < 2:
        return np.full(2, np.inf)
    quantile = float(stdtrit(rows - 1, 1 - ALPHA / 2))  # with rows - 1 degrees of freedom
    norm = float(np.square(deviations).sum()) ** 0.5
    error = norm * (rows / (rows - 1)) ** 0.5
    skewness = np.power(deviations / (norm or 1.0), 3).sum() * np.array([-1, 1])  # as each end sees
    corrected = quantile + skewness / 6
    root = np.cbrt(1 - skewness * corrected)
    return np.maximum(quantile, 3 * corrected / (root**2 + root + 1)) * error


def effective_sample_size(weight: np.ndarray) -> float:
    """Compute how many rows of equal weight give a mean of the same precision (Kish)."""
    return float(weight.sum() ** 2 / np.square(weight).sum()) if weight.any() else 0.0


def bootstrap_interval(
    replicates: np.ndarray, value: float, rows: float, on_logit_scale: bool = False
) -> Interval:
    """Compute Student's interval of a score, or of a difference, from its values in the draws.

    Percentiles of the draws would be too narrow if few rows decide the score.

    Args:
        replicates: The score in each draw, shape (draws,).
        value: The score itself.
        rows: Number of independent rows that decide the score.
        on_logit_scale: Whether to compute the interval on the logit scale. The draws of a share
            near 1 are very skewed.
    """
    from scipy.special import expit, logit, stdtrit  # importing it takes 0.2 s

    half = float(stdtrit(rows - 1, 1 - ALPHA / 2) * np.nanstd(replicates))
    if not on_logit_scale or round(value, 9) in (0, 1):
        return value - half, value + half
    half /= value * (1 - value)
    return float(expit(logit(value) - half)), float(expit(logit(value) + half))
