"""Scores are written as JSON and read again."""

import json
from pathlib import Path

from keras_tabular.scoring.evaluation import (
    MODEL,
    TEST_FILE,
    Difference,
    EqualRows,
    Evaluation,
    IntervalCoverage,
    model_values,
    score_records,
    write_scores,
)
from tests.helpers import BINARY

VALUES = {"accuracy": 0.5, "loss": 0.25, "custom.cost": 2.5}
INTERVALS = {"accuracy": (0.25, 0.75)}
DIFFERENCES = {"accuracy": Difference(value=0.25, low=-0.5, high=1.0)}
EVALUATION = Evaluation(
    primary_metrics=("accuracy",),
    scores=(
        *score_records("test", MODEL, VALUES, 20, interval=INTERVALS),
        *score_records("test", "majority", {"accuracy": 0.25}, 20, difference=DIFFERENCES),
        *score_records("train", MODEL, VALUES, 40),
        *score_records(TEST_FILE + "newer", MODEL, VALUES, 3),
    ),
    training_rows={"newer": 2},
    threshold=0.25,
    interval_coverage=IntervalCoverage(
        nominal=0.9, coverage=0.8, low=0.7, high=0.85, mean_width=12.0
    ),
    equal_rows={"test": EqualRows(equal=2, equal_with_target=1, without={"accuracy": 0.5})},
    outside_training={"time.of.day": 0.5},
    custom_metrics={"cost": False},
)


def test_an_evaluation_is_read_as_it_was_written_and_readers_compare_its_main_scores(
    tmp_path: Path,
) -> None:
    """The main scores are those of the test rows and of the test files."""
    write_scores(tmp_path, EVALUATION, BINARY)
    content = (tmp_path / "scores.json").read_text()
    assert Evaluation.model_validate_json(content) == EVALUATION
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "baseline": {"majority": {"accuracy": 0.25}},
        "test": {
            **{"accuracy": 0.5, "accuracy_low": 0.25, "accuracy_high": 0.75},
            **{"loss": 0.25, "custom": {"cost": 2.5}},
        },
        "tests": {"newer": {"accuracy": 0.5, "loss": 0.25, "custom": {"cost": 2.5}}},
        "threshold": 0.25,
    }
    assert model_values(EVALUATION.scores)["tests.newer.custom.cost"] == 2.5
