"""The simplest baseline: for each metric, a constant prediction."""

from collections.abc import Iterator

import numpy as np

from keras_tabular.evaluation.scores import Predictions, score
from keras_tabular.evaluation.uncertainty import ScoredPredictions, score_and_resample
from keras_tabular.table.arrays import round_for_comparison
from keras_tabular.tasks.metrics import metrics_by_key


def find_best_constants(
    rows: Predictions,
    learnt: Predictions | None = None,
) -> dict[str, ScoredPredictions]:
    """Find, for each metric, the best constant prediction, and score it.

    A model that has learnt nothing predicts a constant, too. It must not be better than
    the baseline only because its constant happens to suit these rows, or this metric.
    By the F1 of several classes, guessing is better than any constant: the predictions
    in a random order.

    Args:
        rows: The rows that are scored.
        learnt: Rows for which the constant is the best one; by default those that are
            scored. Of later rows, nobody knows the best constant.
    """
    learnt = rows if learnt is None else learnt
    custom_metrics = {each.name: each.greater_is_better for each in rows.custom_metrics}
    metrics = metrics_by_key(custom_metrics)
    # The candidates, and how the keys of the metrics end by which they are compared.
    candidates = [(constant, "") for constant in constant_predictions(learnt)]
    if "macro.f1" in rows.task.metrics:
        guess = np.random.default_rng(0).permutation(learnt.y_pred)
        candidates.append((learnt._replace(y_pred=guess), ".f1"))
    best: dict[str, tuple[float, ScoredPredictions]] = {}
    for candidate, suffix in candidates:
        y_pred = np.resize(candidate.y_pred, rows.y_pred.shape)
        applied = rows._replace(y_pred=y_pred, threshold=candidate.threshold)
        scored = score_and_resample(applied)
        for key, value in score(candidate).items():
            if key in scored.values and key.endswith(suffix):
                # Without the last bits of a sum, which would choose between equal ones.
                gain = round_for_comparison(value)
                if not metrics[key].greater_is_better:
                    gain = -gain
                if key not in best or gain > best[key][0]:
                    best[key] = gain, scored
    return {key: best[key][1] for key in metrics if key in best}


def constant_predictions(rows: Predictions) -> Iterator[Predictions]:
    """Yield constant predictions, of which one is the best by any metric of the task.

    For classes, these are their shares: with two classes, once counted as positive and
    once as negative; with several classes, as the most frequent class, and as the one
    of the lowest cost. For a regression, they are the mean (for squared errors), the
    median (for absolute ones), the median weighted by 1 / y (`mape`) and the mean on
    the logarithmic scale (`rmsle`).
    """
    task = rows.task
    y = rows.y
    weight = rows.weight
    shape = rows.y_pred.shape
    indicators = task.indicators(y[:, None])  # (rows, outputs)
    mean = np.average(indicators, axis=0, weights=weight)  # (outputs,)
    if task.classes:
        shares = rows._replace(y_pred=np.full(shape, mean))
        thresholds = (0.0, 2.0) if task.has_threshold else (0.5, rows.threshold)
        for threshold in thresholds:
            yield shares._replace(threshold=threshold)
        return
    values = [mean, weighted_median(y, weight)]
    if y.min() > 0:
        values.append(weighted_median(y, weight / y))
    if y.min() >= 0:
        log_mean = np.average(np.log1p(y), weights=weight)
        values.append(np.expm1(log_mean))
    for value in values:
        yield rows._replace(y_pred=np.full(shape, value))


def weighted_median(values: np.ndarray, weight: np.ndarray) -> float:
    """Return the smallest value up to which at least half of the weight lies.

    >>> weighted_median(np.array([3.0, 1.0, 2.0]), np.array([3.0, 1.0, 1.0]))
    3.0
    """
    order = np.argsort(values)
    total = np.cumsum(weight[order])
    middle = np.searchsorted(total, total[-1] / 2)
    return float(values[order[middle]])


def constant_costs(rows: Predictions) -> dict[str, float]:
    """Return the mean cost of always predicting each class, in words.

    The result is empty without costs.
    """
    if not rows.costs:
        return {}
    names = [f"always {name}" for name in rows.task.classes]
    if rows.task.has_threshold:
        names[0] = f"never {rows.task.classes[1]}"
    return {name: rows.mean(rows.row_costs(code)) for code, name in enumerate(names)}
