"""Parts of a table as NumPy arrays: the inputs of a model, its labels and weights."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import MAX_LENGTH, Column, Schema, input_name
from keras_tabular.core.errors import UserError
from keras_tabular.table.cells import as_float64

# The inputs of the model, see `feature_arrays`.
Inputs = dict[str, np.ndarray]
# The model: from the inputs to the predictions, shape (rows, outputs).
Predict = Callable[[Inputs], np.ndarray]
# What is expected of a prediction, and what a message says if it is not finite.
NO_PREDICTION = (
    "a number from the model",
    (
        "none. Is a cell empty while train.imputation is none, or is a value far from"
        " those that the model was trained on?"
    ),
)


def round_for_comparison(value: float) -> float:
    """Round to 10 significant digits, before it matters which number is smaller.

    The last bits of NumPy's logarithms and powers, and of means of them, differ between
    CPUs. After rounding, numbers that differ only in these bits are equal, so that ties
    are decided in the same way everywhere. Two such numbers can still be rounded
    differently if they lie within 1e-15 of the border between two rounded numbers, but
    this is rare, while ties are common.
    """
    return float(f"{value:.10g}")


def feature_arrays(part: pa.Table, schema: Schema) -> Inputs:
    """Return the columns as the model reads them.

    Returns:
        Arrays of shape (rows,) by `input_name`. Categories and texts are text, "" if
        missing. All others are float64, NaN if missing; a timestamp is in seconds since
        1970 in UTC.
    """
    return {
        input_name(name): _feature_array(part[name], column)
        for name, column in schema.features.items()
    }


def _feature_array(values: pa.ChunkedArray, column: Column) -> np.ndarray:
    if not column.is_string:
        numbers = as_float64(values, column).combine_chunks()
        return numbers.to_numpy(zero_copy_only=False)  # copies if values are missing
    if column.feature_type == "text":
        values = pc.utf8_slice_codeunits(values, 0, MAX_LENGTH)
    return pc.fill_null(values, "").to_numpy()


def predict_distinct_rows(predict: Predict, columns: Inputs) -> np.ndarray:
    """Predict rows of which many are equal; the model predicts one of equal rows.

    Args:
        predict: The model, whose prediction of a row does not depend on other rows.
        columns: Inputs of the model as `feature_arrays` returns them, shape (rows,)
            each.

    Returns:
        The predictions of all rows, shape (rows, outputs).
    """
    # Equal rows have the same number, which is below the number of rows.
    row_numbers: np.ndarray | int = 0  # (rows,)
    for values in columns.values():
        if values.dtype == object:  # to compare the identity of texts is faster
            values = np.fromiter(map(id, values), np.int64, len(values))
        _, codes = np.unique(values, return_inverse=True)
        _, first_rows, row_numbers = np.unique(
            row_numbers * len(values) + codes,
            return_index=True,
            return_inverse=True,
        )
        if len(first_rows) == len(values):  # all are different
            return predict(columns)
    distinct = {name: values[first_rows] for name, values in columns.items()}
    return predict(distinct)[row_numbers]


def labels(part: pa.Table, schema: Schema) -> np.ndarray:
    """Return the target, float64, shape (rows, 1): codes of classes, or the values.

    Raises:
        UserError: A row has no target, or a class that the schema does not declare.
    """
    target = schema.learning_task.encode(part[schema.target])
    if target.null_count:
        raise UserError(
            f"column {schema.target}: {target.null_count} of {len(part)} rows have no"
            " declared value. Set validate.missing_target and validate.values in"
            " params.yaml to error or drop.",
        )
    return target.to_numpy().astype(np.float64)[:, None]


def row_weights(part: pa.Table, schema: Schema) -> np.ndarray:
    """Return the weight of each row, float64, shape (rows,); 1 without a declared one.

    Raises:
        UserError: A weight is missing, or below 0.
    """
    if schema.weight is None:
        return np.ones(len(part))
    weights = as_float64(part[schema.weight], schema.columns[schema.weight])
    if weights.null_count or pc.any(pc.less(weights, 0)).as_py():
        raise UserError(
            f"column {schema.weight}: expected a weight of 0 or more in every row, got"
            " a missing or negative one. Set min: 0 in data/schema.yaml to see the"
            " lines.",
        )
    return weights.to_numpy()
