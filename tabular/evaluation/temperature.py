"""One number that makes all probabilities bolder or more cautious, where that is right.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017): the logits are
divided by a temperature, which changes no order of rows or classes.
"""

from typing import Any

import numpy as np

from tabular.evaluation.uncertainty import mean_difference
from tabular.schema import Schema
from tabular.table.arrays import row_losses

CHOICES = np.round(np.geomspace(0.25, 4, 112), 2)  # the same on any CPU; 5% apart and less


def tempered(outputs: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities at another temperature; above 1 is more cautious: (rows, outputs).

    Args:
        outputs: of a model for classes, at a temperature of 1, (rows, outputs).
    """
    if temperature == 1:
        return outputs
    binary = outputs.shape[1] == 1
    every = np.column_stack([1 - outputs, outputs]) if binary else outputs
    powers = every.astype(np.float64) ** (1 / temperature)
    shares = (powers / powers.sum(axis=1, keepdims=True)).astype(outputs.dtype)
    return shares[:, 1:] if binary else shares


def choose_temperature(
    y: np.ndarray, outputs: np.ndarray, fold: np.ndarray, weight: np.ndarray, schema: Schema
) -> dict[str, Any]:
    """The `temperature` of the least log loss of rows that the model has not learnt from.

    It is 1 unless a temperature chosen without a fold makes the loss of that fold's rows less, over
    all folds by more than chance. `loss_change` is that difference, with the ends of its 95%
    interval.

    Args:
        y: the index of each row's class, (rows,).
        outputs: out of fold, (rows, outputs).
        fold, weight: of each row, (rows,).
    """
    of_choices = [tempered(outputs, choice) for choice in CHOICES]
    losses = np.array([row_losses(y, found, schema) for found in of_choices])  # (choices, rows)
    changed = np.empty(len(y))
    for number in np.unique(fold):
        left_out = fold == number
        others = np.average(losses[:, ~left_out], axis=1, weights=weight[~left_out])
        changed[left_out] = losses[np.argmin(others), left_out]
    before = row_losses(y, outputs, schema)
    change = mean_difference(changed, before, weight, share=False)
    best = float(CHOICES[np.argmin(np.average(losses, axis=1, weights=weight))])
    return {
        "temperature": best if change.high < 0 else 1.0,
        "loss_change": change.difference,
        "loss_change_low": change.low,
        "loss_change_high": change.high,
    }
