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

    Each permutation starts with the values of a background row. At each rank, one
    column takes its value of the explained row, and the model predicts again.

    Attributes:
        names: Columns that are explained one by one.
        n_ranks: Number of ranks in a permutation: one for each of `names`, and one for
            all other columns together, if there are any.
        background: Values of each input, shape (permutations,).
        ranks: Rank of each input in each permutation, shape (permutations,).
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
        n_ranks = len(names)
        if n_ranks < len(schema.features):
            n_ranks += 1
        evaluations_per_pair = 2 * n_ranks
        n_pairs = MAX_EVALUATIONS // evaluations_per_pair
        n_pairs = max(1, min(BACKGROUND_SIZE, n_pairs))
        background = {}
        for name, column in schema.features.items():
            values = summaries[name].background or [None] * BACKGROUND_SIZE
            if column.is_string:
                array = np.array([value or "" for value in values], object)
            else:
                array = np.array(values, np.float64)
            chosen = rng.permutation(BACKGROUND_SIZE)[:n_pairs]
            # Both permutations of a pair start with the same values.
            background[input_name(name)] = np.repeat(array[chosen], 2)
        # Permutations of the ranks, each followed by its reverse.
        forwards = np.array([rng.permutation(n_ranks) for _ in range(n_pairs)])
        backwards = n_ranks - 1 - forwards
        pairs = np.stack([forwards, backwards], axis=1)  # (pairs, 2, ranks)
        drawn_ranks = pairs.reshape(-1, n_ranks)
        ranks = {}
        for name in schema.features:
            # The last rank that was drawn is that of all other columns together.
            number = names.index(name) if name in names else -1
            ranks[input_name(name)] = drawn_ranks[:, number]
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
        permutations: The backgrounds and the ranks of the columns.

    Returns:
        Float64, shape (rows, names, outputs).
    """
    background_predictions = predict(permutations.background).astype(np.float64)
    n_outputs = background_predictions.shape[1]
    values_per_row = permutations.evaluations_per_row * (len(columns) + n_outputs)
    batch_size = max(MAX_VALUES_AT_A_TIME // values_per_row, 1)
    n_rows = len(next(iter(columns.values())))
    batches = []
    for start in range(0, max(n_rows, 1), batch_size):
        rows = slice(start, start + batch_size)
        batch = {name: values[rows] for name, values in columns.items()}
        changes = _output_changes(predict, batch, permutations, background_predictions)
        batches.append(_mean_by_column(changes, permutations))
    return np.concatenate(batches)


def _output_changes(
    predict: Predict,
    columns: Inputs,
    permutations: Permutations,
    background_predictions: np.ndarray,
) -> np.ndarray:
    """Compute how the outputs change at each rank of each permutation.

    Args:
        predict: The model.
        columns: Inputs of the model, shape (rows,) each.
        permutations: The backgrounds and the ranks of the columns.
        background_predictions: Predictions of the background, float64, shape
            (permutations, outputs).

    Returns:
        Float64, shape (permutations, ranks, rows, outputs).
    """
    n_permutations, n_outputs = background_predictions.shape
    n_ranks = permutations.n_ranks
    current_rank = np.arange(n_ranks)[:, None]  # (ranks, 1)
    inputs = {}
    for name, ranks in permutations.ranks.items():
        # From its rank on, a column has the value of the row.
        is_from_row = ranks[:, None, None] <= current_rank  # (permutations, ranks, 1)
        background = permutations.background[name][:, None, None]
        values = np.where(is_from_row, columns[name], background)
        inputs[name] = values.ravel()  # from (permutations, ranks, rows)
    predictions = predict_distinct_rows(predict, inputs).astype(np.float64)
    predictions = predictions.reshape(n_permutations, n_ranks, -1, n_outputs)
    # The outputs before the first rank are the same for all rows.
    n_rows = predictions.shape[2]
    first_shape = (n_permutations, 1, n_rows, n_outputs)
    first = np.broadcast_to(background_predictions[:, None, None], first_shape)
    return np.diff(predictions, axis=1, prepend=first)


def _mean_by_column(changes: np.ndarray, permutations: Permutations) -> np.ndarray:
    """Average the changes at the ranks of each explained column.

    Args:
        changes: The result of `_output_changes`.
        permutations: The ranks of the columns.

    Returns:
        Float64, shape (rows, names, outputs).
    """
    permutation_numbers = np.arange(len(changes))
    by_name = []
    for name in permutations.names:
        ranks = permutations.ranks[input_name(name)]
        # (permutations, rows, outputs)
        by_name.append(changes[permutation_numbers, ranks])
    stacked = np.stack(by_name)  # (names, permutations, rows, outputs)
    # Along the last axis, a mean adds up in the same order however many rows there are.
    permutations_last = np.transpose(stacked, (2, 0, 3, 1))
    return np.ascontiguousarray(permutations_last).mean(axis=-1)
