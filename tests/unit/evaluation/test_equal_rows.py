"""Rows that a model has learnt from are counted, and the others scored apart."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from tabular.evaluation.equal_rows import find_equal_rows, score_equal_rows
from tabular.evaluation.evaluation import Evaluation, Scores, ScoreSet
from tabular.evaluation.scores import Predictions
from tabular.evaluation.summary import format_equal_rows
from tabular.table.parquet import write_part
from tests.helpers import schema_of

SCHEMA = schema_of("binary", x={"kind": "real"})


def write(folder: Path, x: list[float], y: list[int]) -> None:
    write_part(folder, 0, pa.table({"x": x, SCHEMA.target: y}))


def outputs(y: list[int], probabilities: list[float]) -> Predictions:
    return Predictions(np.array(y), np.array(probabilities)[:, None], np.ones(len(y)))


def test_equal_rows_are_counted_between_test_and_training_and_between_folds(tmp_path: Path) -> None:
    write(tmp_path / "train", [1.0, 2.0, 2.0, 3.0, 3.0], [0, 1, 0, 1, 1])
    write(tmp_path / "test", [2.0, 3.0, -0.0, 4.0], [1, 0, 1, 0])
    masks = find_equal_rows(tmp_path, np.array([0, 0, 1, 2, 2]), SCHEMA)
    assert masks["test"].equal.tolist() == [True, True, False, False]
    assert masks["cross_validation"].equal.tolist() == [False, True, True, False, False]
    predictions = {
        "test": outputs([1, 0, 1, 0], [0.9, 0.1, 0.9, 0.8]),
        "cross_validation": outputs([0, 1, 0, 1, 1], [0.1, 0.9, 0.1, 0.9, 0.1]),
    }
    equal_rows = score_equal_rows(masks, predictions, SCHEMA)
    counts = {name: (rows.equal, rows.equal_with_target) for name, rows in equal_rows.items()}
    assert counts == {"test": (2, 1), "cross_validation": (2, 0)}
    test, folds = (ScoreSet(Scores(rows)) for rows in (4, 5))
    evaluation = Evaluation(("accuracy",), test, cross_validation=folds, equal_rows=equal_rows)
    assert list(format_equal_rows(evaluation).values()) == [
        "2 of 4 test rows equal a training row, 1 of them with the same target; "
        "Accuracy without them: 0.500",
        "2 of 5 training rows equal one of another fold, 0 of them with the same target; "
        "Accuracy without them: 0.667",
    ]


def test_of_rows_that_equal_none_nothing_is_said(tmp_path: Path) -> None:
    write(tmp_path / "train", [1.0], [0])
    write(tmp_path / "test", [2.0], [0])
    masks = find_equal_rows(tmp_path, np.empty(0, np.int32), SCHEMA)
    assert score_equal_rows(masks, {"test": outputs([0], [0.1])}, SCHEMA) == {}
    assert not masks["test"].equal.any()
