"""The line that evaluate ends with says what is known, and no more."""

from typing import Any

from tabular.evaluation.sentences import closing_lines, sentence


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
        "Accuracy: 72.83% on 254 test rows (95% interval 67.05% to 77.93%), "
        "77.04% cross-validated; logistic regression 73.23% and 77.43% cross-validated, "
        "gradient boosting 75.00% and 76.00% cross-validated, majority class 64.96%"
    )


def test_of_values_it_is_the_error_and_of_a_rare_class_the_ranking() -> None:
    known = {"rows": 50, "mae": 12345.678, "mae_low": 9000.0, "mae_high": 15000.0}
    others = {"ridge": {"mae": 0.5}, "mean": {"mae": 1e6}, "gradient_boosting": {"mae": 0.25}}
    assert sentence({"decides": ["mae"], "test": known, "baseline": others}, "regression") == (
        "Mean absolute error: 12345.7 on 50 test rows (95% interval 9000 to 15000); "
        "ridge regression 0.5, gradient boosting 0.25, the mean 1e+06"
    )
    rare = {"rows": 900, "roc_auc": 0.8, "roc_auc_low": 0.7, "roc_auc_high": 0.9}
    decides = ["roc_auc", "average_precision"]
    assert sentence({"decides": decides, "test": rare, "baseline": {}}, "binary") == (
        "ROC AUC: 80.00% on 900 test rows (95% interval 70.00% to 90.00%); "
        "logistic regression –, gradient boosting –, majority class –"
    )


def test_columns_in_which_test_rows_lie_outside_are_said() -> None:
    scores = {"decides": ["mae"], "test": {"rows": 5, "mae": 2.0}, "baseline": {}}
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
        "Intervals of 90% hold 88.0% of the values of test rows (95% interval 85.0% to 91.0%); "
        "mean width 2.5"
    )
    of_classes = {"rows": 50, "accuracy": 0.5, "accuracy_low": 0.4, "accuracy_high": 0.6}
    scores = {"decides": ["accuracy"], "test": of_classes, "baseline": {}}
    scores |= {"classes_not_found": ["rare"]}
    *_, last = closing_lines(scores, {}, "multiclass", chosen=False)
    assert last == "warn: recall of rare is 0: no test row of it is predicted to be of it"
