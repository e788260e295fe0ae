"""How much each column moves a row's answer away from the mean answer: Shapley values.

Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions" (2014): columns are given the row's values one after the other, in drawn orders, and
a column's contribution is the mean of what the answer moves when it is its turn. Each order is
taken backwards too (Mitchell, Cooper, Frank and Holmes, "Sampling permutations for Shapley value
estimation", 2022). The contributions of a row add up to its answer less the mean of those of the
background.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema, input_name
from tabular.inspection.sketch import BACKGROUND_SIZE, Sketch
from tabular.table.arrays import Predict, feature_arrays

MAX_EVALUATIONS = 1024  # answers for a row; of a wide table one permutation each way at least
MAX_EXPLAINED = 30  # columns of a wide table that are explained; all others go together
EXPLAINED, WORK = 100, 20_000_000_000  # rows of which shares are the mean; multiply-adds for them
MAX_VALUES = 2**22  # values that the model reads and gives at a time


class Permutations(NamedTuple):
    """Background rows, and the order in which columns take the row's values: the same for all."""

    names: list[str]  # of the columns that are explained one by one
    n_ranks: int  # places of an order: one more where all other columns go together
    background: dict[str, np.ndarray]  # the values of each input, (permutations,)
    ranks: dict[str, np.ndarray]  # its place in each order, (permutations,)

    @property
    def evaluations_per_row(self) -> int:
        """How many a row takes."""
        return self.n_ranks * len(next(iter(self.ranks.values())))

    @classmethod
    def of(
        cls, sketches: Mapping[str, Sketch], schema: Schema, names: Sequence[str] | None = None
    ) -> Self:
        """Permutations whose background are values of the training rows, each column's by itself.

        The values of a column are taken in turn, in a background order: Latin hypercube sampling.

        Args:
            names: the columns that are explained one by one; else all.
        """
        rng = np.random.default_rng(0)
        alone = list(schema.features if names is None else names)
        steps = len(alone) + (len(alone) < len(schema.features))
        pairs = max(1, min(BACKGROUND_SIZE, MAX_EVALUATIONS // (2 * steps)))
        backgrounds = {}
        for name, column in schema.features.items():
            gap = "" if column.is_string else np.nan
            background = sketches[name].background or [None] * BACKGROUND_SIZE
            values = [gap if value is None else value for value in background]
            array = np.array(values, object if column.is_string else np.float64)
            drawn = array[rng.permutation(BACKGROUND_SIZE)[:pairs]]
            backgrounds[input_name(name)] = np.repeat(drawn, 2)
        ranks = np.array([rng.permutation(steps) for _ in range(pairs)])  # of each step's columns
        both_ways = np.stack([ranks, steps - 1 - ranks], axis=1).reshape(2 * pairs, steps)
        places = {name: place for place, name in enumerate(alone)}
        return cls(
            alone,
            steps,
            backgrounds,
            {
                input_name(name): both_ways[:, places.get(name, steps - 1)]
                for name in schema.features
            },
        )


def contributions(
    predict: Predict, columns: dict[str, np.ndarray], permutations: Permutations
) -> np.ndarray:
    """What each of `names` adds to the outputs of a row: float64, (rows, names, outputs).

    Args:
        columns: as `feature_arrays` gives them, (rows,) each.
    """
    names, n_ranks, background, all_ranks = permutations
    first = predict(background).astype(np.float64)  # (permutations, outputs), where they begin
    rows, each = len(next(iter(columns.values()))), np.arange(len(first))
    values = permutations.evaluations_per_row * (len(columns) + first.shape[1])
    at_a_time, found = max(MAX_VALUES // values, 1), []
    for start in range(0, max(rows, 1), at_a_time):
        tables = {}
        for name, ranks in all_ranks.items():
            own, other = columns[name][start : start + at_a_time], background[name]
            taken = ranks[:, None, None] <= np.arange(n_ranks)[:, None]
            tables[name] = np.where(taken, own, other[:, None, None]).ravel()
        after = predict(tables).astype(np.float64)
        after = after.reshape(len(first), n_ranks, -1, first.shape[1])
        before = np.broadcast_to(first[:, None, None], (len(first), 1, *after.shape[2:]))
        moves = np.diff(np.concatenate([before, after], axis=1), axis=1)
        of_names = [moves[each, all_ranks[input_name(name)]] for name in names]
        # Along the last axis a mean adds up in the same order, however many rows there are.
        found.append(np.ascontiguousarray(np.transpose(of_names, (2, 0, 3, 1))).mean(axis=-1))
    return np.concatenate(found)


def importance_shares(
    predict: Predict, work: float, rows: pa.Table, sketches: Mapping[str, Sketch], schema: Schema
) -> dict[str, float]:
    """How much each column moves the answers of some rows, as a share of what all of them do.

    Args:
        work: multiply-adds of the model for a row.
    """
    permutations = Permutations.of(sketches, schema)
    rows = rows[
        : max(min(EXPLAINED, int(WORK / max(work * permutations.evaluations_per_row, 1))), 4)
    ]
    found = contributions(predict, feature_arrays(rows, schema), permutations)
    moved = np.abs(np.nan_to_num(found)).mean(axis=(0, 2))
    shares = moved / moved.sum() if moved.any() else moved
    return dict(zip(schema.features, np.round(shares, 6).tolist(), strict=True))
