"""The baselines learn from the rows of the network, and for each fold from the other folds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_tabular.evaluation import baselines
from keras_tabular.table.parquet import write_parts
from keras_tabular.tasks.task import Regression
from tests.helpers import build_schema

BINARY, MULTICLASS, REGRESSION = map(build_schema, ("binary", "multiclass", "regression"))
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


def test_a_class_without_training_rows_has_probability_0() -> None:
    for name in ("logistic_regression", "gradient_boosting"):
        fitted = baselines.build_baselines(MULTICLASS, "auto")[name].fit(FRAME, [0, 0, 2, 2])
        assert (
            baselines.predict(fitted, FRAME, MULTICLASS.learning_task)[:, 1].tolist() == [0.0] * 4
        )


def test_the_trees_learn_from_missing_values_and_many_categories() -> None:
    schema = build_schema("regression", x={"kind": "real"}, town={"kind": "category"})
    rng = np.random.default_rng(0)
    town = rng.integers(0, 400, 4000)
    x = np.where(rng.random(4000) < 0.5, np.nan, rng.normal(size=4000))
    frame = pd.DataFrame({"x": x, "town": [f"t{number}" for number in town]})
    y = 2.0 * (town < 20) + np.isnan(x)
    trees = baselines.build_baselines(schema, "auto")["gradient_boosting"].fit(frame, y)
    seen = pd.DataFrame({"x": [np.nan, 0.1, np.nan, 0.1], "town": ["t1", "t1", "t300", "new"]})
    predictions = baselines.predict(trees, seen, schema.learning_task)[:, 0]
    np.testing.assert_allclose(predictions[:3], [3, 2, 1], atol=0.3)
    assert np.isfinite(predictions[3])


@pytest.mark.parametrize("kind", ["real", "category"])
def test_a_column_without_values_in_training_is_not_used(kind: str) -> None:
    schema = build_schema("binary", x={"kind": "real"}, empty={"kind": kind, "nullable": True})
    y = np.tile([0, 0, 1, 1], 10)
    missing = np.nan if kind == "real" else None
    frame = pd.DataFrame({"x": y + np.linspace(0, 0.5, 40), "empty": [missing] * 40})
    value = 5.0 if kind == "real" else "a"
    for name, estimator in baselines.build_baselines(schema, "auto").items():
        fitted = baselines.fit(estimator, frame, y, np.ones(40))
        without, with_values = (
            baselines.predict(fitted, rows, schema.learning_task)
            for rows in (frame, frame.assign(empty=[value] * 40))
        )
        assert np.isfinite(without).all()
        if name == "gradient_boosting":
            np.testing.assert_array_equal(with_values, without)


def test_the_rows_of_a_fold_are_predicted_by_a_baseline_of_other_or_earlier_rows(
    tmp_path: Path,
) -> None:
    fold = (np.arange(40) // 10).astype(np.int32)  # the share of ones is 3 or 2 of 10 rows
    block = np.repeat([-1, 0, 1], [10, 14, 16]).astype(np.int32)
    folds = {CV: fold, "forward_chaining": block}
    predictions = baselines.predict_baselines(write_split(tmp_path), folds, BINARY, "auto")
    of_others = (10 - np.array([3, 2, 3, 2])) / 30
    of_earlier = np.array([3 / 10, 6 / 24])
    constant = predictions["majority"]
    np.testing.assert_allclose(constant[CV][:, 0], np.repeat(of_others, 10))
    np.testing.assert_allclose(constant["forward_chaining"][:, 0], np.repeat(of_earlier, [14, 16]))
    np.testing.assert_allclose(constant["test"], np.full((10, 1), 0.25))
    for other in predictions.values():
        assert (len(other[CV]), len(other["forward_chaining"])) == (40, 30)


def test_the_number_of_training_rows_is_limited_and_that_of_test_rows_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baselines, "MAX_TRAINING_ROWS", 9)
    fold = (np.arange(40) % 2).astype(np.int32)  # the ones are all of fold 0
    predictions = baselines.predict_baselines(write_split(tmp_path), {CV: fold}, BINARY, "auto")
    assert {(len(other[CV]), len(other["test"])) for other in predictions.values()} == {(9, 10)}
    np.testing.assert_allclose(predictions["majority"]["test"], np.full((10, 1), 3 / 9))
    assert not predictions["logistic_regression"][CV][fold[:9] == 0].any()


def test_a_date_of_any_year_is_divided_into_parts() -> None:
    schema = build_schema("binary", until={"kind": "datetime", "nullable": True})
    timestamps = pa.array([None, "9999-12-31T12:00:00"]).cast(pa.timestamp("us"))
    part = pa.table({"until": timestamps.cast(pa.timestamp("us", "UTC")), "y": [0, 1]})
    frame = baselines.feature_frame(part, schema)
    assert frame.iloc[0].isna().all()
    assert frame.iloc[1].tolist() == [2932896.5, 9999, 12, 31, 4, 365, 12]


def test_the_constant_and_the_trees_minimise_absolute_errors_if_the_model_does() -> None:
    """They minimise squared errors if the loss is Huber or log-cosh."""
    y, weight = np.array([0.0, 1, 2, 9]), np.array([1.0, 1, 3, 1])
    for loss in Regression.losses:
        fitted = baselines.build_baselines(REGRESSION, loss)
        constant = baselines.fit(fitted["mean"], FRAME, y, weight).predict(FRAME[:1])
        absolute = loss == "mean_absolute_error"
        assert constant == (2 if absolute else 16 / 6)
        criterion = "absolute_error" if absolute else "squared_error"
        assert fitted["gradient_boosting"][-1].loss == criterion
