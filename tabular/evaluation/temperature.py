"""Temperature scaling: one number that sharpens or flattens all probabilities, if that helps.

Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks" (2017): the logits are
divided by a temperature, which changes no order of rows or classes.
"""

from typing import Any

import numpy as np

from tabular.config.schema import Schema
from tabular.evaluation.uncertainty import mean_difference
from tabular.table.arrays import row_losses

TEMPERATURES = np.round(np.geomspace(0.25, 4, 112), 2)  # the same on any CPU; 5% apart and less


def scale_by_temperature(outputs: np.ndarray, temperature: float) -> np.ndarray:
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
    _, of_fold = np.unique(fold, return_inverse=True)
    sums = np.array(  # of losses, (choices, folds)
        [
            np.bincount(
                of_fold, weight * row_losses(y, scale_by_temperature(outputs, choice), schema)
            )
            for choice in TEMPERATURES
        ]
    )
    chosen = np.argmin(sums.sum(axis=1, keepdims=True) - sums, axis=0)  # without each fold
    changed = np.empty(len(y))
    for choice in np.unique(chosen):
        own = np.isin(of_fold, np.flatnonzero(chosen == choice))
        changed[own] = row_losses(
            y[own], scale_by_temperature(outputs[own], TEMPERATURES[choice]), schema
        )
    change = mean_difference(changed, row_losses(y, outputs, schema), weight, share=False)
    best = float(TEMPERATURES[np.argmin(sums.sum(axis=1))])
    # Rounded: the last bits of a logarithm are those of a CPU.
    return {
        "temperature": best if change.high < 0 else 1.0,
        "loss_change": round(change.difference, 6),
        "loss_change_low": round(change.low, 6),
        "loss_change_high": round(change.high, 6),
    }
