"""Effects of columns on the predictions: partial dependence and accumulated effects."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema, input_name
from keras_tabular.table.arrays import Predict, feature_arrays, row_weights
from keras_tabular.table.profile import Bins, numeric_values, quantiles

# Columns whose effects are computed.
MAX_COLUMNS = 6
# Points of a curve: steps between numbers, and categories.
MAX_STEPS = 20
MAX_CATEGORIES = 8
# Rows that are predicted again with other values.
MAX_ROWS_FOR_EFFECTS = 2000
MIN_ROWS_FOR_EFFECTS = 100
# Multiply-adds of the model for all effects together: some seconds.
MAX_MULTIPLY_ADDS = 40_000_000_000
# Ends of the range of the members' effects.
MEMBER_QUANTILES = (0.1, 0.9)

# Predicts the rows with other values of one column, (rows,): float64, (rows, outputs, 1
# + members).
PredictWith = Callable[[np.ndarray], np.ndarray]


def column_effects(
    predict_members: Predict,
    rows: pa.Table,
    schema: Schema,
    important: Sequence[str],
    multiply_adds: float,
) -> dict[str, Any]:
    """Compute the content of `metrics/effects.json` for the most important columns.

    Columns of texts have no effect. With several classes, the effect is that on the
    class whose probability changes most.

    Args:
        predict_members: Function from raw columns to predictions of the model and of
            each member, (rows, outputs * (1 + members)).
        rows: Rows in random order; the first ones are used.
        important: Names of the columns, the most important one first.
        multiply_adds: Multiply-adds of the model for a row.
    """
    types = {name: schema.columns[name].feature_type for name in important}
    names = [name for name in important if types[name] != "text"]
    names = names[:MAX_COLUMNS]
    predictions_per_row = sum(
        MAX_CATEGORIES if types[name] == "category" else 2  # ends of a step
        for name in names
    )
    work_per_row = predictions_per_row * multiply_adds
    affordable_rows = int(MAX_MULTIPLY_ADDS / max(work_per_row, 1))
    n_rows = min(MAX_ROWS_FOR_EFFECTS, max(affordable_rows, MIN_ROWS_FOR_EFFECTS))
    has_weight = row_weights(rows, schema) > 0
    rows = rows.filter(pa.array(has_weight))[:n_rows]
    effects = [column_effect(predict_members, rows, name, schema) for name in names]
    return {"rows": len(rows), "columns": [*filter(None, effects)]}


def column_effect(
    predict_members: Predict,
    rows: pa.Table,
    name: str,
    schema: Schema,
) -> dict[str, Any] | None:
    """Compute the effect of one column; None if all rows have the same value."""
    column = schema.columns[name]
    task = schema.learning_task
    bins = Bins.from_values(rows[name], column, MAX_STEPS, MAX_CATEGORIES)
    if len(bins.categories) < 2 and not len(bins.edges):
        return None
    values, curves = effect_curves(predict_members, rows, name, schema, bins)
    model_curves = curves[:, :, 0]  # (values, outputs)
    output = int(np.argmax(np.ptp(model_curves, axis=0)))
    curve = model_curves[:, output]
    members = curves[:, output, 1:].T  # (members, values)
    low = curve
    high = curve
    if len(members):
        low, high = np.quantile(members, MEMBER_QUANTILES, axis=0)
    effect = {"column": name, "kind": column.kind, "values": values}
    if task.classes:
        effect["class"] = str(task.classes[task.output_classes[output]])
    if len(bins.values) == 2 and column.kind != "datetime":  # no values between the two
        effect["kind"] = "category"
        effect["values"] = bins.names[:2]
    return effect | {
        "effect": curve.tolist(),
        "low": low.tolist(),
        "high": high.tolist(),
    }


def effect_curves(
    predict_members: Predict,
    rows: pa.Table,
    name: str,
    schema: Schema,
    bins: Bins,
) -> tuple[list[Any], np.ndarray]:
    """Compute the effect of each category, or of the numbers at the edges of steps.

    Args:
        bins: Bins of the column in these rows.

    Returns:
        The categories or numbers; and the effect of each of them, float64, (values,
        outputs, 1 + members).
    """
    column = schema.columns[name]
    is_category = column.feature_type == "category"
    if not is_category:
        rows = rows.filter(rows[name].is_valid())
    arrays = feature_arrays(rows, schema)
    weight = row_weights(rows, schema)
    n_outputs = schema.learning_task.n_outputs

    def predict_with(values: np.ndarray) -> np.ndarray:
        predictions = predict_members(arrays | {input_name(name): values})
        predictions = predictions.astype(np.float64)
        # (rows, 1 + members, outputs)
        by_member = predictions.reshape(len(values), -1, n_outputs)
        return by_member.transpose(0, 2, 1)

    if is_category:
        names = bins.names[: len(bins.categories)]
        codes = bins.codes(rows[name])
        return names, partial_dependence(predict_with, bins.categories, codes, weight)
    numbers = numeric_values(rows[name], column)
    edges = np.unique(quantiles(numbers, MAX_STEPS))
    curves = accumulated_effects(predict_with, numbers, edges, weight)
    return edges.tolist(), curves


def partial_dependence(
    predict_with: PredictWith,
    categories: Sequence[str],
    codes: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Compute the effect of each category: float64, (categories, outputs, 1 + members).

    Args:
        categories: The categories whose effects are computed.
        codes: Number of the category of each row, (rows,). Rows of other categories
            have a larger number.
        weight: Weight of each row, (rows,).

    Examples:
        >>> def predict_with(values):
        ...     return np.where(values == "x", 4.0, 0.0)[:, None, None]
        >>> codes = np.array([0, 1, 1, 1])
        >>> partial_dependence(predict_with, ["x", "y"], codes, np.ones(4)).ravel()
        array([ 3., -1.])
    """
    means = []
    for category in categories:
        predictions = predict_with(np.full(len(codes), category, object))
        means.append(np.average(predictions, axis=0, weights=weight))
    weights = np.bincount(codes, weight, len(categories))[: len(categories)]
    return np.array(means) - np.average(means, axis=0, weights=weights)


def accumulated_effects(
    predict_with: PredictWith,
    numbers: np.ndarray,
    edges: np.ndarray,
    weight: np.ndarray,
) -> np.ndarray:
    """Compute the accumulated local effects: float64, (edges, outputs, 1 + members).

    See Apley and Zhu, "Visualizing the effects of predictor variables in black box
    supervised learning models" (2020).

    Args:
        numbers: Value of each row, (rows,).
        edges: Edges of the steps, ascending, from the lowest to the highest value.
        weight: Weight of each row, (rows,).

    Examples:
        >>> def predict_with(values):
        ...     return 5 * values[:, None, None]
        >>> numbers = np.array([0.0, 1.0, 2.0])
        >>> accumulated_effects(predict_with, numbers, numbers, np.ones(3)).ravel()
        array([-5.,  0.,  5.])
    """
    n_steps = len(edges) - 1
    step = np.searchsorted(edges, numbers, side="left") - 1
    step = np.clip(step, 0, n_steps - 1)  # the lowest value is in the first step
    low = edges[step]
    high = edges[step + 1]
    changes = predict_with(high) - predict_with(low)  # (rows, outputs, 1 + members)
    # The mean change of the rows of each step, 0 without rows.
    sums = np.zeros((n_steps, *changes.shape[1:]))
    weighted = changes * weight[:, None, None]
    np.add.at(sums, step, weighted)
    weights = np.bincount(step, weight, n_steps)
    divisors = np.where(weights > 0, weights, 1)
    slopes = sums / divisors[:, None, None]
    rises = np.cumsum(slopes, axis=0)
    curve = np.insert(rises, 0, 0, axis=0)  # (edges, outputs, 1 + members)
    # A row is on the line between the two ends of its step.
    position = (numbers - low) / (high - low)
    rise_in_step = position[:, None, None] * slopes[step]
    at_rows = curve[step] + rise_in_step
    return curve - np.average(at_rows, axis=0, weights=weight)
