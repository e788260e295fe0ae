"""How much each column moves a row's answer away from the mean answer: Shapley values.

Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions" (2014): columns are given the row's values one after the other, in drawn orders, and
a column's contribution is the mean of what the answer moves when it is its turn. Each order is
walked backwards too (Mitchell, Cooper, Frank and Holmes, "Sampling permutations for Shapley value
estimation", 2022). The contributions of a row add up to its answer less the mean of those that the
walks begin at.
"""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np

from tabular.evaluation.sketch import DRAWN, Sketch
from tabular.schema import Schema, input_name
from tabular.table.arrays import INPUT_TYPES, Predict

MOST = 8192  # answers for a row, of a wide table; there are one each way at least
CELLS = 2**22  # values that the model reads at a time


class Walks(NamedTuple):
    """Where each walk begins and in which order it goes: the same ones for every row.

    `begin` has for each column its value, (walks,); `orders` the columns' numbers, (walks,
    columns).
    """

    begin: dict[str, np.ndarray]
    orders: np.ndarray

    @classmethod
    def of(cls, sketches: Mapping[str, Sketch], schema: Schema) -> Self:
        """Walks that begin at values that the training rows had, each column's by itself.

        The values of a column are taken in turn, in a drawn order: Latin hypercube sampling.
        """
        rng = np.random.default_rng(0)
        pairs = max(1, min(DRAWN, MOST // (2 * len(schema.features))))
        begin = {}
        for name, column in schema.features.items():
            text = INPUT_TYPES[column.kind] == "string"
            gap = "" if text else np.nan
            drawn = sketches[name].drawn or [None] * DRAWN
            values = [gap if value is None else value for value in drawn]
            array = np.array(values, object if text else np.float64)
            begin[input_name(name)] = np.repeat(array[rng.permutation(DRAWN)[:pairs]], 2)
        orders = np.array([rng.permutation(len(schema.features)) for _ in range(pairs)])
        return cls(begin, np.stack([orders, orders[:, ::-1]], axis=1).reshape(2 * pairs, -1))


def contributions(predict: Predict, columns: dict[str, np.ndarray], walks: Walks) -> np.ndarray:
    """What each column adds to the outputs of each row: float64, (rows, columns, outputs).

    Args:
        columns: as `feature_arrays` gives them, (rows,) each.
    """
    rows = len(next(iter(columns.values())))
    count = walks.orders.size  # answers for each row; the last one of a walk is the row's own
    at_a_time = max(CELLS // (count * len(columns)), 1)
    found = [
        _of_rows(
            predict, {name: of[start : start + at_a_time] for name, of in columns.items()}, walks
        )
        for start in range(0, max(rows, 1), at_a_time)
    ]
    return np.concatenate(found)


def _of_rows(predict: Predict, columns: dict[str, np.ndarray], walks: Walks) -> np.ndarray:
    n_walks, n_columns = walks.orders.shape
    rows = len(next(iter(columns.values())))
    turn = np.argsort(walks.orders, axis=1)  # when it is each column's turn, (walks, columns)
    given = turn[:, None, :] <= np.arange(n_columns)[None, :, None]  # (walks, steps, columns)
    tables = {
        name: np.where(
            given[:, :, number, None], columns[name], walks.begin[name][:, None, None]
        ).ravel()
        for number, name in enumerate(walks.begin)
    }
    first = predict(walks.begin).astype(np.float64)  # (walks, outputs)
    after = predict(tables).astype(np.float64).reshape(n_walks, n_columns, rows, first.shape[1])
    before = np.broadcast_to(first[:, None, None], (n_walks, 1, rows, first.shape[1]))
    steps = np.diff(np.concatenate([before, after], axis=1), axis=1)
    of_columns = np.take_along_axis(steps, turn[:, :, None, None], axis=1)
    return of_columns.mean(axis=0).transpose(1, 0, 2)
