"""What the model does not read in a split by time: values that only grow, unless they help.

A network may follow such values, or extrapolate them wrongly. Gradient boosting tries on the
training rows whether later rows are predicted better from earlier ones with them or without.
"""

import json
import shlex
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.column_statistics.bins import share_outside
from keras_tabular.config.schema import Schema, part_name
from keras_tabular.config.sections import Train
from keras_tabular.model_file.metadata import Unread
from keras_tabular.preprocessing.layers import build_preprocessing
from keras_tabular.preprocessing.statistics import adapt
from keras_tabular.table.arrays import feature_arrays, labels
from keras_tabular.table.parquet import FOLD_KEY, read_first_rows

MIN_ROWS, MAX_ROWS = 20, 20_000  # of the trial; the rows of a table are in random order
N_PERIODS = 4  # each but the first is predicted from all earlier ones
GROWING_PARTS = ("time", "year")  # of a datetime; its other parts begin again
# The shares of the last period's rows whose values are outside of the earlier ones: of a column
# that only grows, and of one that is tried for an advice.
MIN_SHARE_GROWING, MIN_SHARE_OUTSIDE = 0.9, 0.1
MIN_GAIN = 0.02  # share of an error, for an advice; a smaller one may be chance


def find_unread(folder: Path, schema: Schema, train: Train) -> Unread:
    """Find what the model does not read if the rows were split by time.

    With `train.growing: auto`, it reads what grows if gradient boosting predicts later training
    rows better with it.

    Args:
        folder: Folder of the training rows.
        schema: The table, without the columns in `train.ignore`.
    """
    rows = read_first_rows(folder, MAX_ROWS).sort_by(FOLD_KEY)
    if len(rows) < MIN_ROWS or train.growing == "keep":
        return Unread(names=schema.ignore)
    start, growing, outside = len(rows) * (N_PERIODS - 1) // N_PERIODS, list[str](), list[str]()
    for name, column in schema.features.items():
        share = share_outside(rows[name][:start], rows[name][start:], column)
        if share >= MIN_SHARE_GROWING:
            is_date = column.kind == "datetime"
            growing += [part_name(name, part) for part in GROWING_PARTS] if is_date else [name]
        elif share >= MIN_SHARE_OUTSIDE:
            outside.append(name)
    message, advice = "", dict[str, str]()
    error = later_error(rows, schema, train) if growing or outside else 0.0
    if growing and schema.without(growing).features:
        error_without = later_error(rows, schema.without(growing), train)
        gain = relative_gain(error, error_without)
        is_read = train.growing == "auto" and gain < 0
        columns = ", ".join(growing).replace("\x1f", ": ")
        message = (
            f"What only grows with time is {'' if is_read else 'not '}read: {columns}. Without it, "
            f"the error of gradient boosting for later training rows changes by {0.0 - gain:+.1%}. "
            f"For the opposite, set train.growing to {'drop' if is_read else 'keep'}."
        )
        if not is_read:
            schema, error = schema.without(growing), error_without
    for name in outside if len(schema.features) > 1 else ():
        gain = relative_gain(error, later_error(rows, schema.without([name]), train))
        if gain >= MIN_GAIN:
            setting = shlex.quote(f"train.ignore={json.dumps([*train.ignore, name])}")
            advice[name] = (
                f"Leave out column {name}, whose test values are outside of the training values. "
                "Without it, the error of gradient boosting for later periods of the training rows "
                f"is {gain:.0%} lower: `dvc exp run -S {setting}`"
            )
    return Unread(names=schema.ignore, message=message, advice=advice)


def relative_gain(error: float, error_without: float) -> float:
    """Return the share by which an error is lower without some columns, rounded."""
    return round(1 - error_without / max(error, 1e-300), 6)


def later_error(rows: pa.Table, schema: Schema, train: Train) -> float:
    """Compute the error of gradient boosting that predicts each period from all earlier ones.

    It reads what the networks read, except for texts.

    Args:
        rows: Training rows, sorted by time.

    Returns:
        The mean squared error; of classes, that of their probabilities.
    """
    from sklearn.ensemble import HistGradientBoostingRegressor  # takes a second
    from sklearn.model_selection import TimeSeriesSplit, cross_val_score

    statistics = adapt(lambda names: [rows.select(names or schema.columns)], schema, train)
    x = np.asarray(build_preprocessing(statistics, schema, train)(feature_arrays(rows, schema)))
    targets = schema.learning_task.indicators(labels(rows, schema)).T
    trees = HistGradientBoostingRegressor(max_iter=150, max_leaf_nodes=8, min_samples_leaf=10)
    trees.set_params(early_stopping=False, random_state=0)
    cv, scoring = TimeSeriesSplit(N_PERIODS - 1), "neg_mean_squared_error"
    return -float(np.mean([cross_val_score(trees, x, y, cv=cv, scoring=scoring) for y in targets]))
