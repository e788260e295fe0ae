"""Predict the rows of a file piece by piece, and count what their checks find."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.parallel import ordered_map
from keras_tabular.prediction.drift import UnknownCategories, unknown_categories, unknown_lines
from keras_tabular.prediction.outputs import Predicted, Reasons, Write, output_schema, predict_batch
from keras_tabular.table.checks import Checks, declared_checks
from keras_tabular.table.csv import RawRows
from keras_tabular.table.rows import check_rows, raise_failures, rejected_rows
from keras_tabular.table.source import read_rows, row_locator

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from keras_tabular.model_file.saved_model import SavedModel


class PredictedRows(NamedTuple):
    """Predictions for some rows of a file.

    Attributes:
        texts: The columns that were read, as text.
        predicted: Predictions for all of the rows.
        answered: Whether each row gets an answer, bool, shape (rows,).
        unknown: Unknown categories in the rows that get an answer.
    """

    texts: pa.Table
    predicted: Predicted
    answered: np.ndarray
    unknown: UnknownCategories


def predict_rows(
    raw: RawRows, model: "SavedModel", schema: Schema, checks: Checks, reasons: Reasons | None
) -> PredictedRows:
    """Check and predict some rows of a file."""
    batch = check_rows(raw, schema.features, checks)
    predicted = predict_batch(batch, model, schema, reasons)
    answered = np.ones(len(batch.features), bool)
    answered[[failure.row for failure in predicted.errors]] = False
    features = batch.features.filter(pa.array(answered))
    unknown = unknown_categories(features, model.metadata.categories, schema)
    return PredictedRows(batch.texts, predicted, answered, unknown)


@dataclass
class Output:
    """Where predictions go, piece by piece, and what is counted of them.

    Attributes:
        columns: Names and types, see `output_columns`.
        identifiers: Columns of the file that are among them.
        write: Takes the predictions.
        reject: Takes rows that fail a check; if None, such a row is an error.
        advice: A line for the message of this error.
        rows: Number of rows that were read.
        rejected: Number of rows that `reject` took.
        warned: Number of predicted rows that fail a check whose policy is `warn`, by the check.
    """

    columns: pa.Schema
    identifiers: list[str]
    write: Write
    reject: Write | None = None
    advice: str = ""
    rows: int = 0
    rejected: int = 0
    warned: Counter[str] = field(default_factory=Counter)
    unknown: UnknownCategories = field(default_factory=UnknownCategories)

    def add(self, batch: PredictedRows, line: Callable[[int], str]) -> None:
        """Write and count some rows, and set those aside that fail.

        Raises:
            UserError: A row fails, and there is no `reject`; `line` names it.
        """
        texts, (predictions, failures), answered, unknown = batch
        rejected = np.flatnonzero(~answered).tolist()
        if rejected:
            errors, lines = batch.predicted.errors, {n: line(self.rows + n) for n in rejected}
            if self.reject:
                self.reject(rejected_rows(texts, errors, lines))
            else:
                raise_failures(errors, 0, lines.__getitem__, self.advice)
        columns = {"row": pa.array(self.rows + np.arange(len(answered)))}
        columns |= {name: texts[name] for name in self.identifiers} | predictions
        rows = pa.table(columns).select(self.columns.names)
        self.write(rows.filter(pa.array(answered)))
        self.rows += len(answered)
        self.rejected += len(rejected)
        self.warned.update(f"{f.column}: {f.check}" for f in failures if answered[f.row])
        self.unknown += unknown

    def warnings(self) -> list[str]:
        """Return what there is to know about the rows that were predicted."""
        rows = self.rows - self.rejected
        checks = [f"{check}: {count} of {rows} rows fail" for check, count in self.warned.items()]
        return [*unknown_lines(self.unknown, rows), *checks]


def output_columns(
    names: list[str],
    schema: Schema,
    model: "SavedModel",
    reasons: Reasons | None = None,
    *,
    numbered: bool = False,
) -> tuple[list[str], pa.Schema]:
    """Return the columns of a file that its predictions repeat, and all columns of the output.

    Args:
        names: Result of `row_columns`.
        numbered: Whether the first column is the number of the row.

    Raises:
        UserError: Two columns have the same name.
    """
    ignored = set(schema.ignore)
    identifiers = [name for name in names if name in ignored]
    return identifiers, output_schema(
        *(schema, identifiers),
        numbered=numbered,
        intervals=model.metadata.intervals is not None,
        reasons=reasons.columns if reasons else 0,
    )


def predict_file(
    file: Path,
    names: list[str],
    model: "SavedModel",
    schema: Schema,
    policies: Validate,
    output: Output,
    *,
    name: str,
    reasons: Reasons | None = None,
) -> None:
    """Check and predict all rows of a file.

    Args:
        names: Result of `row_columns`.
        policies: What a failed check does.
        name: Name of the file in messages.

    Raises:
        UserError: The file cannot be read, or a row fails a check and `output` rejects none.
    """
    predict = partial(
        predict_rows,
        model=model,
        schema=schema,
        checks=declared_checks(schema, policies),
        reasons=reasons,
    )
    line = row_locator([file], schema, name)
    rows = read_rows(file, schema, names, allow_ragged=output.reject is not None)
    for predicted in ordered_map(predict, rows):
        output.add(predicted, line)
