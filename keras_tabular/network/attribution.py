"""Contributions of columns to predictions: Shapley values."""

from collections.abc import Mapping
from typing import NamedTuple, Self

import numpy as np

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.table.arrays import Inputs, Predict, predict_distinct_rows
from keras_tabular.table.profile import BACKGROUND_SIZE, ColumnSummary

# Predictions for a row, unless a pair of permutations takes more.
MAX_EVALUATIONS = 1024
# Columns of a wide table that are explained one by one.
MAX_EXPLAINED = 30
# Values that the model reads and returns at a time, which are in memory.
MAX_VALUES_AT_A_TIME = 2**22


class Permutations(NamedTuple):
    """Background rows, and orders in which columns take the values of an explained row.

    Attributes:
        names: Columns that are explained one by one.
        n_ranks: Number of places in an order; there is one more if all other columns go
            together.
        background: Values of each input, shape (permutations,).
        ranks: Place of each input in each order, shape (permutations,).
    """

    names: list[str]
    n_ranks: int
    background: Inputs
    ranks: Inputs

    @property
    def evaluations_per_row(self) -> int:
        """Number of predictions that explaining a row takes."""
        n_permutations = len(next(iter(self.ranks.values())))
        return self.n_ranks * n_permutations

    @classmethod
    def from_summaries(
        cls,
        summaries: Mapping[str, ColumnSummary],
        schema: Schema,
        names: list[str],
    ) -> Self:
        """Draw permutations, with backgrounds of values of the training rows.

        The values of each column are taken in an order of its own: Latin hypercube
        sampling.

        Args:
            summaries: Summary of each column.
            schema: The table.
            names: Columns that are explained one by one.
        """
        rng = np.random.default_rng(0)
        # The other columns have a place together, the last one of `orders`.
        n_ranks = len(names)
        if n_ranks < len(schema.features):
            n_ranks += 1
        # Each order is followed by its reverse.
        n_pairs = max(1, min(BACKGROUND_SIZE, MAX_EVALUATIONS // (2 * n_ranks)))
        background = {}
        for name, column in schema.features.items():
            # (`BACKGROUND_SIZE`,)
            values = summaries[name].background or [None] * BACKGROUND_SIZE
            if column.is_string:
                array = np.array([value or "" for value in values], object)
            else:
                array = np.array(values, np.float64)
            drawn = array[rng.permutation(BACKGROUND_SIZE)[:n_pairs]]
            background[input_name(name)] = np.repeat(drawn, 2)
        forwards = np.array([rng.permutation(n_ranks) for _ in range(n_pairs)])
        backwards = n_ranks - 1 - forwards
        orders = np.stack([forwards, backwards], axis=1)  # (pairs, 2, ranks)
        orders = orders.reshape(-1, n_ranks)  # (permutations, ranks)
        ranks = dict.fromkeys(background, orders[:, -1])
        for place, name in enumerate(names):
            ranks[input_name(name)] = orders[:, place]
        return cls(names, n_ranks, background, ranks)


def contributions(
    predict: Predict,
    columns: Inputs,
    permutations: Permutations,
) -> np.ndarray:
    """Compute what each explained column adds to the outputs.

    It is the mean over the permutations: the change of the outputs when the column
    takes its value of the row.

    Args:
        predict: The model.
        columns: Inputs of the model as `feature_arrays` returns them, shape (rows,)
            each.
        permutations: The backgrounds and the orders of the columns.

    Returns:
        Float64, shape (rows, names, outputs).
    """
    first = predict(permutations.background).astype(np.float64)
    n_outputs = first.shape[1]  # of (permutations, outputs)
    values_per_row = permutations.evaluations_per_row * (len(columns) + n_outputs)
    batch_size = max(MAX_VALUES_AT_A_TIME // values_per_row, 1)
    n_rows = len(next(iter(columns.values())))
    batches = []
    for start in range(0, max(n_rows, 1), batch_size):
        rows = slice(start, start + batch_size)
        batch = {name: values[rows] for name, values in columns.items()}
        changes = _output_changes(predict, batch, permutations, first)
        by_name = []
        for name in permutations.names:
            ranks = permutations.ranks[input_name(name)]
            # (permutations, rows, outputs)
            by_name.append(changes[np.arange(len(ranks)), ranks])
        # From (names, permutations, rows, outputs) to (rows, names, outputs,
        # permutations). Along the last axis a mean adds up in the same order, however
        # many rows there are.
        transposed = np.transpose(by_name, (2, 0, 3, 1))
        batches.append(np.ascontiguousarray(transposed).mean(axis=-1))
    return np.concatenate(batches)


def _output_changes(
    predict: Predict,
    columns: Inputs,
    permutations: Permutations,
    first: np.ndarray,
) -> np.ndarray:
    """Compute how each rank of each permutation changes the outputs.

    Args:
        predict: The model.
        columns: Inputs of the model, shape (rows,) each.
        permutations: The backgrounds and the orders of the columns.
        first: Predictions of the background, shape (permutations, outputs).

    Returns:
        Float64, shape (permutations, ranks, rows, outputs).
    """
    n_permutations, n_outputs = first.shape
    n_ranks = permutations.n_ranks
    rank = np.arange(n_ranks)[:, None]  # (ranks, 1)
    inputs = {}
    for name, ranks in permutations.ranks.items():
        # A column has its value of the row from its rank on: (permutations, ranks, 1).
        is_from_row = ranks[:, None, None] <= rank
        background = permutations.background[name][:, None, None]
        values = np.where(is_from_row, columns[name], background)
        inputs[name] = values.ravel()  # from (permutations, ranks, rows)
    after = predict_distinct_rows(predict, inputs).astype(np.float64)
    after = after.reshape(n_permutations, n_ranks, -1, n_outputs)
    n_rows = after.shape[2]
    before = np.broadcast_to(
        first[:, None, None],
        (n_permutations, 1, n_rows, n_outputs),
    )
    return np.diff(after, axis=1, prepend=before)
