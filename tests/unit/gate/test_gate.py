"""The verdict of the gate."""

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from keras_tabular.config.sections import Gate
from keras_tabular.evaluation.calibration import measure_calibration
from keras_tabular.evaluation.records import (
    MODEL,
    Difference,
    Evaluation,
    read_scores,
    score_records,
    write_scores,
)
from keras_tabular.evaluation.result import compare_with_baselines
from keras_tabular.evaluation.uncertainty import score_and_resample
from keras_tabular.gate import Verdict
from keras_tabular.gate.rules import evaluate_gate
from keras_tabular.runs import comparison
from keras_tabular.runs.comparison import PairedScore, check_base, compare_with_base
from keras_tabular.tasks.task import TASKS, TaskName
from tests.helpers import REGRESSION, build_evaluation, build_predictions, build_schema

# Tests of the gate: the verdict, the reasons and the warnings that follow from the
# scores.
ALL_BASELINES = Gate(beat_baselines=("dummy", "linear", "gradient_boosting"))


def difference(value: float, low: float, high: float) -> Difference:
    return Difference(value=value, low=low, high=high)


# Of the loss of the model, which is 0.75, and that of a baseline:
BETTER = difference(-0.1, -0.15, -0.05)
MUCH_BETTER = difference(-0.15, -0.2, -0.1)
WORSE = difference(0.1, 0.05, 0.15)
NOT_SIGNIFICANT = difference(0.01, -0.02, 0.04)
NONE = difference(0, 0, 0)
MUCH_WORSE = difference(0.2, 0.1, 0.3)
TOO_FEW = difference(-0.05, -0.11, 0.01)
BOOSTED = "Compared with gradient boosting"
LINEAR = "Compared with logistic regression"


def run_gate(evaluation: Evaluation, gate: Gate, task: str = "binary") -> Verdict:
    """Evaluate the gate, and check that the JSON of the verdict can be read."""
    verdict = evaluate_gate(evaluation, gate, build_schema(task).learning_task)
    content = verdict.model_dump_json(exclude_none=True)
    assert Verdict.model_validate_json(content) == verdict
    return verdict


def build_differences(
    task: TaskName = "binary",
    **losses: Any,
) -> Evaluation:
    """Build an evaluation with differences of the loss from the baselines.

    The loss is 0.75. The differences of accuracy or MAE are not significant.
    """
    main = TASKS[task].main_metric
    baselines = {}
    differences = {}
    for name, of_loss in ({"dummy": BETTER} | losses).items():
        baselines[name] = {main: 0.79, "loss": 0.75 - of_loss.value}
        differences[name] = {main: NOT_SIGNIFICANT, "loss": of_loss}
    return build_evaluation(
        main_metrics=["loss", main],
        test={main: 0.8, "loss": 0.75},
        baselines=baselines,
        differences=differences,
    )


@pytest.mark.parametrize(
    ("dummy", "status", "words"),
    [
        (WORSE, "fail", "no gain above 5%"),
        (NONE, "fail", "no gain above 5%"),
        (TOO_FEW, "undecided", "too few rows to tell"),
    ],
)
@pytest.mark.parametrize("task", TASKS)
def test_a_model_fails_if_a_useful_gain_is_excluded(
    task: TaskName,
    dummy: Difference,
    status: str,
    words: str,
) -> None:
    evaluation = build_differences(
        task,
        dummy=dummy,
        linear=BETTER,
        gradient_boosting=NOT_SIGNIFICANT,
    )
    verdict = run_gate(evaluation, ALL_BASELINES, task=task)
    assert verdict.checks[0].status == status
    assert f"; {words} (" in verdict.checks[0].reason
    assert verdict.status == status
    assert "Compared with the best constant for these test rows" in verdict.reason
    by_time = evaluation.model_copy(update={"constant_is_learnt": True})
    by_time_verdict = run_gate(by_time, ALL_BASELINES, task=task)
    assert "the constant of the training rows" in by_time_verdict.reason
    assert verdict.reason.count("Compared with") == 1


def test_a_share_of_0_lets_a_small_gain_be_undecided() -> None:
    small = build_differences(dummy=difference(-0.01, -0.03, 0.01))
    for min_gain, status in ((0.05, "fail"), (0.0, "undecided")):
        gate = Gate(beat_baselines=("dummy",), min_gain=min_gain)
        assert run_gate(small, gate).status == status


@pytest.mark.parametrize(
    ("losses", "settings", "status", "reason"),
    [
        ((BETTER, BETTER, BETTER), {}, "pass", f"{LINEAR}: 5.9% to 18% better"),
        (
            (BETTER, BETTER, NOT_SIGNIFICANT),
            {},
            "undecided",
            f"{BOOSTED}: between 2.7% better and 5.4% worse; not settled by these rows",
        ),
        ((BETTER, MUCH_WORSE, WORSE), {}, "fail", f"{LINEAR}: 18% to 55% worse"),
        # The interval ends 0.04 above the baseline's loss of 0.74, which is 5.4 %.
        (
            (BETTER, NOT_SIGNIFICANT, BETTER),
            {"margin": 0.05},
            "undecided",
            "not settled by these rows",
        ),
        (
            (BETTER, NOT_SIGNIFICANT, NOT_SIGNIFICANT),
            {"margin": 0.06},
            "pass",
            "; within the margin of 6%",
        ),
        (
            (BETTER, WORSE, BETTER),
            {"margin": 0.05},
            "fail",
            "worse than the margin of 5%",
        ),
        ((WORSE, BETTER, BETTER), {"beat_baselines": ()}, "pass", "keeps every rule"),
    ],
)
def test_loss_decides_and_strongest_required_baseline_is_named(
    losses: tuple[Difference, ...],
    settings: dict[str, Any],
    status: str,
    reason: str,
) -> None:
    """The losses are compared with those of the three baselines."""
    gate = ALL_BASELINES.model_copy(update=settings)
    by_name: Any = dict(zip(ALL_BASELINES.beat_baselines, losses, strict=True))
    verdict = run_gate(build_differences(**by_name), gate)
    assert verdict.status == status
    assert reason in verdict.reason
    # A constant that is not required is a warning.
    is_warned = losses[0] != BETTER
    assert len(verdict.warnings) == is_warned
    assert ("the best constant" in "".join(verdict.warnings)) == is_warned


@pytest.mark.parametrize(
    ("lowest", "folds", "is_unfair"),
    [(0.86, 0.3, True), (0.84, 0.3, False), (0.86, 0.9, False)],
)
def test_beating_a_baseline_that_fails_on_the_test_rows_shows_nothing(
    lowest: float,
    folds: float,
    is_unfair: bool,
) -> None:
    """The loss of no model is 0.85."""
    evaluation = build_differences(linear=BETTER, gradient_boosting=MUCH_BETTER)
    name = "gradient_boosting"
    score = evaluation.score("test", "loss", name)
    assert score
    scores = [
        *(each for each in evaluation.scores if each is not score),
        score.model_copy(update={"interval": (lowest, 0.95)}),
        *score_records("cross_validation", MODEL, {"loss": 0.25}, 254),
        *score_records("cross_validation", name, {"loss": folds}, 254),
    ]
    evaluation = evaluation.model_copy(update={"scores": tuple(scores)})
    verdict = run_gate(evaluation, ALL_BASELINES)
    assert verdict.status == ("undecided" if is_unfair else "pass")
    details = f"0.800 vs 0.790; cross-validated 0.250 vs {folds:.3f})"
    assert verdict.checks[-1].reason.endswith(details)
    assert ("shows nothing" in verdict.checks[-1].reason) == is_unfair
    assert [details in warning for warning in verdict.warnings] == [True] * is_unfair


def test_too_few_test_rows_or_an_undefined_metric_are_undecided() -> None:
    evaluation = build_evaluation(rows=8, test={"accuracy": 1.0, "loss": 0.1})
    verdict = run_gate(evaluation, ALL_BASELINES)
    assert verdict.status == "undecided"
    assert "too few rows" in verdict.headline
    assert [check.status for check in verdict.checks] == ["undecided"] * 3
    evaluation = build_evaluation(
        main_metrics=["roc_auc", "accuracy"],
        test={"accuracy": 0.7},
    )
    verdict = run_gate(evaluation, ALL_BASELINES)
    assert verdict.status == "undecided"
    assert verdict.headline == "ROC AUC is undefined on the test rows"


@pytest.mark.parametrize("row_set", ["test", "slices.older"])
def test_a_perfect_score_of_few_rows_does_not_keep_a_limit(row_set: str) -> None:
    for score in (0.0, 1.0):
        evaluation = build_evaluation(test={"loss": 0.5})
        scores = score_records(row_set, MODEL, {"recall": score}, 254)
        evaluation = evaluation.model_copy(
            update={"scores": (*evaluation.scores, *scores)},
        )
        check = run_gate(evaluation, Gate(min={f"{row_set}.recall": 0.9})).checks[-1]
        assert check.rule == f"min {row_set}.recall"
        assert check.status == "undecided"


def test_a_score_that_is_too_good_is_in_the_first_line() -> None:
    """A perfect score is named, whatever the number of rows and the constant.

    Few rows of a split by time have no interval.
    """
    for value, intervals, constant, is_named in (
        (0.9995, {"accuracy": (0.985, 1.0)}, 0.6, True),
        (0.9995, {"accuracy": (0.96, 1.0)}, 0.6, False),
        (1.0, {"accuracy": (0.84, 1.0)}, 0.95, True),
        (1.0, {}, 0.6, True),
    ):
        evaluation = build_evaluation(
            rows=20,
            test={"accuracy": value},
            intervals=intervals,
            baselines={"dummy": {"accuracy": constant}},
            strongest_column=("repair_cost", 0.97),
        )
        verdict = run_gate(evaluation, Gate())
        for text in (next(verdict.lines()), verdict.headline):
            assert ("repair_cost has 97% of the attribution" in text) == is_named


def test_the_scale_of_a_target_changes_no_word(tmp_path: Path) -> None:
    signal, noise = np.random.default_rng(0).normal(size=(2, 300))
    gate = Gate(beat_baselines=("dummy", "linear"))
    primary = ("loss", "mae")
    reports = set()
    for scale in (1e-6, 1e-3, 1.0, 1e6, 1e12):
        y = scale * (signal + noise)
        y_pred = scale * signal[:, None]
        rows = build_predictions(REGRESSION, y, y_pred)
        scored = score_and_resample(rows)
        fitted = {"linear": {"test": y_pred * 0.98}}
        scores = compare_with_baselines(scored, fitted, {"linear": 0.5}, primary)
        evaluation = Evaluation(
            main_metrics=primary,
            scores=tuple(scores),
            calibration=measure_calibration(rows, REGRESSION.losses[0]),
        )
        write_scores(tmp_path, evaluation, REGRESSION)
        verdict = run_gate(read_scores(tmp_path), gate, "regression")
        report = "\n".join(verdict.lines())
        reports.add(re.sub(r"(?<= )\(?-?\d[\d.,e+-]*(?=[ ,;)])", "N", report))
    assert len(reports) == 1


def test_limits_judge_the_interval_and_missing_scores_fail() -> None:
    gate = Gate(
        min={
            "test.accuracy": 0.79,
            "test.recall": 0.5,
            "test.precision": 0.8,
            "test.f1": 0.7,
        },
        max={"test.loss": 0.52, "test.brier": 1},
    )
    scores = {
        "accuracy": 0.79,
        "recall": 0.6,
        "precision": 0.6,
        "f1": 0.8,
        "loss": 0.53,
    }
    intervals = {
        "accuracy": (0.79, 0.8),
        "recall": (0.4, 0.8),
        "precision": (0.4, 0.79),
        "f1": (0.7, 0.9),
        "loss": (0.525, 0.6),
    }
    checks = run_gate(build_evaluation(test=scores, intervals=intervals), gate).checks
    expected = ["pass", "undecided", "fail", "pass", "fail", "fail"]
    assert [check.status for check in checks] == expected
    assert checks[1].reason.endswith(
        "has to be at least 0.500; not settled by these rows",
    )
    assert checks[5].reason == "test.brier is not among the scores of this run"


def make_run(row_set: str, loss: float) -> Any:
    scores: Any = {row_set: {"loss": loss}}
    evaluation = build_evaluation(**scores)
    run = {"evaluation": evaluation, "require_evaluation": lambda: evaluation}
    return SimpleNamespace(label="abc", schema={"target": "y"}, **run)


@pytest.mark.parametrize(
    ("ends", "status", "reason"),
    [
        (
            (0.005, -0.01, 0.02),
            "pass",
            "between 2.0% better and 4.0% worse than in abc on 99",
        ),
        (
            (0.01, -0.01, 0.03),
            "undecided",
            "(allowed: 4% worse); not settled by these rows",
        ),
        ((0.015, 0.01, 0.03), "undecided", "2.0% to 6.0% worse than in abc"),
        ((0.025, 0.01, 0.04), "fail", "2.0% to 8.0% worse than in abc"),
        (None, "undecided", "this run and abc share too few test rows that decide it"),
    ],
)
def test_worse_than_base_compares_on_the_rows_of_both(
    ends: Any,
    status: str,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = (
        {"loss": PairedScore("99 test rows", 0.5, difference(*ends))} if ends else {}
    )
    monkeypatch.setattr(comparison, "paired_scores", lambda *_: scores)
    run = make_run("test", 0.9)
    gate = Gate(worse_than_base={"test.loss": 0.04})
    verdict = run_gate(run.evaluation, Gate())
    compared = compare_with_base(verdict, run, make_run("test", 0.5), gate)
    (check,) = compared.checks
    assert check.status == status
    assert reason in check.reason
    expected = verdict.reason if status == "pass" else check.reason
    assert compared.status == status
    assert compared.reason == expected


def test_a_score_without_an_interval_is_compared_with_the_last_one_by_itself() -> None:
    gate = Gate(worse_than_base={"train.loss": 0.04})
    for loss, status in ((0.51, "pass"), (0.53, "fail")):
        (check,) = check_base(make_run("train", loss), make_run("train", 0.5), gate)
        assert check.status == status


@pytest.mark.parametrize(
    ("base", "shallow", "status"),
    [
        ("last", False, "pass"),
        ("last", True, "undecided"),
        ("model#prod", False, "undecided"),
    ],
)
def test_a_base_that_cannot_be_found_is_no_silent_pass(
    base: str,
    shallow: bool,
    status: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the first commit, there is nothing to compare with."""
    monkeypatch.setattr(comparison, "git", lambda *_: str(shallow).lower())
    gate = Gate(worse_than_base={"test.loss": 0.1}, base=base)
    (check,) = check_base(make_run("test", 0.5), None, gate)
    assert check.status == status


def test_a_metric_that_should_be_high_can_decide() -> None:
    """Its differences are shown as they are, and a positive one is better."""
    better = difference(0.1, 0.05, 0.15)
    worse = difference(-0.03, -0.05, -0.01)
    differences = {"dummy": better, "linear": worse, "gradient_boosting": better}
    evaluation = build_evaluation(
        main_metrics=["roc_auc", "accuracy"],
        test={"roc_auc": 0.8, "accuracy": 0.7},
        intervals={"roc_auc": (0.75, 0.85)},
        baselines={
            name: {"roc_auc": 0.8 - each.value} for name, each in differences.items()
        },
        differences={name: {"roc_auc": each} for name, each in differences.items()},
    )
    verdict = run_gate(evaluation, ALL_BASELINES)
    assert verdict.headline.startswith("ROC AUC 0.800 on 254 test rows")
    assert verdict.headline.endswith("0.0500 to 0.150 better than no model")
    assert verdict.status == "fail"
    reason = "logistic regression: 0.0100 to 0.0500 worse (ROC AUC 0.800 vs 0.830"
    assert reason in verdict.reason
    within_margin = ALL_BASELINES.model_copy(update={"margin": 0.1})
    assert run_gate(evaluation, within_margin).status == "pass"
