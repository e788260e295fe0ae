"""Scores are written as JSON and read again; other formats are recognised."""

import json

import pytest

from keras_tabular.scoring.evaluation import (
    OTHER_SHAPE,
    EqualRows,
    Estimate,
    Evaluation,
    IntervalCoverage,
    PairedDifference,
    Scores,
    ScoreSet,
    from_json,
    to_json,
)

ESTIMATES = {"accuracy": Estimate(0.5, (0.25, 0.75)), "custom.cost": Estimate(2.5, (2.0, 3.0))}
SCORES = Scores(20, ESTIMATES | {"macro.roc_auc": Estimate(0.7), "macro.f1": Estimate(0.1)})
FEW = Scores(3, {"accuracy": Estimate(1.0)})
DIFFERENCES = {
    "macro.f1": PairedDifference(0.25, -0.5, 1.0),
    "custom.cost": PairedDifference(-2.0, -3.0, -1.0),
}
EVALUATION = Evaluation(
    ("macro.roc_auc", "accuracy"),
    {
        "test": ScoreSet(SCORES, {"majority": FEW}, {"majority": DIFFERENCES}),
        "cross_validation": ScoreSet(FEW, {"majority": SCORES}, {"majority": {}}),
        "forward_chaining": ScoreSet(FEW),
        "validation": ScoreSet(Scores(0)),
        "train": ScoreSet(SCORES),
    },
    test_files={"newer": ScoreSet(FEW, {"majority": FEW}, {}, training_rows=2)},
    threshold=0.25,
    baseline_thresholds={"majority": 0.5},
    calibration={"temperature": 1.5, "loss_change": -0.5},
    interval_coverage=IntervalCoverage(0.9, 0.8, 0.7, 0.85, 12.0),
    equal_rows={"test": EqualRows(2, 1, FEW), "cross_validation": EqualRows(3, 3, Scores(0))},
    outside_training={"time.of.day": 0.5},
    classes_not_found=("a", "b.c"),
    custom_metrics={"cost": False},
    version="1.0",
    repeats="any_cpu",
)


def test_an_evaluation_is_read_as_it_was_written() -> None:
    for evaluation in (EVALUATION, Evaluation(("accuracy",), {"test": ScoreSet(Scores(1))})):
        assert from_json(json.loads(json.dumps(to_json(evaluation)))) == evaluation


def test_content_in_another_format_raises_an_expected_error() -> None:
    content = to_json(EVALUATION)
    for other in (
        *({}, {"rows": 3}),
        *(content | {"primary_metrics": []}, content | {"primary_metrics": ["unknown"]}),
        *(content | {"test": None}, content | {"test": {"rows": 3, "accuracy": "high"}}),
        content | {"equal_rows": {"test": 3}},
    ):
        with pytest.raises(OTHER_SHAPE):
            from_json(other)
    required = {key: content[key] for key in ("primary_metrics", "test")}
    assert from_json(required)  # other parts may be missing
