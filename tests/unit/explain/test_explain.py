"""Effects, attribution, slices, and the variation between trainings."""

from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.sections import Range
from keras_tabular.evaluation.result import Result
from keras_tabular.evaluation.scores import FittedBaselines, Predictions
from keras_tabular.explain.distributions import (
    describe_columns,
)
from keras_tabular.explain.effects import column_effects
from keras_tabular.explain.explanations import (
    PICKS,
    STRICT,
    log_failure,
    training_deviation,
)
from keras_tabular.explain.slices import slice_scores
from keras_tabular.model.metadata import ModelMetadata
from keras_tabular.model.predict import reason_columns
from keras_tabular.network.attribution import Permutations, contributions
from keras_tabular.network.record import Ensemble
from keras_tabular.table.arrays import Inputs, feature_arrays
from keras_tabular.table.profile import ColumnSummary
from tests.helpers import (
    BINARY,
    MULTICLASS,
    REGRESSION,
    build_evaluation,
    build_predictions,
    build_schema,
)

# Tests of column effects for functions whose effects are known, and of histograms.
COLUMNS: dict[str, Any] = {
    "a": "real",
    "b": {"kind": "real", "nullable": True},
    "c": "category",
}
SCHEMA = build_schema("regression", **COLUMNS)


def make_table(rows: int = 1500, seed: int = 0, shift: float = 0.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows) + shift
    b = pa.array(a + rng.normal(size=rows) / 10, mask=rng.random(rows) < 0.1)
    c = rng.choice(["x", "y", "z"], rows, p=[0.6, 0.3, 0.1])
    return pa.table(
        {
            "a": a,
            "b": b,
            "c": c,
            "y": rng.normal(size=rows),
        },
    )


def predict_members(columns: Inputs) -> np.ndarray:
    """Predict 2a, and 3 more for category x; the members have slopes 3 and 1."""
    base = 2 * columns["a"] + 3 * (columns["c"] == "x")
    return np.column_stack([base, base + columns["a"], base - columns["a"]])


@pytest.mark.parametrize("max_weight", [1, 4])
def test_effects_are_those_of_the_function_despite_correlation(max_weight: int) -> None:
    """Column b is correlated with a and has no effect; rows have weights."""
    weight = 1.0 + np.random.default_rng(1).integers(0, max_weight, 1500)
    rows = make_table().append_column("w", pa.array(weight))
    schema = build_schema("regression", **COLUMNS, w="real")
    schema = schema.model_copy(update={"weight": "w"})
    effects = column_effects(
        predict_members,
        rows,
        schema,
        ["a", "c", "b"],
        1,
    )
    a, c, b = effects["columns"]
    np.testing.assert_allclose(np.diff(a["effect"]) / np.diff(a["values"]), 2)
    np.testing.assert_allclose(b["effect"], 0, atol=1e-9)
    at_rows = np.interp(rows["a"].to_numpy(), a["values"], a["effect"])
    assert np.average(at_rows, weights=weight) == pytest.approx(0, abs=1e-6)
    mean = 3 * np.average(rows["c"].to_numpy() == "x", weights=weight)
    category_effects = dict(zip(c["values"], c["effect"], strict=True))
    assert category_effects == pytest.approx(
        {
            "x": 3 - mean,
            "y": -mean,
            "z": -mean,
        },
    )
    assert (np.array(a["low"]) <= np.array(a["high"])).all()
    assert a["high"][-1] - a["low"][-1] > 1  # the members disagree


def test_effect_is_on_the_class_that_changes_most() -> None:
    schema = build_schema("multiclass", **COLUMNS)

    def predict_classes(columns: Inputs) -> np.ndarray:
        p = 1 / (1 + np.exp(-columns["a"]))
        return np.column_stack([p / 4, 1 - p, p * 3 / 4])

    effects = column_effects(predict_classes, make_table(), schema, ["a"], 1)
    (effect,) = effects["columns"]
    assert effect["class"] == "b"
    assert effect["effect"][0] > 0 > effect["effect"][-1]


def test_only_shifted_columns_have_moved() -> None:
    train = make_table()
    test = make_table(800, 1, shift=0.5)
    moved = describe_columns(train, test, SCHEMA, limit=0.1)
    assert [name for name, column in moved.items() if column["moved"]] == ["a", "b"]
    moved_far = describe_columns(train, test, SCHEMA, limit=0.3)
    assert not any(column["moved"] for column in moved_far.values())
    # The distance of the two normal distributions.
    assert moved["a"]["distance"] == pytest.approx(0.2, abs=0.03)


def test_column_without_values_has_no_effect() -> None:
    rows = make_table().set_column(1, "b", pa.nulls(1500, pa.float64()))
    effects = column_effects(
        predict_members,
        rows,
        SCHEMA,
        ["a", "b"],
        1,
    )["columns"]
    assert [effect["column"] for effect in effects] == ["a"]
    assert describe_columns(
        make_table(),
        rows,
        SCHEMA,
        limit=0.1,
    )["b"]["moved"]


def test_histogram_of_mostly_one_value_has_the_whole_range() -> None:
    values = np.r_[np.zeros(3000), np.arange(1.0, 14)]
    rows = pa.table({"a": values, "y": values % 2})
    schema = build_schema("regression", a="real")
    columns = describe_columns(rows, rows, schema, limit=0.1)
    assert columns["a"]["train"] == [3001, *[1] * 10, 2]
    assert columns["y"]["names"] == ["0", "1"]
    assert columns["y"]["test"] == [3006, 7]


# Contributions of columns to predictions, for functions whose Shapley values are known.
KINDS = COLUMNS | {"d/e": "text"}
ALL_KINDS = build_schema("regression", **KINDS)
TABLE = make_table(400).append_column("d/e", pa.array(["some words"] * 400))
SUMMARIES = {
    name: ColumnSummary.from_values(TABLE[name], column)
    for name, column in ALL_KINDS.features.items()
}
PERMUTATIONS = Permutations.from_summaries(SUMMARIES, ALL_KINDS, list(KINDS))
ROWS = feature_arrays(TABLE[:20], ALL_KINDS)


def linear(columns: Inputs) -> np.ndarray:
    """Predict 3 a + b (0 if b is missing) + 2 if c is x + 1 if there is a text."""
    predictions = 3 * columns["a"] + np.nan_to_num(columns["b"])
    predictions += 2 * (columns["c"] == "x") + (columns["d_e"] != "")
    return predictions[:, None]


def test_in_a_sum_each_column_contributes_its_term_minus_the_mean_of_this_term() -> (
    None
):
    effects = contributions(linear, ROWS, PERMUTATIONS)[:, :, 0]
    background = PERMUTATIONS.background
    np.testing.assert_allclose(effects[:, 0], 3 * (ROWS["a"] - background["a"].mean()))
    mean = np.mean(background["c"] == "x")
    np.testing.assert_allclose(effects[:, 2], 2 * ((ROWS["c"] == "x") - mean))
    np.testing.assert_allclose(effects[:, 3], 1)


def test_contributions_add_up_to_the_prediction_and_do_not_depend_on_other_rows() -> (
    None
):
    def product(columns: Inputs) -> np.ndarray:
        return (columns["a"] * (columns["c"] == "x"))[:, None]

    effects = contributions(product, ROWS, PERMUTATIONS)
    expected = product(ROWS) - product(PERMUTATIONS.background).mean(axis=0)
    np.testing.assert_allclose(effects.sum(axis=1), expected, atol=1e-12)
    row = {name: values[7:8] for name, values in ROWS.items()}
    (effects_of_row,) = contributions(product, row, PERMUTATIONS)
    np.testing.assert_array_equal(effects_of_row, effects[7])


@pytest.mark.parametrize("n_outputs", [BINARY.n_outputs, MULTICLASS.n_outputs])
def test_reasons_are_the_largest_effects_on_the_prediction(n_outputs: int) -> None:
    effects = np.zeros((2, 4, n_outputs))
    effects[0, :, -1] = [0.1, -0.4, 0.2, 0.0]
    effects[1] = np.nan
    outputs = np.tile(np.arange(n_outputs) / 9, (2, 1))
    reasons = reason_columns(effects, list(KINDS), outputs, 2)
    assert reasons["reason_1"].to_pylist() == ["b", None]
    assert reasons["reason_2"].to_pylist() == ["c", None]
    assert reasons["reason_1_effect"].to_pylist() == [pytest.approx(-0.4), None]


# The scores vary between trainings as much as the networks of the folds make them vary.
FOLDS = {"b": tuple(range(20)), "a": tuple(range(20))}


def build_metadata(target_range: tuple[float, float]) -> ModelMetadata:
    weights = {"b": 0.75, "a": 0.25}
    ensemble = Ensemble(weights=weights, folds=FOLDS, target_range=target_range)
    return ModelMetadata(ensemble=ensemble)


def test_the_deviation_is_the_standard_error_of_the_mean_of_the_folds() -> None:
    constants = np.random.default_rng(0).normal(1, 0.5, (2, 20)).astype(np.float32)
    a, b = constants  # the mean absolute error of a constant is linear in it
    y_pred = np.full((60, 1), a.mean() / 4 + b.mean() * 3 / 4)
    members = np.hstack([y_pred, np.tile(constants.ravel(), (60, 1))])
    test = build_predictions(REGRESSION, np.full(99, -9.0), np.zeros(99))
    deviation = training_deviation(members, test, build_metadata((-9.0, 9.0)))
    variance_of_mean = (a / 4 + b * 3 / 4).var(ddof=1) / 20
    variance_of_picks = 3 / 16 / PICKS * (a.mean() - b.mean()) ** 2
    expected = (variance_of_mean + variance_of_picks) ** 0.5
    assert deviation["mae"] == pytest.approx(expected, rel=0.15)
    assert training_deviation(members, test, build_metadata((-9.0, 9.0))) == deviation
    assert training_deviation(members, test, ModelMetadata()) == {}


def test_undefined_scores_have_no_deviation_and_equal_networks_none_at_all() -> None:
    y = np.repeat([0.0, 1.0], 30)
    members = np.full((60, 41), 0.3, np.float32)
    test = build_predictions(BINARY, y, members[:, 0])
    deviation = training_deviation(members, test, build_metadata((0.0, 1.0)))
    assert "precision" not in deviation
    assert deviation["loss"] == pytest.approx(0)


def test_an_error_that_another_run_may_not_have_fails_the_stage(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DVC would keep the results without the explanation."""
    monkeypatch.delenv(STRICT)
    with pytest.raises(MemoryError), log_failure("effects", {}):
        raise MemoryError


# Declared slices, the bins with the largest errors, and the names of bins.
FEATURES = {
    "age": "real",
    "town": "category",
    "day": "datetime",
    "noise": "real",
    "one": "integer",
}
RowSets = dict[str, tuple[pa.Table, Predictions]]


def make_features(rng: np.random.Generator, rows: int) -> pa.Table:
    age = rng.uniform(20, 80, rows)
    town = rng.choice(["a", "b"], rows)
    days = rng.integers(0, 100, rows) * np.timedelta64(1, "D")
    time = np.datetime64("2024-01-01T14", "us") + days
    columns = {
        "age": pa.array(age, mask=rng.random(rows) < 0.1),
        "town": town,
        "day": pa.array(time, pa.timestamp("us", "UTC")),
        "noise": rng.normal(size=rows),
        "one": np.ones(rows, np.int64),
    }
    return pa.table(columns)


def make_rows(
    rows: int,
    seed: int,
    error_rate: float = 0.1,
) -> tuple[pa.Table, Predictions]:
    """Make rows with an error rate of 0.1, and of `error_rate` in town b."""
    rng = np.random.default_rng(seed)
    table = make_features(rng, rows)
    is_in_b = table["town"].to_numpy() == "b"
    y = rng.integers(0, 2, rows).astype(float)
    is_error = rng.random(rows) < np.where(is_in_b, error_rate, 0.1)
    return table, build_predictions(BINARY, y, np.abs(y - is_error))


def score_slices(
    rows: RowSets,
    boosted: np.ndarray | None = None,
    **declared: Any,
) -> dict[str, Any]:
    """Score the slices of row sets; the baseline predicts `boosted`."""
    tables = {name: table for name, (table, _) in rows.items()}
    predictions = {name: predicted for name, (_, predicted) in rows.items()}
    baseline = {name: each.y_pred for name, each in predictions.items()}
    if boosted is not None:
        baseline["test"] = boosted
    schema = build_schema(predictions["test"].task.name, **FEATURES)
    thresholds: Any = {name: {"gradient_boosting": 0.5} for name in rows}
    fitted = FittedBaselines({"gradient_boosting": baseline}, {})
    result = Result(build_evaluation(), predictions, fitted, thresholds)
    return slice_scores(tables, result, schema, declared)


def binned_columns(slices: dict[str, Any]) -> set[str]:
    """Return the columns of the bins with the largest errors."""
    columns = set()
    for each in slices["bins"]:
        columns |= {name for name, _ in each["where"]}
    return columns


def make_row_sets(error_rate: float) -> RowSets:
    """Make cross-validated rows, and test rows with one error rate."""
    cross_validation = make_rows(2000, 0, error_rate)
    return {"cross_validation": cross_validation, "test": make_rows(500, 9)}


def test_bins_with_the_largest_errors_come_first() -> None:
    rows = make_row_sets(0.6)
    slices = score_slices(rows)
    assert slices["metric"] == "error"
    assert slices["row_set"] == "cross_validation"
    first = slices["bins"][0]
    assert first["where"] == [["town", "b"]]
    score = first["score"]
    low, high = score["interval"]
    table, _ = rows["cross_validation"]
    assert score["rows"] == table["town"].to_pylist().count("b")
    assert slices["all_rows"]["score"]["value"] < low < score["value"] < high
    assert score["gradient_boosting"] == score["value"]  # it predicts as the model does
    errors = [each["score"]["value"] for each in slices["bins"]]
    assert len(errors) == 10
    assert errors == sorted(errors, reverse=True)
    assert "one" not in binned_columns(slices)  # its only bin has all rows


def test_errors_of_a_regression_are_shown_with_those_of_boosting() -> None:
    rng = np.random.default_rng(0)
    table = make_features(rng, 2000)
    y = rng.normal(size=2000)
    is_in_b = table["town"].to_numpy() == "b"
    boosted = y[:, None] - 0.5
    predictions = build_predictions(REGRESSION, y, y + is_in_b)
    slices = score_slices({"test": (table, predictions)}, boosted[:1900])
    assert slices["metric"] == "mae"
    assert slices["row_set"] == "test"
    # The baseline has predicted fewer rows.
    assert slices["all_rows"]["score"]["rows"] == 1900
    first = slices["bins"][0]
    assert first["where"] == [["town", "b"]]
    assert first["score"]["value"] == pytest.approx(1)
    # Equal errors say nothing about their spread.
    assert "interval" not in first["score"]
    for each in (first, slices["all_rows"]):
        assert each["score"]["gradient_boosting"] == pytest.approx(0.5)


def test_rows_without_weight_are_not_counted() -> None:
    table, predictions = make_rows(2000, 0, 0.4)
    weight = np.where(table["town"].to_numpy() == "b", 0.0, 1.0)
    rows = {"test": (table, predictions._replace(weight=weight))}
    slices = score_slices(rows, b={"town": ("b",)})
    assert "town" not in binned_columns(slices)
    empty = {
        "score": {},
        "test": {},
        "where": [["town", "b"]],
    }
    assert slices["declared"]["b"] == empty


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"age": Range(low=30, high=40)}, "30 <= age <= 40"),
        ({"town": ("b",), "age": Range(high=50)}, "town == 'b' and age <= 50"),
        ({"day": Range(low=date(2024, 2, 1))}, "day >= '2024-02-01T00:00:00Z'"),
        ({"day": Range(high=date(2024, 2, 1))}, "day < '2024-02-02T00:00:00Z'"),
    ],
)
def test_declared_slice_has_its_rows_without_missing_values(
    conditions: dict[str, Any],
    expected: str,
) -> None:
    scores = score_slices(make_row_sets(0.1), mine=conditions)["declared"]["mine"]
    for name, (rows, seed) in {"score": (2000, 0), "test": (500, 9)}.items():
        frame = make_rows(rows, seed)[0].to_pandas()
        assert scores[name]["rows"] == len(frame.query(expected))
        low, high = scores[name]["interval"]
        assert low < scores[name]["value"] < high
