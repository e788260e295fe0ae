"""The gate gives a verdict with reasons."""

from typing import Any

import numpy as np
import pytest

from tabular.config.sections import Gate
from tabular.core.metrics import BASELINES, TASKS, flat_numbers, primary_metrics
from tabular.evaluation.scores import Outputs, score
from tabular.runs.gate import Base, evaluate_gate
from tabular.runs.run import merged
from tests.helpers import schema_of

LAST = Base("abc", {"test": {"accuracy": 0.8, "loss": 0.5}})


def test_limits_and_how_much_worse_a_score_may_get() -> None:
    gate = Gate.model_validate(
        {
            "lowest": {"test": {"accuracy": 0.79}},
            "highest": {"test": {"loss": 0.52}},
            "worse_than_last": {"test": {"accuracy": 0.0125, "loss": 0.04}},
        }
    )
    run: dict[str, Any] = {"test": {"accuracy": 0.79, "loss": 0.53}}
    for scores, base, verdicts in (
        (run, LAST, ["pass", "fail", "pass", "fail"]),
        ({}, LAST, ["fail"] * 4),
        (run, Base("no earlier run", {}), ["pass", "fail", "skipped", "skipped"]),
    ):
        checks = evaluate_gate(scores, base, gate, "binary")["checks"]
        assert [check["verdict"] for check in checks] == verdicts


def test_a_check_says_what_it_compared() -> None:
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.04}}})
    reason = "test.loss is 0.53; needed at most 0.52 (4% worse than 0.5 of abc)"
    assert evaluate_gate({"test": {"loss": 0.53}}, LAST, gate, "binary") == {
        "verdict": "fail",
        "reason": reason,
        "against": None,
        "by": None,
        "next": [],
        "checks": [
            {"rule": "worse_than_last test.loss", "found": 0.53, "allowed": 0.52}
            | {"verdict": "fail", "reason": reason}
        ],
    }


ALL = Gate(beat_baselines=("constant", "linear", "boosted"))


def beside(
    task: str, *, rows: str = "test", keys: tuple[str, ...] = (), **differences: Any
) -> dict[str, Any]:
    """Scores of a run and of its baselines: by how much it is above each, with the interval."""
    decides = keys or (TASKS[task].main,)
    names = TASKS[task].baselines
    scores: dict[str, Any] = {"decides": list(decides), rows: {"rows": 254}}
    scores |= {"baseline": {}, "paired_difference": {rows: {}}}
    for kind, name in names.items():
        difference, low, high = differences[kind]
        scores[rows] |= dict.fromkeys(decides, 0.75)
        theirs = dict.fromkeys(decides, 0.75 - difference)
        scores["baseline"][name] = theirs if rows == "test" else {rows: theirs}
        found = {"difference": difference, "low": low, "high": high}
        scores["paired_difference"][rows][name] = dict.fromkeys(decides, found)
    return scores


BETTER, WORSE = (0.1, 0.05, 0.15), (-0.1, -0.15, -0.05)
LEVEL, BEHIND = (0.01, -0.02, 0.04), (-0.01, -0.04, 0.02)


@pytest.mark.parametrize(
    ("task", "linear", "boosted", "verdict", "against"),
    [
        ("binary", BETTER, BETTER, "pass", "constant"),
        ("binary", BETTER, LEVEL, "level", "boosted"),
        ("binary", BEHIND, LEVEL, "level", "linear"),
        ("multiclass", LEVEL, WORSE, "fail", "boosted"),
        ("regression", WORSE, WORSE, "pass", "constant"),  # a lower error is better
        ("regression", BETTER, WORSE, "fail", "linear"),
    ],
)
def test_level_with_the_best_baseline_is_enough_and_worse_is_not(
    task: str, linear: Any, boosted: Any, verdict: str, against: str
) -> None:
    constant = WORSE if task == "regression" else BETTER
    scores = beside(task, constant=constant, linear=linear, boosted=boosted)
    found = evaluate_gate(scores, LAST, ALL, task)
    name = TASKS[task].baselines[against]
    decided = (found["verdict"], found["against"], found["by"])
    assert decided == (verdict, name, f"test.{TASKS[task].main}")
    words = {"pass": "better than", "level": "level with", "fail": "worse than"}[verdict]
    assert f"is {words} " in found["reason"]
    assert f"of {BASELINES[name]}" in found["reason"]


def test_a_missed_limit_fails_and_its_reason_comes_first() -> None:
    scores = beside("binary", constant=BETTER, linear=BETTER, boosted=BETTER)
    gate = ALL.model_copy(update={"lowest": {"test.accuracy": 0.9}})
    found = evaluate_gate(scores, LAST, gate, "binary")
    assert found["verdict"] == "fail"
    assert found["reason"].startswith("test.accuracy is 0.75; needed at least 0.9; Accuracy 0.75")


def test_of_two_scores_that_decide_the_worse_verdict_counts() -> None:
    keys = ("roc_auc", "average_precision")
    scores = beside("binary", keys=keys, constant=BETTER, linear=BETTER, boosted=BETTER)
    worse = dict(zip(("difference", "low", "high"), WORSE, strict=True))
    scores["paired_difference"]["test"]["gradient_boosting"]["average_precision"] = worse
    scores["classes_not_found"] = ["yes"]
    found = evaluate_gate(scores, LAST, ALL, "binary")
    assert (found["verdict"], found["by"]) == ("fail", "test.average_precision")
    assert found["reason"].endswith("; no test row of class yes is found, a recall of 0")
    assert any("evaluate.threshold" in step for step in found["next"])
    assert any("use gradient boosting" in step for step in found["next"])


def test_what_to_try_next_follows_from_the_scores() -> None:
    scores = beside("binary", constant=BETTER, linear=BEHIND, boosted=BETTER)
    scores |= {"train": {"loss": 0.1}, "cross_validation": {"loss": 0.5, "rows": 500}}
    few, overfitted = evaluate_gate(scores, LAST, ALL, "binary")["next"]
    # The interval of 254 rows is three times as wide as the difference to each side.
    assert "shows from about 2,300 rows on, and these are 254" in few
    assert "more rows are likely to help" in overfitted
    scores["train"]["loss"] = 0.45
    assert "other columns" in evaluate_gate(scores, LAST, ALL, "binary")["next"][1]
    crossed = beside(
        "binary", rows="cross_validation", constant=BETTER, linear=WORSE, boosted=BETTER
    )
    both = merged(scores, crossed)
    found = evaluate_gate(both, LAST, ALL, "binary")
    assert found["verdict"] == "level"
    assert any("cross-validation does not say so" in step for step in found["next"])


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_that_the_gate_knows_are_those_of_the_task(task: str) -> None:
    y = np.array([[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 2.0, 1.0], [1.0, 2.0, 2.0, 4.0]])
    y = y[list(TASKS).index(task)]
    predicted = np.full((4, 3 if task == "multiclass" else 1), 0.3)
    scores = score(Outputs(y, predicted, np.ones(len(y)), 0.2), schema_of(task))
    assert set(TASKS[task].scores) == set(flat_numbers(scores)) - {"rows"}


@pytest.mark.parametrize(
    ("rows", "rare"),
    [
        ([90, 10], False), ([91, 9], True), ([9, 91], True), ([50, 40, 10], False),
        ([50, 41, 9], True), ([10] * 20, False), ([10] * 20 + [4], True), ([], False),
    ],
)  # fmt: skip
def test_a_class_is_rare_below_a_tenth_or_half_of_an_equal_share(
    rows: list[float], rare: bool
) -> None:
    task = {0: "regression", 2: "binary"}.get(len(rows), "multiclass")
    expected = TASKS[task].rare if rare else (TASKS[task].main,)
    assert primary_metrics(task, rows) == expected
