"""Thresholds, intervals, baselines and the points of plots."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import expit
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.metrics import precision_recall_curve, roc_curve
from sklearn.pipeline import make_pipeline

from keras_tabular.config.params import Params
from keras_tabular.config.sections import Drift, Evaluate, ThresholdRule, Validate
from keras_tabular.evaluation import baselines, calibration, plot_data
from keras_tabular.evaluation.calibration import choose_threshold, fit_intervals
from keras_tabular.explain.importance import REPEATS, permutation_importance
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.network.record import TrainingRecord
from keras_tabular.table.out_of_fold import FoldPredictions, OutOfFold
from keras_tabular.table.parquet import write_parts
from tests.helpers import (
    BINARY,
    PROJECT,
    REGRESSION,
    build_arrow_schema,
    build_predictions,
    build_schema,
)

# A threshold is chosen on predictions for rows that were not learnt from.
RNG = np.random.default_rng(0)

RULES: list[dict[str, Any]] = [
    {"best": "accuracy"},
    {"best": "balanced_accuracy"},
    {"best": "f1"},
    {"cost": {"false_negative": 5, "false_positive": 1}},
    {"cost": {1: {0: 5, 1: -2}, 0: {0: -1, 1: 3}}},
    {"recall": 0.3},
    {"recall": 0.9},
    {"precision": 0.3},
    {"precision": 0.9},
]


def rate_threshold(
    rule: ThresholdRule,
    y: np.ndarray,
    y_pred: np.ndarray,
    weight: np.ndarray,
) -> tuple[bool, float]:
    """Return whether the required share is reached, and the value to maximise."""
    rest, alarms, misses, hits = np.bincount(2 * y + y_pred, weight, 4)
    recall = hits / max(hits + misses, 1)
    precision = hits / max(hits + alarms, 1)
    if rule.recall:
        is_reached = recall >= rule.recall
        return is_reached, -alarms if is_reached else recall
    if rule.precision:
        is_reached = precision >= rule.precision
        return is_reached, recall if is_reached else precision
    if rule.cost:
        confusion = np.array([[rest, alarms], [misses, hits]])
        return True, -np.sum(confusion * rule.cost_matrix((0, 1)))
    scores = {
        "accuracy": (hits + rest) / weight.sum(),
        "balanced_accuracy": (recall + rest / max(alarms + rest, 1)) / 2,
        "f1": 2 * hits / max(2 * hits + alarms + misses, 1),
    }
    return True, round(scores[str(rule.best)], 9)


ROW = st.tuples(st.integers(0, 1), st.integers(0, 20), st.integers(1, 3))


@given(st.lists(ROW, min_size=1, max_size=40))
def test_no_other_threshold_is_better(rows: list[tuple[int, int, int]]) -> None:
    y, place, weight = np.array(rows).T
    probability = place / 20
    for content in RULES:
        rule = ThresholdRule.model_validate(content)
        rows_to_rate = build_predictions(
            BINARY,
            y,
            probability,
            weight=weight.astype(float),
            costs=rule.cost_matrix((0, 1)) if rule.cost else None,
        )
        threshold, is_reached = choose_threshold(rule, rows_to_rate)
        rating = rate_threshold(rule, y, probability >= threshold, weight)
        assert is_reached == rating[0]
        for other in [*np.unique(probability), 1.1]:
            assert rating >= rate_threshold(rule, y, probability >= other, weight)


def test_a_number_is_used_as_it_is_and_a_rule_has_one_key() -> None:
    y = np.array([1, 0])
    probability = np.array([0.9, 0.2])
    precise = ThresholdRule(precision=0.9)
    for rule, threshold in ((0.3, 0.3), (precise, 0.55)):
        rows = build_predictions(BINARY, y, probability)
        assert choose_threshold(rule, rows)[0] == pytest.approx(threshold)
    for wrong in ({"best": "f1", "recall": 0.9}, {}, {"recall": 1.5}, 1.0):
        with pytest.raises(ValidationError):
            Evaluate.model_validate({"threshold": wrong})


def test_a_cross_fitted_threshold_is_chosen_on_the_other_folds() -> None:
    probability = expit(1.5 * RNG.normal(size=2000))
    fold = np.arange(2000) % 5
    is_positive = (RNG.random(2000) < probability).astype(float)
    rows = build_predictions(BINARY, is_positive, probability)
    rule = ThresholdRule(precision=0.7)
    cross_fitted = calibration.cross_fit(rule, rows, fold)
    for number in range(5):
        is_in_fold = fold == number
        threshold, _ = choose_threshold(rule, rows.select(~is_in_fold))
        in_fold = cross_fitted.select(is_in_fold)
        assert np.unique(in_fold.threshold).tolist() == [threshold]
        expected = cross_fitted.predicted_classes[is_in_fold]
        np.testing.assert_array_equal(in_fold.predicted_classes, expected)
    assert calibration.cross_fit(None, rows, fold).threshold == 0.5


STAGE_ROWS = 900
RULE = ThresholdRule(recall=0.9)
PARAMS = Params.model_construct(
    evaluate=Evaluate(threshold=RULE),
    validate=Validate(),
    drift=Drift(),
)


def calibrate_rows(
    folder: Path,
    task: str,
    y: np.ndarray,
    oof: OutOfFold,
) -> ModelMetadata:
    """Write training rows, and calibrate on these predictions for them."""
    schema = build_schema(task)
    x = np.arange(STAGE_ROWS) / 9
    target = y if task == "regression" else y.astype(int)
    table = pa.table({"x": x, "y": target}, build_arrow_schema(schema))
    write_parts(folder, [table[:400], table[400:]])
    return calibration.calibrate(TrainingRecord(), oof, folder, schema, PARAMS)


def build_oof(y_pred: np.ndarray, fold: np.ndarray) -> FoldPredictions:
    return FoldPredictions(y_pred.astype(np.float32)[:, None], fold.astype(np.int32))


@pytest.mark.parametrize("blocks", [1, 2])
def test_only_predictions_of_forward_chaining_are_used_if_there_are_any(
    tmp_path: Path,
    blocks: int,
) -> None:
    """The halves of a single block are used as folds."""
    block = np.arange(STAGE_ROWS) * (blocks + 1) // STAGE_ROWS - 1
    later = block >= 0
    fold = block[later] if blocks > 1 else np.arange(later.sum()) % 2
    y = RNG.normal(size=STAGE_ROWS)
    is_positive = (y > 0).astype(float)
    chained = build_oof(np.where(later, RNG.random(STAGE_ROWS), np.nan), block)
    y_pred = chained.y_pred[:, 0]
    # The predictions in cross-validation are much too good.
    oof = OutOfFold(build_oof(y, np.arange(STAGE_ROWS) % 3), chained)

    metadata = calibrate_rows(tmp_path / "binary", "binary", is_positive, oof)
    rows = build_predictions(BINARY, is_positive[later], y_pred)
    threshold, _ = choose_threshold(RULE, rows)
    assert metadata.threshold == threshold

    metadata = calibrate_rows(tmp_path / "regression", "regression", y, oof)
    rows = build_predictions(REGRESSION, y[later], y_pred)
    intervals = fit_intervals(rows, fold, PARAMS.evaluate.coverage)
    assert metadata.intervals == intervals


# Intervals contain the requested share of new values, and are wide where errors are
# large.
def draw_rows(
    rng: np.random.Generator,
    rows: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw x, y = 2x with noise that grows with x, and a fold."""
    x = rng.uniform(0, 3, rows)
    noise = rng.normal(size=rows) * (0.2 + x)
    fold = np.arange(rows) % 5
    return x, 2 * x + noise, fold


@pytest.mark.parametrize("rows", [100, 600])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_intervals_have_their_coverage_and_are_wide_where_errors_are_large(
    coverage: float,
    rows: int,
) -> None:
    """On average over 100 tables, where each fold's network has a bias of its own.

    The intervals of few rows have one width.
    """
    rng = np.random.default_rng(0)
    covered = []
    widths = []
    for _ in range(100):
        x, y, fold = draw_rows(rng, rows)
        bias = 0.25 * rng.normal(size=5)
        oof = build_predictions(REGRESSION, y, 2 * x + bias[fold])
        intervals = fit_intervals(oof, fold, coverage, 0.25**2)
        new_x, new_y, _ = draw_rows(rng, 300)
        low, high = intervals.ends(2 * new_x + bias.mean()).T
        covered.append(np.mean((low <= new_y) & (new_y <= high)))
        widths.append(np.ptp(intervals.ends(np.array([0.1, 5.9])), axis=1))
    assert np.mean(covered) == pytest.approx(coverage, abs=0.02)
    narrow, wide = np.mean(widths, axis=0)
    assert rows == 100 or wide > 4 * narrow


# The baselines learn from the rows of the network, and for each fold from the other
# folds.
BINARY_SCHEMA = build_schema("binary")
CV = "cross_validation"
FRAME = pd.DataFrame({"x": [0.0, 1.0, 2.0, 3.0]})


def write_split(folder: Path) -> Path:
    """Write 40 training rows in two parts, no validation rows, and 10 test rows."""
    y = (np.arange(40) % 4 == 0).astype(int)
    table = pa.table({"x": np.linspace(-1, 1, 40), "y": y})
    write_parts(folder / "train", [table[:25], table[25:]])
    write_parts(folder / "validation", [table[:0]])
    write_parts(folder / "test", [table[:10]])
    return folder


@pytest.mark.parametrize("name", ["linear", "gradient_boosting"])
def test_a_class_without_training_rows_has_probability_0(name: str) -> None:
    schema = build_schema("multiclass")
    estimator = baselines.build_baselines(schema, "auto")[name]
    fitted = estimator.fit(FRAME, [0, 0, 2, 2])
    y_pred = baselines.predict(fitted, FRAME, schema.learning_task)
    assert y_pred[:, 1].tolist() == [0.0] * 4


def test_the_trees_learn_from_missing_values_and_many_categories() -> None:
    schema = build_schema("regression", x="real", town="category")
    rng = np.random.default_rng(0)
    town = rng.integers(0, 400, 4000)
    x = np.where(rng.random(4000) < 0.5, np.nan, rng.normal(size=4000))
    frame = pd.DataFrame({"x": x, "town": [f"t{number}" for number in town]})
    y = 2.0 * (town < 20) + np.isnan(x)
    trees = baselines.build_baselines(schema, "auto")["gradient_boosting"].fit(frame, y)
    seen = pd.DataFrame(
        {"x": [np.nan, 0.1, np.nan, 0.1], "town": ["t1", "t1", "t300", "new"]},
    )
    predictions = baselines.predict(trees, seen, schema.learning_task)[:, 0]
    np.testing.assert_allclose(predictions[:3], [3, 2, 1], atol=0.3)
    assert np.isfinite(predictions[3])


@pytest.mark.parametrize("kind", ["real", "category"])
def test_a_column_may_have_no_values_in_training(kind: str) -> None:
    schema = build_schema(
        "binary",
        x="real",
        empty={"kind": kind, "nullable": True},
    )
    y = np.tile([0, 0, 1, 1], 10)
    missing = np.nan if kind == "real" else None
    frame = pd.DataFrame({"x": y + np.linspace(0, 0.5, 40), "empty": [missing] * 40})
    filled = frame.assign(empty=5.0 if kind == "real" else "a")
    for estimator in baselines.build_baselines(schema, "auto").values():
        fitted = baselines.fit(estimator, frame, y, np.ones(40))
        for rows in (frame, filled):
            y_pred = baselines.predict(fitted, rows, schema.learning_task)
            assert np.isfinite(y_pred).all()


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the baselines by one that predicts the share of ones."""

    def build(*_: Any) -> dict[str, Any]:
        return {"linear": make_pipeline("passthrough", DummyClassifier())}

    monkeypatch.setattr(baselines, "build_baselines", build)
    monkeypatch.setattr(baselines, "list_settings", lambda *_: [{}])


@pytest.mark.usefixtures("shares")
def test_the_rows_of_a_fold_are_predicted_by_a_baseline_of_other_or_earlier_rows(
    tmp_path: Path,
) -> None:
    # The share of ones in a fold is 3 or 2 of 10 rows.
    fold = (np.arange(40) // 10).astype(np.int32)
    block = np.repeat([-1, 0, 1], [10, 14, 16]).astype(np.int32)
    folds = {CV: fold, "forward_chaining": block}
    split = write_split(tmp_path)
    fitted = baselines.predict_baselines(split, folds, BINARY_SCHEMA, "auto")
    y_pred = fitted.predictions["linear"]
    of_others = np.repeat([7 / 30, 8 / 30, 7 / 30, 8 / 30], 10)
    np.testing.assert_allclose(y_pred[CV][:, 0], of_others)
    of_earlier = np.repeat([3 / 10, 6 / 24], [14, 16])
    np.testing.assert_allclose(y_pred["forward_chaining"][:, 0], of_earlier)
    np.testing.assert_allclose(y_pred["test"], np.full((10, 1), 0.25))


@pytest.mark.usefixtures("shares")
def test_the_number_of_training_rows_is_limited_and_that_of_test_rows_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(baselines, "MAX_TRAINING_ROWS", 9)
    fold = (np.arange(40) % 2).astype(np.int32)  # the ones are all of fold 0
    folds = {CV: fold}
    split = write_split(tmp_path)
    fitted = baselines.predict_baselines(split, folds, BINARY_SCHEMA, "auto")
    predictions = fitted.predictions
    for y_pred in predictions.values():
        assert len(y_pred[CV]) == 9
        assert len(y_pred["test"]) == 10
    y_pred = predictions["linear"]
    np.testing.assert_allclose(y_pred["test"], np.full((10, 1), 3 / 9))
    assert not y_pred[CV][fold[:9] == 0].any()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_linear_model_of_a_survey_is_better_than_no_model(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    """Ten of 120 answers, from 1 to 5 or 0 for not known, say a little."""
    schema = build_schema("binary", **dict.fromkeys(map(str, range(120)), "category"))
    linear = baselines.build_baselines(schema, "auto")["linear"]
    monkeypatch.setattr(baselines, "build_baselines", lambda *_: {"linear": linear})
    rng = np.random.default_rng(seed)
    answers = rng.integers(0, 6, (1000, 120))
    y = rng.random(1000) < expit(2 * answers[:, :10].mean(axis=1) - 5)
    columns = zip(schema.features, answers.T.astype(str), strict=True)
    table = pa.table(dict(columns) | {"y": y * 1})
    for part, rows in {"train": 1000, "validation": 0, "test": 1}.items():
        write_parts(tmp_path / part, [table[:rows]])
    folds = {CV: np.arange(1000) % 3}
    fitted = baselines.predict_baselines(tmp_path, folds, schema, "auto")
    y_pred = fitted.predictions["linear"][CV]
    no_model = np.full((1000, 1), y.mean())
    assert BINARY.row_losses(y, y_pred).sum() < BINARY.row_losses(y, no_model).sum()


@pytest.mark.parametrize(
    ("task", "n_columns"),
    [("multiclass", 20), ("multiclass", 60), ("regression", 10)],
)
def test_the_order_of_sums_does_not_change_the_linear_model(
    task: str,
    n_columns: int,
) -> None:
    """The order of the columns changes it, as the matrix products of another CPU do.

    The numbers are skewed and nearly equal, so that the model is hard to fit.
    """
    rng = np.random.default_rng(0)
    x = np.exp(3 * rng.normal(size=(400, 1)) + rng.random((400, n_columns)) / 3)
    y = np.digitize(x[:, 0] / x[:, 1], [0.9, 1.1])
    town = rng.integers(0, 400, 400).astype(str)
    frame = pd.DataFrame(x).add_prefix("x").assign(town=town)
    schema = build_schema(
        task, **dict.fromkeys(map(str, frame), "real") | {"town": "category"}
    )
    linear = baselines.build_baselines(schema, "auto")["linear"]
    linear[-1].set_params(**baselines.list_settings(linear[-1], y, BINARY)[-1])
    first, second = (
        baselines.predict(clone(linear).fit(x, y), x, schema.learning_task)
        for x in (frame, frame.iloc[:, ::-1])
    )
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-9)


def test_the_trees_end_before_they_learn_noise(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((2, 400))
    table = pa.table({"x": x, "y": (y > 0.5) * 1})
    for part in ("train", "validation", "test"):
        write_parts(tmp_path / part, [table])
    folds = {CV: np.arange(400) % 4}
    fitted = baselines.predict_baselines(tmp_path, folds, BINARY_SCHEMA, "auto")
    assert np.ptp(fitted.predictions["gradient_boosting"]["test"]) < 0.1


def test_each_row_set_chooses_between_all_losses(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Poisson's loss, which the first one chooses here, is not the only one then."""
    monkeypatch.setattr(baselines, "ROUNDS", (1, 15))
    rng = np.random.default_rng(0)
    x = rng.random(400)
    table = pa.table({"x": x, "y": rng.poisson(np.exp(8 * x - 5))})
    for part in ("train", "validation", "test"):
        write_parts(tmp_path / part, [table])
    fold = np.arange(400) // 100
    schema = build_schema("regression")
    fit = partial(baselines.predict_baselines, tmp_path, schema=schema, loss="auto")
    once = fit({CV: fold})
    twice = fit({CV: fold, "again": fold})
    refitted = fit({}, chosen=once.chosen)
    for fitted in (twice, refitted):
        np.testing.assert_array_equal(
            fitted.predictions["gradient_boosting"]["test"],
            once.predictions["gradient_boosting"]["test"],
        )


def test_a_date_of_any_year_is_divided_into_parts() -> None:
    schema = build_schema("binary", until={"kind": "datetime", "nullable": True})
    timestamps = pa.array([None, "9999-12-31T12:00:00"]).cast(pa.timestamp("us"))
    part = pa.table({"until": timestamps.cast(pa.timestamp("us", "UTC")), "y": [0, 1]})
    frame = baselines.feature_frame(part, schema)
    assert frame.iloc[0].isna().all()
    assert frame.iloc[1].tolist() == [2932896.5, 9999, 12, 31, 4, 365, 12]
    by_time = schema.model_copy(update={"time": "until"})
    assert [*baselines.feature_frame(part, by_time)] == [*frame][1:]


def test_the_trees_minimise_absolute_errors_if_the_model_does() -> None:
    """Else, they minimise squared errors or, for skewed counts, also Poisson's loss."""
    schema = build_schema("regression")
    counts = np.repeat([0, 1, 9], [80, 15, 5])
    for loss in REGRESSION.losses:
        *_, trees = baselines.build_baselines(schema, loss)["gradient_boosting"]
        is_absolute = loss == "mean_absolute_error"
        losses = ["absolute_error"] if is_absolute else ["squared_error", "poisson"]
        settings = baselines.list_settings(trees, counts, REGRESSION)
        assert [*dict.fromkeys(setting["loss"] for setting in settings)] == losses


# The data of the plots is correct, and small enough for git.
def test_dvc_plots_read_files_and_columns_that_are_written() -> None:
    entries = yaml.safe_load((PROJECT / "metrics/dvc.yaml").read_text())["plots"]
    for entry in entries:
        (plot,) = entry.values()
        ((file, y),) = plot["y"].items()
        if file != "curves/loss.csv":
            columns = {plot["x"], *([y] if isinstance(y, str) else y)}
            assert columns <= {*plot_data.HEADERS[Path(file).stem]}


@pytest.mark.parametrize("digits", [1, 9])
def test_the_curves_are_those_of_scikit_learn(digits: int) -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(200) < 0.3
    probability = rng.random(200).round(digits)
    weight = rng.integers(1, 4, 200).astype(float)
    plots = plot_data.ranking_plots(truth, probability, weight)

    x, y, _ = roc_curve(truth, probability, sample_weight=weight)
    points = np.column_stack(plots["roc"])
    # Omitted points lie on lines.
    on_lines = np.interp(x + y, points.sum(axis=1), points[:, 1])
    np.testing.assert_allclose(on_lines, y, atol=1e-12)

    precision, recall, _ = precision_recall_curve(
        truth,
        probability,
        sample_weight=weight,
    )
    best = pd.Series(precision).groupby(recall).max()
    np.testing.assert_array_equal(plots["precision_recall"], [best.index, best])


def test_no_plot_passes_200_kb_and_the_confusion_counts_every_row(
    tmp_path: Path,
) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 50_000).astype(float)
    predicted = rng.random((len(y), 1), dtype=np.float32)
    test = build_predictions(BINARY, y, predicted, threshold=0.7)
    plots = plot_data.compute_plots(test, {"x": rng.random(10)})
    keys = dict.fromkeys(("row", "line"), np.arange(len(y)))
    plot_data.write_plots(tmp_path, plots, test, keys)
    sizes = {path.stem: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes.keys() == {*plot_data.HEADERS, "test_rows"}
    assert max(sizes.values()) < 200_000
    confusion = pd.read_csv(tmp_path / "confusion.csv")
    assert confusion["rows"].sum() == len(y)
    counts = confusion.groupby("predicted class")["rows"].sum()
    assert counts[1] == (predicted >= 0.7).sum()


def test_the_cost_of_each_threshold_is_computed() -> None:
    y = np.array([0.0, 0.0, 1.0, 1.0])
    costs = ((0, 1), (5, 0))
    test = build_predictions(
        BINARY,
        y,
        [0.1, 0.6, 0.4, 0.9],
        costs=costs,
    )
    columns = plot_data.compute_plots(test, {})["threshold"]
    points = {row[0]: row[1:] for row in np.column_stack(columns).tolist()}
    assert points[0.5] == [0.5, 0.5, 0.5, 0.5, (5 + 1) / 4]
    assert np.isnan(points[0.95][1])  # precision


def permute(feature: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Compute the importance of a perfect column and of an unused one."""
    columns = {
        "used": feature,
        "unused": feature,
        "weight": weight.astype(float),
    }
    schema = build_schema("regression", **dict.fromkeys(columns, "real"))
    return permutation_importance(
        lambda inputs: inputs["used"][:, None],
        pa.table(columns),
        feature,
        schema.model_copy(update={"weight": "weight"}),
        1,
    )


def test_a_weight_counts_like_repeated_rows_and_unread_columns_do_not_matter() -> None:
    rng = np.random.default_rng(0)
    feature = rng.random(1000)
    repeats = rng.integers(0, 4, 1000)
    once = np.ones(1000)
    repeats[feature > 0.5] = 9
    copies = np.repeat(np.arange(1000), repeats)
    ones = np.ones(repeats.sum())
    importance = permute(feature, once)
    assert (importance["unused"] == 0).all()
    assert len(importance["used"]) == REPEATS
    # The expected squared difference of two independent rows is twice the variance.
    unweighted = importance["used"].mean()
    assert unweighted == pytest.approx(2 * feature.var(), rel=0.2)
    repeated = permute(feature[copies], ones)["used"].mean()
    assert permute(feature, repeats)["used"].mean() == pytest.approx(repeated, rel=0.1)
    assert unweighted > 1.3 * repeated

    y = (rng.random(1000) < feature).astype(float)
    rows = build_predictions(BINARY, y, feature, weight=repeats.astype(float))
    plots = plot_data.compute_plots(rows, {})
    repeated_rows = rows.select(copies)._replace(weight=ones)
    expected = plot_data.compute_plots(repeated_rows, {})
    np.testing.assert_allclose(plots["calibration"][:2], expected["calibration"][:2])
