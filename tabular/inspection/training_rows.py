"""What a model's file says of the rows that it was trained on."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tabular.config.schema import Schema
from tabular.inspection.contributions import importance_shares
from tabular.inspection.sketch import sketch_columns
from tabular.model.metadata import provenance
from tabular.table.parquet import read_rows

if TYPE_CHECKING:
    from tabular.model.saved_model import SavedModel

MAX_ROWS, MAX_CELLS = 200_000, 20_000_000  # of the training rows, which lie shuffled


def describe_training_rows(model: "SavedModel", train: Path, schema: Schema) -> dict[str, Any]:
    """Where the rows of a folder are from, sketches of them, and what moves the answers for them.

    `sketches` are what new rows are compared with, `importance` the share of each column in what
    moves the answers, and of a regression with folds `disagreement` is that of its networks.
    """
    rows = read_rows(train, min(MAX_ROWS, MAX_CELLS // len(schema.columns)))
    sketches = sketch_columns(rows, schema, model.metadata["categories"])
    found: dict[str, Any] = {
        "trained_on": provenance(train),
        "sketches": {name: sketch.to_json() for name, sketch in sketches.items()},
        "importance": importance_shares(model.predict, model.multiply_adds, rows, sketches, schema),
    }
    if schema.task == "regression" and "folds" in model.metadata:
        found["disagreement"] = model.disagreement(rows, schema)
    return found
