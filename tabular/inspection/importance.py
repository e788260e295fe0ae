"""How much a model needs each column, for all rows and for the answer to one."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema, input_name
from tabular.core.engine import ordered_map
from tabular.inspection.sketch import BACKGROUND_SIZE, Sketch, sketch_columns
from tabular.model.metadata import provenance
from tabular.table.arrays import Predict, feature_arrays, row_losses, row_weights
from tabular.table.parquet import read_rows

if TYPE_CHECKING:
    from tabular.model.saved_model import SavedModel


REPEATS = 10
MAX_ROWS, MIN_ROWS = 5000, 100
MAX_MULTIPLY_ADDS = 200_000_000_000  # multiply-adds of the model in all: half a minute
MAX_MEASURED = 30  # columns, of a table too wide to measure all of them well
BATCH = 4096  # rows that the model reads at a time
Progress = Callable[[float, str], None]
Rises = dict[str, np.ndarray]  # of the loss: float64, (repeats,), by column


def permutation_importance(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    work: float,
    progress: Progress = lambda more, name: None,
) -> Rises:
    """The rise of the loss in each of `REPEATS` shuffles of a column.

    Breiman, "Random Forests" (2001), in the form of scikit-learn's `permutation_importance`. A row
    of weight 2 counts, and gives its value to other rows, as two rows would. The rows used are the
    first few thousand, which lie shuffled; the same rows give the same numbers. Where the work
    allows fewer than `MIN_ROWS` of them, one shuffle of each column on a few rows chooses the
    `MAX_MEASURED` columns that are measured.

    Args:
        predict: raw columns, as `feature_arrays` gives them, to outputs of shape (rows, outputs).
        rows: the table, in the order of `y`, shape (rows,).
        work: multiply-adds of the model for a row, 1 at least.
        progress: is told how much more of the work is done, from 0 to 1, and the last column.
    """
    has_weight = row_weights(rows, schema) > 0
    rows, y = rows.filter(pa.array(has_weight)), y[: len(rows)][has_weight]
    names = list(schema.features)
    reads = int(MAX_MULTIPLY_ADDS / max(work, 1))  # rows that the model may read

    def measured(names: Sequence[str], repeats: int, reads: int, progress: Progress) -> Rises:
        used = min(len(rows), MAX_ROWS, max(reads // (repeats * len(names)), MIN_ROWS // 4))
        return loss_increases(predict, rows[:used], y[:used], schema, names, repeats, progress)

    def half(more: float, name: str) -> None:
        progress(more / 2, name)

    if not len(rows):
        return {}
    if reads // (REPEATS * len(names)) < min(len(rows), MIN_ROWS) and len(names) > MAX_MEASURED:
        first = measured(names, 1, reads // 2, half)
        names = sorted(names, key=lambda name: -first[name][0])[:MAX_MEASURED]
        return measured(names, REPEATS, reads // 2, half)
    return measured(names, REPEATS, reads, progress)


def most_important(importance: Rises, schema: Schema) -> list[str]:
    """All columns, the most important one first."""
    means = {name: float(increases.mean()) for name, increases in importance.items()}
    return sorted(schema.features, key=lambda name: -means.get(name, -np.inf))


def loss_increases(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    names: Sequence[str],
    repeats: int,
    progress: Progress,
) -> Rises:
    """The rise of the loss in so many shuffles of each of these columns."""
    columns, weight = feature_arrays(rows, schema), row_weights(rows, schema)
    rng, middles = np.random.default_rng(0), np.arange(len(rows)) + 0.5
    # The row that stands in each of equal steps of the weight; of equal weights each row once.
    donors = np.searchsorted(np.cumsum(weight) / weight.sum() * len(rows), middles)
    order = np.concatenate([donors[rng.permutation(len(rows))] for _ in range(repeats)])

    def shuffled_losses(group: Sequence[str]) -> np.ndarray:
        """The losses with each column of a group shuffled, float64, (columns, repeats)."""
        tables = {key: np.tile(of, (len(group), repeats)) for key, of in columns.items()}
        for table, name in enumerate(group):
            tables[input_name(name)][table] = columns[input_name(name)][order]
        outputs = predict({key: values.ravel() for key, values in tables.items()})
        losses = row_losses(np.tile(y, len(group) * repeats), outputs, schema)
        losses = losses.reshape(len(group), repeats, len(y))
        return np.average(losses, axis=2, weights=weight)

    before = np.average(row_losses(y, predict(columns), schema), weights=weight)
    at_a_time = max(BATCH // len(order), 1)
    groups = [names[start : start + at_a_time] for start in range(0, len(names), at_a_time)]
    found: Rises = {}
    losses = ordered_map(shuffled_losses, groups, threads=False)
    for group, of_group in zip(groups, losses, strict=True):
        found |= dict(zip(group, of_group - before, strict=True))
        progress(len(group) / len(names), group[-1])
    return found


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


MAX_ROWS, MAX_CELLS = 200_000, 20_000_000  # of the training rows, which lie shuffled


def describe_training_rows(model: "SavedModel", train: Path, schema: Schema) -> dict[str, Any]:
    """Where the rows of a folder are from, sketches of them, and what moves the answers for them.

    `sketches` are what new rows are compared with, `importance` the share of each column in what
    moves the answers, and of a regression with folds `disagreement` is that of its networks.
    """
    rows = read_rows(train, min(MAX_ROWS, MAX_CELLS // len(schema.columns)))
    sketches = sketch_columns(rows, schema, model.metadata["categories"])
    found: dict[str, Any] = {
        "trained_on": provenance(train),
        "sketches": {name: sketch.to_json() for name, sketch in sketches.items()},
        "importance": importance_shares(model.predict, model.multiply_adds, rows, sketches, schema),
    }
    if schema.task == "regression" and "folds" in model.metadata:
        found["disagreement"] = model.disagreement(rows, schema)
    return found
