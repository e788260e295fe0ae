"""The answers to rows, as columns of a table, and the files that they are written to."""

import csv
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.core.files import atomic_write
from keras_tabular.core.process import BROKEN_PIPE
from keras_tabular.model_file.attribution import MAX_EXPLAINED, Permutations, contributions
from keras_tabular.model_file.metadata import training_rows
from keras_tabular.table.arrays import EXPECTED_PREDICTION, feature_arrays, predicted_classes
from keras_tabular.table.cells import ARROW_TYPES
from keras_tabular.table.rows import CheckedRows, Failure

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


Write = Callable[[pa.Table], None]
# How a text begins that a spreadsheet takes for a formula: OWASP, "CSV Injection".
FORMULA = r"^([=+\-@\t\r])"


def prediction_columns(
    outputs: np.ndarray, schema: Schema, threshold: float, ends: np.ndarray | None = None
) -> dict[str, pa.Array]:
    """Build the columns of the predictions by name.

    These are `predicted` and, for classes, `probability_CLASS` for each output; for a regression
    with intervals, also `low` and `high`.

    Args:
        outputs: Outputs of the model, float32, shape (rows, outputs).
        threshold: The least probability that counts as positive, for two classes.
        ends: Ends of the interval of each value, float32, shape (rows, 2).
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


def reason_columns(
    contributions: np.ndarray, names: list[str], outputs: np.ndarray, schema: Schema, count: int
) -> dict[str, pa.Array]:
    """Build the columns that explain predictions, by name.

    `reason_n` is the column that moved a prediction n-th most, and `reason_n_effect` says how much:
    in the unit of the value, or in the probability of the positive or the most probable class.

    Args:
        contributions: Contributions of the columns `names`, shape (rows, names, outputs); see
            `attribution.contributions`.
        outputs: Outputs of the model, shape (rows, outputs).
    """
    output = outputs.argmax(axis=1) if schema.task == "multiclass" else np.zeros(len(outputs), int)
    effects = np.take_along_axis(contributions, output[:, None, None], axis=2)[:, :, 0]
    order = np.argsort(-np.abs(effects), axis=1, kind="stable")
    unknown = ~np.isfinite(effects).all(axis=1)
    of_columns = np.array(names, object)
    reasons: dict[str, pa.Array] = {}
    for n in range(count):
        effect = np.take_along_axis(effects, order[:, n : n + 1], axis=1)[:, 0]
        reasons[f"reason_{n + 1}"] = pa.array(of_columns[order[:, n]], pa.string(), mask=unknown)
        reasons[f"reason_{n + 1}_effect"] = pa.array(effect.astype(np.float32), mask=unknown)
    return reasons


def output_schema(
    schema: Schema, identifiers: list[str], *, numbered: bool, intervals: bool, reasons: int
) -> pa.Schema:
    """List the columns of the output: `row` if `numbered`, the identifiers, the prediction.

    Args:
        intervals: Whether a predicted value has an interval.
        reasons: Number of columns that explain a prediction.

    Raises:
        UserError: An identifier has the name of another column.
    """
    nothing = np.empty((0, schema.outputs), np.float32)
    ends = np.empty((0, 2), np.float32) if intervals else None
    moved, names = np.empty((0, reasons, schema.outputs)), [""] * reasons
    columns = prediction_columns(nothing, schema, 0.5, ends)
    columns |= reason_columns(moved, names, nothing, schema, reasons)
    predicted = {name: array.type for name, array in columns.items()}
    first = {"row": pa.int64()} if numbered else {}
    for name in identifiers:
        if name in first | predicted:
            raise UserError(
                f"data/schema.yaml: ignore: found {name!r}, which is the name of a column of the "
                "output too; rename it here and in the file, or leave it out of the file"
            )
    return pa.schema(first | dict.fromkeys(identifiers, pa.string()) | predicted)


def check_output(path: Path, inputs: Iterable[Path]) -> None:
    """Raise `UserError` if a table cannot be written to `path`, or it is one of `inputs`."""
    if path.is_dir() or not path.name.endswith((".csv", ".csv.gz", ".parquet")):
        raise UserError(
            f"{path}: found {'a folder' if path.is_dir() else repr(path.name)}; expected a file "
            "whose name ends in .csv, .csv.gz or .parquet"
        )
    if path.resolve() in [other.resolve() for other in inputs]:
        raise UserError(f"{path}: named twice; expected another file for each output")


@contextmanager
def writing(
    path: Path | None, schema: pa.Schema, delimiter: str, escape_formulas: bool = False
) -> Iterator[Write]:
    """Yield a function that writes tables of `schema`, one after the other, to a file or stdout.

    At the end the file is complete, or it is not there. A CSV is UTF-8 and reads back to the same
    float32. Its header is written with the first rows, or at the end, so that stdout stays empty if
    reading fails. When the reader of stdout goes away, the process ends without a message.

    Args:
        path: The file; None for stdout.
        escape_formulas: Whether to put ' before a text in a CSV that begins as a formula.
    """
    try:
        with ExitStack() as stack:
            if path is None:
                file = stack.enter_context(os.fdopen(os.dup(sys.stdout.fileno()), "wb"))
            else:
                partial = stack.enter_context(atomic_write(path))
                if path.suffix == ".parquet":
                    yield stack.enter_context(pq.ParquetWriter(partial, schema)).write_table
                    return
                compression = "gzip" if path.suffix == ".gz" else None
                file = stack.enter_context(pa.output_stream(partial, compression=compression))
            write = _csv_writer(file, schema, delimiter, escape_formulas)
            yield write
            write(schema.empty_table())
    except BrokenPipeError:
        sys.exit(BROKEN_PIPE)
    except OSError as error:
        raise UserError(f"{path or 'stdout'}: cannot be written: {error}") from None


def _csv_writer(file: Any, schema: pa.Schema, delimiter: str, escape_formulas: bool) -> Write:
    def texts(column: pa.ChunkedArray) -> list[str | None]:
        if escape_formulas and pa.types.is_string(column.type):
            column = pc.replace_substring_regex(column, FORMULA, r"'\1")
        return column.cast(pa.string()).to_pylist()

    header = [texts(pa.chunked_array([schema.names]))]

    def write(table: pa.Table) -> None:
        lines = StringIO()
        writer = csv.writer(lines, delimiter=delimiter, lineterminator="\n")
        writer.writerows([*header, *zip(*map(texts, table.columns), strict=True)])
        header.clear()
        file.write(lines.getvalue().encode())
        file.flush()

    return write


class Predicted(NamedTuple):
    """Predictions of a batch.

    Attributes:
        columns: Columns of the predictions by name, with all rows.
        failures: Failed checks, by row.
    """

    columns: dict[str, pa.Array]
    failures: list[Failure]

    @property
    def errors(self) -> list[Failure]:
        """The failures because of which a row gets no answer."""
        return [failure for failure in self.failures if failure.policy != "warn"]


class Reasons(NamedTuple):
    """Number of columns that explain a prediction, and the permutations that find them."""

    columns: int
    permutations: Permutations

    @classmethod
    def from_model(cls, count: int, model: "SavedModel", schema: Schema) -> "Reasons":
        """Prepare to explain predictions of a model by up to `count` columns.

        Raises:
            UserError: Its file has no summary of the training rows.
        """
        trained_on = training_rows(model.path, model.metadata, schema)
        names = sorted(schema.features, key=lambda name: -trained_on.attribution[name])
        names = names[:MAX_EXPLAINED]
        permutations = Permutations.from_summaries(trained_on.summaries, schema, names)
        return cls(min(count, len(names)), permutations)


def predict_batch(
    batch: CheckedRows, model: "SavedModel", schema: Schema, reasons: Reasons | None = None
) -> Predicted:
    """Predict every row, also those that fail a check or for which the model has no number."""
    arrays = feature_arrays(batch.features, schema)
    outputs = model.predict(arrays)
    intervals = model.metadata.intervals
    ends = intervals.ends(outputs[:, 0]) if intervals else None
    columns = prediction_columns(outputs, schema, model.metadata.threshold, ends)
    if reasons:
        effects = contributions(model.predict, arrays, reasons.permutations)
        names = reasons.permutations.names
        columns |= reason_columns(effects, names, outputs, schema, reasons.columns)
    failed = {failure.row for failure in batch.failures}
    without = set(np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist()) - failed
    failures = [
        Failure(row, "predicted", "finite", "no number", EXPECTED_PREDICTION) for row in without
    ]
    return Predicted(columns, sorted([*batch.failures, *failures], key=lambda failure: failure.row))
