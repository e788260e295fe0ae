"""Effects of columns on the predictions.

For numbers and datetimes these are accumulated local effects: Apley and Zhu, "Visualizing the
effects of predictor variables in black box supervised learning models" (2020), which only need
predictions near real rows. Categories have no order, so the effect of a category is the mean
prediction if all rows had it (partial dependence: Friedman, "Greedy function approximation", 2001).
Both are shifted so that their mean over the rows is 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.column_statistics.bins import Bins, numeric_values, quantiles
from keras_tabular.config.schema import Schema, input_name
from keras_tabular.table.arrays import Predict, feature_arrays, row_weights

MAX_COLUMNS, MAX_STEPS, MAX_CATEGORIES = 6, 20, 8
MAX_ROWS, MIN_ROWS = 2000, 100
MAX_MULTIPLY_ADDS = 40_000_000_000  # of the model in total: some seconds
MEMBER_QUANTILES = (0.1, 0.9)

# Predicts the rows with other values of one column, (rows,): float64, (rows, outputs, 1 + members).
PredictWith = Callable[[np.ndarray], np.ndarray]


def column_effects(
    predict_members: Predict, rows: pa.Table, schema: Schema, important: Sequence[str], work: float
) -> dict[str, Any]:
    """Compute the content of `metrics/effects.json` for the most important columns without text.

    With several classes, it is the effect on the class whose probability changes most.

    Args:
        predict_members: Function from raw columns to predictions of the model and of each member,
            (rows, outputs * (1 + members)).
        rows: Rows in random order; the first ones are used.
        important: Names of the columns, the most important one first.
        work: Number of multiply-adds of the model for a row.
    """
    types = {name: column.feature_type for name, column in schema.features.items()}
    names = [name for name in important if types[name] != "text"][:MAX_COLUMNS]
    rows = rows.filter(pa.array(row_weights(rows, schema) > 0))
    predictions = sum(MAX_CATEGORIES if types[name] == "category" else 2 for name in names)
    affordable_rows = int(MAX_MULTIPLY_ADDS / max(predictions * work, 1))
    rows = rows[: min(MAX_ROWS, max(affordable_rows, MIN_ROWS))]
    effects = [column_effect(predict_members, rows, name, schema) for name in names]
    return {"rows": len(rows), "columns": [effect for effect in effects if effect]}


def column_effect(
    predict_members: Predict, rows: pa.Table, name: str, schema: Schema
) -> dict[str, Any] | None:
    """Compute the effect of one column; None if all rows have the same value."""
    column, is_category = schema.columns[name], schema.columns[name].feature_type == "category"
    bins = Bins.from_values(rows[name], column, MAX_STEPS, MAX_CATEGORIES)
    if len(bins.categories) < 2 and not len(bins.edges):
        return None
    if not is_category:
        rows = rows.filter(rows[name].is_valid())
    arrays, weight = feature_arrays(rows, schema), row_weights(rows, schema)
    task = schema.learning_task

    def predict_with(values: np.ndarray) -> np.ndarray:
        predictions = predict_members(arrays | {input_name(name): values}).astype(np.float64)
        return predictions.reshape(len(values), -1, task.n_outputs).transpose(0, 2, 1)

    if is_category:
        curves = partial_dependence(predict_with, bins, bins.codes(rows[name]), weight)
        values: list[Any] = bins.names[: len(bins.categories)]
    else:
        numbers = numeric_values(rows[name], column)
        edges = np.unique(quantiles(numbers, MAX_STEPS))
        curves = accumulated_effects(predict_with, numbers, edges, weight)
        values = edges.tolist()
    output = int(np.argmax(np.ptp(curves[:, :, 0], axis=0)))
    curve, *members = curves[:, output].T
    low, high = np.quantile(members, MEMBER_QUANTILES, axis=0) if members else (curve, curve)
    effect: dict[str, Any] = {"column": name, "kind": column.kind, "values": values}
    if task.classes:
        effect["class"] = str(task.classes[task.output_classes[output]])
    if len(bins.values) == 2 and column.feature_type != "datetime":  # no values between the two
        effect |= {"kind": "category", "values": bins.names[:2]}
    return effect | {"effect": curve.tolist(), "low": low.tolist(), "high": high.tolist()}


def partial_dependence(
    predict_with: PredictWith, bins: Bins, codes: np.ndarray, weight: np.ndarray
) -> np.ndarray:
    """Compute the effect of each category: float64, (categories, outputs, 1 + members)."""
    means = []
    for category in bins.categories:
        predictions = predict_with(np.full(len(codes), category, object))
        means.append(np.average(predictions, axis=0, weights=weight))
    counts = np.bincount(codes, weight, len(bins.names))[: len(bins.categories)]
    return np.array(means) - np.average(means, axis=0, weights=counts)


def accumulated_effects(
    predict_with: PredictWith, numbers: np.ndarray, edges: np.ndarray, weight: np.ndarray
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
    fractions = (numbers - edges[steps]) / np.diff(edges)[steps]  # of the step, below the value
    at_rows = curve[steps] + fractions[:, None, None] * means[steps]
    return curve - np.average(at_rows, axis=0, weights=weight)
