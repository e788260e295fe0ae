"""What to try next has numbers and a command, fits the split, and is said where it follows."""

from typing import Any, get_args

import pytest

from tabular.config.sections import Split, SplitRule
from tabular.runs.gate import next_steps

NETWORKS = {
    "realmlp": {"weight": 0.8, "params": {"dropout": 0.3}},
    "plain": {"weight": 0.2, "params": {"dropout": 0.0}},
}
LEVEL = {"verdict": "level", "difference": -0.01, "low": -0.04, "high": 0.02}
WORSE = {"verdict": "fail", "difference": -0.1, "low": -0.15, "high": -0.05}
BETTER = {"verdict": "pass", "difference": 0.1, "low": 0.05, "high": 0.15}


def ends(value: float, half: float = 0.05) -> dict[str, float]:
    return {"accuracy": value, "accuracy_low": value - half, "accuracy_high": value + half}


def scores_of(test: float = 0.75, folds: float = 0.76, train_loss: float = 0.45) -> dict[str, Any]:
    return {
        "decides": ["accuracy"],
        "test": {"rows": 254} | ends(test),
        "cross_validation": {"loss": 0.5, "rows": 500} | ends(folds),
        "train": {"loss": train_loss},
    }


def steps(
    scores: dict[str, Any],
    decisive: dict[str, Any],
    by: SplitRule = "random",
    crossed: dict[str, Any] | None = None,
    task: str = "binary",
) -> list[str]:
    split = Split(by=by, test_size=0.33, validation_size=0.0, seed=9)
    against = {"rule": "beat_baselines gradient_boosting", "score": "test.accuracy"}
    return next_steps(scores, decisive | against, crossed, task, split, NETWORKS)


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
    assert not other_columns(scores_of(), LEVEL, crossed=WORSE | {"reason": "so"})
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
    later = {"forward_chaining": ends(0.62)}
    assert steps(scores_of(0.6, 0.9) | later, BETTER, "time") == []
    (step,) = steps(scores_of(0.4, 0.9) | later, BETTER, "time")
    assert step.startswith(
        "Accuracy is 0.400 on test rows and 0.620 on later rows by models of earlier ones, a "
    )
    assert "train.forward_chaining" not in step


def test_intervals_that_hold_too_little_are_said_with_their_share() -> None:
    held = {"asked": 0.9, "coverage": 0.8, "coverage_low": 0.75, "coverage_high": 0.85}
    scores = scores_of() | {"decides": ["mae"], "interval": held}
    (step,) = steps(scores, BETTER, "time", task="regression")
    assert step.startswith("intervals of 90% hold 0.800 of the values of test rows (95% interval ")
    assert "commands.drift" in step
    assert "seed" not in step
    scores["interval"] = held | {"coverage_high": 0.91}
    assert steps(scores, BETTER, "time", task="regression") == []


def test_a_rare_class_that_is_not_found_or_not_often() -> None:
    found = {"rows": 254, "recall": 0.31, "precision": 0.6, "f1": 0.41}
    scores = {"decides": ["roc_auc", "average_precision"], "threshold": 0.5, "test": found}
    (step,) = steps(scores, BETTER)
    assert "recall 0.310 and precision 0.600 at threshold 0.500" in step
    assert "`dvc exp run -S 'evaluate.threshold={best: f1}'`" in step
    (step,) = steps(scores | {"classes_not_found": ["yes"]}, BETTER)
    assert step.startswith("recall of yes is 0 on 254 test rows at threshold 0.500: `dvc exp run")
    (step,) = steps(scores | {"classes_not_found": ["a"]}, BETTER, task="multiclass")
    assert "train.class_weight=balanced" in step
    split = Split(test_size=0.33, validation_size=0.0, seed=9)
    missed = scores | {"classes_not_found": ["a"]}
    (step,) = next_steps(missed, None, None, "multiclass", split, {}, weighted=True)
    assert step.endswith("also with train.class_weight: it takes more rows of it")


def test_a_linear_baseline_that_is_level_or_better_is_offered_as_a_keras_model() -> None:
    split = Split(test_size=0.33, validation_size=0.0, seed=9)
    against = {"rule": "beat_baselines logistic_regression", "score": "test.accuracy"}
    for of, networks, offered in (
        (LEVEL, NETWORKS, "logistic regression is level and simpler: "),
        (WORSE, NETWORKS | {"plain": {}}, "logistic regression is better: "),
        (BETTER, NETWORKS, None),
        (LEVEL, {"realmlp": NETWORKS["realmlp"]}, None),
    ):
        found = next_steps(scores_of(), against | of, None, "binary", split, networks)
        said = [step for step in found if "networks.plain.units=[]" in step]
        assert [step.partition("`")[0] for step in said] == ([offered] if offered else [])


def test_copies_in_training_and_values_beyond_it_are_told_with_what_to_change() -> None:
    scores = scores_of() | {
        "equal_rows": {"test": {"equal": 136, "equal_with_target": 130}},
        "outside_training": {"month": 1.0},
    }
    *_, copies, beyond = steps(scores, BETTER)
    assert copies == (
        "136 test rows equal a training row: `dvc exp run -S split.equal_rows=together` keeps such "
        "rows on one side"
    )
    assert "month (100%): a column under `ignore` in data/schema.yaml is not read" in beyond
    assert not any("equal_rows=" in step for step in steps(scores, BETTER, by="time"))
