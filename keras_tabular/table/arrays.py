"""Parts of a table as the NumPy arrays that a model reads; classes and losses of predictions."""

from collections.abc import Callable
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import MAX_LENGTH, Column, Schema, input_name
from keras_tabular.core.errors import UserError
from keras_tabular.table.cells import as_float64

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]  # `feature_arrays` to (rows, outputs)
# What is expected of every output.
EXPECTED_PREDICTION = (
    "a number from the model; is a cell empty while train.imputation is none, or far from what "
    "the model has seen?"
)


def feature_arrays(part: pa.Table, schema: Schema) -> dict[str, np.ndarray]:
    """Return the columns as the model reads them, by `input_name`, each of shape (rows,).

    Categories and texts are text, "" for a missing value. All others are float64, NaN for a missing
    value; a timestamp in seconds since 1970 began, UTC.
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
    """Return the dtype of the model's input for a column."""
    return "string" if column.is_string else "float64"


def labels(part: pa.Table, schema: Schema) -> np.ndarray:
    """Return the target, float64, shape (rows, 1): indices in `schema.classes`, or the values.

    Raises:
        UserError: A row has none.
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
    """Return the weight of each row, float64, shape (rows,); 1 if no column has the weights.

    Raises:
        UserError: A weight is missing, or below 0.
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
    """Return the index in `schema.classes` of the predicted class of each row, int64."""
    if schema.task == "binary":
        return (predicted[:, 0] >= threshold).astype(np.int64)
    return predicted.argmax(axis=1)


def row_losses(y: np.ndarray, y_pred: np.ndarray, schema: Schema, loss: str = "auto") -> np.ndarray:
    """Compute the loss of each row: the cross-entropy, or the squared or absolute error.

    Probabilities are clipped to 1e-7 from 0, as in Keras.

    Args:
        y: Indices in `schema.classes`, or the values, shape (rows,).
        y_pred: Predictions, shape (rows, outputs).
        loss: The loss of the training. With the mean absolute error, errors are absolute.

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
