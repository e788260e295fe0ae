"""The threshold and the temperature of probabilities, chosen on out-of-fold predictions."""

import numpy as np

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import ThresholdRule
from keras_tabular.core.errors import UserError
from keras_tabular.core.numbers import round_for_comparison
from keras_tabular.evaluation.evaluation import Calibration
from keras_tabular.evaluation.scores import Predictions, hits_and_alarms
from keras_tabular.evaluation.uncertainty import mean_difference
from keras_tabular.table.arrays import row_losses


def choose_threshold(
    choice: float | ThresholdRule, y: np.ndarray, probability: np.ndarray, weight: np.ndarray | None
) -> float:
    """Choose the threshold, half way between two probabilities that occur.

    Of several that are equally good, it is the one nearest to 0.5. A recall or a precision is that
    of these rows; if no threshold reaches it, the one with the highest recall or precision is
    chosen.

    Args:
        choice: The rule by which to choose, or the threshold itself.
        y: 1 for positive rows, else 0, shape (rows,).
        probability: Predictions for rows that the model has not learnt from, shape (rows,).
        weight: How much each row counts, shape (rows,); None if all count alike.
    """
    if not isinstance(choice, ThresholdRule):
        return choice
    if not len(y):
        raise UserError(
            "evaluate.threshold: there are no out-of-fold predictions to choose it on; set a "
            "number, or train.folds to 2 or more"
        )
    row_weight = np.ones(len(y)) if weight is None else weight
    borders, (hits,), (alarms,) = hits_and_alarms(y == 1, probability, row_weight[None])
    borders[0] = max(1.0, borders[1] + 2e-6)  # above a probability of 1
    borders = np.append(borders, 0.0)
    thresholds = (borders[:-1] + borders[1:]) / 2
    # Outputs are float32: a threshold between two neighbours would be one of them.
    thresholds[1:-1] = np.where(
        thresholds[1:-1].astype(np.float32) > borders[2:-1], thresholds[1:-1], borders[1:-2]
    )
    value = objective(choice, hits, alarms, hits[-1], alarms[-1])
    best = np.flatnonzero(value >= value.max() - 1e-12)
    return float(thresholds[best[np.argmin(np.abs(thresholds[best] - 0.5))]])


def objective(
    choice: ThresholdRule, hits: np.ndarray, alarms: np.ndarray, positive: float, negative: float
) -> np.ndarray:
    """Return how good each of several thresholds is; higher is better.

    Args:
        hits, alarms: Weight of the positive and the negative rows that count as positive.
        positive, negative: Weight of all of them.
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


TEMPERATURES = np.round(np.geomspace(0.25, 4, 112), 2)  # the same on any CPU; 5% apart and less


def scale_by_temperature(outputs: np.ndarray, temperature: float) -> np.ndarray:
    """Compute probabilities at another temperature, (rows, outputs); above 1 is more cautious.

    Args:
        outputs: Predictions of a model for classes at a temperature of 1, (rows, outputs).
    """
    if temperature == 1:
        return outputs
    binary = outputs.shape[1] == 1
    probabilities = np.column_stack([1 - outputs, outputs]) if binary else outputs
    powers = probabilities.astype(np.float64) ** (1 / temperature)
    shares = (powers / powers.sum(axis=1, keepdims=True)).astype(outputs.dtype)
    return shares[:, 1:] if binary else shares


def choose_temperature(rows: Predictions, fold: np.ndarray, schema: Schema) -> Calibration:
    """Choose the temperature with the least log loss of rows that the model has not learnt from.

    It is 1 unless a temperature chosen without a fold makes the loss of that fold's rows less, over
    all folds by more than chance. `loss_change` is that difference with its 95% interval.

    Args:
        rows: Predictions of the rows by networks that have not learnt from them.
        fold: Fold of each row, (rows,).
    """
    y, outputs, weight, _, group, _ = rows
    _, of_fold = np.unique(fold, return_inverse=True)

    def losses_at(temperature: float, mask: np.ndarray | slice = slice(None)) -> np.ndarray:
        return row_losses(y[mask], scale_by_temperature(outputs[mask], temperature), schema)

    # Sums of the losses at each temperature in each fold.
    sums = np.array([np.bincount(of_fold, weight * losses_at(each)) for each in TEMPERATURES])
    total = sums.sum(axis=1, keepdims=True)
    chosen = _first_least(total - sums)  # without each fold
    changed = np.empty(len(y))
    for choice in np.unique(chosen):
        mask = chosen[of_fold] == choice
        changed[mask] = losses_at(TEMPERATURES[choice], mask)
    change = mean_difference(changed, losses_at(1), weight, group, is_share=False)
    best = float(TEMPERATURES[_first_least(total)[0]])
    # The last bits of a logarithm are those of a CPU: what is not written decides nothing.
    loss_change, low, high = (round(number, 6) for number in change)
    return Calibration(best if high < 0 else 1.0, loss_change, low, high)


def _first_least(losses: np.ndarray) -> np.ndarray:
    """Return the row of the least loss in each column, the first one of a tie."""
    return np.argmin(np.vectorize(round_for_comparison)(losses), axis=0)
