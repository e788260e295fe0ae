"""The probability from which on a row counts as positive, chosen by what a person asks for."""

import numpy as np

from tabular.config.sections import Choice


def choose_threshold(
    choice: float | Choice, y: np.ndarray, probability: np.ndarray, weight: np.ndarray | None
) -> float:
    """The threshold: half way between two probabilities that occur.

    Of several that are as good it is the one nearest to 0.5. A recall or a precision is that of
    these rows, and where none reaches it the threshold with the highest one.

    Args:
        choice: or the threshold itself.
        y: 1 for positive rows, else 0, shape (rows,).
        probability: of rows that the model has not learnt from, shape (rows,).
        weight: how much each row counts, shape (rows,); None where all count alike.
    """
    if not isinstance(choice, Choice):
        return choice
    of_rows = np.ones(len(y)) if weight is None else weight
    order = np.argsort(-probability, kind="stable")
    ordered = probability[order].astype(np.float64)
    positive, negative = (np.cumsum(of_rows[order] * (y[order] == k)) for k in (1, 0))
    ends = np.flatnonzero(np.diff(ordered, append=-1.0))  # the last row of each probability
    # What counts as positive: none, then the rows up to each end.
    hits, alarms = (np.concatenate([[0.0], sums[ends]]) for sums in (positive, negative))
    above = max(1.0, ordered[0] + 2e-6)  # of a probability of 1
    borders = np.concatenate([[above], ordered[ends], [0.0]])
    thresholds = (borders[:-1] + borders[1:]) / 2
    # Outputs are float32: a threshold between two neighbours would be one of them.
    thresholds[1:-1] = np.where(
        thresholds[1:-1].astype(np.float32) > borders[2:-1], thresholds[1:-1], borders[1:-2]
    )
    value = objective(choice, hits, alarms, positive[-1], negative[-1])
    best = np.flatnonzero(value >= value.max() - 1e-12)
    return float(thresholds[best[np.argmin(np.abs(thresholds[best] - 0.5))]])


def objective(
    choice: Choice, hits: np.ndarray, alarms: np.ndarray, positive: float, negative: float
) -> np.ndarray:
    """How good each of several thresholds is.

    Args:
        hits, alarms: the positive and the negative rows that count as positive.
        positive, negative: all of them.
    """
    recall, false_alarms = hits / max(positive, 1e-300), alarms / max(negative, 1e-300)
    precision = np.divide(hits, hits + alarms, out=np.zeros_like(hits), where=hits + alarms > 0)
    if choice.cost:
        missed = choice.cost.false_negative * (positive - hits)
        return -(missed + choice.cost.false_positive * alarms)
    if choice.recall:  # the fewest false alarms among those that reach it
        return np.where(recall >= choice.recall, 2 - false_alarms, recall)
    if choice.precision:
        return np.where(precision >= choice.precision, 2 + recall, precision)
    return {
        "accuracy": hits + negative - alarms,
        "balanced_accuracy": recall - false_alarms,
        "f1": 2 * hits / (hits + alarms + max(positive, 1e-300)),
    }[str(choice.best)]
