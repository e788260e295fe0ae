"""The gate gives a verdict with reasons."""

from typing import Any

import pytest

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Gate, Split
from keras_tabular.core.metrics import TASKS, primary_metrics
from keras_tabular.evaluation.evaluation import PairedDifference
from keras_tabular.experiments.gate import Base, evaluate_gate
from keras_tabular.experiments.verdict import Verdict
from tests.helpers import build_evaluation, build_schema, load_train_params

LAST = Base("abc", build_evaluation(test={"accuracy": 0.8, "loss": 0.5}))
SPLIT = Split(test_size=0.33, validation_size=0.0, seed=9)
ALL = Gate(beat_baselines=("constant", "linear", "boosted"))
BETTER, WORSE, UNDECIDED = (-0.1, -0.15, -0.05), (0.1, 0.05, 0.15), (0.01, -0.02, 0.04)


def gated(
    scores: dict[str, Any], base: Base = LAST, gate: Gate = ALL, task: str = "binary", **train: Any
) -> Verdict:
    """Evaluate the gate for parts of scores.json; the verdict survives its JSON."""
    params = Params(gate=gate, split=SPLIT, train=load_train_params(**train))
    verdict = evaluate_gate(build_evaluation(**scores), base, params, build_schema(task), {})
    assert Verdict.model_validate(verdict.to_json()) == verdict
    return verdict


def compared(
    task: str = "binary", key: str = "loss", rows: int = 254, **differences: Any
) -> dict[str, Any]:
    """Scores of a run and of its baselines: the difference of the loss, with the interval.

    The loss is 0.75; of accuracy or MAE it is said that it is undecided.
    """
    names, main = TASKS[task].baselines, TASKS[task].main
    scores: dict[str, Any] = {"test": {"rows": rows, main: 0.8, key: 0.75}}
    scores |= {"baseline": {}, "paired_difference": {"test": {}}, "primary_metrics": [main]}
    ends = ("difference", "low", "high")
    for kind, difference in ({"constant": BETTER} | differences).items():
        found = {main: dict(zip(ends, UNDECIDED, strict=True))}
        found[key] = dict(zip(ends, difference, strict=True))
        scores["paired_difference"]["test"][names[kind]] = found
        scores["baseline"][names[kind]] = {main: 0.79, key: 0.75 - difference[0]}
    return scores


@pytest.mark.parametrize("difference", [WORSE, UNDECIDED, (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("task", TASKS)
def test_a_model_that_is_not_better_than_a_constant_has_learnt_nothing(
    task: str, difference: Any
) -> None:
    """That is said first, it fails, and nothing suggests to use a model."""
    gate = ALL.model_copy(update={"lowest": {"test.loss": 0.8}})
    scores = compared(task, constant=difference, linear=WORSE, boosted=UNDECIDED)
    verdict = gated(scores, gate=gate, task=task)
    assert (verdict.verdict, verdict.headline) == ("fail", "Nothing was learnt")
    constant = {"regression": "best constant"}.get(task, "most frequent class")
    assert verdict.reason.startswith(
        "Nothing was learnt: on 254 test rows the model is not better than always answering the "
        f"{constant} by more than chance: loss 0.75"
    )
    (step,) = verdict.next_steps
    assert "dvc exp run" not in step
    without = gated(scores, gate=Gate(beat_baselines=("linear", "boosted")), task=task)
    assert without.headline == "Nothing was learnt"


@pytest.mark.parametrize(
    ("linear", "boosted", "verdict", "headline"),
    [
        (BETTER, BETTER, "pass", "Better than logistic regression"),
        (BETTER, UNDECIDED, "undecided", "Undecided against gradient boosting"),
        ((0.0, -0.02, 0.02), UNDECIDED, "undecided", "Undecided against gradient boosting"),
        (UNDECIDED, WORSE, "fail", "Worse than gradient boosting"),
        ((0.2, 0.1, 0.3), WORSE, "fail", "Worse than logistic regression"),
    ],
)
def test_the_loss_decides_and_the_strongest_baseline_is_quoted(
    linear: Any, boosted: Any, verdict: str, headline: str
) -> None:
    found = gated(compared(linear=linear, boosted=boosted))
    assert (found.verdict, found.headline) == (verdict, headline)
    assert headline.split(maxsplit=2)[2] in found.reason


def test_the_reason_says_what_these_rows_exclude() -> None:
    gate = Gate(beat_baselines=("linear",))
    found = gated(compared(linear=UNDECIDED), gate=gate)
    assert found.reason == (
        "On 254 test rows it is undecided whether the model is better than logistic regression: "
        "loss 0.750 and 0.740 (may be up to 0.0400 worse or 0.0200 better); accuracy 0.800 and "
        "0.790 (may be up to 0.0200 worse or 0.0400 better)"
    )
    found = gated(compared(linear=WORSE), gate=gate)
    assert "loss 0.750 and 0.650 (0.0500 to 0.150 worse); accuracy" in found.reason


@pytest.mark.parametrize(
    ("margin", "verdict"), [(None, "undecided"), (0.05, "fail"), (0.06, "pass")]
)
def test_a_margin_accepts_what_is_shown_to_be_hardly_worse(
    margin: float | None, verdict: str
) -> None:
    """The loss may be 0.04 worse than 0.74, which is 5.4 %."""
    gate = Gate(beat_baselines=("linear",), margin=margin)
    assert gated(compared(linear=UNDECIDED), gate=gate).verdict == verdict


def test_the_absolute_error_decides_where_it_was_trained() -> None:
    scores = compared("regression", "mae", constant=BETTER, linear=WORSE)
    gate = Gate(beat_baselines=("constant", "linear"))
    found = gated(scores, gate=gate, task="regression", loss="mean_absolute_error")
    assert found.headline == "Worse than ridge regression"
    assert found.reason.count("mean absolute error") == 1


def test_too_few_rows_tell_nothing_and_fail() -> None:
    found = gated({"test": {"rows": 8, "accuracy": 1.0, "loss": 0.1}})
    assert (found.verdict, found.headline) == (
        "fail",
        "Too few rows to tell whether anything was learnt",
    )


def test_a_missed_limit_fails() -> None:
    scores = compared(linear=BETTER, boosted=BETTER)
    found = gated(scores, gate=ALL.model_copy(update={"lowest": {"test.loss": 0.9}}))
    assert (found.verdict, found.headline) == ("fail", "Outside a limit")
    assert found.reason.startswith("test.loss is 0.750; needed at least 0.900. On 254 test rows")


def test_limits_and_scores_that_a_run_does_not_have() -> None:
    gate = Gate.model_validate(
        {"lowest": {"test": {"accuracy": 0.79}}, "highest": {"test": {"loss": 0.52, "brier": 1}}}
    )
    checks = gated({"test": {"accuracy": 0.79, "loss": 0.53}}, gate=gate).checks
    assert [check.verdict for check in checks] == ["pass", "fail", "fail"]
    assert checks[2].reason == "test.brier is not among the scores of this run"


@pytest.mark.parametrize(
    ("loss", "difference", "verdict"),
    [
        (0.51, (0.01, 0.005, 0.015), "pass"),  # by less than the share
        (0.53, (0.03, 0.01, 0.05), "fail"),
        (0.53, (0.03, -0.01, 0.07), "pass"),  # by chance
        (0.53, None, "skipped"),  # other test rows
    ],
)
def test_worse_than_last_is_by_more_than_chance_on_the_same_rows(
    loss: float, difference: Any, verdict: str
) -> None:
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.04}}})
    differences = {"loss": PairedDifference(*difference)} if difference else {}
    base = LAST._replace(compare=lambda: differences)
    (check,) = gated({"test": {"loss": loss}}, base, gate).checks
    assert check.verdict == verdict
    if verdict == "fail":
        assert check.reason == (
            "test.loss is 0.530; needed at most 0.520 (4% worse than 0.500 of abc)"
        )


def test_why_scores_may_be_wrong_is_a_warning() -> None:
    scores = compared(linear=BETTER, boosted=BETTER) | {
        "classes_not_found": ["yes"],
        "equal_rows": {"test": {"equal": 5, "equal_with_target": 5, "without": {"rows": 0}}},
        "outside_training": {"month": 0.5},
    }
    warnings = gated(scores).warnings
    assert [warning[:11] for warning in warnings] == ["5 of 254 te", "no test row", "test rows l"]


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
