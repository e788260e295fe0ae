"""Permutation importance: how much a model needs each column."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.arrays import Predict, feature_arrays, predict_distinct_rows, row_weights

REPEATS = 10  # shuffles of each column
MAX_ROWS, MIN_ROWS = 5000, 100
MAX_MULTIPLY_ADDS = 200_000_000_000  # of the model in total: half a minute
MAX_MEASURED_COLUMNS = 30  # of a table that is too wide to measure all columns well
BATCH_ROWS = 32_768  # shuffled rows in memory at a time
Increases = dict[str, np.ndarray]  # of the loss: float64, (repeats,), by column


def permutation_importance(
    predict: Predict, rows: pa.Table, y: np.ndarray, schema: Schema, work: float
) -> Increases:
    """Compute the increase of the loss in each of `REPEATS` shuffles of a column.

    See Breiman, "Random Forests" (2001), and scikit-learn's `permutation_importance`. A row of
    weight 2 counts as two rows, and its value is given to other rows as often. The first few
    thousand rows are used. If the work allows fewer than `MIN_ROWS` rows, one shuffle of each
    column on few rows chooses the `MAX_MEASURED_COLUMNS` columns that are measured.

    Args:
        predict: Function from raw columns (see `feature_arrays`) to predictions, (rows, outputs).
        rows: The table, in random order.
        y: Labels of at least these rows, shape (rows,).
        work: Number of multiply-adds of the model for a row.
    """
    has_weight = row_weights(rows, schema) > 0
    rows, y = rows.filter(pa.array(has_weight)), y[: len(rows)][has_weight]
    if not len(rows):
        return {}
    names = list(schema.features)
    affordable_rows = int(MAX_MULTIPLY_ADDS / max(work, 1))

    def measure(names: list[str], repeats: int, affordable_rows: int) -> Increases:
        count = min(max(affordable_rows // (repeats * len(names)), MIN_ROWS // 4), MAX_ROWS)
        return loss_increases(predict, rows[:count], y[:count], schema, names, repeats)

    has_few_rows = affordable_rows // (REPEATS * len(names)) < min(len(rows), MIN_ROWS)
    if has_few_rows and len(names) > MAX_MEASURED_COLUMNS:
        affordable_rows //= 2
        first = measure(names, 1, affordable_rows)
        names = sorted(names, key=lambda name: -first[name][0])[:MAX_MEASURED_COLUMNS]
    return measure(names, REPEATS, affordable_rows)


def loss_increases(
    predict: Predict, rows: pa.Table, y: np.ndarray, schema: Schema, names: list[str], repeats: int
) -> Increases:
    """Compute the increase of the loss in each shuffle of each of these columns."""
    columns, weight = feature_arrays(rows, schema), row_weights(rows, schema)
    rng, task = np.random.default_rng(0), schema.learning_task
    # Each row occurs in proportion to its weight; with equal weights, each row occurs once.
    positions = np.arange(len(rows)) + 0.5
    donors = np.searchsorted(np.cumsum(weight) / weight.sum() * len(rows), positions)
    order = np.concatenate([donors[rng.permutation(len(rows))] for _ in range(repeats)])

    def shuffled_losses(batch: Sequence[str]) -> np.ndarray:
        """Compute the losses with each column of a batch shuffled, float64, (columns, repeats)."""
        tables = {key: np.tile(array, (len(batch), repeats)) for key, array in columns.items()}
        for table, name in enumerate(batch):
            tables[input_name(name)][table] = columns[input_name(name)][order]
        y_pred = predict_distinct_rows(predict, {k: v.ravel() for k, v in tables.items()})
        losses = task.row_losses(np.tile(y, len(batch) * repeats), y_pred)
        return np.average(losses.reshape(len(batch), repeats, len(y)), axis=2, weights=weight)

    loss = np.average(task.row_losses(y, predict(columns)), weights=weight)
    batch_size = max(BATCH_ROWS // len(order), 1)
    batches = [names[start : start + batch_size] for start in range(0, len(names), batch_size)]
    losses = np.concatenate(list(ordered_map(shuffled_losses, batches, max_concurrent=1)))
    return dict(zip(names, losses - loss, strict=True))


def sort_by_importance(importance: Increases, schema: Schema) -> list[str]:
    """Sort all columns, the most important one first."""
    means = {name: float(increases.mean()) for name, increases in importance.items()}
    return sorted(schema.features, key=lambda name: -means.get(name, -np.inf))
