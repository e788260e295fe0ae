"""Scores, their records, intervals and differences."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import binomtest, skew
from scipy.stats import t as student_t
from sklearn import metrics

from keras_tabular.core.errors import UserError
from keras_tabular.evaluation import records, uncertainty
from keras_tabular.evaluation.constants import find_best_constants
from keras_tabular.evaluation.records import (
    MODEL,
    TEST_FILE,
    Duplicates,
    Evaluation,
    score_records,
)
from keras_tabular.evaluation.scores import Predictions, score, scores_by_weights
from keras_tabular.evaluation.uncertainty import (
    mean_difference,
    mean_interval,
    score_and_resample,
)
from keras_tabular.tasks.metrics import METRICS, CustomMetric, check_custom_metrics
from keras_tabular.tasks.task import TASKS
from tests.helpers import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    build_predictions,
    build_schema,
)


# Scores are those of scikit-learn, and undefined scores are left out.
def compute_with_sklearn(task: str, predictions: Predictions) -> dict[str, float]:
    """Compute the scores of weighted rows with scikit-learn."""
    _, y, outputs, weight, threshold, *_ = predictions
    losses = predictions.row_losses
    weighted = {"sample_weight": weight}
    expected = {"loss": np.average(losses, weights=weight)}
    value = outputs[:, 0]
    if task == "regression":
        at_least_0 = np.maximum(value, 0)
        return expected | {
            "mae": metrics.mean_absolute_error(y, value, **weighted),
            "mape": metrics.mean_absolute_percentage_error(y, value, **weighted),
            "r2": metrics.r2_score(y, value, **weighted),
            "rmse": metrics.root_mean_squared_error(y, value, **weighted),
            "rmsle": metrics.root_mean_squared_log_error(y, at_least_0, **weighted),
        }
    truth = np.eye(3)[y.astype(int)]
    ranked = outputs
    classes = outputs.argmax(1)
    prefix = "macro."
    averages = {"macro.": "macro", "weighted.": "weighted"}
    if task == "binary":
        truth = y
        ranked = value
        classes = value >= threshold
        prefix = ""
        averages = {"": "binary"}
        expected["brier"] = metrics.brier_score_loss(y, value, **weighted)
    for average_prefix, average in averages.items():
        options = weighted | {"average": average, "zero_division": 0}
        of_classes = metrics.precision_recall_fscore_support(y, classes, **options)
        names = [average_prefix + name for name in ("precision", "recall", "f1")]
        expected |= dict(zip(names, of_classes[:3], strict=True))
    return expected | {
        "accuracy": metrics.accuracy_score(y, classes, **weighted),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, classes, **weighted),
        f"{prefix}roc_auc": metrics.roc_auc_score(truth, ranked, **weighted),
        f"{prefix}average_precision": metrics.average_precision_score(
            truth,
            ranked,
            **weighted,
        ),
    }


@pytest.mark.parametrize("task", TASKS)
def test_scores_are_those_of_scikit_learn_also_under_many_weights(task: str) -> None:
    predictions = draw_predictions(task)
    expected = compute_with_sklearn(task, predictions)
    scores = score(predictions)
    assert scores == pytest.approx(expected)
    assert scores.keys() == set(predictions.task.metrics)
    weights = np.stack([predictions.weight, 3 * predictions.weight])
    many = scores_by_weights(predictions, weights)
    assert many.keys() == expected.keys()
    for key, values in many.items():
        assert values == pytest.approx([expected[key]] * 2), key
    for key, rows in score_and_resample(predictions).row_values.items():
        mean = np.average(rows, weights=predictions.weight)
        assert mean == pytest.approx(expected[key])


def test_macro_scores_are_means_over_the_classes_that_occur() -> None:
    y = np.array([0, 1, 1])
    for predicted in (y, [0, 1, 2]):
        rows = build_predictions(MULTICLASS, y, np.eye(3)[predicted])
        expected = metrics.f1_score(y, predicted, average="macro")
        assert score(rows)["macro.f1"] == pytest.approx(expected)


def test_r2_does_not_depend_on_the_mean_and_needs_values_that_differ() -> None:
    rows = draw_predictions("regression")
    far_from_0 = score(rows._replace(y=rows.y + 1e9, y_pred=rows.y_pred + 1e9))
    assert far_from_0["r2"] == pytest.approx(score(rows)["r2"], abs=1e-4)
    assert "r2" not in score(rows._replace(y=np.full(300, 0.1)))


def test_an_undefined_score_is_left_out() -> None:
    def scores(y: list[float], *probability: float) -> dict[str, float]:
        return score(build_predictions(BINARY, y, probability))

    of_one_class = scores([1, 1, 1], 0.1, 0.2, 1.0)
    assert "roc_auc" not in of_one_class
    assert "average_precision" not in of_one_class
    # Precision is undefined without a row that is predicted as positive.
    none_predicted = scores([0, 1], 0.1, 0.2)
    assert "precision" not in none_predicted
    assert none_predicted["f1"] == none_predicted["recall"] == 0
    # Recall is undefined without a positive row.
    defined = {"loss", "accuracy", "balanced_accuracy", "brier"}
    assert scores([0, 0], 0.1, 0.2).keys() == defined
    assert scores([0, 0], 0.1, 0.9)["f1"] == 0
    without_rows = build_predictions(BINARY, [0], [0.1]).select(slice(0))
    assert score(without_rows) == {}


@pytest.mark.parametrize("names", [["a.b"], ["cost_low"], ["2"], ["cost", "cost"]])
def test_a_metric_name_that_cannot_be_a_key_is_an_error(names: list[str]) -> None:
    metrics = [
        CustomMetric(name, lambda rows: 0.0, greater_is_better=True) for name in names
    ]
    with pytest.raises(UserError, match=r"^custom\.py: METRICS: "):
        check_custom_metrics(metrics, "auto")


def test_an_error_in_a_metric_names_the_metric() -> None:
    """It is a RuntimeError, so that its traceback is shown."""

    def read_costs(rows: Predictions) -> float:
        return float(Path("none.txt").read_text())

    cost = CustomMetric("cost", read_costs, greater_is_better=False)
    predictions = build_predictions(BINARY, np.ones(3), np.ones(3))
    with pytest.raises(RuntimeError, match=r"^custom\.py: .* cost") as failure:
        score(predictions._replace(custom_metrics=[cost]))
    assert isinstance(failure.value.__cause__, FileNotFoundError)


# Scores are written as JSON and read again.
VALUES = {"accuracy": 0.5, "loss": 0.25, "custom.cost": 2.5}
INTERVALS = {"accuracy": (0.25, 0.75)}
DIFFERENCES = {
    "accuracy": records.Difference(
        value=0.25,
        low=-0.5,
        high=1.0,
    ),
}
EVALUATION = Evaluation(
    main_metrics=("accuracy",),
    scores=(
        *score_records("test", MODEL, VALUES, 20, interval=INTERVALS),
        *score_records(
            "test",
            "dummy",
            {"accuracy": 0.25},
            20,
            difference=DIFFERENCES,
        ),
        *score_records("train", MODEL, VALUES, 40),
        *score_records(TEST_FILE + "newer", MODEL, VALUES, 3),
    ),
    training_rows={"newer": 2},
    threshold=0.25,
    interval_coverage=records.IntervalCoverage(
        nominal=0.9,
        coverage=0.8,
        low=0.7,
        high=0.85,
        mean_width=12.0,
    ),
    duplicates={
        "test": Duplicates(
            equal=2,
            equal_with_target=1,
            without={"accuracy": 0.5},
        ),
    },
    outside_training={"time.of.day": 0.5},
    custom_metrics={"cost": False},
)


def test_an_evaluation_is_read_as_it_was_written_and_readers_compare_its_main_scores(
    tmp_path: Path,
) -> None:
    """The main scores are those of the test rows and of the test files."""
    records.write_scores(tmp_path, EVALUATION, BINARY)
    content = (tmp_path / "scores.json").read_text()
    assert Evaluation.model_validate_json(content) == EVALUATION
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "baseline": {"dummy": {"accuracy": 0.25}},
        "test": {
            "accuracy": 0.5,
            "accuracy_low": 0.25,
            "accuracy_high": 0.75,
            "loss": 0.25,
            "custom": {"cost": 2.5},
        },
        "tests": {
            "newer": {
                "accuracy": 0.5,
                "loss": 0.25,
                "custom": {"cost": 2.5},
            },
        },
        "threshold": 0.25,
    }
    assert records.model_values(EVALUATION.scores)["tests.newer.custom.cost"] == 2.5


# Intervals and paired differences agree with the formulas of textbooks.
def draw_predictions(task: str, rows: int = 300, seed: int = 0) -> Predictions:
    """Draw labels, weights, and predictions that depend on the labels."""
    rng = np.random.default_rng(seed)
    learning_task = build_schema(task).learning_task
    classes = len(learning_task.classes)
    if not classes:
        y = rng.exponential(size=rows)
        y_pred = (y + rng.normal(size=rows))[:, None]
        return Predictions(learning_task, y, y_pred, rng.random(rows))
    y = rng.integers(0, classes, rows).astype(float)
    p = rng.dirichlet(np.ones(classes), rows) + np.eye(classes)[y.astype(int)] / 2
    p = np.round(p / p.sum(axis=1, keepdims=True), 2)  # with ties
    y_pred = p[:, list(learning_task.output_classes)]
    return Predictions(learning_task, y, y_pred, rng.random(rows), 0.4)


@pytest.mark.parametrize("hits", [0, 31, 40])
def test_the_interval_of_a_share_is_that_of_scipy(hits: int) -> None:
    interval = uncertainty.share_interval(np.arange(40) < hits, np.ones(40))
    expected = binomtest(hits, 40).proportion_ci(0.95, method="wilson")
    assert interval == pytest.approx((hits / 40, expected.low, expected.high))


def test_the_end_on_the_side_of_a_long_tail_solves_the_equation_of_hall() -> None:
    values = np.random.default_rng(0).lognormal(size=30)
    weight = np.ones(30)
    mean, low, high = mean_interval(values, weight)
    error = values.std(ddof=1) / 30**0.5
    quantile = student_t.ppf(0.975, 29)
    assert low == pytest.approx(mean - quantile * error)
    s = skew(values) / 30**0.5
    t = (mean - high) / error
    assert ((1 + s * t / 3) ** 3 - 1) / s + s / 6 == pytest.approx(-quantile)
    reverse = mean_difference(-values, weight, None, is_share=False)
    assert reverse == pytest.approx((-mean, -high, -low))


# McNemar's p-values are 0.062, 0.031 and 0.065.
@pytest.mark.parametrize(
    ("wins", "losses", "better"),
    [(5, 0, 0), (6, 0, 1), (9, 2, 0)],
)
def test_a_difference_of_few_rows_agrees_with_mcnemar(
    wins: int,
    losses: int,
    better: int,
) -> None:
    first = np.ones(254)
    second = np.ones(254)
    weight = np.ones(254)
    second[:wins] = 0
    first[wins : wins + losses] = 0
    difference, low, high = mean_difference(first - second, weight, None, is_share=True)
    assert difference == pytest.approx((wins - losses) / 254)
    assert (low > 0) == better
    reverse = mean_difference(second - first, weight, None, is_share=True)
    assert reverse == pytest.approx((-difference, -high, -low))
    no_difference = mean_difference(np.zeros(254), weight, None, is_share=True)
    assert no_difference == pytest.approx((0, -2.78 / 256, 2.78 / 256), abs=2e-4)


@pytest.mark.parametrize(("positive", "negative"), [(100, 100), (40, 60_000)])
def test_the_interval_of_roc_auc_agrees_with_the_formula_of_hanley_and_mcneil(
    positive: int,
    negative: int,
) -> None:
    """The second case draws a sample of the rows, with every row of the rare class."""
    labels = np.repeat([1.0, 0.0], [positive, negative])
    y = np.random.default_rng(2).permutation(labels)
    p = expit(y + np.random.default_rng(1).normal(size=len(y)))
    scored = score_and_resample(build_predictions(BINARY, y, p))
    area = scored.values["roc_auc"]
    low, high = scored.intervals()["roc_auc"]
    q1 = area / (2 - area)
    q2 = 2 * area**2 / (1 + area)
    pairs = (positive - 1) * (q1 - area**2) + (negative - 1) * (q2 - area**2)
    error = ((area * (1 - area) + pairs) / positive / negative) ** 0.5
    assert low < area < high
    assert (high - low) / 2 / 1.96 == pytest.approx(error, rel=0.15)


def test_rmse_differs_if_the_mean_squared_error_does() -> None:
    rows = draw_predictions("regression")
    first = score_and_resample(rows)
    second = score_and_resample(rows._replace(y_pred=rows.y_pred + 0.1))
    differences = first.differences(second)
    total = first.values["rmse"] + second.values["rmse"]
    assert differences["rmse"].high * total == pytest.approx(differences["loss"].high)


@pytest.mark.parametrize("task", TASKS)
def test_no_constant_is_better_than_the_best_constant(task: str) -> None:
    """The constant for a metric is the best one by it, with any threshold."""
    rows = draw_predictions(task)
    rng = np.random.default_rng(0)
    if task == "regression":
        rows = rows._replace(y=np.abs(rows.y) + 0.1)
    best = {key: each.values[key] for key, each in find_best_constants(rows).items()}
    assert best.keys() == {*rows.task.metrics}
    for _ in range(100):
        if task == "multiclass":
            y_pred = rng.dirichlet(np.ones(3))
        else:
            y_pred = rng.uniform(0, 2, 1)
        constant = rows._replace(y_pred=np.tile(y_pred, (300, 1)), threshold=1.0)
        for key, value in score(constant).items():
            metric = METRICS[key.rpartition(".")[2]]
            if metric.greater_is_better:
                assert value <= best[key] + 1e-9, key
            else:
                assert value >= best[key] - 1e-9, key


def test_the_constant_of_a_split_by_time_is_that_of_the_training_rows() -> None:
    """The classes of later rows have other shares, which nobody knew before."""
    later = build_predictions(BINARY, [0, 1, 1, 1], np.full(4, 0.5))
    learnt = build_predictions(BINARY, [0, 0, 0, 1], np.full(4, 0.5))
    constants = find_best_constants(later, learnt)
    assert constants["accuracy"].values["accuracy"] == 0.25
    assert constants["loss"].predictions.y_pred[:, 0].tolist() == [0.25] * 4


OF_BOTH_CLASSES = {"roc_auc", "average_precision", "balanced_accuracy"}


@pytest.mark.parametrize(
    ("positive", "without_interval"),
    [(9, {"recall", "f1"} | OF_BOTH_CLASSES), (10, set[str]()), (91, OF_BOTH_CLASSES)],
)
def test_a_score_that_few_rows_of_a_class_decide_has_no_interval(
    positive: int,
    without_interval: set[str],
) -> None:
    y = (np.arange(100) < positive).astype(float)
    predictions = draw_predictions("binary", 100)._replace(y=y, weight=np.ones(100))
    scored = score_and_resample(predictions)
    expected = set(BINARY.metrics) - without_interval
    assert scored.intervals().keys() == expected
    assert scored.differences(scored).keys() == expected
    few_positive = predictions._replace(threshold=np.sort(predictions.y_pred[:, 0])[-9])
    assert "precision" not in score_and_resample(few_positive).intervals()


def test_few_rows_few_groups_and_perfect_scores_have_no_interval() -> None:
    rows = draw_predictions("binary", 100)._replace(weight=np.ones(100))
    for predictions, keys in (
        (rows.select(slice(9)), set[str]()),
        (rows._replace(group=np.arange(100) // 25), {"accuracy", "loss"}),
        (rows._replace(group=np.zeros(100, int)), set[str]()),
        (
            rows._replace(y_pred=np.abs(rows.y - 0.1)[:, None]),
            {"accuracy", "recall", "balanced_accuracy"},
        ),
    ):
        assert score_and_resample(predictions).intervals().keys() == keys


def test_the_interval_of_the_balanced_accuracy_holds_if_few_rows_are_found() -> None:
    rng = np.random.default_rng(0)
    y = (np.arange(200) < 12).astype(float)
    inside = 0
    for _ in range(200):
        hits = rng.random(200) < np.where(y, 0.1, 0.98)
        rows = build_predictions(BINARY, y, np.where(hits, y, 1 - y))
        low, high = score_and_resample(rows).intervals()["balanced_accuracy"]
        inside += low <= (0.1 + 0.98) / 2 <= high
    assert inside >= 0.92 * 200


def test_copies_of_a_row_in_a_group_count_as_one_row() -> None:
    rng = np.random.default_rng(0)
    ones = np.ones(48)
    group = np.repeat(np.arange(48), 12)
    weight = np.ones(len(group))
    share = rng.integers(0, 2, 48).astype(float)
    skewed = rng.gamma(4, 0.5, 48)
    for values, compute_interval in (
        (skewed, mean_interval),
        (share, uncertainty.share_interval),
    ):
        copies = values[group]
        interval = compute_interval(copies, weight, group)
        assert interval == pytest.approx(compute_interval(values, ones), abs=0.01)
        difference = mean_difference(copies - 1, weight, group, is_share=False)
        expected = mean_difference(values - 1, ones, None, is_share=False)
        assert difference == pytest.approx(expected)


def test_intervals_hold_if_few_groups_have_most_rows() -> None:
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(100), 200 // np.arange(1, 101))
    n_rows = len(group)
    inside = 0
    for _ in range(300):
        errors = rng.normal(size=100)[group] + rng.normal(size=n_rows)
        rows = build_predictions(REGRESSION, errors, np.zeros(n_rows), group=group)
        low, high = score_and_resample(rows).intervals()["loss"]
        inside += low <= 2 <= high
    assert inside >= 0.88 * 300
