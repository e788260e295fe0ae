"""How much a model needs each column: the loss with the column's values shuffled among the rows."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema, input_name
from tabular.core.engine import ordered_map
from tabular.table.arrays import Predict, feature_arrays, row_losses

REPEATS = 10
MAX_ROWS, MIN_ROWS = 5000, 100
MAX_MULTIPLY_ADDS = 200_000_000_000  # multiply-adds of the model in all: half a minute
MAX_MEASURED = 30  # columns, of a table too wide to measure all of them well
BATCH = 4096  # rows that the model reads at a time
Progress = Callable[[float, str], None]


def permutation_importance(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    work: float,
    progress: Progress = lambda more, name: None,
) -> dict[str, np.ndarray]:
    """The rise of the loss in each of `REPEATS` shuffles of a column: float64, (REPEATS,).

    Breiman, "Random Forests" (2001), in the form of scikit-learn's `permutation_importance`. The
    rows used are the first few thousand, which lie shuffled; the same rows give the same numbers.
    Where the work allows fewer than `MIN_ROWS` of them, one shuffle of each column on a few rows
    chooses the `MAX_MEASURED` columns that are measured.

    Args:
        predict: raw columns, as `feature_arrays` gives them, to outputs of shape (rows, outputs).
        rows: the table, in the order of `y`, shape (rows,).
        work: multiply-adds of the model for a row, 1 at least.
        progress: is told how much more of the work is done, from 0 to 1, and the last column.
    """
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


Rises = dict[str, np.ndarray]


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
    before = mean_loss(y, predict(feature_arrays(rows, schema)), schema)
    rng = np.random.default_rng(0)
    order = np.concatenate([rng.permutation(len(rows)) for _ in range(repeats)])
    at_a_time = max(BATCH // len(order), 1)
    groups = [names[start : start + at_a_time] for start in range(0, len(names), at_a_time)]
    losses_of = partial(
        shuffled_losses, predict=predict, rows=rows, y=y, schema=schema, order=order
    )
    found: Rises = {}
    for group, losses in zip(groups, ordered_map(losses_of, groups, threads=False), strict=True):
        found |= {name: of_name - before for name, of_name in zip(group, losses, strict=True)}
        progress(len(group) / len(names), group[-1])
    return found


def shuffled_losses(
    names: Sequence[str],
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    order: np.ndarray,
) -> np.ndarray:
    """The losses with each of some columns shuffled, float64, (columns, repeats).

    Args:
        order: the rows of each repeat after the other, shape (repeats * rows,).
    """
    columns = feature_arrays(rows, schema)
    repeats = len(order) // len(rows)
    tables = {key: np.tile(values, (len(names), repeats)) for key, values in columns.items()}
    for table, name in enumerate(names):
        tables[input_name(name)][table] = columns[input_name(name)][order]
    outputs = predict({key: values.ravel() for key, values in tables.items()})
    losses = [mean_loss(y, part, schema) for part in np.split(outputs, len(names) * repeats)]
    return np.reshape(losses, (len(names), repeats))


def mean_loss(y: np.ndarray, predicted: np.ndarray, schema: Schema) -> float:
    """See `row_losses`."""
    return float(row_losses(y, predicted, schema).mean())
