"""Predictions for rows: a class and probabilities, or a value, and what moved it most."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from tabular.config.schema import Schema
from tabular.inspection.contributions import MAX_EXPLAINED, Permutations, contributions
from tabular.prediction.drift import TrainingRows
from tabular.prediction.outputs import prediction_columns, reason_columns
from tabular.table.arrays import FINITE, feature_arrays
from tabular.table.rows import Batch, Failure

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel


class Predicted(NamedTuple):
    """The predictions of a batch as columns, one row each, and what failed in which rows."""

    columns: dict[str, pa.Array]
    failures: list[Failure]


class Reasons(NamedTuple):
    """By how many columns a prediction is explained, and the permutations that find them."""

    columns: int
    permutations: Permutations

    @classmethod
    def of(cls, count: int, model: "SavedModel", schema: Schema) -> "Reasons":
        """For a model.

        Raises:
            UserError: its file holds no sketches.
        """
        trained = TrainingRows.read(model.path, model.metadata, schema)
        names = sorted(schema.features, key=lambda name: -trained.importance[name])[:MAX_EXPLAINED]
        return cls(min(count, len(names)), Permutations.of(trained.sketches, schema, names))


def predict_batch(
    batch: Batch, model: "SavedModel", schema: Schema, reasons: Reasons | None = None
) -> Predicted:
    """Predict every row, also those that fail a check or for which the model has no number."""
    arrays = feature_arrays(batch.features, schema)
    outputs = model.predict(arrays)
    intervals = model.intervals
    ends = intervals.ends(outputs[:, 0]) if intervals else None
    columns = prediction_columns(outputs, schema, model.threshold, ends)
    if reasons:
        found = contributions(model.predict, arrays, reasons.permutations)
        columns |= reason_columns(
            found, reasons.permutations.names, outputs, schema, reasons.columns
        )
    failed = {failure.row for failure in batch.failures}
    without = set(np.flatnonzero(~np.isfinite(outputs).all(axis=1)).tolist()) - failed
    failures = [Failure(row, "predicted", "finite", "no number", FINITE) for row in without]
    return Predicted(columns, sorted([*batch.failures, *failures], key=lambda failure: failure.row))
