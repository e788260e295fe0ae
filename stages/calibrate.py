"""The threshold, and all that predicting and watching take, put into the model's file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tabular.config.params import Params, load_params
from tabular.config.schema import Schema, load_schema
from tabular.config.sections import Choice, Evaluate
from tabular.core.files import atomic_write
from tabular.core.process import run
from tabular.evaluation.temperature import choose_temperature, scale_by_temperature
from tabular.evaluation.threshold import choose_threshold
from tabular.inspection.contributions import importance_shares
from tabular.inspection.sketch import sketch_columns
from tabular.model.intervals import Intervals
from tabular.model.metadata import add_metadata, provenance
from tabular.table.arrays import labels, row_weights
from tabular.table.parquet import read_parts, read_rows

if TYPE_CHECKING:  # TensorFlow starts after the parameters are checked
    from tabular.model.saved_model import SavedModel

MAX_ROWS, MAX_CELLS = 200_000, 20_000_000  # of the training rows, which lie shuffled


def describe(
    model: "SavedModel", train: Path, rows: pa.Table, schema: Schema, params: Params
) -> dict[str, Any]:
    """What new rows are checked by and compared with: policies, sketches of training `rows`."""
    sketches = sketch_columns(rows, schema, model.metadata["categories"])
    return {
        "schema": schema.model_dump(mode="json", exclude_defaults=True),
        "validate": params.validate.model_dump(),
        "drift": params.drift.model_dump(),
        "trained_on": provenance(train),
        "sketches": {name: sketch.to_json() for name, sketch in sketches.items()},
        "importance": importance_shares(model.predict, model.multiply_adds, rows, sketches, schema),
    }


def calibrate(
    model: "SavedModel", oof: pa.Table, train: Path, rows: pa.Table, schema: Schema, asked: Evaluate
) -> dict[str, Any]:
    """What out-of-fold predictions tell: intervals, or the temperature and the threshold.

    Args:
        oof: outputs of training rows, and the fold of each.
    """
    *columns, fold = (column.to_numpy() for column in oof.columns)
    labelled = [schema.target, *([schema.weight] if schema.weight else [])]
    known = pa.concat_tables(read_parts(train, labelled))[: len(fold)]
    y, weight = labels(known, schema)[:, 0], row_weights(known, schema)
    outputs = np.column_stack(columns)
    if schema.task == "regression":
        if not len(fold):
            return {}
        predicted, disagreement = outputs[:, 0], model.disagreement(rows, schema)
        widths = Intervals.of(y - predicted, predicted, fold, asked.coverage, disagreement)
        return {"intervals": widths._asdict()}
    chosen = {"temperature": 1.0 if asked.temperature == "auto" else asked.temperature}
    if asked.temperature == "auto" and len(fold):
        chosen = choose_temperature(y, outputs, fold, weight, schema)
    found: dict[str, Any] = {"calibration": chosen}
    if schema.task == "binary":
        probability = scale_by_temperature(outputs, chosen["temperature"])[:, 0]
        found["threshold"] = choose_threshold(asked.threshold, y, probability, weight)
        if isinstance(asked.threshold, Choice):
            found["threshold_choice"] = asked.threshold.model_dump(exclude_none=True)
    return found


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path, help="the .keras file that train wrote")
    parser.add_argument("train", type=Path, help="folder of the training rows")
    parser.add_argument("oof", type=Path, help="folder of the out-of-fold predictions")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("evaluate", "validate", "drift", schema=schema)

    from tabular.model.saved_model import read_model, with_temperature, write_model

    model = read_model(args.trained)
    rows = read_rows(args.train, min(MAX_ROWS, MAX_CELLS // len(schema.columns)))
    oof = pa.concat_tables(read_parts(args.oof))
    found = describe(model, args.train, rows, schema, params)
    found |= calibrate(model, oof, args.train, rows, schema, params.evaluate)

    temperature = found.get("calibration", {}).get("temperature", 1)
    if temperature != 1:
        print(f"Probabilities are at a temperature of {temperature:g}")
    if "threshold" in found:
        print(f"A probability of {found['threshold']:g} or more counts as {schema.positive}")
    with atomic_write(args.model) as file:
        if temperature == 1:
            add_metadata(args.trained, file, found)
        else:
            network = with_temperature(args.trained, temperature)
            write_model(network, file, model.metadata | found)


if __name__ == "__main__":
    run(main)
