"""What to try next has numbers and a command, fits the split, and is said where it follows."""

from typing import Any, get_args

import pytest

from tabular.config.params import Params
from tabular.config.sections import Split, SplitRule
from tabular.evaluation.evaluation import Evaluation
from tabular.runs.advice import next_steps
from tabular.runs.verdict import Check
from tests.helpers import evaluation_of, schema_of, train_params

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
    return evaluation_of(**scores | more)


def steps(
    evaluation: Evaluation,
    strongest: Check | None = None,
    by: SplitRule = "random",
    task: str = "binary",
    learnt: str = "pass",
    **train: Any,
) -> list[str]:
    split = Split(by=by, test_size=0.33, validation_size=0.0, seed=9)
    params = Params(split=split, train=train_params(**train))
    constant = check(learnt, "majority")
    return next_steps(evaluation, constant, strongest, schema_of(task), params, NETWORKS)


def test_nothing_is_advised_where_nothing_is_wrong() -> None:
    assert steps(scores_of(), check("pass")) == []
    assert steps(scores_of(), check("undecided")) == []
    assert steps(evaluation_of(), None) == []


def test_a_model_that_learnt_nothing_is_not_to_be_used() -> None:
    for learnt in ("fail", "undecided"):
        worse = check("fail", "logistic_regression")
        (step,) = steps(scores_of(0.5, 0.7, 0.1), worse, learnt=learnt)
        assert step.startswith("look whether the target stands in the right rows")
        assert "`" not in step


def test_more_rows_or_more_dropout_of_the_heaviest_networks_against_overfitting() -> None:
    assert steps(scores_of(train_loss=0.1), check("pass")) == [
        "the loss is 0.100 on training rows and 0.500 cross-validated: more rows are likely to "
        "help, or more dropout: `dvc exp run -S train.networks.realmlp.dropout=0.5`",
    ]


def test_a_baseline_that_is_better_is_named() -> None:
    assert steps(scores_of(), check("fail")) == [
        "gradient boosting is better: use it, or look for better parameters: "
        "`python -m commands.search`"
    ]
    for verdict in ("fail", "undecided"):
        (step,) = steps(scores_of(), check(verdict, "logistic_regression"))
        assert step.startswith(
            "logistic regression is simpler, and the model is not shown to be better: make a"
        )
        assert "networks.plain.units=[]" in step


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
    assert ("`python -m commands.drift data/split/test/part-00000.parquet`" in step) != drawn
    assert steps(scores_of(0.7, 0.76), check("pass"), by) == []  # within chance
    assert steps(scores_of(0.9, 0.76), check("pass"), by) == []  # better


def test_by_time_forward_chaining_is_compared_where_it_was_done() -> None:
    later = ends(0.62)
    assert steps(scores_of(0.6, 0.9, forward_chaining=later), check("pass"), "time") == []
    (step,) = steps(scores_of(0.4, 0.9, forward_chaining=later), check("pass"), "time")
    assert "0.620 on later rows by models of earlier ones" in step


def test_a_class_that_is_not_found() -> None:
    missed = scores_of(threshold=0.5, classes_not_found=["yes"])
    (step,) = steps(missed, check("pass"))
    assert "class yes is found at threshold 0.500" in step
    assert "`dvc exp run -S 'evaluate.threshold={best: f1}'`" in step
    (step,) = steps(missed, check("pass"), task="multiclass")
    assert "train.class_weight=balanced" in step
    assert steps(missed, check("pass"), task="multiclass", class_weight="balanced") == []


def test_copies_in_training_are_kept_on_one_side_of_a_random_split() -> None:
    equal = {"equal": 136, "equal_with_target": 130, "without": {"rows": 0}}
    scores = scores_of(equal_rows={"test": equal})
    (step,) = steps(scores, check("pass"))
    assert step.endswith("`dvc exp run -S split.equal_rows=together`")
    assert steps(scores, check("pass"), by="time") == []
