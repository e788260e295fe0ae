"""What to try next has numbers and a command, fits the split, and is said where it follows."""

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


def check(verdict: str, subject: str = "gradient_boosting") -> Check:
    return Check(rule=f"beat_baselines {subject}", verdict=verdict, reason="so")


def ends(value: float, half: float = 0.05) -> dict[str, float]:
    return {"accuracy": value, "accuracy_low": value - half, "accuracy_high": value + half}


def scores_of(
    accuracy: float = 0.75, folds: float = 0.76, train_loss: float = 0.45, **more: Any
) -> Evaluation:
    scores = {
        "test": ends(accuracy),
        "cross_validation": {"loss": 0.5, "rows": 500} | ends(folds),
        "train": {"loss": train_loss},
    }
    return build_evaluation(**scores | more)


def steps(
    evaluation: Evaluation,
    strongest: Check | None = None,
    by: SplitRule = "random",
    task: str = "binary",
    learnt: str = "pass",
    **train: Any,
) -> list[str]:
    split = Split(by=by, test_size=0.33, validation_size=0.0, seed=9)
    params = Params(split=split, train=load_train_params(**train))
    constant = check(learnt, "majority")
    return next_steps(evaluation, constant, strongest, build_schema(task), params, NETWORKS)


def test_a_model_that_learnt_nothing_is_not_to_be_used() -> None:
    for learnt in ("fail", "undecided"):
        worse = check("fail", "logistic_regression")
        (step,) = steps(scores_of(0.5, 0.7, 0.1), worse, learnt=learnt)
        assert step.startswith("look whether the target stands in the right rows")
        assert "`" not in step


MISSED = scores_of(threshold=0.5, classes_not_found=["yes"])
EQUAL = {"equal": 136, "equal_with_target": 130, "without": {"rows": 0}}
COPIES = scores_of(equal_rows={"test": EQUAL})
SIMPLER = "logistic regression is simpler, and the model is not shown to be better: make a linear"


@pytest.mark.parametrize(
    ("evaluation", "strongest", "options", "expected"),
    [
        (scores_of(), check("pass"), {}, ()),
        (scores_of(), check("undecided"), {}, ()),
        (build_evaluation(), None, {}, ()),
        (
            *(scores_of(train_loss=0.1), check("pass"), {}),
            (
                "the loss is 0.100 on training rows and 0.500 cross-validated: more rows are likely"
                " to help, or more dropout: `dvc exp run -S train.networks.realmlp.dropout=0.5`",
            ),
        ),
        (
            *(scores_of(), check("fail"), {}),
            ("gradient boosting is better: use it, or look", "`python -m keras_tabular search`"),
        ),
        *(
            (scores_of(), check(verdict, "logistic_regression"), {}, (SIMPLER, "plain.units=[]"))
            for verdict in ("fail", "undecided")
        ),
        (
            *(MISSED, check("pass"), {}),
            ("class yes is found at threshold 0.500", "-S 'evaluate.threshold={best: f1}'`"),
        ),
        (MISSED, check("pass"), {"task": "multiclass"}, ("train.class_weight=balanced",)),
        (MISSED, check("pass"), {"task": "multiclass", "class_weight": "balanced"}, ()),
        (COPIES, check("pass"), {}, ("`dvc exp run -S split.equal_rows=together`",)),
        (COPIES, check("pass"), {"by": "time"}, ()),
        # By time, forward chaining is compared where it was done.
        (scores_of(0.6, 0.9, forward_chaining=ends(0.62)), check("pass"), {"by": "time"}, ()),
        (
            *(scores_of(0.4, 0.9, forward_chaining=ends(0.62)), check("pass"), {"by": "time"}),
            ("0.620 on later rows by models of earlier ones",),
        ),
    ],
)
def test_each_step_follows_from_the_scores(
    evaluation: Evaluation, strongest: Check | None, options: dict[str, Any], expected: tuple[str]
) -> None:
    advice = steps(evaluation, strongest, **options)
    assert len(advice) == bool(expected)
    assert all(text in advice[0] for text in expected)


@pytest.mark.parametrize("by", get_args(SplitRule))
def test_test_rows_that_do_worse_by_more_than_chance_are_looked_at_as_the_split_allows(
    by: SplitRule,
) -> None:
    (step,) = steps(scores_of(0.6, 0.76), check("pass"), by)
    assert step.startswith(
        "Accuracy is 0.600 on test rows and 0.760 cross-validated, which is more than chance: "
    )
    drawn = by in ("random", "group", "hash")
    assert ("`dvc exp run -S split.seed=10`" in step) == drawn
    assert ("`python -m keras_tabular drift data/split/test/part-00000.parquet`" in step) != drawn
    assert steps(scores_of(0.7, 0.76), check("pass"), by) == []  # within chance
    assert steps(scores_of(0.9, 0.76), check("pass"), by) == []  # better
