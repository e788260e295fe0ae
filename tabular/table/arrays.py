"""A part of a table as the NumPy arrays that a model reads, and what it gives."""

from collections.abc import Callable
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import MAX_LENGTH, Column, Schema, input_name
from tabular.core.errors import UserError
from tabular.table.cells import as_float64

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]  # `feature_arrays` to (rows, outputs)
# What is expected of every output.
FINITE = (
    "a number from the model; is a cell empty while train.imputation is none, or far from what "
    "the model has seen?"
)


def feature_arrays(part: pa.Table, schema: Schema) -> dict[str, np.ndarray]:
    """The columns as the model reads them, by `input_name`, each of shape (rows,).

    Categories and texts are text, "" for an empty cell; all others are float64, NaN for an empty
    cell; a moment in seconds since 1970 began, UTC.
    """

    def values(cells: pa.ChunkedArray, column: Column) -> np.ndarray:
        match column.feature_type:
            case "category":
                return pc.fill_null(cells, "").to_numpy(zero_copy_only=False)
            case "text":
                cells = pc.utf8_slice_codeunits(cells, 0, MAX_LENGTH)
                return pc.fill_null(cells, "").to_numpy(zero_copy_only=False)
            case "number" | "datetime":
                numbers = as_float64(cells, column).combine_chunks()
                return numbers.to_numpy(zero_copy_only=False)  # which it is without gaps
        assert_never(column.feature_type)

    return {
        input_name(name): values(part[name], column) for name, column in schema.features.items()
    }


def input_type(column: Column) -> str:
    """The dtype of the model's input for a column."""
    return "string" if column.is_string else "float64"


def labels(part: pa.Table, schema: Schema) -> np.ndarray:
    """The target, float64, shape (rows, 1): the index in `schema.classes`, or the value itself.

    Raises:
        UserError: a row has none.
    """
    target = part[schema.target]
    if schema.task != "regression":
        target = pc.index_in(target, value_set=pa.array(schema.classes, target.type))
    if target.null_count:
        raise UserError(
            f"column {schema.target}: {target.null_count} of {len(part)} rows have no value that "
            "data/schema.yaml declares; set missing and values of validate to error or drop"
        )
    return target.to_numpy().astype(np.float64)[:, None]


def row_weights(part: pa.Table, schema: Schema) -> np.ndarray:
    """How much each row counts: float64, shape (rows,); 1 where no column says it.

    Raises:
        UserError: a weight is missing, or below 0.
    """
    if schema.weight is None:
        return np.ones(len(part))
    weights = as_float64(part[schema.weight], schema.columns[schema.weight])
    if weights.null_count or pc.any(pc.less(weights, 0)).as_py():
        raise UserError(
            f"column {schema.weight}: a row has no weight or one below 0; expected 0 or more in "
            "every row; min: 0 in data/schema.yaml names the lines"
        )
    return weights.to_numpy()


def predicted_classes(predicted: np.ndarray, schema: Schema, threshold: float) -> np.ndarray:
    """The index in `schema.classes` of the class that each row is predicted to be, int64."""
    if schema.task == "binary":
        return (predicted[:, 0] >= threshold).astype(np.int64)
    return predicted.argmax(axis=1)


def row_losses(y: np.ndarray, y_pred: np.ndarray, schema: Schema, loss: str = "auto") -> np.ndarray:
    """The cross-entropy, probabilities kept 1e-7 from 0 as in Keras, or squared error of each row.

    Args:
        y: the index of the class in `schema.classes`, or the value, shape (rows,).
        y_pred: shape (rows, outputs).
        loss: The trained loss. If it is the mean absolute error, so is that of each row.

    Returns:
        Float64, shape (rows,).
    """
    y_pred = y_pred.astype(np.float64)
    if loss == "mean_absolute_error":
        return np.abs(y_pred[:, 0] - y)
    if schema.task == "regression":
        return np.square(y_pred[:, 0] - y)
    if schema.task == "binary":
        y_pred = np.column_stack([1 - y_pred, y_pred])
    probabilities = np.clip(y_pred, 1e-7, 1)
    return -np.log(probabilities[np.arange(len(y)), y.astype(int)] / probabilities.sum(axis=1))
