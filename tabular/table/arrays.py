"""A part of a table as the NumPy arrays that a model reads, what it gives, and hashes of rows."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import MAX_LENGTH, Column, Schema, input_name
from tabular.core.engine import ordered_map
from tabular.core.errors import UserError
from tabular.core.files import atomic_file
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
                found = as_float64(cells, column).combine_chunks()
                return found.to_numpy(zero_copy_only=False)  # which it is without gaps
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
    kept = np.clip(y_pred, 1e-7, 1)
    return -np.log(kept[np.arange(len(y)), y.astype(int)] / kept.sum(axis=1))


def hashes(columns: list[pa.ChunkedArray], seed: int) -> np.ndarray:
    """A hash of the values of each row, uint64, shape (rows,); a missing value is a value too.

    SipHash of the texts, so that it is the same in every table that holds the row.
    """
    texts = [pc.fill_null(column.cast(pa.large_string()), "\0") for column in columns]
    separator = pa.scalar("\x1f", pa.large_string())
    joined = pc.binary_join_element_wise(*texts, separator) if len(texts) > 1 else texts[0]
    import pandas as pd  # takes half a second

    values = joined.to_numpy(zero_copy_only=False)
    return pd.util.hash_array(values, hash_key=f"{seed:016d}"[-16:], categorize=True)


NO_ROWS = np.empty(0, np.int64)
HASH_BUCKETS = 1024  # of the hashes, each of which can be looked through by itself
MAX_ROWS_AT_A_TIME = 2**19  # rows, or one bucket


def write_hashes(
    folder: Path, part: int, hashes: np.ndarray, missing: np.ndarray | None
) -> np.ndarray:
    """Write those of one part, uint64, (rows,), for `repeated_rows`.

    Args:
        missing: where a value is missing, which repeats nothing, (rows,).

    Returns:
        Where each bucket of the hashes ends in the file, and 0 before: int64, (buckets + 1,).
    """
    rows = np.arange(len(hashes))
    if missing is not None:
        rows, hashes = rows[~missing], hashes[~missing]
    buckets = (hashes >> np.uint64(54)).astype(np.uint16)
    order = np.argsort(buckets, kind="stable")
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in (("hashes", hashes), ("rows", rows)):
        with atomic_file(folder / f"{part}.{name}") as whole:
            whole.write_bytes(values[order].tobytes())  # whose error tells a full disk
    return np.append(0, np.cumsum(np.bincount(buckets, minlength=HASH_BUCKETS)))


def repeated_rows(folder: Path, ends: list[np.ndarray], sizes: list[int]) -> np.ndarray:
    """The rows whose value stood in an earlier row, ascending, by the hashes in a folder.

    Args:
        ends: what `write_hashes` returned for each part.
        sizes: rows of each part.
    """
    starts = np.cumsum([0, *sizes[:-1]])
    count = min(sum(sizes) // MAX_ROWS_AT_A_TIME + 1, HASH_BUCKETS)
    bounds = np.arange(count + 1) * HASH_BUCKETS // count
    groups = (
        [(part, *of_part[bounds[n : n + 2]].tolist()) for part, of_part in enumerate(ends)]
        for n in range(count)
    )
    found = ordered_map(partial(_repeated_in_buckets, folder=folder, starts=starts), groups)
    return np.sort(np.concatenate([NO_ROWS, *found]))


def _repeated_in_buckets(
    slices: list[tuple[int, int, int]], folder: Path, starts: np.ndarray
) -> np.ndarray:
    def read(name: str, part: int, start: int, end: int) -> np.ndarray:
        return np.fromfile(folder / f"{part}.{name}", np.uint64, end - start, offset=8 * start)

    hashes = np.concatenate([read("hashes", *one) for one in slices])
    ordered = np.sort(hashes)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return NO_ROWS
    rows = [read("rows", *one).astype(np.int64) + starts[one[0]] for one in slices]
    suspects = np.isin(hashes, twice)
    _, first = np.unique(hashes[suspects], return_index=True)
    return np.delete(np.concatenate(rows)[suspects], first)


def row_hashes(columns: list[pa.ChunkedArray]) -> np.ndarray:
    """A hash of the values of each row, uint64, (rows,); a missing value is a value too.

    Equal in equal rows of one run, whatever the parts; texts are hashed by `hashes`.
    """
    mixed = np.zeros(len(columns[0]), np.uint64)
    shifted = np.empty_like(mixed)

    def mix(factor: int, shift: int) -> None:
        np.multiply(mixed, np.uint64(factor), out=mixed)
        np.right_shift(mixed, np.uint64(shift), out=shifted)
        np.bitwise_xor(mixed, shifted, out=mixed)

    # Each step gives different numbers for different ones. The factors are those of Steele, Lea and
    # Flood, "Fast splittable pseudorandom number generators" (2014).
    for values in columns:
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            found = hashes([values], seed=0)
        else:
            if pa.types.is_floating(values.type):
                values = pc.add(values, 0.0)  # of which -0.0 is equal to 0.0
            else:
                values = values.cast(pa.int64())
            present = pc.fill_null(values, 0) if values.null_count else values
            found = present.to_numpy().view(np.uint64)
        mixed += found
        if values.null_count:
            mixed[pc.is_null(values).to_numpy()] += np.uint64(0x9E3779B97F4A7C15)
        mix(0xBF58476D1CE4E5B9, 31)
    mix(0x94D049BB133111EB, 30)
    return mixed
