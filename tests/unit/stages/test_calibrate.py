"""The stage calibrate, on predictions for rows that were not learnt from."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Evaluate, ThresholdRule
from keras_tabular.evaluation.calibration import choose_temperature, choose_threshold
from keras_tabular.evaluation.scores import Predictions
from keras_tabular.model_file.intervals import Intervals
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.table.parquet import write_part
from stages.calibrate import calibrate
from tests.helpers import build_arrow_schema, build_schema

ROWS = 900
RNG = np.random.default_rng(0)


def write_rows(folder: Path, schema: Schema, y: np.ndarray) -> None:
    """Write rows with these targets in two parts."""
    target = y if schema.task == "regression" else y.astype(int)
    table = pa.table({"x": np.arange(ROWS) / ROWS, "y": target}, build_arrow_schema(schema))
    for number, part in enumerate((table[:400], table[400:])):
        write_part(folder, number, part)


def build_oof(outputs: np.ndarray, fold: np.ndarray) -> pa.Table:
    return pa.table({"output_0": outputs.astype(np.float32), "fold": fold.astype(np.int32)})


def test_the_temperature_minimises_the_class_weighted_loss(tmp_path: Path) -> None:
    """The positive rows have bad predictions, so that their weight makes a temperature useful."""
    schema, fold = build_schema("binary"), np.arange(ROWS) % 3
    y = (np.arange(ROWS) % 20 == 0).astype(float)
    outputs = np.where(y == 1, 0.03, 0.02) + RNG.random(ROWS) / 100
    write_rows(tmp_path, schema, y)
    oof, params = {"cross_validation": build_oof(outputs, fold)}, Evaluate()
    temperatures = {}
    for positive_weight in (1.0, 19.0):
        metadata = ModelMetadata(class_weights=[1.0, positive_weight])
        calibration = calibrate(metadata, oof, tmp_path, schema, params).calibration
        weight = np.where(y == 1, positive_weight, 1)
        predictions = Predictions(y, outputs[:, None].astype(np.float32), weight)
        assert calibration == choose_temperature(predictions, fold, schema)
        temperatures[positive_weight] = calibration["temperature"]
    assert temperatures[19.0] > 2 > temperatures[1.0]


@pytest.mark.parametrize("blocks", [1, 2])
def test_only_predictions_of_forward_chaining_are_used_if_there_are_any(
    tmp_path: Path, blocks: int
) -> None:
    """The halves of a single block are used as folds."""
    block = np.arange(ROWS) * (blocks + 1) // ROWS - 1
    later = block >= 0
    fold = block[later] if blocks > 1 else np.arange(later.sum()) % 2
    for task in ("regression", "binary"):
        schema, folder = build_schema(task), tmp_path / task
        y = RNG.normal(size=ROWS)
        if task == "binary":
            y = (y > 0).astype(float)
        write_rows(folder, schema, y)
        chained = np.where(later, RNG.random(ROWS), np.nan).astype(np.float32)
        oof = {"cross_validation": build_oof(y, np.arange(ROWS) % 3)}  # much too good
        oof |= {"forward_chaining": build_oof(chained, block)}
        params = Evaluate(threshold=ThresholdRule(recall=0.9), temperature=1.0)
        metadata = calibrate(ModelMetadata(), oof, folder, schema, params)
        y, predicted = y[later], chained[later]
        if task == "binary":
            assert metadata.threshold == choose_threshold(
                params.threshold, y, predicted, np.ones(len(y))
            )
        else:
            expected = Intervals.from_residuals(y - predicted, predicted, fold, params.coverage)
            assert metadata.intervals == expected
