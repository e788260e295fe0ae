"""How much each column moves a row's answer away from the mean answer: Shapley values.

Štrumbelj and Kononenko, "Explaining prediction models and individual predictions with feature
contributions" (2014): columns are given the row's values one after the other, in drawn orders, and
a column's contribution is the mean of what the answer moves when it is its turn. Each order is
walked backwards too (Mitchell, Cooper, Frank and Holmes, "Sampling permutations for Shapley value
estimation", 2022). The contributions of a row add up to its answer less the mean of those that the
walks begin at.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema, input_name
from tabular.inspection.sketch import DRAWN, Sketch
from tabular.table.arrays import Predict, feature_arrays

MOST = 1024  # answers for a row; of a wide table one walk each way at least
ALONE = 30  # columns of a wide table that are explained; all others go together
EXPLAINED, WORK = 100, 20_000_000_000  # rows of which shares are the mean; multiply-adds for them
CELLS = 2**22  # values that the model reads and gives at a time


class Walks(NamedTuple):
    """Where each walk begins and in which order it goes: the same ones for every row.

    `names` are the columns that take their turns alone, `steps` how many turns there are: one more
    where other columns take theirs together. `begin` has for each input its value, (walks,);
    `turns` when it is that input's turn, (walks,).
    """

    names: list[str]
    steps: int
    begin: dict[str, np.ndarray]
    turns: dict[str, np.ndarray]

    @property
    def answers(self) -> int:
        """How many a row takes."""
        return self.steps * len(next(iter(self.turns.values())))

    @classmethod
    def of(
        cls, sketches: Mapping[str, Sketch], schema: Schema, names: Sequence[str] | None = None
    ) -> Self:
        """Walks that begin at values that the training rows had, each column's by itself.

        The values of a column are taken in turn, in a drawn order: Latin hypercube sampling.

        Args:
            names: the columns that take their turns alone; else all.
        """
        rng = np.random.default_rng(0)
        alone = list(schema.features if names is None else names)
        steps = len(alone) + (len(alone) < len(schema.features))
        pairs = max(1, min(DRAWN, MOST // (2 * steps)))
        begin = {}
        for name, column in schema.features.items():
            gap = "" if column.is_string else np.nan
            drawn = sketches[name].drawn or [None] * DRAWN
            values = [gap if value is None else value for value in drawn]
            array = np.array(values, object if column.is_string else np.float64)
            begin[input_name(name)] = np.repeat(array[rng.permutation(DRAWN)[:pairs]], 2)
        turns = np.array([rng.permutation(steps) for _ in range(pairs)])  # of each step's columns
        both_ways = np.stack([turns, steps - 1 - turns], axis=1).reshape(2 * pairs, steps)
        places = {name: place for place, name in enumerate(alone)}
        return cls(
            alone,
            steps,
            begin,
            {
                input_name(name): both_ways[:, places.get(name, steps - 1)]
                for name in schema.features
            },
        )


def contributions(predict: Predict, columns: dict[str, np.ndarray], walks: Walks) -> np.ndarray:
    """What each of `walks.names` adds to the outputs of a row: float64, (rows, names, outputs).

    Args:
        columns: as `feature_arrays` gives them, (rows,) each.
    """
    rows = len(next(iter(columns.values())))
    first = predict(walks.begin).astype(np.float64)  # (walks, outputs)
    at_a_time = max(CELLS // (walks.answers * (len(columns) + first.shape[1])), 1)
    found = []
    for start in range(0, max(rows, 1), at_a_time):
        some = {name: of[start : start + at_a_time] for name, of in columns.items()}
        found.append(_of_rows(predict, some, walks, first))
    return np.concatenate(found)


def importance_shares(
    predict: Predict, work: float, rows: pa.Table, sketches: Mapping[str, Sketch], schema: Schema
) -> dict[str, float]:
    """How much each column moves the answers of some rows, as a share of what all of them do.

    Args:
        work: multiply-adds of the model for a row.
    """
    walks = Walks.of(sketches, schema)
    rows = rows[: max(min(EXPLAINED, int(WORK / max(work * walks.answers, 1))), 4)]
    found = contributions(predict, feature_arrays(rows, schema), walks)
    moved = np.abs(np.nan_to_num(found)).mean(axis=(0, 2))
    shares = moved / moved.sum() if moved.any() else moved
    return dict(zip(schema.features, np.round(shares, 6).tolist(), strict=True))


def _of_rows(
    predict: Predict, columns: dict[str, np.ndarray], walks: Walks, first: np.ndarray
) -> np.ndarray:
    """See `contributions`; `first` are the outputs where the walks begin."""
    rows, steps = len(next(iter(columns.values()))), np.arange(walks.steps)
    tables = {
        name: np.where(
            (turns[:, None] <= steps)[:, :, None], columns[name], walks.begin[name][:, None, None]
        ).ravel()
        for name, turns in walks.turns.items()
    }
    shape = (len(first), walks.steps, rows, first.shape[1])
    after = predict(tables).astype(np.float64).reshape(shape)
    before = np.broadcast_to(first[:, None, None], (len(first), 1, *shape[2:]))
    moves = np.diff(np.concatenate([before, after], axis=1), axis=1)
    walk = np.arange(len(first))
    found = [moves[walk, walks.turns[input_name(name)]] for name in walks.names]
    # Along the last axis a mean adds up in the same order, however many rows there are.
    return np.ascontiguousarray(np.transpose(found, (2, 0, 3, 1))).mean(axis=-1)
