"""Target encoding of categories, cross-fitted: no row's own target takes part in its encoding.

The scheme is that of scikit-learn's `TargetEncoder`: Micci-Barreca, "A preprocessing scheme for
high-cardinality categorical attributes" (2001), with an empirical Bayes estimate of how far a
category's mean is shrunk to the mean of all rows, and cross-fitting: a row is encoded by the rows
of other subfolds.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np


class Sums(NamedTuple):
    """Number of the rows of each subfold and category, and sums of their targets.

    `rows` (subfolds, categories, 1), `total` and `squares` (subfolds, categories,
    outputs), float64.
    """

    rows: np.ndarray
    total: np.ndarray
    squares: np.ndarray


def targets(y: np.ndarray, classes: int) -> np.ndarray:
    """What is averaged: float64, (rows, outputs).

    Args:
        y: shape (rows, 1); the value, or the index of a class.
        classes: 0 for a regression; of two classes the second one is averaged.
    """
    if not classes:
        return y
    of_class = (y == np.arange(classes)).astype(np.float64)
    return of_class[:, 1:] if classes == 2 else of_class


def sums(
    parts: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]], subfolds: int, categories: list[int]
) -> list[Sums]:
    """Compute the sums of each column.

    Args:
        parts: of each part the codes, (rows, columns), the targets, (rows, outputs), and the
            subfolds, (rows,).
        categories: of each column, how many codes there are.
    """
    columns: list[Any] = [[0, 0, 0] for _ in categories]
    for codes, y, subfold in parts:
        for column, count in enumerate(categories):
            place = subfold * count + codes[:, column]
            for number, of_rows in enumerate((np.ones((len(y), 1)), y, y * y)):
                added = [np.bincount(place, values, subfolds * count) for values in of_rows.T]
                columns[column][number] += np.stack(added, axis=-1).reshape(subfolds, count, -1)
    return [Sums(*column_sums) for column_sums in columns]


def table(sums: Sums, without: np.ndarray) -> np.ndarray:
    """Compute the statistic of each category for rows that must not see some subfolds.

    Args:
        without: (n, subfolds), 1 for each subfold that the rows of this kind must not see.

    Returns:
        Float32, (n, categories, outputs), as a difference from the mean of these rows in their
        standard deviations; 0 for a category that is not there.
    """
    seen = 1.0 - without
    count, total, squares = (np.einsum("nc,cko->nko", seen, part) for part in sums)
    rows = np.maximum(count.sum(axis=1, keepdims=True), 1)
    mean = total.sum(axis=1, keepdims=True) / rows
    variance = np.maximum(squares.sum(axis=1, keepdims=True) / rows - mean**2, 0)
    own_mean = total / np.maximum(count, 1)
    own_variance = np.maximum(squares / np.maximum(count, 1) - own_mean**2, 0)
    weight = variance * count
    share = np.divide(
        weight, weight + own_variance, out=np.zeros_like(total), where=weight + own_variance > 0
    )
    deviation = np.sqrt(np.where(variance > 0, variance, 1))
    return np.where(count > 0, share * (own_mean - mean) / deviation, 0).astype(np.float32)
