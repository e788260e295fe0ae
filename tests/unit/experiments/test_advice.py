"""Tests of what the gate suggests to try next."""

from typing import Any

import pytest

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Split, SplitRule
from keras_tabular.experiments.advice import next_steps
from keras_tabular.experiments.verdict import Check
from keras_tabular.scoring.evaluation import Difference, Evaluation
from tests.helpers import build_evaluation, build_schema, load_train_params

NETWORKS = {
    "realmlp": {"weight": 0.8, "params": {"dropout": 0.3}},
    "plain": {"weight": 0.2, "params": {"dropout": 0.0}},
}


def baseline_check(status: Any, baseline: str = "gradient_boosting") -> Check:
    difference = Difference(value=0.0, low=-0.1, high=0.1)
    rule, reason = f"beat_baselines {baseline}", "a reason"
    return Check(rule=rule, status=status, reason=reason, difference=difference)


PASS = baseline_check("pass")


def scores_of(train_loss: float = 0.45, **content: Any) -> Evaluation:
    """Build an evaluation with a cross-validated loss of 0.5."""
    scores = {"cross_validation": {"loss": 0.5}, "train": {"loss": train_loss}}
    return build_evaluation(**scores | content)


def advise(
    evaluation: Evaluation,
    strongest: Check | None = PASS,
    by: SplitRule = "random",
    task: str = "binary",
    **train: Any,
) -> list[str]:
    learning_task = build_schema(task).learning_task
    split = Split(by=by, test_size=0.33, validation_size=0.0, seed=9)
    params = Params(split=split, train=load_train_params(**train))
    return next_steps(evaluation, strongest, learning_task, params, NETWORKS)


LINEAR = "logistic_regression"
MISSED = scores_of(threshold=0.5, classes_not_found=["yes"])
EQUAL_ROWS = {"equal": 136, "equal_with_target": 130, "without": {}}
WITH_EQUAL_ROWS = scores_of(equal_rows={"test": EQUAL_ROWS})
IS_LINEAR: dict[str, Any] = {"networks": {"plain": {"units": []}}}
TRAIN_LINEAR = "-S 'train.members=[{network: plain}]' -S 'train.networks.plain.units=[]'`"


@pytest.mark.parametrize(
    ("evaluation", "options", "text"),
    [
        (scores_of(), {}, ""),
        (scores_of(), {"strongest": baseline_check("undecided")}, ""),
        (build_evaluation(), {"strongest": None}, ""),
        (scores_of(train_loss=0.1), {}, "`dvc exp run -S train.networks.realmlp.dropout=0.5`"),
        (scores_of(), {"strongest": baseline_check("fail")}, "Use gradient boosting, or search"),
        (scores_of(), {"strongest": baseline_check("fail", LINEAR)}, TRAIN_LINEAR),
        (scores_of(), {"strongest": baseline_check("undecided", LINEAR)}, TRAIN_LINEAR),
        (scores_of(), IS_LINEAR | {"strongest": baseline_check("fail", LINEAR)}, "Use logistic"),
        (MISSED, {}, "threshold 0.500, no test row of class yes"),
        (MISSED, {"task": "multiclass"}, "train.class_weight=balanced"),
        (MISSED, {"task": "multiclass", "class_weight": "balanced"}, ""),
        (WITH_EQUAL_ROWS, {}, "`dvc exp run -S split.equal_rows=together`"),
        (WITH_EQUAL_ROWS, {"by": "time"}, ""),
    ],
)
def test_each_step_follows_from_the_scores(
    evaluation: Evaluation, options: dict[str, Any], text: str
) -> None:
    steps = advise(evaluation, **options)
    assert len(steps) == bool(text)
    assert all(text in step for step in steps)
