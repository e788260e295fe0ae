"""What to try next has numbers and a command, fits the split, and is said where it follows."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from tabular.config.sections import Split, SplitRule
from tabular.evaluation.evaluation import Evaluation, PairedDifference
from tabular.runs.advice import next_steps
from tabular.runs.verdict import BEAT_BASELINES, BaselineCheck
from tests.helpers import evaluation_of, schema_of

NETWORKS = {
    "realmlp": {"weight": 0.8, "params": {"dropout": 0.3}},
    "plain": {"weight": 0.2, "params": {"dropout": 0.0}},
}


def check(verdict: str, *difference: float) -> BaselineCheck:
    return BaselineCheck(
        rule=BEAT_BASELINES,
        subject="gradient_boosting",
        verdict=verdict,
        reason="so",
        score="test.accuracy",
        difference=PairedDifference(*difference),
    )


LEVEL = check("level", -0.01, -0.04, 0.02)
WORSE = check("fail", -0.1, -0.15, -0.05)
BETTER = check("pass", 0.1, 0.05, 0.15)


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
    deciding: BaselineCheck | None,
    by: SplitRule = "random",
    crossed: BaselineCheck | None = None,
    task: str = "binary",
    networks: dict[str, Any] = NETWORKS,
    **options: Any,
) -> list[str]:
    split = Split(by=by, test_size=0.33, validation_size=0.0, seed=9)
    columns = {"month": {"kind": "integer"}, "day": {"kind": "datetime"}}
    schema = schema_of(task, **columns)
    return next_steps(evaluation, deciding, crossed, schema, split, networks, **options)


def test_more_rows_or_more_dropout_of_the_heaviest_networks_against_overfitting() -> None:
    assert steps(scores_of(train_loss=0.1), LEVEL) == [
        # The interval of 254 rows is three times as wide as the difference to each side.
        "too few test rows to tell: a difference of 0.0100 shows from about 2,300 rows on, and "
        "these are 254",
        "the loss is 0.100 on training rows and 0.500 cross-validated: more rows are likely to "
        "help, or `dvc exp run -S train.networks.realmlp.dropout=0.5`",
    ]


def test_other_columns_help_where_no_baseline_is_better_and_there_is_something_to_win() -> None:
    def other_columns(*args: Any, **more: Any) -> bool:
        return any("other columns" in step for step in steps(*args, **more))

    assert other_columns(scores_of(), LEVEL)
    assert not other_columns(scores_of(), BETTER)
    assert not other_columns(scores_of(), WORSE)
    assert not other_columns(scores_of(), LEVEL, crossed=WORSE)
    assert not other_columns(scores_of(0.991, 0.98), LEVEL)
    assert steps(scores_of(0.991, 0.98, train_loss=0.1), BETTER) == []


def test_a_baseline_that_is_better_is_named_with_what_it_gains() -> None:
    assert steps(scores_of(), WORSE) == [
        "gradient boosting is better by 0.100: use it, or look for better values: "
        "`python -m commands.search`"
    ]
    # Which is by cross-validated rows, as which the test rows are not here.
    assert steps(scores_of(0.6, 0.76), WORSE)[0] == "gradient boosting is better by 0.100: use it"


@pytest.mark.parametrize("by", get_args(SplitRule))
def test_test_rows_that_do_worse_by_more_than_chance_are_looked_at_as_the_split_allows(
    by: SplitRule,
) -> None:
    """And not put down to overfitting."""
    (step,) = steps(scores_of(0.6, 0.76, train_loss=0.1), BETTER, by)
    assert step.startswith(
        "Accuracy is 0.600 on test rows and 0.760 cross-validated, a difference of 0.160 where "
        "chance gives up to 0.0707: "
    )
    drawn = by in ("random", "group", "hash")
    assert ("`dvc exp run -S split.seed=10`" in step) == drawn
    assert ("`python -m commands.drift data/split/test/part-00000.parquet`" in step) != drawn
    assert ("split.by=random" in step) == ("train.forward_chaining=3" in step) == (by == "time")
    assert steps(scores_of(0.7, 0.76), BETTER, by) == []  # within chance
    assert steps(scores_of(0.9, 0.76), BETTER, by) == []  # better


def test_by_time_forward_chaining_is_compared_where_it_was_done() -> None:
    later = ends(0.62)
    assert steps(scores_of(0.6, 0.9, forward_chaining=later), BETTER, "time") == []
    (step,) = steps(scores_of(0.4, 0.9, forward_chaining=later), BETTER, "time")
    assert step.startswith(
        "Accuracy is 0.400 on test rows and 0.620 on later rows by models of earlier ones, a "
    )
    assert "train.forward_chaining" not in step


def test_intervals_that_hold_too_little_are_said_with_their_share() -> None:
    coverage = {"asked": 0.9, "coverage": 0.8, "coverage_low": 0.75, "coverage_high": 0.85}
    coverage["mean_width"] = 1.0
    scores = scores_of(decides=["mae"], interval=coverage)
    (step,) = steps(scores, BETTER, "time", task="regression")
    assert step.startswith("intervals of 90% hold 0.800 of the values of test rows (95% interval ")
    assert "commands.drift" in step
    assert "seed" not in step
    scores = scores_of(decides=["mae"], interval=coverage | {"coverage_high": 0.91})
    assert steps(scores, BETTER, "time", task="regression") == []


def test_a_rare_class_that_is_not_found_or_not_often() -> None:
    scores = evaluation_of(
        decides=["roc_auc", "average_precision"],
        threshold=0.5,
        test={"recall": 0.31, "precision": 0.6, "f1": 0.41},
    )
    (step,) = steps(scores, BETTER)
    assert "recall 0.310 and precision 0.600 at threshold 0.500" in step
    assert "`dvc exp run -S 'evaluate.threshold={best: f1}'`" in step
    missed = replace(scores, classes_not_found=("yes",))
    (step,) = steps(missed, BETTER)
    assert step.startswith("recall of yes is 0 on 254 test rows at threshold 0.500: `dvc exp run")
    (step,) = steps(missed, BETTER, task="multiclass")
    assert "train.class_weight=balanced" in step
    (step,) = steps(missed, None, task="multiclass", weighted=True)
    assert step.endswith("also with train.class_weight: it takes more rows of it")


def test_a_linear_baseline_that_is_level_or_better_is_offered_as_a_keras_model() -> None:
    for deciding, networks, offered in (
        (LEVEL, NETWORKS, "logistic regression is level and simpler: "),
        (WORSE, NETWORKS | {"plain": {}}, "logistic regression is better: "),
        (BETTER, NETWORKS, None),
        (LEVEL, {"realmlp": NETWORKS["realmlp"]}, None),
    ):
        linear = replace(deciding, subject="logistic_regression")
        advice = steps(scores_of(), linear, networks=networks)
        offers = [step for step in advice if "networks.plain.units=[]" in step]
        assert [step.partition("`")[0] for step in offers] == ([offered] if offered else [])


def test_copies_in_training_and_values_beyond_it_are_told_with_what_to_change() -> None:
    equal = {"test": {"equal": 136, "equal_with_target": 130}}
    scores = scores_of(equal_rows=equal, outside_training={"month": 1.0})
    *_, copies, beyond = steps(scores, BETTER)
    assert copies == (
        "136 test rows equal a training row: `dvc exp run -S split.equal_rows=together` keeps such "
        "rows on one side"
    )
    assert beyond.endswith("month (100%): a column under `ignore` in data/schema.yaml is not read")
    assert not any("equal_rows=" in step for step in steps(scores, BETTER, by="time"))


@pytest.mark.parametrize("by", get_args(SplitRule))
def test_only_a_column_of_time_may_still_be_the_time_of_a_split_by_time(by: SplitRule) -> None:
    for column, is_time in (("month", False), ("day", True)):
        (step,) = steps(scores_of(outside_training={column: 1.0}), BETTER, by)
        may_stay = step.endswith("is not read, and may still be the time of the split")
        assert may_stay == (is_time and by == "time")


def test_nearly_no_error_is_suspicious_where_the_interval_says_so_too() -> None:
    (step,) = steps(scores_of(test=ends(1.0, 0.01)), BETTER)
    assert step.startswith("nearly no error, Accuracy 1.00 (from 0.990 on): is the most important")
    assert steps(scores_of(test=ends(1.0, 0.1)), BETTER) == []
    assert steps(scores_of(test={"accuracy": 1.0}), BETTER) == []
