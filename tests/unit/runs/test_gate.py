"""The gate gives a verdict with reasons."""

from typing import Any

import numpy as np
import pytest

from tabular.config.params import Params
from tabular.config.sections import Gate, Split
from tabular.core.metrics import BASELINES, TASKS, primary_metrics
from tabular.evaluation.evaluation import Evaluation
from tabular.evaluation.scores import Predictions, score
from tabular.runs.gate import Base, evaluate_gate
from tabular.runs.verdict import Check, Verdict, format_checks, from_json, to_json
from tests.helpers import evaluation_of, schema_of, train_params, values_of

LAST = Base("abc", evaluation_of(test={"accuracy": 0.8, "loss": 0.5}))

SPLIT = Split(test_size=0.33, validation_size=0.0, seed=9)


def gated(evaluation: Evaluation, base: Base, gate: Gate, task: str) -> Verdict:
    """Evaluate the gate for a random split; the verdict survives its JSON."""
    params = Params(gate=gate, split=SPLIT, train=train_params())
    verdict = evaluate_gate(evaluation, base, params, schema_of(task), {})
    assert from_json(to_json(verdict)) == verdict
    return verdict


def test_limits_and_how_much_worse_a_score_may_get() -> None:
    gate = Gate.model_validate(
        {
            "lowest": {"test": {"accuracy": 0.79}},
            "highest": {"test": {"loss": 0.52}},
            "worse_than_last": {"test": {"accuracy": 0.0125, "loss": 0.04}},
        }
    )
    run = evaluation_of(test={"accuracy": 0.79, "loss": 0.53})
    for evaluation, base, verdicts in (
        (run, LAST, ["pass", "fail", "pass", "fail"]),
        (evaluation_of(), LAST, ["fail"] * 4),
        (run, Base("no earlier run", None), ["pass", "fail", "skipped", "skipped"]),
    ):
        checks = gated(evaluation, base, gate, "binary").checks
        assert [check.verdict for check in checks] == verdicts


def test_a_check_says_what_it_compared() -> None:
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.04}}})
    reason = "test.loss is 0.530; needed at most 0.520 (4% worse than 0.500 of abc)"
    check = Check(
        rule="worse_than_last",
        subject="test.loss",
        verdict="fail",
        reason=reason,
        value=0.53,
        limit=0.52,
    )
    verdict = gated(evaluation_of(test={"loss": 0.53}), LAST, gate, "binary")
    assert verdict == Verdict("fail", reason, [], [check])


ALL = Gate(beat_baselines=("constant", "linear", "boosted"))


def compared(
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
    scores = compared(task, constant=constant, linear=linear, boosted=boosted)
    found = gated(evaluation_of(**scores), LAST, ALL, task)
    name = TASKS[task].baselines[against]
    decided = (found.verdict, found.baseline, found.score)
    assert decided == (verdict, name, f"test.{TASKS[task].main}")
    words = {"pass": "better than", "level": "level with", "fail": "worse than"}[verdict]
    assert f"is {words} " in found.reason
    assert f"of {BASELINES[name]}" in found.reason


def test_a_missed_limit_fails_and_its_reason_comes_first() -> None:
    scores = compared("binary", constant=BETTER, linear=BETTER, boosted=BETTER)
    gate = ALL.model_copy(update={"lowest": {"test.accuracy": 0.9}})
    found = gated(evaluation_of(**scores), LAST, gate, "binary")
    assert found.verdict == "fail"
    assert found.reason.startswith("test.accuracy is 0.750; needed at least 0.900; Accuracy 0.750")


def test_of_two_scores_that_decide_the_worse_verdict_counts() -> None:
    keys = ("roc_auc", "average_precision")
    scores = compared("binary", keys=keys, constant=BETTER, linear=BETTER, boosted=BETTER)
    worse = dict(zip(("difference", "low", "high"), WORSE, strict=True))
    scores["paired_difference"]["test"]["gradient_boosting"]["average_precision"] = worse
    scores["classes_not_found"] = ["yes"]
    found = gated(evaluation_of(**scores), LAST, ALL, "binary")
    assert (found.verdict, found.score) == ("fail", "test.average_precision")
    assert found.reason.endswith("; no test row of class yes is found, a recall of 0")
    assert any("evaluate.threshold" in step for step in found.next_steps)
    assert any("gradient boosting is better" in step for step in found.next_steps)


def test_a_number_is_the_same_text_in_every_line() -> None:
    scores = compared("binary", constant=BETTER, linear=BEHIND, boosted=(-0.0003, -0.04, 0.02))
    every = [check.reason for check in gated(evaluation_of(**scores), LAST, ALL, "binary").checks]
    assert [reason.split()[1] for reason in every] == ["0.7500"] * 3  # the third needs four digits
    assert "0.7500 on 254 test rows is level with 0.7503 of gradient boosting" in every[2]
    assert "the difference of -0.0100 is within chance (95% interval -0.0400 to" in every[1]


def test_what_is_skipped_is_one_line_and_nothing_where_nothing_was_asked() -> None:
    limits = {"test": dict.fromkeys(("loss", "accuracy", "f1"), 0.05)}
    gate = Gate.model_validate({"worse_than_last": limits, "beat_baselines": ["constant"]})
    run = evaluation_of(test={"loss": 0.5, "accuracy": 0.8, "f1": 0.8})
    first = Base("no earlier run is committed here", None)
    assert format_checks(gated(run, first, gate, "binary").checks) == [
        (
            "skipped",
            "test.loss, test.accuracy, test.f1: no earlier run is committed here; "
            "majority class: no score to compare with",
        )
    ]
    assert format_checks(gated(run, first, Gate(), "binary").checks) == []


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_that_the_gate_knows_are_those_of_the_task(task: str) -> None:
    y = np.array([[0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 2.0, 1.0], [1.0, 2.0, 2.0, 4.0]])
    y = y[list(TASKS).index(task)]
    predicted = np.full((4, 3 if task == "multiclass" else 1), 0.3)
    scores = score(Predictions(y, predicted, np.ones(len(y)), 0.2), schema_of(task))
    assert set(TASKS[task].scores) == values_of(scores).keys()


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
