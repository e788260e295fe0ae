"""Tests of what the gate suggests to try next."""

from typing import Any, get_args

import pytest

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Split, SplitRule
from keras_tabular.evaluation.evaluation import Evaluation
from keras_tabular.experiments.advice import next_steps
from keras_tabular.experiments.verdict import Check
from tests.helpers import build_evaluation, build_schema, load_train_params

NETWORKS = {
    "realmlp": {"weight": 0.8, "params": {"dropout": 0.3}},
    "plain": {"weight": 0.2, "params": {"dropout": 0.0}},
}


def baseline_check(status: str, baseline: str = "gradient_boosting") -> Check:
    return Check(rule=f"beat_baselines {baseline}", status=status, reason="a reason")


PASS = baseline_check("pass")


def accuracy_with_interval(value: float) -> dict[str, float]:
    return {"accuracy": value, "accuracy_low": value - 0.05, "accuracy_high": value + 0.05}


def scores_of(
    test: float = 0.75, folds: float = 0.76, train_loss: float = 0.45, **content: Any
) -> Evaluation:
    """Build an evaluation with these accuracies; the cross-validated loss is 0.5."""
    scores = {
        "test": accuracy_with_interval(test),
        "cross_validation": {"loss": 0.5, "rows": 500} | accuracy_with_interval(folds),
        "train": {"loss": train_loss},
    }
    return build_evaluation(**scores | content)


def advise(
    evaluation: Evaluation,
    strongest: Check | None = PASS,
    by: SplitRule = "random",
    task: str = "binary",
    **train: Any,
) -> list[str]:
    split = Split(by=by, test_size=0.33, validation_size=0.0, seed=9)
    params = Params(split=split, train=load_train_params(**train))
    constant = baseline_check("pass", "majority")
    return next_steps(evaluation, constant, strongest, build_schema(task), params, NETWORKS)


LINEAR = "logistic_regression"
MISSED = scores_of(threshold=0.5, classes_not_found=["yes"])
EQUAL_ROWS = {"equal": 136, "equal_with_target": 130, "without": {"rows": 0}}
WITH_EQUAL_ROWS = scores_of(equal_rows={"test": EQUAL_ROWS})
LATER_ROWS = accuracy_with_interval(0.62)
TRAIN_LINEAR = "-S 'train.members=[{network: plain}]' -S 'train.networks.plain.units=[]'`"


@pytest.mark.parametrize(
    ("evaluation", "options", "text"),
    [
        (scores_of(), {}, ""),
        (scores_of(), {"strongest": baseline_check("undecided")}, ""),
        (build_evaluation(), {"strongest": None}, ""),
        (
            *(scores_of(train_loss=0.1), {}),
            "The loss is 0.100 on the training rows but 0.500 in cross-validation. More rows are "
            "likely to help, or more dropout: `dvc exp run -S train.networks.realmlp.dropout=0.5`",
        ),
        (scores_of(), {"strongest": baseline_check("fail")}, "Use gradient boosting, or search"),
        (scores_of(), {"strongest": baseline_check("fail", LINEAR)}, TRAIN_LINEAR),
        (scores_of(), {"strongest": baseline_check("undecided", LINEAR)}, TRAIN_LINEAR),
        (MISSED, {}, "threshold 0.500, no test row of class yes"),
        (MISSED, {"task": "multiclass"}, "train.class_weight=balanced"),
        (MISSED, {"task": "multiclass", "class_weight": "balanced"}, ""),
        (WITH_EQUAL_ROWS, {}, "`dvc exp run -S split.equal_rows=together`"),
        (WITH_EQUAL_ROWS, {"by": "time"}, ""),
        # With forward chaining, test scores are compared with that.
        (scores_of(0.6, 0.9, forward_chaining=LATER_ROWS), {"by": "time"}, ""),
        (scores_of(0.4, 0.9, forward_chaining=LATER_ROWS), {"by": "time"}, "chaining (0.620)"),
    ],
)
def test_each_step_follows_from_the_scores(
    evaluation: Evaluation, options: dict[str, Any], text: str
) -> None:
    steps = advise(evaluation, **options)
    assert len(steps) == bool(text)
    assert all(text in step for step in steps)


@pytest.mark.parametrize("by", get_args(SplitRule))
def test_advice_if_test_rows_are_significantly_worse(by: SplitRule) -> None:
    (step,) = advise(scores_of(0.6, 0.76), by=by)
    assert step.startswith("Accuracy is significantly worse on the test rows (0.600) than in cross")
    is_drawn = by in ("random", "group", "hash")
    assert ("`dvc exp run -S split.seed=10`" in step) == is_drawn
    drift = "`python -m keras_tabular drift data/split/test/part-00000.parquet`"
    assert (drift in step) != is_drawn
    assert advise(scores_of(0.7, 0.76), by=by) == []  # not significant
    assert advise(scores_of(0.9, 0.76), by=by) == []  # better
