"""Choose the threshold, the temperature or the intervals, and add them to the model's file."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from keras_tabular.config.params import load_params
from keras_tabular.config.schema import Schema, load_schema
from keras_tabular.config.sections import Evaluate, ThresholdRule
from keras_tabular.core.files import atomic_write
from keras_tabular.evaluation import calibration
from keras_tabular.model_file.intervals import Intervals
from keras_tabular.model_file.metadata import ModelMetadata, read_metadata, replace_metadata
from keras_tabular.scoring.scores import OutOfFold, Predictions, read_oof
from keras_tabular.table.arrays import labels, row_weights
from keras_tabular.table.groups import row_groups
from keras_tabular.table.parquet import read_parts
from stages import run


def calibrate(
    metadata: ModelMetadata, oof: OutOfFold, train: Path, schema: Schema, params: Evaluate
) -> ModelMetadata:
    """Add the prediction intervals, or the temperature and the threshold, to the metadata.

    They are chosen on predictions for rows that the model has not learnt from: those of forward
    chaining, if there are any, or those of cross-validation.

    Args:
        metadata: Metadata of the trained model.
        oof: The result of `read_oof`.
        train: Folder of the training rows.
        params: The section `evaluate` of params.yaml.
    """
    is_chained = "forward_chaining" in oof
    table = oof["forward_chaining" if is_chained else "cross_validation"]
    *columns, fold = (column.to_numpy() for column in table.columns)
    rows = np.flatnonzero(fold >= 0)
    y_pred, fold = np.column_stack(columns)[rows], fold[rows]
    names = [schema.target] if schema.weight is None else [schema.target, schema.weight]
    labelled_rows = pa.concat_tables(read_parts(train, names)).take(rows)
    y, weight = labels(labelled_rows, schema)[:, 0], row_weights(labelled_rows, schema)
    if len(fold) and not fold.any():  # forward chaining with a single block: two halves are folds
        fold = np.arange(len(fold)) % 2

    if not schema.classes:
        disagreement = metadata.trained_on.disagreement if metadata.trained_on else None
        if is_chained:  # each prediction is already the mean of a whole ensemble
            disagreement = 0.0
        if not len(fold) or disagreement is None:
            return metadata
        predicted, coverage = y_pred[:, 0], params.coverage
        intervals = Intervals.from_residuals(y - predicted, predicted, fold, coverage, disagreement)
        return metadata.model_copy(update={"intervals": intervals})

    choice = {"temperature": 1.0 if params.temperature == "auto" else params.temperature}
    if params.temperature == "auto" and len(fold):
        groups = row_groups(train, schema)
        group = None if groups is None else groups[rows]
        class_weights = np.array(metadata.class_weights or np.ones(len(schema.classes)))
        loss_weight = weight * class_weights[y.astype(np.int64)]
        predictions = Predictions(schema.learning_task, y, y_pred, loss_weight, group=group)
        choice = calibration.choose_temperature(predictions, fold)
    update: dict[str, Any] = {"calibration": choice}
    if schema.learning_task.has_threshold:
        rule = params.threshold
        probability = calibration.scale_by_temperature(y_pred, choice["temperature"])[:, 0]
        update["threshold"] = calibration.choose_threshold(rule, y, probability, weight)
        update["threshold_choice"] = rule if isinstance(rule, ThresholdRule) else None
    return metadata.model_copy(update=update)


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
    metadata = calibrate(metadata, read_oof(args.oof), args.train, schema, params.evaluate)
    sections = {"validate_params": params.validate, "drift_params": params.drift}
    metadata = metadata.model_copy(update={"table_schema": schema, **sections})

    if (temperature := metadata.temperature) != 1:
        print(f"Probabilities are scaled with a temperature of {temperature:g}")
    if schema.learning_task.has_threshold:
        print(f"A probability of {metadata.threshold:g} or more counts as {schema.positive}")
    with atomic_write(args.model) as file:
        if temperature == 1:
            replace_metadata(args.trained, file, metadata)
        else:
            from keras_tabular.model_file.saved_model import add_temperature, write_model

            write_model(add_temperature(args.trained, temperature), file, metadata)


if __name__ == "__main__":
    run(main)
