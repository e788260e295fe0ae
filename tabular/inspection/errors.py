"""The test rows on which a model is most wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tabular.config.schema import Schema
from tabular.evaluation.scores import Outputs
from tabular.table.arrays import predicted_classes, row_losses
from tabular.table.cells import is_missing
from tabular.table.parquet import read_parts

MAX_ERRORS, LETTERS = 10, 200  # rows; of a text


def largest_errors(folder: Path, test: Outputs, schema: Schema) -> list[dict[str, Any]]:
    """Of the test rows with the largest loss their `row`, the answer and the columns."""
    losses = row_losses(test.y, test.outputs, schema)
    worst = np.argsort(-losses, kind="stable")[:MAX_ERRORS]
    classes = predicted_classes(test.outputs, schema, test.threshold)
    columns: dict[int, dict[str, Any]] = {}
    start = 0
    for part in read_parts(folder):
        own = worst[(start <= worst) & (worst < start + len(part))]
        picked = part.take(pa.array(own - start))
        present = {
            name: pc.if_else(is_missing(picked[name], schema.columns[name]), None, picked[name])
            for name in (schema.target, *schema.features)
        }
        columns |= dict(zip(own.tolist(), pa.table(present).to_pylist(), strict=True))
        start += len(part)
    found = []
    for row in worst.tolist():
        target = columns[row].pop(schema.target)
        answer: dict[str, Any] = {"predicted": float(test.outputs[row, 0])}
        if schema.task != "regression":
            k, probabilities = int(classes[row]), test.outputs[row].astype(np.float64)
            if schema.task == "binary":
                probabilities = np.r_[1 - probabilities, probabilities]
            answer = {
                "predicted": str(schema.classes[k]),
                "probability_of_true": float(probabilities[int(test.y[row])]),
            }
        found.append(
            {"row": row, "true": _shown(target), "loss": float(losses[row])}
            | answer
            | {"columns": {name: _shown(value) for name, value in columns[row].items()}}
        )
    return found


def _shown(value: Any) -> Any:
    """A value as JSON holds it: numbers as they are, all others as text, gaps as None."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if np.isfinite(value) else str(value)
    return str(value)[:LETTERS]
