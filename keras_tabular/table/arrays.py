"""Parts of a table as NumPy arrays for a model; classes, columns and losses of predictions."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import MAX_LENGTH, Column, Schema, input_name
from keras_tabular.core.errors import UserError
from keras_tabular.table.cells import ARROW_TYPES, as_float64

Inputs = dict[str, np.ndarray]  # of the model, see `feature_arrays`
Predict = Callable[[Inputs], np.ndarray]  # to (rows, outputs)
NO_PREDICTION = (  # what is expected of a prediction, and what messages say if it is not finite
    "a number from the model",
    "none. Is a cell empty while train.imputation is none, or is a value far from those that the "
    "model was trained on?",
)


def feature_arrays(part: pa.Table, schema: Schema) -> Inputs:
    """Return the columns as the model reads them.

    Returns:
        Arrays of shape (rows,) by `input_name`. Categories and texts are text, "" if missing. All
        others are float64, NaN if missing; a timestamp is in seconds since 1970 in UTC.
    """
    return {input_name(n): _feature_array(part[n], column) for n, column in schema.features.items()}


def _feature_array(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    if not column.is_string:
        # Arrow copies only if values are missing.
        return as_float64(values, column).combine_chunks().to_numpy(zero_copy_only=False)
    if column.feature_type == "text":
        values = pc.utf8_slice_codeunits(values, 0, MAX_LENGTH)
    return pc.fill_null(values, "").to_numpy(zero_copy_only=False)


def input_type(column: Column) -> str:
    """Return the dtype of the model's input for a column."""
    return "string" if column.is_string else "float64"


def labels(part: pa.Table, schema: Schema) -> np.ndarray:
    """Return the target, float64, shape (rows, 1): indices in `schema.classes`, or the values.

    Raises:
        UserError: A row has no target, or a class that the schema does not declare.
    """
    target = part[schema.target]
    if schema.task != "regression":
        target = pc.index_in(target, value_set=pa.array(schema.classes, target.type))
    if target.null_count:
        problem = f"{target.null_count} of {len(part)} rows have no declared value"
        advice = "Set validate.missing_target and validate.values in params.yaml to error or drop."
        raise UserError(f"column {schema.target}: {problem}. {advice}")
    return target.to_numpy().astype(np.float64)[:, None]


def row_weights(part: pa.Table, schema: Schema) -> np.ndarray:
    """Return the weight of each row, float64, shape (rows,); 1 if the schema declares no weight.

    Raises:
        UserError: A weight is missing, or below 0.
    """
    if schema.weight is None:
        return np.ones(len(part))
    weights = as_float64(part[schema.weight], schema.columns[schema.weight])
    if weights.null_count or pc.any(pc.less(weights, 0)).as_py():
        problem = "expected a weight of 0 or more in every row, got a missing or negative one"
        advice = "Set min: 0 in data/schema.yaml to see the lines."
        raise UserError(f"column {schema.weight}: {problem}. {advice}")
    return weights.to_numpy()


def predicted_classes(predicted: np.ndarray, schema: Schema, threshold: float) -> np.ndarray:
    """Return the index in `schema.classes` of the predicted class of each row, int64."""
    if schema.task == "binary":
        return (predicted[:, 0] >= threshold).astype(np.int64)
    return predicted.argmax(axis=1)


def prediction_columns(
    outputs: np.ndarray, schema: Schema, threshold: float, ends: np.ndarray | None = None
) -> dict[str, pa.Array]:
    """Build the columns of the predictions by name.

    For classes, these are `predicted` and `probability_CLASS` for each output; for regression,
    `predicted`, and `low` and `high` if there are intervals.

    Args:
        outputs: Outputs of the model, float32, shape (rows, outputs).
        threshold: Smallest probability of the positive class that is predicted as positive.
        ends: Ends of the prediction interval of each row, float32, shape (rows, 2).
    """
    if schema.task == "regression":
        columns = [outputs, ends] if ends is not None else [outputs]
        names = ("predicted", "low", "high")
        return dict(zip(names, map(pa.array, np.hstack(columns).T), strict=False))
    classes = pa.array(schema.classes, ARROW_TYPES[schema.columns[schema.target].kind])
    names = classes.cast(pa.string()).to_pylist()[-schema.outputs :]  # binary: the positive one
    return {
        "predicted": classes.take(pa.array(predicted_classes(outputs, schema, threshold))),
        **{f"probability_{name}": pa.array(outputs[:, i]) for i, name in enumerate(names)},
    }


def row_losses(y: np.ndarray, y_pred: np.ndarray, schema: Schema, loss: str = "auto") -> np.ndarray:
    """Compute the loss of each row: the cross-entropy, or the squared or absolute error.

    Probabilities are clipped to 1e-7 from 0, as in Keras.

    Args:
        y: Indices in `schema.classes`, or the values, shape (rows,).
        y_pred: Predictions, shape (rows, outputs).
        loss: Value of `train.loss`. With mean_absolute_error, the errors are absolute.

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
