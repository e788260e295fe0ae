"""Permutation importance: how much the loss increases if a column is shuffled."""

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table.arrays import (
    Predict,
    feature_arrays,
    predict_distinct_rows,
    row_weights,
)

# Shuffles of each column.
REPEATS = 10
# Rows that are shuffled. With fewer than the minimum, not all columns are measured.
MAX_SHUFFLED_ROWS = 5000
MIN_SHUFFLED_ROWS = 100
# Multiply-adds of the model for all shuffles together: half a minute.
MAX_SHUFFLE_WORK = 200_000_000_000
# Columns of a table that is too wide to measure all columns well.
MAX_MEASURED_COLUMNS = 30
# Shuffled rows in memory at a time.
BATCH_ROWS = 32_768

# Increases of the loss by column: float64, shape (repeats,).
Increases = dict[str, np.ndarray]


def permutation_importance(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    multiply_adds: float,
) -> Increases:
    """Compute the increase of the loss in each of `REPEATS` shuffles of a column.

    See Breiman, "Random Forests" (2001), and scikit-learn's `permutation_importance`. A
    row of weight 2 counts as two rows, and its value is given to other rows as often.
    The first few thousand rows are used. If `MAX_SHUFFLE_WORK` allows fewer than
    `MIN_SHUFFLED_ROWS` rows, one shuffle of each column on few rows chooses the
    `MAX_MEASURED_COLUMNS` columns that are measured.

    Args:
        predict: Function from raw columns (see `feature_arrays`) to predictions, (rows,
            outputs).
        rows: The table, in random order.
        y: Labels of at least these rows, shape (rows,).
        multiply_adds: Multiply-adds of the model for a row.
    """
    has_weight = row_weights(rows, schema) > 0
    y = y[: len(rows)][has_weight]
    rows = rows.filter(pa.array(has_weight))
    names = list(schema.features)
    max_predictions = int(MAX_SHUFFLE_WORK / max(multiply_adds, 1))
    affordable_rows = max_predictions // (REPEATS * len(names))
    has_few_rows = affordable_rows < min(len(rows), MIN_SHUFFLED_ROWS)
    if has_few_rows and len(names) > MAX_MEASURED_COLUMNS:
        max_predictions //= 2
        increases = loss_increases(predict, rows, y, schema, names, 1, max_predictions)
        names.sort(key=lambda name: -increases[name][0])
        names = names[:MAX_MEASURED_COLUMNS]
    return loss_increases(predict, rows, y, schema, names, REPEATS, max_predictions)


def loss_increases(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    names: list[str],
    repeats: int,
    max_predictions: int,
) -> Increases:
    """Compute the increase of the loss in each shuffle of each of these columns.

    Args:
        names: Names of the columns.
        repeats: Number of shuffles of each column.
        max_predictions: Number of rows that may be predicted; if it is small, the first
            rows are used.
    """
    affordable_rows = max_predictions // (repeats * len(names))
    n_rows = min(max(affordable_rows, MIN_SHUFFLED_ROWS // 4), MAX_SHUFFLED_ROWS)
    rows = rows[:n_rows]
    y = y[:n_rows]
    columns = feature_arrays(rows, schema)
    weight = row_weights(rows, schema)
    task = schema.learning_task
    losses = task.row_losses(y, predict(columns))
    loss = np.average(losses, weights=weight)
    donors = repeat_by_weight(weight)
    rng = np.random.default_rng(0)
    shuffles = [rng.permutation(donors) for _ in range(repeats)]
    # The row from which each row takes its value, (repeats * rows,).
    order = np.concatenate(shuffles)

    def shuffled_losses(keys: list[str]) -> np.ndarray:
        """Compute the loss in each shuffle of some columns, (columns, repeats)."""
        inputs = {}
        for key, values in columns.items():
            # For each shuffled column, all rows stand `repeats` times.
            tables = np.tile(values, (len(keys), repeats))
            if key in keys:
                tables[keys.index(key)] = values[order]
            inputs[key] = tables.ravel()
        y_pred = predict_distinct_rows(predict, inputs)
        y_true = np.tile(y, len(keys) * repeats)
        losses = task.row_losses(y_true, y_pred)
        losses = losses.reshape(len(keys), repeats, len(y))
        return np.average(losses, axis=2, weights=weight)

    batch_size = max(BATCH_ROWS // len(order), 1)
    keys = [input_name(name) for name in names]
    starts = range(0, len(keys), batch_size)
    batches = [keys[start : start + batch_size] for start in starts]
    results = ordered_map(shuffled_losses, batches, max_concurrent=1)
    increases = np.concatenate(list(results)) - loss
    return dict(zip(names, increases, strict=True))


def repeat_by_weight(weight: np.ndarray) -> np.ndarray:
    """Repeat the numbers of rows in proportion to their weight: int64, shape (rows,).

    With equal weights, each row occurs once.

    Examples:
        >>> repeat_by_weight(np.array([1.0, 1.0, 1.0]))
        array([0, 1, 2])
        >>> repeat_by_weight(np.array([2.0, 0.0, 1.0]))
        array([0, 0, 2])
    """
    ends = np.cumsum(weight) / weight.sum() * len(weight)
    return np.searchsorted(ends, np.arange(len(weight)) + 0.5)
