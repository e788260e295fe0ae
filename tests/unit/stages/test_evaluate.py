"""The line that evaluate ends with says what is known, and no more."""

from typing import Any

from stages.evaluate import sentence


def test_the_sentence_says_what_is_known() -> None:
    scores: dict[str, Any] = {
        "decides": ["accuracy"],
        "test": {
            **{"rows": 254, "accuracy": 185 / 254},
            **{"accuracy_low": 0.670544, "accuracy_high": 0.779344},
        },
        "cross_validation": {"accuracy": 0.770428},
        "baseline": {
            "logistic_regression": {
                "accuracy": 0.732283,
                "cross_validation": {"accuracy": 0.774319},
            },
            "majority": {"accuracy": 0.649606, "cross_validation": {"accuracy": 0.651751}},
            "gradient_boosting": {"accuracy": 0.75, "cross_validation": {"accuracy": 0.76}},
        },
    }
    assert sentence(scores, "binary") == (
        "Accuracy: 72.83% on 254 test rows (95% interval 67.05% to 77.93%), "
        "77.04% cross-validated; logistic regression 73.23% and 77.43% cross-validated, "
        "gradient boosting 75.00% and 76.00% cross-validated, majority class 64.96%"
    )
    values = {"rows": 50, "mae": 12345.678, "mae_low": 9000.0, "mae_high": 15000.0}
    others = {"ridge": {"mae": 0.5}, "mean": {"mae": 1e6}, "gradient_boosting": {"mae": 0.25}}
    found = {"decides": ["mae"], "test": values, "baseline": others}
    assert sentence(found, "regression") == (
        "Mean absolute error: 12345.7 on 50 test rows (95% interval 9000 to 15000); "
        "ridge regression 0.5, gradient boosting 0.25, the mean 1e+06"
    )
    rare = {"rows": 900, "roc_auc": 0.8, "roc_auc_low": 0.7, "roc_auc_high": 0.9}
    others = {name: {"roc_auc": 0.5} for name in scores["baseline"]}
    found = {"decides": ["roc_auc", "average_precision"], "test": rare, "baseline": others}
    assert sentence(found, "binary").startswith(
        "ROC AUC: 80.00% on 900 test rows (95% interval 70.00% to 90.00%); logistic regression "
    )
