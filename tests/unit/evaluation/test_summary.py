"""The summary of an evaluation has what is defined, and nothing else."""

from typing import Any

from keras_tabular.config.sections import ThresholdRule
from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.summary import format_scores, summary_lines
from tests.helpers import BINARY, MULTICLASS, build_evaluation


def test_a_number_has_at_least_three_digits_and_enough_to_differ_from_others() -> None:
    for value, compared_with, text in (
        (0.724409, [0.732283], "0.724"), (0.13, [0.09], "0.130"), (-0.007874, [], "-0.00787"),
        (0.7244, [0.7239], "0.7244"), (0.7239, [0.7244], "0.7239"),
        (0.991228, [0.5], "0.991"), (0.9996, [], "0.9996"), (1.0, [0.9996], "1.000"),
        (None, [0.5], "–"), (0.5, [None], "0.500"),
        (12345.678, [12399.0], "12,346"), (0.0, [], "0.00"), (1e300, [], "1e+300"),
    ):  # fmt: skip
        assert format_number(value, *compared_with) == text


def test_scores_are_summarised_with_those_of_the_baselines() -> None:
    test = {"rows": 254, "accuracy": 185 / 254, "accuracy_low": 0.6705, "accuracy_high": 0.7793}
    baselines: dict[str, Any] = {
        name: {"accuracy": on_test, "cross_validation": {"accuracy": on_folds}}
        for name, on_test, on_folds in (
            ("logistic_regression", 0.732283, 0.774319),
            ("majority", 0.649606, 0.651751),
            ("gradient_boosting", 0.75, 0.76),
        )
    }
    scores: dict[str, Any] = {"test": test, "baseline": baselines}
    folds = {"accuracy": 0.770428}
    assert format_scores(build_evaluation(**scores, cross_validation=folds), BINARY) == (
        "Accuracy: 0.728 on 254 test rows (95% CI 0.670 to 0.779), "
        "0.770 cross-validated; logistic regression 0.732 and 0.774 cross-validated, "
        "gradient boosting 0.750 and 0.760 cross-validated, majority class 0.650"
    )
    scores |= {"cross_validation": {"accuracy": 0.95}, "forward_chaining": {"accuracy": 0.74}}
    baselines["logistic_regression"]["forward_chaining"] = {"accuracy": 0.7}
    text = format_scores(build_evaluation(**scores), BINARY)
    assert "0.950 cross-validated, 0.740 on later rows by models of earlier ones; logistic" in text
    assert "0.774 cross-validated and 0.700 on later rows, gradient" in text


def test_undefined_scores_are_left_out_or_a_dash() -> None:
    later = {"rows": 5, "accuracy": 0.5}
    undefined = build_evaluation(
        primary_metrics=["macro.roc_auc"],
        test={"rows": 5, "accuracy": 0.5},
        cross_validation=later,
        forward_chaining=later,
        baseline={"majority": {"accuracy": 0.5}},
        threshold=0.5,
        equal_rows={"test": {"equal": 5, "equal_with_target": 5, "without": {"rows": 0}}},
    )
    assert list(summary_lines(undefined, {}, MULTICLASS, ThresholdRule(best="f1"))) == [
        "ROC AUC: – on 5 test rows; logistic regression –, gradient boosting –, majority class –",
        "Threshold 0.500: recall –, precision –, F1 – on the test rows; "
        "recall –, precision –, F1 – cross-validated",
        "warn: 5 of 5 test rows are equal to a training row, 5 of them with the same target; "
        "ROC AUC without these rows: –",
    ]


def test_coverage_columns_outside_training_and_classes_not_found_are_reported() -> None:
    coverage = {"asked": 0.9, "coverage": 0.88, "coverage_low": 0.85, "coverage_high": 0.91}
    evaluation = build_evaluation(
        interval=coverage | {"mean_width": 2.5},
        classes_not_found=["rare"],
        outside_training={"month": 1.0, "hour.of.day": 0.25},
    )
    assert list(summary_lines(evaluation, {}, MULTICLASS, None))[1:] == [
        "90% prediction intervals contain 0.880 (95% CI 0.850 to 0.910) of the test values; "
        "mean width 2.50",
        "warn: no test row of class rare is predicted correctly: its recall is 0",
        "warn: test rows are outside the range of the training rows in month (100%), "
        "hour.of.day (25%)",
    ]
