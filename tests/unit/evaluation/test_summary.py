"""The summary of an evaluation has what is defined, and nothing else."""

from keras_tabular.core.numbers import format_number
from keras_tabular.evaluation.summary import format_scores, summary_lines
from keras_tabular.scoring.evaluation import MODEL, Evaluation, score_records
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
    row_sets = ("test", "cross_validation", "forward_chaining")
    values = {
        MODEL: (185 / 254, 0.770428, 0.74),
        "logistic_regression": (0.732283, 0.774319, 0.7),
        "majority": (0.649606, 0.651751),
        "gradient_boosting": (0.75, 0.76),
    }
    scores = [
        score
        for model, of_model in values.items()
        for row_set, value in zip(row_sets, of_model, strict=False)
        for score in score_records(row_set, model, {"accuracy": value}, 254)
    ]
    scores[0] = scores[0].model_copy(update={"interval": (0.6705, 0.7793)})
    evaluation = Evaluation(primary_metrics=("accuracy",), scores=tuple(scores))
    assert format_scores(evaluation, BINARY, "accuracy") == (
        "Accuracy: 0.728 on 254 test rows (95% CI 0.670 to 0.779), 0.770 cross-validated, "
        "0.740 on later rows by models of earlier ones; "
        "logistic regression 0.732 and 0.774 cross-validated and 0.700 on later rows, "
        "gradient boosting 0.750 and 0.760 cross-validated, majority class 0.650"
    )


def test_undefined_scores_are_a_dash_and_what_a_user_should_know_is_a_warning() -> None:
    coverage = {"nominal": 0.9, "coverage": 0.88, "low": 0.85, "high": 0.91, "mean_width": 2.5}
    evaluation = build_evaluation(
        rows=5,
        primary_metrics=["macro.roc_auc"],
        test={"accuracy": 0.5},
        cross_validation={"accuracy": 0.5},
        baselines={"majority": {"accuracy": 0.5}},
        threshold=0.5,
        reaches_rule=False,
        predicted_positives={"test": 12.0, "cross_validation": 30.0},
        equal_rows={"test": {"equal": 5, "equal_with_target": 5, "without": {}}},
        interval_coverage=coverage,
        classes_not_found=["rare"],
        outside_training={"month": 1.0, "hour.of.day": 0.25},
    )
    assert list(summary_lines(evaluation, {}, MULTICLASS)) == [
        "ROC AUC: – on 5 test rows; logistic regression –, gradient boosting –, majority class –",
        "Threshold 0.500: recall –, precision –, F1 – on the test rows; "
        "recall –, precision –, F1 – cross-validated",
        "90% prediction intervals contain 0.880 (95% CI 0.850 to 0.910) of the test values; "
        "mean width 2.50",
        "warn: 5 of 5 test rows are equal to a training row, 5 of them with the same target; "
        "ROC AUC without these rows: –",
        "warn: no test row of class rare is predicted correctly: its recall is 0",
        "warn: no threshold reaches the rule of evaluate.threshold; the best one for its precision "
        "or recall was chosen",
        "warn: Test rows: 12 rows are predicted as positive: the precision is hardly known",
        "warn: test rows are outside the range of the training rows in month (100%), "
        "hour.of.day (25%)",
    ]
