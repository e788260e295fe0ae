"""The threshold, and all that predicting and watching take, put into the model's file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from stages import run
from tabular.config.params import load_params
from tabular.config.schema import Schema, load_schema
from tabular.config.sections import Choice, Evaluate
from tabular.core.files import atomic_write
from tabular.evaluation.calibration import (
    choose_temperature,
    choose_threshold,
    scale_by_temperature,
)
from tabular.evaluation.evaluation import Calibration
from tabular.evaluation.scores import OutOfFold, Predictions, read_oof
from tabular.evaluation.scores_json import calibration_to_json
from tabular.model.intervals import Intervals
from tabular.model.metadata import add_metadata, metadata_of
from tabular.table.arrays import labels, row_weights
from tabular.table.groups import row_groups
from tabular.table.parquet import read_parts


def calibrate(
    metadata: dict[str, Any], oof: OutOfFold, train: Path, schema: Schema, asked: Evaluate
) -> dict[str, Any]:
    """Choose intervals, or the temperature and the threshold, on rows that were not learnt from.

    Those are the rows of forward chaining, if there is any.

    Args:
        metadata: of the trained model.
        oof: The result of `read_oof` for the rows of `train`.
    """
    is_chained = "forward_chaining" in oof
    table = oof["forward_chaining" if is_chained else "cross_validation"]
    *columns, fold = (column.to_numpy() for column in table.columns)
    rows, labelled = np.flatnonzero(fold >= 0), [schema.target, schema.weight]
    known = pa.concat_tables(read_parts(train, [name for name in labelled if name])).take(rows)
    y, weight = labels(known, schema)[:, 0], row_weights(known, schema)
    outputs, fold = np.column_stack(columns)[rows], fold[rows]
    if len(fold) and not fold.any():  # a single block of forward chaining: its halves
        fold = np.arange(len(fold)) % 2
    if schema.task == "regression":
        if not len(fold):
            return {}
        predicted = outputs[:, 0]
        # Forward chaining predicts with whole ensembles, which average their networks already.
        disagreement = 0.0 if is_chained else metadata["disagreement"]
        widths = Intervals.of(y - predicted, predicted, fold, asked.coverage, disagreement)
        return {"intervals": widths._asdict()}
    chosen = Calibration(1.0 if asked.temperature == "auto" else asked.temperature)
    if asked.temperature == "auto" and len(fold):
        groups = row_groups(train, schema)
        group = None if groups is None else groups[rows]
        of_classes = np.array(metadata.get("class_weights", np.ones(len(schema.classes))))
        in_loss = weight * of_classes[y.astype(np.int64)]
        chosen = choose_temperature(Predictions(y, outputs, in_loss, group=group), fold, schema)
    found: dict[str, Any] = {"calibration": calibration_to_json(chosen)}
    if schema.task == "binary":
        probability = scale_by_temperature(outputs, chosen.temperature)[:, 0]
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

    metadata = metadata_of(args.trained, args.trained.read_bytes())
    found = {
        "schema": schema.model_dump(mode="json", exclude_defaults=True),
        "validate": params.validate.model_dump(),
        "drift": params.drift.model_dump(),
    } | calibrate(metadata, read_oof(args.oof), args.train, schema, params.evaluate)

    temperature = found.get("calibration", {}).get("temperature", 1)
    if temperature != 1:
        print(f"Probabilities are at a temperature of {temperature:g}")
    if "threshold" in found:
        print(f"A probability of {found['threshold']:g} or more counts as {schema.positive}")
    with atomic_write(args.model) as file:
        if temperature == 1:
            add_metadata(args.trained, file, found)
        else:
            from tabular.model.saved_model import with_temperature, write_model

            write_model(with_temperature(args.trained, temperature), file, metadata | found)


if __name__ == "__main__":
    run(main)
