"""How much a model needs each column: permutation importance."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.arrays import Predict, feature_arrays, row_losses, row_weights

REPEATS = 10
MAX_ROWS, MIN_ROWS = 5000, 100
MAX_MULTIPLY_ADDS = 200_000_000_000  # multiply-adds of the model in all: half a minute
MAX_MEASURED = 30  # columns, of a table too wide to measure all of them well
BATCH = 4096  # rows that the model reads at a time
Increases = dict[str, np.ndarray]  # of the loss: float64, (repeats,), by column


def permutation_importance(
    predict: Predict, rows: pa.Table, y: np.ndarray, schema: Schema, work: float
) -> Increases:
    """Compute the increase of the loss in each of `REPEATS` shuffles of a column.

    Breiman, "Random Forests" (2001), in the form of scikit-learn's `permutation_importance`. A row
    of weight 2 counts, and gives its value to other rows, as two rows would. The rows used are the
    first few thousand, which lie shuffled; the same rows give the same numbers. Where the work
    allows fewer than `MIN_ROWS` of them, one shuffle of each column on a few rows chooses the
    `MAX_MEASURED` columns that are measured.

    Args:
        predict: From raw columns, as `feature_arrays` gives them, to outputs, (rows, outputs).
        rows: The table, in the order of `y`, shape (rows,).
        work: Number of multiply-adds of the model for a row, 1 at least.
    """
    has_weight = row_weights(rows, schema) > 0
    rows, y = rows.filter(pa.array(has_weight)), y[: len(rows)][has_weight]
    names = list(schema.features)
    affordable = int(MAX_MULTIPLY_ADDS / max(work, 1))  # rows that the model may read

    def measure(names: Sequence[str], repeats: int, affordable: int) -> Increases:
        count = max(affordable // (repeats * len(names)), MIN_ROWS // 4)
        sample = slice(min(count, MAX_ROWS))
        return loss_increases(predict, rows[sample], y[sample], schema, names, repeats)

    if not len(rows):
        return {}
    few_rows = affordable // (REPEATS * len(names)) < min(len(rows), MIN_ROWS)
    if few_rows and len(names) > MAX_MEASURED:
        affordable //= 2
        first = measure(names, 1, affordable)
        names = sorted(names, key=lambda name: -first[name][0])[:MAX_MEASURED]
    return measure(names, REPEATS, affordable)


def most_important(importance: Increases, schema: Schema) -> list[str]:
    """Sort all columns, the most important one first."""
    means = {name: float(increases.mean()) for name, increases in importance.items()}
    return sorted(schema.features, key=lambda name: -means.get(name, -np.inf))


def loss_increases(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    names: Sequence[str],
    repeats: int,
) -> Increases:
    """Compute the increase of the loss in this number of shuffles of each of these columns."""
    columns, weight = feature_arrays(rows, schema), row_weights(rows, schema)
    rng, middles = np.random.default_rng(0), np.arange(len(rows)) + 0.5
    # The row that stands in each of equal steps of the weight; of equal weights each row once.
    donors = np.searchsorted(np.cumsum(weight) / weight.sum() * len(rows), middles)
    order = np.concatenate([donors[rng.permutation(len(rows))] for _ in range(repeats)])

    def shuffled_losses(group: Sequence[str]) -> np.ndarray:
        """Compute the losses with each column of a group shuffled, float64, (columns, repeats)."""
        tables = {key: np.tile(array, (len(group), repeats)) for key, array in columns.items()}
        for table, name in enumerate(group):
            tables[input_name(name)][table] = columns[input_name(name)][order]
        outputs = predict({key: values.ravel() for key, values in tables.items()})
        losses = row_losses(np.tile(y, len(group) * repeats), outputs, schema)
        return np.average(losses.reshape(len(group), repeats, len(y)), axis=2, weights=weight)

    before = np.average(row_losses(y, predict(columns), schema), weights=weight)
    at_a_time = max(BATCH // len(order), 1)
    groups = [names[start : start + at_a_time] for start in range(0, len(names), at_a_time)]
    losses = np.concatenate(list(ordered_map(shuffled_losses, groups, use_threads=False)))
    return dict(zip(names, losses - before, strict=True))
