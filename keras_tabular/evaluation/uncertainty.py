"""How far scores may be off: intervals, and paired differences on the same rows.

Rows of one group count together: Cameron and Miller, "A practitioner's guide to cluster-robust
inference" (2015).

Accuracy has Wilson's interval, and every other score has Student's. The standard error of a mean
over the rows (the loss, the mean absolute error) has a formula. That of other scores is the
standard deviation of a bootstrap: the same rows are drawn again with replacement, 1000 times or so,
from a fixed seed (Efron and Tibshirani, "An introduction to the bootstrap", 1993).
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.core.metrics import CUSTOM, TASKS
from keras_tabular.evaluation.evaluation import Estimate, PairedDifference, Scores
from keras_tabular.evaluation.scores import Predictions, row_scores, score, scores_by_weights
from keras_tabular.table.arrays import predicted_classes, row_losses
from keras_tabular.table.groups import rarest_classes

ALPHA = 0.05  # how often an interval may miss
MIN_ROWS_FOR_INTERVAL = 10
# Scores that a class of few rows may decide.
CLASS_SCORES = ("average_precision", "balanced_accuracy", "f1", "precision", "recall", "roc_auc")
REPLICATES, REPLICATES_OF_MANY_CLASSES = 1000, 200
REPLICATES_OF_CUSTOM_METRICS = 200  # whose functions are called for each draw
MANY_CLASSES = 10
MAX_WEIGHTS = 2**21  # weights of draws that are held at a time
MAX_ROWS, MIN_ROWS = 10_000, 30  # that are drawn, of all classes and of each


def mean_interval(
    values: np.ndarray,
    weight: np.ndarray,
    share: bool,
    alpha: float = ALPHA,
    group: np.ndarray | None = None,
) -> tuple[float, float]:
    """Compute the interval of the mean of `row_scores`.

    For a share it is the Wilson score interval: Wilson, "Probable inference, the law of succession,
    and statistical inference" (1927). Where the interval may miss less often than `ALPHA`, Wilson's
    misses a share near 0 or 1 far more often, so it is the exact binomial one: Clopper and Pearson,
    "The use of confidence or fiducial limits illustrated in the case of the binomial" (1934). For a
    mean absolute error it is Student's, and at least 0.

    Args:
        share: Whether each value is 1 or 0.
        alpha: How often the interval may miss; 0.05 for one of 95%.
        group: See `Predictions`. Rows that depend on each other count as fewer independent rows.
    """
    mean, n = float(np.average(values, weights=weight)), effective_sample_size(weight)
    if not share:
        half = _half_interval(values, weight, alpha, group)
        return max(mean - half, 0.0), mean + half
    deviations = NormalDist().inv_cdf(1 - alpha / 2)
    if group is not None:
        half = _half_interval(values, weight, alpha, group)
        alike = effective_sample_size(np.bincount(group, weight))  # all right, or all wrong
        spread = mean * (1 - mean)
        n = min(max(spread * (deviations / half) ** 2, 1), n) if spread and half else alike
    if alpha < ALPHA:
        from scipy.special import betaincinv  # takes 0.2 s

        right, wrong = mean * n, n - mean * n
        low, high = (
            betaincinv(right, wrong + 1, alpha / 2),  # NaN without a right row
            betaincinv(right + 1, wrong, 1 - alpha / 2),  # NaN without a wrong one
        )
        return float(np.nan_to_num(low, nan=0.0)), float(np.nan_to_num(high, nan=1.0))
    z2 = deviations**2
    middle = mean + z2 / (2 * n)
    spread = deviations * (mean * (1 - mean) / n + z2 / (4 * n * n)) ** 0.5
    low, high = ((middle + sign * spread) / (1 + z2 / n) for sign in (-1, 1))
    return max(float(low), 0.0), min(float(high), 1.0)


def effective_sample_size(weight: np.ndarray) -> float:
    """Compute how many rows of equal weight these are worth: Kish, "Survey Sampling" (1965)."""
    return float(weight.sum() ** 2 / np.square(weight).sum()) if weight.any() else 0.0


def independent_rows(predictions: Predictions, schema: Schema) -> dict[str, float]:
    """Count the independent rows that decide each score, by key.

    Scores that treat all classes alike are decided by the rows of the smallest class, recall and F1
    of two classes by the positive rows, and precision by the rows that are predicted to be
    positive. The rows of a group count as one, except for means over the rows, whose formulas hold
    for few groups, too.
    """
    y, y_pred, weight, threshold, group, _ = predictions
    task = TASKS[schema.task]

    def count(mask: np.ndarray) -> float:
        weights = weight * mask
        together = weights if group is None else np.bincount(group, weights)
        return round(effective_sample_size(together), 6)

    of_all = count(np.ones(len(y)))
    rows = defaultdict(lambda: of_all, dict.fromkeys(task.scores, of_all))  # also for custom ones
    if schema.task != "regression":
        of_classes = [count(y == k) for k in range(len(schema.classes))]
        macro = [key for key in rows if key.startswith("macro.")]
        rows |= dict.fromkeys((*macro, *task.rare), min(of_classes))
        rows["balanced_accuracy"] = min((n for n in of_classes if n), default=0.0)
    if schema.task == "binary":
        rows |= dict.fromkeys(("recall", "f1"), of_classes[1])
        rows["precision"] = count(predicted_classes(y_pred, schema, threshold) == 1)
    return rows | dict.fromkeys((task.main, "loss"), effective_sample_size(weight))


def _half_interval(
    values: np.ndarray, weight: np.ndarray, alpha: float, group: np.ndarray | None = None
) -> float:
    """Compute half of Student's interval of a mean; infinite for the rows of a single group."""
    from scipy.special import stdtrit  # takes 0.2 s, and classes need none

    shares = weight / weight.sum()
    from_mean = shares * (values - (shares * values).sum())
    if group is not None:
        from_mean, weight = np.bincount(group, from_mean), np.bincount(group, weight)
    n = effective_sample_size(weight)
    if group is not None and n < 2:
        return np.inf
    free = max(n - 1, 1.0)
    error = float(np.square(from_mean).sum() * n / free) ** 0.5
    return float(stdtrit(free, 1 - alpha / 2)) * error


def mean_difference(
    first: np.ndarray,
    second: np.ndarray,
    weight: np.ndarray,
    share: bool,
    group: np.ndarray | None = None,
) -> PairedDifference:
    """Compare the means of two arrays of `row_scores` of the same rows: first minus second.

    Rows that both predict alike do not widen the interval. It is Student's; of shares with two rows
    more, one that only the one and one that only the other gets right, so that it is not too narrow
    where few rows differ, and agrees with McNemar's exact test: Bonett and Price, "Adjusted Wald
    confidence interval for a difference of binomial proportions based on paired data" (2012). A
    single row tells nothing.
    """
    differences = first - second
    mean = middle = float(np.average(differences, weights=weight))
    together = weight if group is None else np.bincount(group, weight)
    if effective_sample_size(together) < 2 and (group is not None or not share):
        return PairedDifference(mean, mean - abs(mean), mean + abs(mean))
    if share:
        each = np.square(weight).sum() / weight.sum()
        differences, weight = np.r_[differences, 1, -1], np.r_[weight, each, each]
        group = None if group is None else np.r_[group, group.max() + 1, group.max() + 2]
        middle = float(np.average(differences, weights=weight))
    half = _half_interval(differences, weight, ALPHA, group)
    return PairedDifference(mean, middle - half, middle + half)


class Bootstrap(NamedTuple):
    """Scores of predictions, and of the same rows drawn again with replacement.

    Attributes:
        scores: Scores of the rows as they are, without intervals.
        replicates: Each of these scores in every draw, float64, (draws,); NaN where a draw leaves
            it undefined.
        row_values: Part of each row in the scores that are means over the rows, by metric key.
    """

    predictions: Predictions
    scores: Scores
    replicates: dict[str, np.ndarray]
    row_values: dict[str, np.ndarray]


def bootstrap(predictions: Predictions, schema: Schema) -> Bootstrap:
    """Score the rows, and draw them again: the same draws for the same labels and weights."""
    scores = score(predictions, schema)
    rows, copies = resampled_rows(predictions.y, schema, predictions.group)
    sample = predictions.select(rows)
    number = REPLICATES if len(schema.classes) <= MANY_CLASSES else REPLICATES_OF_MANY_CLASSES
    parts = [
        scores_by_weights(sample, times * sample.weight, schema)
        for times in resampling_weights(copies, number, sample.group)
    ]
    replicates = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    if sample.custom_metrics:
        times = next(resampling_weights(copies, REPLICATES_OF_CUSTOM_METRICS, sample.group))
        replicates |= sample.custom_scores(times * sample.weight)
    losses = row_losses(predictions.y, predictions.y_pred, schema)
    return Bootstrap(
        predictions,
        scores,
        replicates,
        {TASKS[schema.task].main: row_scores(predictions, schema), "loss": losses},
    )


def resampled_rows(
    y: np.ndarray, schema: Schema, group: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows that are drawn, and compute how many rows each stands for: (n,) both.

    If there are many rows, these are the first groups of each class, so that a rare class is
    complete; a group goes with its rarest class. Without groups each row is a group by itself. If
    groups are so large that these are still many rows, it is every so-manieth row of them.
    """
    classes = np.zeros(len(y)) if schema.task == "regression" else y
    number = np.arange(len(y)) if group is None else np.unique(group, return_inverse=True)[1]
    rarest, _ = rarest_classes(classes, number)
    strata = [np.flatnonzero(rarest == k) for k in np.unique(rarest)]
    limit = max(MAX_ROWS // len(strata) ** 2, MIN_ROWS)  # the work grows with rows and classes
    if len(y) <= limit * len(strata):
        return np.arange(len(y)), np.ones(len(y))
    sizes, copies = np.bincount(number), np.zeros(len(rarest))
    for groups in strata:
        rows = np.cumsum(sizes[groups])
        first = groups[: max(int(np.searchsorted(rows, limit, side="right")), MIN_ROWS)]
        copies[first] = len(groups) / len(first)
    drawn = np.flatnonzero(copies[number])
    if (step := len(drawn) // (limit * len(strata))) > 1:
        drawn = np.sort(drawn[np.lexsort((classes[drawn], number[drawn]))][::step])
    return drawn, copies[number[drawn]]


def resampling_weights(
    copies: np.ndarray, number: int, group: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Yield how often each row is drawn, for some of the draws at a time: float64, (draws, rows).

    The numbers follow Poisson's law, as in a draw of many rows. A row that stands for others is
    drawn as often as these, and the rows of a group are drawn together.
    """
    rng, at_a_time = np.random.default_rng(0), max(MAX_WEIGHTS // len(copies), 1)
    numbers = np.arange(len(copies)) if group is None else group
    _, first, of_rows = np.unique(numbers, return_index=True, return_inverse=True)
    for start in range(0, number, at_a_time):
        shape = (min(at_a_time, number - start), len(first))
        draws = rng.poisson(copies[first], shape).astype(np.float64)
        yield draws if group is None else draws[:, of_rows]


def intervals(
    bootstrapped: Bootstrap, schema: Schema, keys: Collection[str] | None = None
) -> dict[str, tuple[float, float]]:
    """Compute the 95% interval of the main score, and of those with these keys.

    A score that fewer than `MIN_ROWS_FOR_INTERVAL` independent rows decide has none, see
    `independent_rows`; nor has a perfect score, or one of 0, that is the same in all draws, since
    other rows may well have another one.

    Args:
        keys: Metric keys; None for all defined scores.
    """
    predictions, means = bootstrapped.predictions, bootstrapped.row_values
    rows = independent_rows(predictions, schema)
    limits = {}
    for key, (point, _) in bootstrapped.scores.items():
        asked_for = keys is None or key in keys or key == TASKS[schema.task].main
        if not asked_for or rows[key] < MIN_ROWS_FOR_INTERVAL:
            continue
        if key in means:
            limits[key] = mean_interval(
                means[key], predictions.weight, share=key == "accuracy", group=predictions.group
            )
        else:
            of_class = key.rpartition(".")[2] in CLASS_SCORES and not key.startswith(CUSTOM)
            limits[key] = _bootstrap_interval(
                bootstrapped.replicates[key], point, rows[key], on_logit_scale=of_class
            )
    certain = ([0, 0], [1, 1])
    return {
        key: ends
        for key, ends in limits.items()
        if np.isfinite(ends).all() and [round(x, 9) for x in ends] not in certain
    }


def score_differences(
    model: Bootstrap, other: Bootstrap, schema: Schema
) -> dict[str, PairedDifference]:
    """Compare the scores of the same rows that both define: the model's minus the other ones.

    Scores that too few rows decide are not compared, see `intervals`.
    """
    counts = [independent_rows(each.predictions, schema) for each in (model, other)]
    _, _, weight, _, group, _ = model.predictions
    differences = {}
    for key, (value, _) in model.scores.items():
        rows, other_value = min(count[key] for count in counts), other.scores.value(key)
        if other_value is None or rows < MIN_ROWS_FOR_INTERVAL:
            continue
        if key in model.row_values:
            values = model.row_values[key], other.row_values[key]
            differences[key] = mean_difference(*values, weight, key == "accuracy", group)
        else:
            change = value - other_value
            ends = _bootstrap_interval(model.replicates[key] - other.replicates[key], change, rows)
            differences[key] = PairedDifference(change, *ends)
    return differences


def with_best_constant(constant: Bootstrap, schema: Schema) -> Bootstrap:
    """Return the scores of a constant with the loss of the best constant for the same rows.

    Compared with any other constant, a model that has learnt nothing but a slightly better one
    could be better by more than chance.
    """
    y, y_pred, weight, *_ = constant.predictions
    if schema.task == "regression":
        best = np.average(y, weights=weight)
    else:
        shares = np.bincount(y.astype(int), weight, len(schema.classes)) / weight.sum()
        best = shares[-y_pred.shape[1] :]  # two classes have one output
    losses = row_losses(y, np.broadcast_to(best, y_pred.shape), schema)
    loss = Estimate(float(np.average(losses, weights=weight)))
    return constant._replace(
        scores=constant.scores.replace("loss", loss),
        row_values=constant.row_values | {"loss": losses},
    )


def _bootstrap_interval(
    values: np.ndarray, point: float, rows: float, on_logit_scale: bool = False
) -> tuple[float, float]:
    """Compute Student's 95% interval of a score, or of a difference, from its values in the draws.

    Percentiles of the draws are too narrow where few rows decide.

    Args:
        rows: Independent rows that decide the score.
        on_logit_scale: Whether the score is a share; those near 1 are very skewed.
    """
    from scipy.special import expit, logit, stdtrit  # takes 0.2 s

    if not np.isfinite(values).any():
        return point, point
    half = float(stdtrit(rows - 1, 1 - ALPHA / 2) * np.nanstd(values))
    if not on_logit_scale or round(point, 9) in (0, 1):
        return point - half, point + half
    half /= point * (1 - point)
    return float(expit(logit(point) - half)), float(expit(logit(point) + half))
