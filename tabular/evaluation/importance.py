"""How much a model needs each column: the loss with the column's values shuffled among the rows."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from tabular.evaluation.scores import loss
from tabular.schema import Schema
from tabular.table.arrays import Predict, feature_arrays

REPEATS = 10
MAX_ROWS = 5000
MAX_CELLS = 100_000_000  # that the model reads in all; wide tables take fewer rows
MIN_ROWS = 100


def permutation_importance(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    progress: Callable[[str], None] = lambda name: None,
) -> dict[str, np.ndarray]:
    """The rise of the loss in each of `REPEATS` shuffles of each column: float64, (REPEATS,).

    Breiman, "Random Forests" (2001), in the form of scikit-learn's `permutation_importance`. The
    rows used are the first few thousand, which lie shuffled; the same rows give the same numbers.

    Args:
        predict: raw columns, as `feature_arrays` gives them, to outputs of shape (rows, outputs).
        rows: the table, in the order of `y`, shape (rows,).
        progress: is told each column that is done.
    """
    used = min(len(rows), MAX_ROWS)
    used = min(used, max(MAX_CELLS // (REPEATS * len(schema.features) ** 2), MIN_ROWS))
    columns = feature_arrays(rows[:used], schema)
    y = y[:used]
    if not used:
        return {}
    before = loss(y, predict(columns), schema)
    repeated = {name: np.tile(values, REPEATS) for name, values in columns.items()}
    rng = np.random.default_rng(0)
    orders = np.concatenate([rng.permutation(used) for _ in range(REPEATS)])
    rises = {}
    for column, (name, values) in zip(schema.features, columns.items(), strict=True):
        outputs = predict(repeated | {name: values[orders]})
        parts = np.split(outputs, REPEATS)
        progress(column)
        rises[column] = np.array([loss(y, part, schema) for part in parts]) - before
    return rises
