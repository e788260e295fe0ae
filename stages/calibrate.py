"""The threshold, and all that predicting and watching take, put into the model's file."""

from argparse import ArgumentParser
from pathlib import Path

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
from tabular.evaluation.scores import Predictions
from tabular.evaluation.scores_json import calibration_to_json
from tabular.model.intervals import Intervals
from tabular.model.metadata import ModelMetadata, read_metadata, replace_metadata
from tabular.table.arrays import labels, row_weights
from tabular.table.groups import row_groups
from tabular.table.parquet import read_parts


def calibrate(
    metadata: ModelMetadata, oof: pa.Table, train: Path, schema: Schema, params: Evaluate
) -> ModelMetadata:
    """Add the intervals of a regression, or the temperature and the threshold, to the metadata.

    Args:
        metadata: Metadata of the trained model.
        oof: Out-of-fold predictions of training rows, and the fold of each row.
    """
    *columns, fold = (column.to_numpy() for column in oof.columns)
    labelled = [schema.target, *([schema.weight] if schema.weight else [])]
    rows = pa.concat_tables(read_parts(train, labelled))[: len(fold)]
    y, weight = labels(rows, schema)[:, 0], row_weights(rows, schema)
    outputs = np.column_stack(columns)
    if schema.task == "regression":
        trained_on = metadata.trained_on
        if not len(fold) or not trained_on or trained_on.disagreement is None:
            return metadata
        residuals = y - outputs[:, 0]
        intervals = Intervals.from_residuals(
            residuals, outputs[:, 0], fold, params.coverage, trained_on.disagreement
        )
        return metadata.model_copy(update={"intervals": intervals})
    calibration = Calibration(1.0 if params.temperature == "auto" else params.temperature)
    if params.temperature == "auto" and len(fold):
        groups = row_groups(train, schema)
        group = None if groups is None else groups[: len(fold)]
        predictions = Predictions(y, outputs, weight, group=group)
        calibration = choose_temperature(predictions, fold, schema)
    metadata = metadata.model_copy(update={"calibration": calibration_to_json(calibration)})
    if schema.task == "binary":
        probability = scale_by_temperature(outputs, calibration.temperature)[:, 0]
        threshold = choose_threshold(params.threshold, y, probability, weight)
        choice = params.threshold if isinstance(params.threshold, Choice) else None
        update = {"threshold": threshold, "threshold_choice": choice}
        metadata = metadata.model_copy(update=update)
    return metadata


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("trained", type=Path, help="the .keras file that train wrote")
    parser.add_argument("train", type=Path, help="folder of the training rows")
    parser.add_argument("oof", type=Path, help="folder of the out-of-fold predictions")
    parser.add_argument("model", type=Path, help="the .keras file to write")
    args = parser.parse_args()
    schema = load_schema()
    params = load_params("evaluate", "validate", "drift", schema=schema)

    metadata = read_metadata(args.trained, args.trained.read_bytes())
    oof = pa.concat_tables(read_parts(args.oof))
    metadata = calibrate(metadata, oof, args.train, schema, params.evaluate)
    declared = {"validate_params": params.validate, "drift_params": params.drift}
    metadata = metadata.model_copy(update={"table_schema": schema, **declared})

    temperature = (metadata.calibration or {}).get("temperature", 1)
    if temperature != 1:
        print(f"Probabilities are at a temperature of {temperature:g}")
    if schema.task == "binary":
        print(f"A probability of {metadata.threshold:g} or more counts as {schema.positive}")
    with atomic_write(args.model) as file:
        if temperature == 1:
            replace_metadata(args.trained, file, metadata)
        else:
            from tabular.model.saved_model import with_temperature, write_model

            write_model(with_temperature(args.trained, temperature), file, metadata)


if __name__ == "__main__":
    run(main)
