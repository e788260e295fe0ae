"""Predict checked rows, and explain the predictions by the columns that moved them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from keras_tabular.config.schema import Schema
from keras_tabular.core.errors import UserError
from keras_tabular.model.drift import (
    UnknownCategories,
    far_numbers,
    unknown_categories,
    unknown_lines,
)
from keras_tabular.model.files import Write, read_schema
from keras_tabular.model.metadata import training_rows
from keras_tabular.network.attribution import MAX_EXPLAINED, Permutations, contributions
from keras_tabular.table.arrays import NO_PREDICTION, feature_arrays
from keras_tabular.table.cells import ARROW_TYPES
from keras_tabular.table.checks import Checks, declared_checks
from keras_tabular.table.rows import (
    CheckedRows,
    Failure,
    map_checked_rows,
    raise_failures,
    rejected_rows,
)
from keras_tabular.table.source import Locate, read_rows, row_locator

if TYPE_CHECKING:
    from keras_tabular.model.saved_model import SavedModel


class PredictedColumns(NamedTuple):
    """Predictions for some rows.

    Attributes:
        columns: Columns of the predictions by name, each with all rows.
        failures: Rows for which the model returns NaN or infinity, and warnings of
            numbers that are far from the training rows.
    """

    columns: dict[str, pa.Array]
    failures: list[Failure]


@dataclass(frozen=True)
class Predictor:
    """A model, and the schema and checks of the rows that it predicts."""

    model: "SavedModel"
    schema: Schema
    checks: Checks

    def predict(
        self,
        features: pa.Table,
        n_reasons: int = 0,
    ) -> PredictedColumns:
        """Predict rows.

        Args:
            features: Values of the feature columns; null where a value is missing or
                invalid.
            n_reasons: Number of columns to name that moved each prediction most.

        Raises:
            UserError: The model's file has no summary of the training rows for reasons.
        """
        arrays = feature_arrays(features, self.schema)
        outputs = self.model.predict(arrays)  # (rows, outputs)
        metadata = self.model.metadata
        ends = metadata.interval_ends(outputs[:, 0])
        task = self.schema.learning_task
        columns = task.prediction_columns(outputs, metadata.decision, ends)
        if n_reasons:
            names = self._permutations.names
            effects = contributions(self.model.predict, arrays, self._permutations)
            columns |= reason_columns(effects, names, outputs, n_reasons)
        is_finite = np.isfinite(outputs).all(axis=1)
        failures = [
            Failure(row, "predicted", "finite", *NO_PREDICTION)
            for row in np.flatnonzero(~is_finite).tolist()
        ]
        if trained_on := metadata.trained_on:
            failures += far_numbers(features, trained_on, self.schema)
        return PredictedColumns(columns, failures)

    def output_schema(
        self,
        names: Iterable[str],
        n_reasons: int = 0,
        *,
        numbered: bool = False,
    ) -> pa.Schema:
        """Return the columns of an output.

        They are `row` if `numbered`, the identifiers, and the predictions.

        Args:
            names: Columns that are read; the identifiers are those that the schema
                ignores.
            n_reasons: See `predict`.
            numbered: Whether the first column is the number of the row.

        Raises:
            UserError: An identifier has the name of another column, or see `predict`.
        """
        no_rows = self.predict(self.missing_values(0), n_reasons)
        predictions = pa.table(no_rows.columns).schema
        row = [pa.field("row", pa.int64())] if numbered else []
        identifiers = [
            pa.field(name, "string") for name in names if name in self.schema.ignore
        ]
        for identifier in identifiers:
            name = identifier.name
            if name in predictions.names or (numbered and name == "row"):
                raise UserError(
                    f"The schema ignores a column {name!r}, but the output has one,"
                    " too. Leave it out of the file, or rename it in both, and train"
                    " again.",
                )
        return pa.schema([*row, *identifiers, *predictions])

    def missing_values(self, rows: int) -> pa.Table:
        """Return features of a number of rows in which all values are missing."""
        features = self.schema.features
        return pa.table(
            {
                name: pa.nulls(rows, ARROW_TYPES[column.kind])
                for name, column in features.items()
            },
        )

    @cached_property
    def _permutations(self) -> Permutations:
        trained_on = training_rows(self.model.path, self.model.metadata)
        share = trained_on.attribution
        names = sorted(self.schema.features, key=lambda name: -share[name])
        explained = names[:MAX_EXPLAINED]
        return Permutations.from_summaries(trained_on.summaries, self.schema, explained)


def load_predictor(path: Path, content: bytes) -> Predictor:
    """Load a model with the schema and the checks in its file; TensorFlow starts.

    Args:
        path: Name of the model's file in messages.
        content: Content of the model's file.

    Raises:
        UserError: This is not a model's file, or it does not contain the schema.
    """
    schema, metadata = read_schema(path, content)

    from keras_tabular.model.saved_model import load_saved_model

    checks = declared_checks(schema, metadata.validate_params)
    return Predictor(load_saved_model(path, content), schema, checks)


def reason_columns(
    effects: np.ndarray,
    names: list[str],
    outputs: np.ndarray,
    n_reasons: int,
) -> dict[str, pa.Array]:
    """Build the columns that explain predictions, by name.

    `reason_1` is the column that moved a prediction most, and `reason_1_effect` says by
    how much: in the unit of the target, or in the probability of the positive or the
    most probable class.

    Args:
        effects: Contributions of the columns `names` to the outputs, shape
            (rows, names, outputs); see `attribution.contributions`.
        outputs: Outputs of the model, shape (rows, outputs).
        n_reasons: Number of reasons for each row; at most one for each name.
    """
    output = outputs.argmax(axis=1)[:, None, None]
    effects = np.take_along_axis(effects, output, axis=2)[:, :, 0]  # (rows, names)
    undefined = ~np.isfinite(effects).all(axis=1)
    size = np.abs(effects)
    order = np.argsort(-size, axis=1, kind="stable")
    sorted_effects = np.take_along_axis(effects, order, axis=1)
    sorted_names = np.array(names, object)[order]
    reasons = {}
    for n in range(min(n_reasons, len(names))):
        column = pa.array(sorted_names[:, n], "string", mask=undefined)
        effect = pa.array(sorted_effects[:, n].astype(np.float32), mask=undefined)
        reasons[f"reason_{n + 1}"] = column
        reasons[f"reason_{n + 1}_effect"] = effect
    return reasons


@dataclass
class PredictionCounts:
    """What happened to the rows of a file.

    Attributes:
        rows: Number of rows.
        rejected: Number of rows that were set aside.
        warned: For each check whose policy is `warn`, the first failure of a predicted
            row, and the number of these rows.
        unknown: Number of predicted rows with unknown categories.
    """

    rows: int = 0
    rejected: int = 0
    warned: dict[str, tuple[str, int]] = field(default_factory=dict)
    unknown: UnknownCategories = field(default_factory=UnknownCategories)

    def add(
        self,
        is_valid: np.ndarray,
        failures: list[Failure],
        unknown: UnknownCategories,
        locate: Locate,
    ) -> None:
        """Count the rows of a batch.

        Args:
            is_valid: Whether a row is predicted, shape (rows,).
            failures: Failed checks of all rows.
            unknown: Number of predicted rows with each unknown category.
            locate: Describes where a row is; it is called in ascending order.
        """
        for failure in sorted(failures, key=lambda failure: failure.row):
            if is_valid[failure.row]:
                check = f"{failure.column}: {failure.check}"
                first, count = self.warned.get(check) or (
                    f"{locate(self.rows + failure.row)}, column {failure}",
                    0,
                )
                self.warned[check] = first, count + 1
        self.rows += len(is_valid)
        self.rejected += int((~is_valid).sum())
        self.unknown += unknown

    def warnings(self) -> list[str]:
        """Return lines about unknown categories of columns and about failed checks."""
        rows = self.rows - self.rejected
        lines = list(unknown_lines(self.unknown, rows))
        for first, count in self.warned.values():
            lines.append(f"{first} ({count} of {rows} rows)")
        return lines


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
        names: Columns to read, see `check_columns`.
        output_schema: Columns to write, see `Predictor.output_schema`.
        write: Is called with the predictions for each batch of rows.
        display_name: Name of the file in messages.
        n_reasons: Number of columns to name that moved each prediction most.
        reject: Is called with rows that fail a check. If it is None, such a row is an
            error.
        advice: Last line of the message about this error.

    Raises:
        UserError: The file cannot be read, or a row fails a check and `reject` is None.
    """
    counts = PredictionCounts()
    schema = predictor.schema
    categories = predictor.model.metadata.categories
    locate = row_locator([file], schema, display_name)
    locate_warned = row_locator([file], schema, display_name)

    def predict(batch: CheckedRows) -> tuple[CheckedRows, PredictedColumns]:
        return batch, predictor.predict(batch.features, n_reasons)

    raw_rows = read_rows(file, schema, names, allow_ragged=reject is not None)
    batches = map_checked_rows(predict, raw_rows, schema.features, predictor.checks)
    for batch, predicted in batches:
        n_rows = len(batch.features)
        is_valid = np.ones(n_rows, bool)
        errors = []
        # A row that fails a check may have no prediction for that reason.
        for failures in (batch.failures, predicted.failures):
            new_errors = [
                failure
                for failure in failures
                if failure.policy != "warn" and is_valid[failure.row]
            ]
            is_valid[[failure.row for failure in new_errors]] = False
            errors += new_errors
        if errors and reject is None:
            raise_failures(errors, counts.rows, locate, advice)
        texts = batch.texts
        cells = dict(zip(texts.column_names, texts.columns, strict=True))
        if reject:
            cells["row"] = pa.array(counts.rows + np.arange(n_rows))
            if errors:
                rejected = np.flatnonzero(~is_valid).tolist()
                places = {row: locate(counts.rows + row) for row in rejected}
                reject(rejected_rows(texts, errors, places))
        mask = pa.array(is_valid)
        table = pa.table(cells | predicted.columns).select(output_schema.names)
        write(table.filter(mask))
        unknown = unknown_categories(batch.features.filter(mask), categories)
        failures = batch.failures + predicted.failures
        counts.add(is_valid, failures, unknown, locate_warned)
    return counts
