"""Rows that are equal to rows of the training are counted, and the others are scored."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from keras_tabular.evaluation.equal_rows import score_equal_rows
from keras_tabular.evaluation.summary import format_equal_rows
from keras_tabular.scoring.scores import Predictions
from keras_tabular.table.parquet import write_part
from tests.helpers import BINARY, build_evaluation, build_schema

SCHEMA = build_schema("binary", x={"kind": "real"})


def test_equal_rows_are_counted_between_test_and_training_and_between_folds(tmp_path: Path) -> None:
    train = {"x": [1.0, 2.0, 2.0, 3.0, 3.0], "y": [0, 1, 0, 1, 1]}
    write_part(tmp_path / "train", 0, pa.table(train))
    test = {"x": [2.0, 3.0, -0.0, 4.0, 5.0], "y": [1, 0, 1, 0, 0]}
    write_part(tmp_path / "test", 0, pa.table(test))
    outputs = {
        "test": ([1, 0, 1, 0, 0], [0.9, 0.1, 0.9, 0.8, 0.1]),
        "cross_validation": ([0, 1, 0, 1, 1], [0.1, 0.9, 0.1, 0.9, 0.1]),
    }
    predictions = {
        name: Predictions(BINARY, np.array(y), np.array(probabilities)[:, None], np.ones(len(y)))
        for name, (y, probabilities) in outputs.items()
    }
    fold = np.array([0, 0, 1, 2, 2])
    equal_rows = score_equal_rows(tmp_path, fold, predictions, SCHEMA)
    scores = {name: {"accuracy": 0.8} for name in predictions}
    assert format_equal_rows(build_evaluation(5, equal_rows=equal_rows, **scores)) == [
        "2 of 5 test rows are equal to a training row, 1 of them with the same target; "
        "Accuracy without these rows: 0.667",
        "2 of 5 training rows are equal to one of another fold, 0 of them with the same target; "
        "Accuracy without these rows: 0.667",
    ]
