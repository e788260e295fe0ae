"""Tests of the gate: the verdict, the reasons and the warnings that follow from the scores."""

from types import SimpleNamespace
from typing import Any

import pytest

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Gate, Split
from keras_tabular.experiments import paired
from keras_tabular.experiments.gate import compare_with_base, evaluate_gate
from keras_tabular.experiments.verdict import Verdict
from keras_tabular.scoring.evaluation import Difference, EqualRows, Evaluation
from keras_tabular.tasks.metrics import CONSTANTS
from keras_tabular.tasks.task import TASKS, Binary, Multiclass, Regression, TaskName
from tests.helpers import build_evaluation, build_schema, load_train_params

SPLIT = Split(test_size=0.33, validation_size=0.0, seed=9)
ALL_BASELINES = Gate(beat_baselines=("constant", "linear", "boosted"))


def difference(value: float, low: float, high: float) -> Difference:
    return Difference(value=value, low=low, high=high)


BETTER, WORSE = difference(-0.1, -0.15, -0.05), difference(0.1, 0.05, 0.15)  # of the loss
NOT_SIGNIFICANT, NONE = difference(0.01, -0.02, 0.04), difference(0, 0, 0)
MUCH_WORSE = difference(0.2, 0.1, 0.3)
UNDECIDED, MISSES_LIMIT = "No significant difference from", "A score misses its limit"
KEEPS_RULES, LINEAR = "The run keeps every rule of the gate", "logistic regression"


def run_gate(evaluation: Evaluation, gate: Gate, task: str = "binary", **train: Any) -> Verdict:
    """Evaluate the gate, and check that the JSON of the verdict can be read."""
    params = Params(gate=gate, split=SPLIT, train=load_train_params(**train))
    verdict = evaluate_gate(evaluation, params, build_schema(task), {})
    assert Verdict.model_validate_json(verdict.model_dump_json(exclude_none=True)) == verdict
    return verdict


def build_differences(task: TaskName = "binary", key: str = "loss", **kinds: Any) -> Evaluation:
    """Build an evaluation with differences of the loss from the baselines, by their kinds.

    The loss is 0.75. The differences of accuracy or MAE are not significant.
    """
    names, main = TASKS[task].baselines, TASKS[task].main_metric
    content: dict[str, Any] = {"primary_metrics": [main], "test": {main: 0.8, key: 0.75}}
    content |= {"baselines": {}, "differences": {}}
    for kind, of_loss in ({"constant": BETTER} | kinds).items():
        content["baselines"][names[kind]] = {main: 0.79, key: 0.75 - of_loss.value}
        content["differences"][names[kind]] = {main: NOT_SIGNIFICANT, key: of_loss}
    return build_evaluation(**content)


@pytest.mark.parametrize("constant", [WORSE, NOT_SIGNIFICANT, NONE])
@pytest.mark.parametrize("task", TASKS)
def test_model_not_better_than_constant_has_learnt_nothing(
    task: TaskName, constant: Difference
) -> None:
    gate = ALL_BASELINES.model_copy(update={"lowest": {"test.loss": 0.8}})
    kinds: Any = {"constant": constant, "linear": WORSE, "boosted": NOT_SIGNIFICANT}
    verdict = run_gate(build_differences(task, **kinds), gate, task=task)
    assert (verdict.status, verdict.headline) == ("fail", "Nothing was learnt")
    words = CONSTANTS[TASKS[task].baselines["constant"]]
    assert f"not significantly better than {words}: loss 0.75" in verdict.reason
    (step,) = verdict.next_steps
    assert "`" not in step  # nothing suggests using the model


@pytest.mark.parametrize(
    ("losses", "settings", "status", "headline"),
    [
        ((BETTER, BETTER, BETTER), {}, "pass", "The model is better than logistic regression"),
        ((BETTER, BETTER, NOT_SIGNIFICANT), {}, "undecided", f"{UNDECIDED} gradient boosting"),
        ((BETTER, NONE, NOT_SIGNIFICANT), {}, "undecided", f"{UNDECIDED} gradient boosting"),
        ((BETTER, NOT_SIGNIFICANT, WORSE), {}, "fail", "The model is worse than gradient boosting"),
        ((BETTER, MUCH_WORSE, WORSE), {}, "fail", "The model is worse than logistic regression"),
        # The interval ends 0.04 above the baseline's loss of 0.74, which is 5.4 %.
        ((BETTER, NOT_SIGNIFICANT, BETTER), {"margin": 0.05}, "fail", f"{UNDECIDED} {LINEAR}"),
        ((BETTER, NOT_SIGNIFICANT, BETTER), {"margin": 0.06}, "pass", f"{UNDECIDED} {LINEAR}"),
        ((BETTER, BETTER, BETTER), {"lowest": {"test.loss": 0.9}}, "fail", MISSES_LIMIT),
        ((WORSE, BETTER, BETTER), {"beat_baselines": ()}, "pass", KEEPS_RULES),
        ((NONE, NOT_SIGNIFICANT, BETTER), {"beat_baselines": ("linear",)}, "undecided",
         f"{UNDECIDED} {LINEAR}"),
    ],
)  # fmt: skip
def test_loss_decides_and_strongest_required_baseline_is_named(
    losses: tuple[Difference, ...], settings: dict[str, Any], status: str, headline: str
) -> None:
    """The losses are compared with those of the constant, the linear and the boosted baseline."""
    gate = ALL_BASELINES.model_copy(update=settings)
    kinds: Any = dict(zip(ALL_BASELINES.beat_baselines, losses, strict=True))
    verdict = run_gate(build_differences(**kinds), gate)
    assert (verdict.status, verdict.headline) == (status, headline)
    assert "learnt" not in verdict.reason
    is_warned = losses[0] != BETTER  # a constant that is not required is a warning
    assert ["better than always" in text for text in verdict.warnings] == [True] * is_warned


def test_reason_has_scores_intervals_and_directions() -> None:
    gate = Gate(beat_baselines=("linear",), lowest={"test.loss": 0.9})
    reason = run_gate(build_differences(linear=NOT_SIGNIFICANT), gate).reason
    assert "test.loss is 0.750 but has to be at least 0.900" in reason
    interval = "95% CI of the difference -0.0200 to 0.0400"
    assert f"loss 0.750 vs 0.740 (lower is better; {interval}); accuracy 0.800 vs 0.790" in reason


def test_absolute_error_decides_if_it_was_trained() -> None:
    evaluation = build_differences("regression", "mae", constant=BETTER, linear=WORSE)
    gate = Gate(beat_baselines=("constant", "linear"))
    verdict = run_gate(evaluation, gate, task="regression", loss="mean_absolute_error")
    assert verdict.headline == "The model is worse than ridge regression"
    assert verdict.reason.count("mean absolute error") == 1


def test_too_few_test_rows_fail() -> None:
    evaluation = build_evaluation(rows=8, test={"accuracy": 1.0, "loss": 0.1})
    verdict = run_gate(evaluation, ALL_BASELINES)
    assert (verdict.status, "too few test rows" in verdict.headline) == ("fail", True)
    assert [check.status for check in verdict.checks] == ["fail", "skipped", "skipped"]


def test_limits_are_inclusive_and_missing_scores_fail() -> None:
    gate = Gate(lowest={"test.accuracy": 0.79}, highest={"test.loss": 0.52, "test.brier": 1})
    checks = run_gate(build_evaluation(test={"accuracy": 0.79, "loss": 0.53}), gate).checks
    assert [check.status for check in checks] == ["pass", "fail", "fail"]
    assert checks[2].reason == "test.brier is not among the scores of this run"


@pytest.mark.parametrize(
    ("columns", "key", "limit", "reason"),
    [
        ("sex", "error", 0.1, "sex.error_difference is 0.100 and has to be"),
        ("sex", "error", 0.09, "(highest: male, lowest: female; 95% CI -0.0200 to 0.220)"),
        ("sex", "mean_prediction", 0.09, "(highest: male, lowest: female; no interval)"),
        ("sex", "selection_rate", 0.1, "since no two groups"),
        ("sex", "coverage", 0.1, "no prediction intervals, which require train.folds"),
        ("", "error", 0.1, "evaluate.groups.error_difference is not among"),
    ],
)
def test_largest_difference_between_groups_is_limited_even_if_it_is_not_significant(
    columns: str, key: str, limit: float, reason: str
) -> None:
    largest = {"value": 0.1, "highest": "male", "lowest": "female"}
    error = largest | {"interval": (-0.02, 0.22)}
    subgroups = {"subgroups": [], "differences": {"error": error, "mean_prediction": largest}}
    evaluation = build_evaluation(subgroups=dict.fromkeys(columns.split(), subgroups))
    (check,) = run_gate(evaluation, gate=Gate(groups={f"{key}_difference": limit})).checks
    assert (check.status == "pass") == (check.value is not None and check.value <= limit)
    assert reason in check.reason


@pytest.mark.parametrize(
    ("loss", "differences", "status", "reason"),
    [
        (0.51, {"loss": WORSE}, "pass", "at most 0.520 (4% worse than 0.500 in abc"),
        (0.53, {"loss": WORSE}, "fail", "at most 0.520 (4% worse than 0.500 in abc"),
        (0.53, {"loss": NOT_SIGNIFICANT}, "pass", "the difference on the same test rows is not"),
        (0.53, {}, "skipped", "abc has different test rows"),
    ],
)
def test_worse_than_last_fails_only_if_the_difference_is_significant(
    loss: float, differences: Any, status: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make_run(loss: float) -> Any:
        evaluation = build_evaluation(test={"loss": loss})
        run = {"evaluation": evaluation, "require_evaluation": lambda: evaluation}
        return SimpleNamespace(label="abc", schema={"target": "y"}, load=lambda _: {}, **run)

    monkeypatch.setattr(paired, "paired_differences", lambda *_: differences)
    run = make_run(loss)
    verdict = run_gate(run.evaluation, Gate())
    compared = compare_with_base(verdict, run, make_run(0.5), {"test.loss": 0.04})
    (check,) = compared.checks
    assert (check.status, reason in check.reason) == (status, True)
    expected = verdict.status, verdict.headline, verdict.reason
    if status == "fail":
        expected = "fail", MISSES_LIMIT, check.reason
    assert (compared.status, compared.headline, compared.reason) == expected


def test_warnings_of_the_evaluation_are_part_of_the_verdict() -> None:
    equal = {"test": EqualRows(equal=5, equal_with_target=5, without={})}
    evaluation = build_differences(linear=BETTER, boosted=BETTER)
    evaluation = evaluation.model_copy(update={"equal_rows": equal})
    (warning,) = run_gate(evaluation, ALL_BASELINES).warnings
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
