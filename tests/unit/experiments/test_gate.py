"""Tests of the gate: the verdict, the reasons and the warnings that follow from the scores."""

from typing import Any

import pytest

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Gate, Split
from keras_tabular.experiments.gate import Base, compare_with_base, evaluate_gate
from keras_tabular.experiments.verdict import Verdict
from keras_tabular.scoring.evaluation import PairedDifference
from keras_tabular.tasks.metrics import CONSTANTS
from keras_tabular.tasks.task import TASKS, Binary, Multiclass, Regression, TaskName
from tests.helpers import build_evaluation, build_schema, load_train_params

BASE = Base("abc", build_evaluation(test={"accuracy": 0.8, "loss": 0.5}))
SPLIT = Split(test_size=0.33, validation_size=0.0, seed=9)
ALL_BASELINES = Gate(beat_baselines=("constant", "linear", "boosted"))
# Differences of the loss with their intervals.
BETTER, WORSE, NOT_SIGNIFICANT = (-0.1, -0.15, -0.05), (0.1, 0.05, 0.15), (0.01, -0.02, 0.04)


def run_gate(scores: dict[str, Any], gate: Gate, task: str = "binary", **train: Any) -> Verdict:
    """Evaluate the gate for parts of scores.json, and check that its JSON can be read."""
    params = Params(gate=gate, split=SPLIT, train=load_train_params(**train))
    verdict = evaluate_gate(build_evaluation(**scores), params, build_schema(task), {})
    assert Verdict.model_validate(verdict.to_json()) == verdict
    return verdict


def scores_with_differences(
    task: TaskName = "binary", key: str = "loss", **differences: Any
) -> dict[str, Any]:
    """Return scores with the given differences of the loss from the baselines, by their kinds.

    The loss is 0.75. The differences of accuracy or MAE are not significant.
    """
    names, main = TASKS[task].baselines, TASKS[task].main_metric
    scores: dict[str, Any] = {"test": {main: 0.8, key: 0.75}, "primary_metrics": [main]}
    scores |= {"baseline": {}, "paired_difference": {"test": {}}}
    ends = ("difference", "low", "high")
    for kind, difference in ({"constant": BETTER} | differences).items():
        values = {main: NOT_SIGNIFICANT} | {key: difference}
        paired = {name: dict(zip(ends, value, strict=True)) for name, value in values.items()}
        scores["paired_difference"]["test"][names[kind]] = paired
        scores["baseline"][names[kind]] = {main: 0.79, key: 0.75 - difference[0]}
    return scores


@pytest.mark.parametrize("difference", [WORSE, NOT_SIGNIFICANT, (0.0, 0.0, 0.0)])
@pytest.mark.parametrize("task", TASKS)
def test_model_not_better_than_constant_has_learnt_nothing(task: TaskName, difference: Any) -> None:
    gate = ALL_BASELINES.model_copy(update={"lowest": {"test.loss": 0.8}})
    baselines: dict[str, Any] = {"linear": WORSE, "boosted": NOT_SIGNIFICANT}
    scores = scores_with_differences(task, constant=difference, **baselines)
    verdict = run_gate(scores, gate, task=task)
    assert (verdict.status, verdict.headline) == ("fail", "Nothing was learnt")
    constant = CONSTANTS[TASKS[task].baselines["constant"]]
    assert verdict.reason.startswith(
        "Nothing was learnt: on 254 test rows, the model is not significantly better than "
        f"{constant}: loss 0.75"
    )
    (step,) = verdict.next_steps
    assert step.startswith("Check that each row has the right target")
    assert "`" not in step  # nothing suggests using the model


KEEPS_RULES = "The run keeps every rule of the gate"


@pytest.mark.parametrize(
    ("settings", "status", "headline", "reason"),
    [
        ({}, "pass", KEEPS_RULES, KEEPS_RULES),
        ({"lowest": {"test.loss": 0.9}}, "fail", "A score misses its limit", "test.loss is 0.750"),
        ({"beat_baselines": ("linear",)}, "undecided",
         "No significant difference from logistic regression", "On 254 test rows, there is no sig"),
    ],
)  # fmt: skip
def test_constant_that_is_not_required_is_a_warning(
    settings: dict[str, Any], status: str, headline: str, reason: str
) -> None:
    scores = scores_with_differences(constant=NOT_SIGNIFICANT, linear=NOT_SIGNIFICANT)
    verdict = run_gate(scores, Gate.model_validate(settings))
    assert (verdict.status, verdict.headline) == (status, headline)
    assert verdict.reason.startswith(reason)
    (warning,) = verdict.warnings
    assert warning.startswith("on 254 test rows, the model is not significantly better than always")


UNDECIDED = "No significant difference from"


@pytest.mark.parametrize(
    ("linear", "boosted", "settings", "status", "headline"),
    [
        (BETTER, BETTER, {}, "pass", "The model is better than logistic regression"),
        (BETTER, NOT_SIGNIFICANT, {}, "undecided", f"{UNDECIDED} gradient boosting"),
        ((0.0, -0.02, 0.02), NOT_SIGNIFICANT, {}, "undecided", f"{UNDECIDED} gradient boosting"),
        (NOT_SIGNIFICANT, WORSE, {}, "fail", "The model is worse than gradient boosting"),
        ((0.2, 0.1, 0.3), WORSE, {}, "fail", "The model is worse than logistic regression"),
        # The interval ends 0.04 above the baseline's loss of 0.74, which is 5.4 %.
        (NOT_SIGNIFICANT, BETTER, {"margin": 0.05}, "fail", f"{UNDECIDED} logistic regression"),
        (NOT_SIGNIFICANT, BETTER, {"margin": 0.06}, "pass", f"{UNDECIDED} logistic regression"),
        (BETTER, BETTER, {"lowest": {"test.loss": 0.9}}, "fail", "A score misses its limit"),
    ],
)
def test_loss_decides_and_strongest_baseline_is_named(
    linear: Any, boosted: Any, settings: dict[str, Any], status: str, headline: str
) -> None:
    gate = ALL_BASELINES.model_copy(update=settings)
    verdict = run_gate(scores_with_differences(linear=linear, boosted=boosted), gate)
    assert (verdict.status, verdict.headline) == (status, headline)


def test_reason_has_scores_intervals_and_directions() -> None:
    gate = Gate(beat_baselines=("linear",), lowest={"test.loss": 0.9})
    assert run_gate(scores_with_differences(linear=NOT_SIGNIFICANT), gate).reason == (
        "test.loss is 0.750 but has to be at least 0.900. "
        "On 254 test rows, there is no significant difference between the model and logistic "
        "regression: loss 0.750 vs 0.740 (lower is better; 95% CI of the difference -0.0200 to "
        "0.0400); accuracy 0.800 vs 0.790 (95% CI of the difference -0.0200 to 0.0400)"
    )


def test_absolute_error_decides_if_it_was_trained() -> None:
    scores = scores_with_differences("regression", "mae", constant=BETTER, linear=WORSE)
    gate = Gate(beat_baselines=("constant", "linear"))
    verdict = run_gate(scores, gate, task="regression", loss="mean_absolute_error")
    assert verdict.headline == "The model is worse than ridge regression"
    assert verdict.reason.count("mean absolute error") == 1


def test_too_few_test_rows_fail() -> None:
    verdict = run_gate({"test": {"rows": 8, "accuracy": 1.0, "loss": 0.1}}, ALL_BASELINES)
    headline = "There are too few test rows to tell whether anything was learnt"
    assert (verdict.status, verdict.headline) == ("fail", headline)


def test_limits_are_inclusive_and_missing_scores_fail() -> None:
    gate = Gate(lowest={"test.accuracy": 0.79}, highest={"test.loss": 0.52, "test.brier": 1})
    checks = run_gate({"test": {"accuracy": 0.79, "loss": 0.53}}, gate).checks
    assert [check.status for check in checks] == ["pass", "fail", "fail"]
    assert checks[2].reason == "test.brier is not among the scores of this run"


@pytest.mark.parametrize(
    ("columns", "limits", "status", "reason"),
    [
        ("sex", {"error_difference": 0.1}, "pass", "sex.error_difference is 0.100 and has to be"),
        ("sex", {"error_difference": 0.09}, "fail",
         "sex.error_difference is 0.100 but has to be at most 0.0900 (highest: male, lowest: "
         "female; 95% CI -0.0200 to 0.220)"),
        ("sex", {"selection_rate_difference": 0.1}, "fail",
         "sex.selection_rate_difference is not among the scores of this run, since no two groups"),
        ("", {"error_difference": 0.1}, "fail", "evaluate.groups.error_difference is not among"),
        ("sex", {"coverage_difference": 0.1}, "pass",
         "sex.coverage_difference is 0.100 and has to be at most 0.100 (highest: male, lowest: "
         "female; no interval)"),
    ],
)  # fmt: skip
def test_largest_difference_between_groups_is_limited_even_if_it_is_not_significant(
    columns: str, limits: dict[str, float], status: str, reason: str
) -> None:
    difference = {"value": 0.1, "rows": 90, "highest": "male", "lowest": "female"}
    error = difference | {"low": -0.02, "high": 0.22}
    groups = {"differences": {"error": error, "coverage": difference}}
    content: dict[str, Any] = {column: groups | {"groups": []} for column in columns.split()}
    (check,) = run_gate({"test": {"loss": 0.5}, "groups": content}, gate=Gate(groups=limits)).checks
    assert (check.status, check.reason[: len(reason)]) == (status, reason)


def test_limit_of_coverage_fails_without_prediction_intervals() -> None:
    groups: dict[str, Any] = {"sex": {"differences": {}, "groups": []}}
    gate = Gate(groups={"coverage_difference": 0.1})
    (check,) = run_gate({"test": {"loss": 0.5}, "groups": groups}, gate, task="regression").checks
    assert (check.status, check.reason) == (
        "fail",
        "sex.coverage_difference is not among the scores of this run, since the model has no "
        "prediction intervals, which require train.folds above 1",
    )


@pytest.mark.parametrize(
    ("loss", "difference", "status", "reason"),
    [
        (0.51, (0.01, 0.005, 0.015), "pass", "and has to be at most 0.520 (4% worse than 0.500 in"),
        (0.53, (0.03, 0.01, 0.05), "fail", "but has to be at most 0.520 (4% worse than 0.500 in"),
        (0.53, (0.03, -0.01, 0.07), "pass", "the difference on the same test rows is not"),
        (0.53, None, "skipped", "abc has different test rows"),
    ],
)
def test_worse_than_last_fails_only_if_the_difference_is_significant(
    loss: float, difference: Any, status: str, reason: str
) -> None:
    gate = Gate.model_validate({"worse_than_last": {"test": {"loss": 0.04}}})
    differences = {"loss": PairedDifference(*difference)} if difference else {}
    base = BASE._replace(compute_differences=lambda: differences)
    verdict = run_gate({"test": {"loss": loss}}, gate)
    assert (verdict.status, verdict.checks) == ("pass", [])
    evaluation = build_evaluation(test={"loss": loss})
    compared = compare_with_base(verdict, evaluation, base, gate.worse_than_last)
    (check,) = compared.checks
    assert (check.status, reason in check.reason) == (status, True)
    has_failed = status == "fail"
    assert compared.status == ("fail" if has_failed else "pass")
    assert compared.headline == ("A score misses its limit" if has_failed else verdict.headline)
    assert compared.reason == (check.reason if has_failed else verdict.reason)


def test_warnings_of_the_evaluation_are_part_of_the_verdict() -> None:
    scores = scores_with_differences(linear=BETTER, boosted=BETTER)
    scores["equal_rows"] = {"test": {"equal": 5, "equal_with_target": 5, "without": {"rows": 0}}}
    (warning,) = run_gate(scores, ALL_BASELINES).warnings
    assert warning.startswith("5 of 254 test rows")


@pytest.mark.parametrize(
    ("rows", "rare"),
    [
        ([90, 10], False), ([9, 91], True), ([50, 40, 10], False), ([50, 41, 9], True),
        ([10] * 20, False), ([10] * 20 + [4], True), ([], False),
    ],
)  # fmt: skip
def test_class_is_rare_below_a_tenth_or_half_of_equal_share(rows: list[float], rare: bool) -> None:
    task = {0: Regression, 2: Binary}.get(len(rows), Multiclass)()
    assert task.primary_metrics(rows) == (task.rare_metrics if rare else (task.main_metric,))
