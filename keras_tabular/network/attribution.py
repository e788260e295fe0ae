"""Contributions of columns to predictions: Shapley values."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.table.arrays import Inputs, Predict, predict_distinct_rows
from keras_tabular.table.profile import BACKGROUND_SIZE, ColumnSummary

MAX_EVALUATIONS = (
    1024  # predictions for a row, unless a pair of permutations takes more
)
MAX_EXPLAINED = 30  # columns of a wide table that are explained one by one
MAX_VALUES_AT_A_TIME = 2**22  # values that the model reads and returns


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
        return self.n_ranks * len(next(iter(self.ranks.values())))

    @classmethod
    def from_summaries(
        cls,
        summaries: Mapping[str, ColumnSummary],
        schema: Schema,
        names: Sequence[str],
    ) -> Self:
        """Draw permutations whose background rows consist of values of the training rows.

        The values of each column are taken in an order of its own: Latin hypercube
        sampling.

        Args:
            names: Columns that are explained one by one.
        """
        rng = np.random.default_rng(0)
        background = {}
        n_ranks = len(names) + (len(names) < len(schema.features))
        pairs = max(1, min(BACKGROUND_SIZE, MAX_EVALUATIONS // (2 * n_ranks)))
        for name, column in schema.features.items():
            values = summaries[name].background or [None] * BACKGROUND_SIZE
            cells = [value or "" for value in values] if column.is_string else values
            array = np.array(cells, object if column.is_string else np.float64)
            drawn = array[rng.permutation(BACKGROUND_SIZE)[:pairs]]
            background[input_name(name)] = np.repeat(drawn, 2)
        forwards = np.array([rng.permutation(n_ranks) for _ in range(pairs)])
        # Each order is followed by its reverse.
        orders = np.stack([forwards, n_ranks - 1 - forwards], axis=1).reshape(
            -1,
            n_ranks,
        )
        ranks = dict.fromkeys(background, orders[:, -1])
        ranks |= zip(map(input_name, names), orders.T, strict=False)
        return cls(list(names), n_ranks, background, ranks)


def contributions(
    predict: Predict,
    columns: Inputs,
    permutations: Permutations,
) -> np.ndarray:
    """Compute what each explained column adds to the outputs, on average over the permutations.

    Args:
        predict: The model.
        columns: Inputs of the model as `feature_arrays` returns them, shape (rows,)
            each.

    Returns:
        Float64, shape (rows, names, outputs).
    """
    names, n_ranks, background, ranks_by_input = permutations
    first = predict(background).astype(np.float64)  # (permutations, outputs)
    n_permutations, n_outputs = first.shape
    rows = len(next(iter(columns.values())))
    values_per_row = permutations.evaluations_per_row * (len(columns) + n_outputs)
    batch_size = max(MAX_VALUES_AT_A_TIME // values_per_row, 1)
    batches = []
    for start in range(0, max(rows, 1), batch_size):
        inputs = {}
        for name, ranks in ranks_by_input.items():
            has_own_value = ranks[:, None, None] <= np.arange(n_ranks)[:, None]
            own_values = columns[name][start : start + batch_size]
            table = np.where(has_own_value, own_values, background[name][:, None, None])
            inputs[name] = table.ravel()
        after = predict_distinct_rows(predict, inputs).astype(np.float64)
        after = after.reshape(n_permutations, n_ranks, -1, n_outputs)
        before = np.broadcast_to(
            first[:, None, None],
            (n_permutations, 1, *after.shape[2:]),
        )
        changes = np.diff(after, axis=1, prepend=before)
        ranks_of_names = [ranks_by_input[input_name(name)] for name in names]
        by_name = [
            changes[np.arange(n_permutations), ranks] for ranks in ranks_of_names
        ]
        # Along the last axis a mean adds up in the same order, however many rows there
        # are.
        batches.append(
            np.ascontiguousarray(np.transpose(by_name, (2, 0, 3, 1))).mean(axis=-1),
        )
    return np.concatenate(batches)
