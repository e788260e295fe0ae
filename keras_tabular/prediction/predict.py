"""Predict the rows of a file batch by batch, and count the rows that fail checks."""

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.core.parallel import ordered_map
from keras_tabular.prediction.drift import UnknownCategories, unknown_categories, unknown_lines
from keras_tabular.prediction.predictor import Predictor
from keras_tabular.prediction.writer import Write
from keras_tabular.table.csv import RawRows
from keras_tabular.table.rows import CheckedRows, check_rows, raise_failures, rejected_rows
from keras_tabular.table.source import read_rows, row_locator


@dataclass
class PredictionCounts:
    """What happened to the rows of a file.

    Attributes:
        rows: Number of rows.
        rejected: Number of rows that were set aside.
        warned: Number of predicted rows that fail a check whose policy is `warn`, by the check.
        unknown: Number of predicted rows with unknown categories.
    """

    rows: int = 0
    rejected: int = 0
    warned: Counter[str] = field(default_factory=Counter)
    unknown: UnknownCategories = field(default_factory=UnknownCategories)

    def warnings(self) -> list[str]:
        """Return a line for each column with unknown categories, and for each failed check."""
        rows = self.rows - self.rejected
        checks = [f"{check}: {count} of {rows} rows fail" for check, count in self.warned.items()]
        return [*unknown_lines(self.unknown, rows), *checks]


def predict_file(
    file: Path,
    names: list[str],
    predictor: Predictor,
    output_schema: pa.Schema,
    write: Write,
    *,
    display_name: str,
    n_reasons: int = 0,
    reject: Write | None = None,
    advice: str = "",
) -> PredictionCounts:
    """Check and predict all rows of a file.

    Args:
        names: Columns to read, see `row_columns`.
        output_schema: Columns to write, see `Predictor.output_schema`.
        write: Is called with the predictions for each batch of rows.
        display_name: Name of the file in messages.
        n_reasons: Number of columns to name that moved each prediction most.
        reject: Is called with rows that fail a check. If it is None, such a row is an error.
        advice: Last line of the message about this error.

    Raises:
        UserError: The file cannot be read, or a row fails a check and `reject` is None.
    """
    counts, schema = PredictionCounts(), predictor.schema
    categories = predictor.model.metadata.categories
    locate = row_locator([file], schema, display_name)
    raw_batches = read_rows(file, schema, names, allow_ragged=reject is not None)
    predict = partial(predict_rows, predictor=predictor, n_reasons=n_reasons)
    for (texts, features, failures), predictions in ordered_map(predict, raw_batches):
        errors = [failure for failure in failures if failure.policy != "warn"]
        valid = ~np.isin(np.arange(len(features)), [failure.row for failure in errors])
        if reject and errors:
            lines = {row: locate(counts.rows + row) for row in np.flatnonzero(~valid).tolist()}
            reject(rejected_rows(texts, errors, lines))
        elif errors:
            raise_failures(errors, counts.rows, locate, advice)
        cells = dict(zip(texts.column_names, texts.columns, strict=True))
        if reject:
            cells["row"] = pa.array(counts.rows + np.arange(len(valid)))
        table = pa.table(cells | predictions).select(output_schema.names)
        write(table.filter(pa.array(valid)))
        counts.rows += len(valid)
        counts.rejected += int((~valid).sum())
        counts.warned.update(f"{f.column}: {f.check}" for f in failures if valid[f.row])
        counts.unknown += unknown_categories(features.filter(pa.array(valid)), categories)
    return counts


def predict_rows(
    raw: RawRows, predictor: Predictor, n_reasons: int = 0
) -> tuple[CheckedRows, dict[str, pa.Array]]:
    """Check and predict some rows of a file.

    Returns:
        The checked rows, whose failures include rows without a finite prediction, and the columns
        of the predictions with all rows.
    """
    batch = check_rows(raw, predictor.schema.features, predictor.checks)
    columns, not_finite = predictor.predict(batch.features, n_reasons)
    failed = {failure.row for failure in batch.failures}
    failures = [*batch.failures, *(failure for failure in not_finite if failure.row not in failed)]
    failures.sort(key=lambda failure: failure.row)
    return batch._replace(failures=failures), columns
