"""The line that evaluate ends with says what is known, and no more."""

from typing import Any

from tabular.core.metrics import shown
from tabular.evaluation.sentences import closing_lines, sentence


def test_a_number_has_the_digits_that_tell_it_apart_and_three_at_least() -> None:
    for value, beside, said in (
        (0.724409, [0.732283], "0.724"), (0.13, [0.09], "0.130"), (-0.007874, [], "-0.00787"),
        (0.7244, [0.7239], "0.7244"), (0.7239, [0.7244], "0.7239"),
        (0.991228, [0.5], "0.991"), (0.9996, [], "0.9996"), (1.0, [0.9996], "1.000"),
        (12345.678, [12399.0], "12,346"), (0.0, [], "0.00"), (1e300, [], "1e+300"),
    ):  # fmt: skip
        assert shown(value, *beside) == said


def test_the_sentence_says_what_is_known() -> None:
    known = {"rows": 254, "accuracy": 185 / 254, "accuracy_low": 0.6705, "accuracy_high": 0.7793}
    others: dict[str, Any] = {
        name: {"accuracy": test, "cross_validation": {"accuracy": folds}}
        for name, test, folds in (
            ("logistic_regression", 0.732283, 0.774319),
            ("majority", 0.649606, 0.651751),
            ("gradient_boosting", 0.75, 0.76),
        )
    }
    scores = {"decides": ["accuracy"], "test": known, "baseline": others}
    assert sentence(scores | {"cross_validation": {"accuracy": 0.770428}}, "binary") == (
        "Accuracy: 0.728 on 254 test rows (95% interval 0.670 to 0.779), "
        "0.770 cross-validated; logistic regression 0.732 and 0.774 cross-validated, "
        "gradient boosting 0.750 and 0.760 cross-validated, majority class 0.650"
    )
    scores |= {"cross_validation": {"accuracy": 0.95}, "forward_chaining": {"accuracy": 0.74}}
    assert "0.950 cross-validated, 0.740 on later rows by models of earlier ones; logistic" in (
        sentence(scores, "binary")
    )


def test_of_values_it_is_the_error_and_of_a_rare_class_the_ranking() -> None:
    known = {"rows": 50, "mae": 12345.678, "mae_low": 9000.0, "mae_high": 15000.0}
    others = {"ridge": {"mae": 0.5}, "mean": {"mae": 1e6}, "gradient_boosting": {"mae": 0.25}}
    assert sentence({"decides": ["mae"], "test": known, "baseline": others}, "regression") == (
        "Mean absolute error: 12,346 on 50 test rows (95% interval 9,000 to 15,000); "
        "ridge regression 0.500, gradient boosting 0.250, the mean 1,000,000"
    )
    rare = {"rows": 900, "roc_auc": 0.8, "roc_auc_low": 0.7, "roc_auc_high": 0.9}
    decides = ["roc_auc", "average_precision"]
    assert sentence({"decides": decides, "test": rare, "baseline": {}}, "binary") == (
        "ROC AUC: 0.800 on 900 test rows (95% interval 0.700 to 0.900); "
        "logistic regression –, gradient boosting –, majority class –"
    )


def test_columns_in_which_test_rows_lie_outside_are_said() -> None:
    scores = {"decides": ["mae"], "baseline": {}}
    scores |= {"test": {"rows": 5, "mae": 2.0, "mae_low": 1.0, "mae_high": 3.0}}
    scores |= {"classes_not_found": [], "outside_training": {"month": 1.0, "hour": 0.25}}
    *_, last = closing_lines(scores, {}, "regression", chosen=False)
    assert last == (
        "warn: test rows lie outside what training saw in columns that matter: "
        "month (100%), hour (25%)"
    )


def test_intervals_and_classes_that_are_not_found_are_said() -> None:
    of_values = {"rows": 50, "mae": 2.0, "mae_low": 1.0, "mae_high": 3.0}
    held = {"asked": 0.9, "coverage": 0.88, "coverage_low": 0.85, "coverage_high": 0.91}
    scores = {"decides": ["mae"], "test": of_values, "baseline": {}, "classes_not_found": []}
    scores |= {"interval": held | {"mean_width": 2.5}}
    *_, last = closing_lines(scores, {}, "regression", chosen=False)
    assert last == (
        "Intervals of 90% hold 0.880 of the values of test rows (95% interval 0.850 to 0.910); "
        "mean width 2.50"
    )
    of_classes = {"rows": 50, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    scores = {"decides": ["accuracy"], "test": of_classes, "baseline": {}}
    scores |= {"classes_not_found": ["rare"]}
    *_, last = closing_lines(scores, {}, "multiclass", chosen=False)
    assert last == "warn: recall of rare is 0: no test row of it is predicted to be of it"
