"""What the columns do: their importance and effects, and how train and test rows differ."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Column, Schema, input_name
from keras_tabular.core.parallel import ordered_map
from keras_tabular.table import profile
from keras_tabular.table.arrays import (
    Predict,
    feature_arrays,
    predict_distinct_rows,
    row_weights,
)
from keras_tabular.table.profile import Bins, numeric_values

REPEATS = 10  # shuffles of each column
MAX_SHUFFLED_ROWS = 5000
MIN_SHUFFLED_ROWS = 100
MAX_SHUFFLE_WORK = 200_000_000_000  # of the model in total: half a minute
MAX_MEASURED_COLUMNS = 30  # of a table that is too wide to measure all columns well
BATCH_ROWS = 32_768  # shuffled rows in memory at a time
Increases = dict[str, np.ndarray]  # of the loss: float64, (repeats,), by column


def permutation_importance(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    work: float,
) -> Increases:
    """Compute the increase of the loss in each of `REPEATS` shuffles of a column.

    See Breiman, "Random Forests" (2001), and scikit-learn's `permutation_importance`. A
    row of weight 2 counts as two rows, and its value is given to other rows as often.
    The first few thousand rows are used. If the work allows fewer than
    `MIN_SHUFFLED_ROWS` rows, one shuffle of each column on few rows chooses the
    `MAX_MEASURED_COLUMNS` columns that are measured.

    Args:
        predict: Function from raw columns (see `feature_arrays`) to predictions, (rows,
            outputs).
        rows: The table, in random order.
        y: Labels of at least these rows, shape (rows,).
        work: Number of multiply-adds of the model for a row.
    """
    has_weight = row_weights(rows, schema) > 0
    rows, y = rows.filter(pa.array(has_weight)), y[: len(rows)][has_weight]
    names = list(schema.features)
    affordable_rows = int(MAX_SHUFFLE_WORK / max(work, 1))

    def measure(names: list[str], repeats: int, affordable_rows: int) -> Increases:
        affordable = max(
            affordable_rows // (repeats * len(names)),
            MIN_SHUFFLED_ROWS // 4,
        )
        count = min(affordable, MAX_SHUFFLED_ROWS)
        return loss_increases(predict, rows[:count], y[:count], schema, names, repeats)

    has_few_rows = affordable_rows // (REPEATS * len(names)) < min(
        len(rows),
        MIN_SHUFFLED_ROWS,
    )
    if has_few_rows and len(names) > MAX_MEASURED_COLUMNS:
        affordable_rows //= 2
        first = measure(names, 1, affordable_rows)
        names = sorted(names, key=lambda name: -first[name][0])[:MAX_MEASURED_COLUMNS]
    return measure(names, REPEATS, affordable_rows)


def loss_increases(
    predict: Predict,
    rows: pa.Table,
    y: np.ndarray,
    schema: Schema,
    names: list[str],
    repeats: int,
) -> Increases:
    """Compute the increase of the loss in each shuffle of each of these columns."""
    columns = feature_arrays(rows, schema)
    weight = row_weights(rows, schema)
    rng = np.random.default_rng(0)
    task = schema.learning_task
    # Each row occurs in proportion to its weight; with equal weights, each row occurs
    # once.
    positions = np.arange(len(rows)) + 0.5
    donors = np.searchsorted(np.cumsum(weight) / weight.sum() * len(rows), positions)
    order = np.concatenate([donors[rng.permutation(len(rows))] for _ in range(repeats)])

    def shuffled_losses(batch: Sequence[str]) -> np.ndarray:
        """Compute the losses with each column of a batch shuffled, float64, (columns, repeats)."""
        tables = {
            key: np.tile(array, (len(batch), repeats)) for key, array in columns.items()
        }
        for table, name in enumerate(batch):
            tables[input_name(name)][table] = columns[input_name(name)][order]
        y_pred = predict_distinct_rows(
            predict,
            {k: v.ravel() for k, v in tables.items()},
        )
        losses = task.row_losses(np.tile(y, len(batch) * repeats), y_pred)
        return np.average(
            losses.reshape(len(batch), repeats, len(y)),
            axis=2,
            weights=weight,
        )

    loss = np.average(task.row_losses(y, predict(columns)), weights=weight)
    batch_size = max(BATCH_ROWS // len(order), 1)
    batches = [
        names[start : start + batch_size] for start in range(0, len(names), batch_size)
    ]
    losses = np.concatenate(
        list(ordered_map(shuffled_losses, batches, max_concurrent=1)),
    )
    return dict(zip(names, losses - loss, strict=True))


# of a histogram
MAX_BARS = 12
MAX_CATEGORY_BARS = 6
HISTOGRAM_QUANTILES = (0.005, 0.995)  # of the training rows: the ends of a histogram
# for a warning
MIN_ATTRIBUTION = 0.02
MIN_SHARE_OUTSIDE = 0.1


def describe_columns(
    train: pa.Table,
    test: pa.Table,
    schema: Schema,
    limit: float,
    group_size: float = 1.0,
) -> dict[str, Any]:
    """Compute the content of `metrics/columns.json` for the target and the features.

    A column has `moved` if its `distance` is above the limit, and larger than chance
    explains.

    Args:
        limit: The key `drift.distance` of params.yaml.
        group_size: Number of rows that depend on each other, see
            `groups.mean_group_size`.
    """
    description = {}
    names = (schema.target, *schema.features)
    for name in names:
        column = schema.columns[name]
        values = (train[name], test[name])
        summary = profile.ColumnSummary.from_values(train[name], column)
        counts = np.array(summary.counts), summary.bins(column).counts(test[name])
        distance, p_value = profile.compare_counts(*counts, len(names), group_size)
        description[name] = histogram(*values, column) | {
            "distance": distance,
            "p_value": p_value,
            "moved": distance > limit and p_value < profile.MAX_P_VALUE,
            # Later times are always outside of the earlier ones.
            "outside": (
                0.0 if name == schema.time else profile.share_outside(*values, column)
            ),
        }
    return description


def histogram(
    train: pa.ChunkedArray,
    test: pa.ChunkedArray,
    column: Column,
) -> dict[str, Any]:
    """Count the rows in each bar of a histogram.

    The bars either have `names`, or divide the range between two numbers into equal
    parts. The first and the last bar then also contain the values beyond the range.
    """
    content = dict[str, Any]()
    if column.feature_type == "category":
        bars = Bins.from_values(train, column, MAX_BARS, MAX_CATEGORY_BARS)
        content["names"] = bars.names[:-1]
    else:
        numbers = numeric_values(train, column)
        if not len(numbers):
            return content
        distinct = np.unique(numbers)
        if len(distinct) <= MAX_BARS:
            edges = (distinct[1:] + distinct[:-1]) / 2
            content["names"] = [
                profile.format_edge(value, column) for value in distinct
            ]
        else:
            low, high = np.quantile(numbers, HISTOGRAM_QUANTILES, method="nearest")
            if low == high:
                low = distinct[0]
                high = distinct[-1]
            edges = np.linspace(low, high, MAX_BARS + 1)[1:-1]
        bars = Bins(column, edges, ())
    tables = {"train": train, "test": test}
    counts = {
        name: bars.counts(values)[:-1].tolist() for name, values in tables.items()
    }
    if column.feature_type == "category" and not any(
        rows[-1] for rows in counts.values()
    ):
        content["names"].pop()  # no other categories
        counts = {name: rows[:-1] for name, rows in counts.items()}
    return content | counts


def outside_training(
    columns: Mapping[str, Mapping[str, Any]],
    attribution: Mapping[str, float],
) -> dict[str, float]:
    """Return the share of the test rows outside training for each column with a large share.

    Columns that hardly affect the predictions are left out. The others are sorted by
    their share of attribution, the largest first.

    Args:
        columns: The result of `describe_columns`; empty if that failed.
        attribution: Share of attribution of each column.
    """
    shares = {
        name: columns[name]["outside"]
        for name, share in attribution.items()
        if columns
        and share >= MIN_ATTRIBUTION
        and columns[name]["outside"] >= MIN_SHARE_OUTSIDE
    }
    return dict(sorted(shares.items(), key=lambda item: -attribution[item[0]]))


MAX_COLUMNS = 6
MAX_STEPS = 20
MAX_CATEGORIES = 8
MAX_ROWS = 2000
MIN_ROWS = 100
MAX_MULTIPLY_ADDS = 40_000_000_000  # of the model in total: some seconds
MEMBER_QUANTILES = (0.1, 0.9)

# Predicts the rows with other values of one column, (rows,): float64, (rows, outputs, 1
# + members).
PredictWith = Callable[[np.ndarray], np.ndarray]


def column_effects(
    predict_members: Predict,
    rows: pa.Table,
    schema: Schema,
    important: Sequence[str],
    work: float,
) -> dict[str, Any]:
    """Compute the content of `metrics/effects.json` for the most important columns without text.

    With several classes, it is the effect on the class whose probability changes most.

    Args:
        predict_members: Function from raw columns to predictions of the model and of
            each member, (rows, outputs * (1 + members)).
        rows: Rows in random order; the first ones are used.
        important: Names of the columns, the most important one first.
        work: Number of multiply-adds of the model for a row.
    """
    types = {name: column.feature_type for name, column in schema.features.items()}
    names = [name for name in important if types[name] != "text"][:MAX_COLUMNS]
    rows = rows.filter(pa.array(row_weights(rows, schema) > 0))
    predictions = sum(
        MAX_CATEGORIES if types[name] == "category" else 2 for name in names
    )
    affordable_rows = int(MAX_MULTIPLY_ADDS / max(predictions * work, 1))
    rows = rows[: min(MAX_ROWS, max(affordable_rows, MIN_ROWS))]
    effects = [column_effect(predict_members, rows, name, schema) for name in names]
    return {"rows": len(rows), "columns": [effect for effect in effects if effect]}


def column_effect(
    predict_members: Predict,
    rows: pa.Table,
    name: str,
    schema: Schema,
) -> dict[str, Any] | None:
    """Compute the effect of one column; None if all rows have the same value."""
    column = schema.columns[name]
    is_category = schema.columns[name].feature_type == "category"
    bins = Bins.from_values(rows[name], column, MAX_STEPS, MAX_CATEGORIES)
    if len(bins.categories) < 2 and not len(bins.edges):
        return None
    if not is_category:
        rows = rows.filter(rows[name].is_valid())
    arrays = feature_arrays(rows, schema)
    weight = row_weights(rows, schema)
    task = schema.learning_task

    def predict_with(values: np.ndarray) -> np.ndarray:
        predictions = predict_members(arrays | {input_name(name): values}).astype(
            np.float64,
        )
        return predictions.reshape(len(values), -1, task.n_outputs).transpose(0, 2, 1)

    if is_category:
        curves = partial_dependence(predict_with, bins, bins.codes(rows[name]), weight)
        values: list[Any] = bins.names[: len(bins.categories)]
    else:
        numbers = numeric_values(rows[name], column)
        edges = np.unique(profile.quantiles(numbers, MAX_STEPS))
        curves = accumulated_effects(predict_with, numbers, edges, weight)
        values = edges.tolist()
    output = int(np.argmax(np.ptp(curves[:, :, 0], axis=0)))
    curve, *members = curves[:, output].T
    low, high = (
        np.quantile(members, MEMBER_QUANTILES, axis=0) if members else (curve, curve)
    )
    effect: dict[str, Any] = {"column": name, "kind": column.kind, "values": values}
    if task.classes:
        effect["class"] = str(task.classes[task.output_classes[output]])
    if len(bins.values) == 2 and column.kind != "datetime":  # no values between the two
        effect |= {"kind": "category", "values": bins.names[:2]}
    return effect | {
        "effect": curve.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def partial_dependence(
    predict_with: PredictWith,
    bins: Bins,
    codes: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Compute the effect of each category: float64, (categories, outputs, 1 + members)."""
    means = []
    for category in bins.categories:
        predictions = predict_with(np.full(len(codes), category, object))
        means.append(np.average(predictions, axis=0, weights=weight))
    counts = np.bincount(codes, weight, len(bins.names))[: len(bins.categories)]
    return np.array(means) - np.average(means, axis=0, weights=counts)


def accumulated_effects(
    predict_with: PredictWith,
    numbers: np.ndarray,
    edges: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Compute the accumulated local effect at each edge: float64, (edges, outputs, 1 + members).

    Args:
        numbers: Value of each row, (rows,).
        edges: Edges of the steps, ascending, from the lowest to the highest value.
        weight: Weight of each row, (rows,).
    """
    last = len(edges) - 2
    steps = np.clip(np.searchsorted(edges, numbers, side="left") - 1, 0, last)
    changes = predict_with(edges[steps + 1]) - predict_with(edges[steps])
    sums = np.zeros((last + 1, *changes.shape[1:]))
    np.add.at(sums, steps, changes * weight[:, None, None])
    counts = np.bincount(steps, weight, last + 1)
    means = sums / np.where(counts > 0, counts, 1)[:, None, None]
    curve = np.concatenate([np.zeros((1, *means.shape[1:])), np.cumsum(means, axis=0)])
    fractions = (numbers - edges[steps]) / np.diff(edges)[
        steps
    ]  # of the step, below the value
    at_rows = curve[steps] + fractions[:, None, None] * means[steps]
    return curve - np.average(at_rows, axis=0, weights=weight)
