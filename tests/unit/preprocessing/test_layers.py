"""The preprocessing is a part of the model, and is fitted to the training rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Train
from keras_tabular.core.errors import UserError
from keras_tabular.networks.backend import keras
from keras_tabular.preprocessing.layers import build_preprocessing, category_positions
from keras_tabular.preprocessing.statistics import Statistics, adapt
from keras_tabular.table.arrays import feature_arrays
from tests.helpers import build_schema, load_train_params

SCHEMA = build_schema(
    "binary", a={"kind": "real", "missing_values": [0, -1], "nullable": True}, b={"kind": "integer"}
)
RAW = pa.table({"a": [1.0, 0.0, 3.0, 8.0, None], "b": [0, 1, 2, 3, 4], "y": [0, 1, 0, 1, 0]})
TABLE = RAW.set_column(0, "a", pa.array([1.0, None, 3.0, 8.0, None]))  # as it is ingested


def fit(rows: pa.Table, schema: Schema, train: Train) -> tuple[Statistics, keras.Model]:
    """Fit the preprocessing to training rows in two parts."""

    def read(names: list[str] | None) -> list[pa.Table]:
        return [part.select(names or part.column_names) for part in (rows[:2], rows[2:])]

    statistics = adapt(read, schema, train)
    return statistics, build_preprocessing(statistics, schema, train)


def preprocess(train: Train, rows: pa.Table = RAW, fitted_to: pa.Table = TABLE) -> np.ndarray:
    _, model = fit(fitted_to, SCHEMA, train)
    return np.asarray(model(feature_arrays(rows, SCHEMA)))


def test_missing_values_become_the_mean_and_are_marked() -> None:
    train = load_train_params(imputation="mean", normalization="standard", missing_indicators=True)
    a = np.array([1, 4, 3, 8, 4]) - 4
    b = np.arange(5) - 2
    expected = np.column_stack([a / np.sqrt(26 / 3), b / np.sqrt(2), [0, 1, 0, 0, 1]])
    np.testing.assert_allclose(preprocess(train), expected, atol=1e-6)
    unseen = pa.table({"a": [-1.0], "b": [2], "y": [0]})
    np.testing.assert_allclose(preprocess(train, unseen), [[0, 0, 1]], atol=1e-6)


def test_the_columns_of_a_category_are_found() -> None:
    columns = {"a": "real", "colour": "category", "size": "category", "note": "text"}
    schema = build_schema(
        "binary", **{n: {"kind": k, "nullable": True} for n, k in columns.items()}
    )
    values = {"a": [1.0, None, 3.0], "colour": ["red", None, "blue"], "size": ["s", "m", "s"]}
    rows = pa.table(values | {"note": ["one", "two", None], "y": [0, 1, 0]})
    statistics, model = fit(rows, schema, load_train_params())
    x = np.asarray(model(feature_arrays(rows, schema)))
    positions = category_positions(statistics, model)
    parts = {name: x[:, first:end].tolist() for name, (first, end) in positions.items()}
    blue, red, missing = np.eye(3).tolist()
    assert parts == {"colour": [red, missing, blue], "size": [[0, 1], [1, 0], [0, 1]]}


def test_median_and_min_max() -> None:
    scaling: dict[str, Any] = {"imputation": "median", "normalization": "min_max"}
    train = load_train_params(**scaling, missing_indicators=False)
    expected = np.column_stack([np.array([0, 2, 2, 7, 2]) / 7, np.arange(5) / 4])
    np.testing.assert_allclose(preprocess(train), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("unit", "start"), [(1e36, 0), (1e27, 1e9), (1e20, 0), (1, 1e9), (1e-12, 0)]
)
def test_a_column_of_any_unit_is_scaled_by_the_saved_model_too(
    unit: float, start: float, tmp_path: Path
) -> None:
    part = TABLE.set_column(1, "b", pa.array((np.arange(5) + start) * unit))
    schema = build_schema("binary", a={"kind": "real", "nullable": True}, b={"kind": "real"})
    _, saved = fit(part, schema, load_train_params(imputation="mean", normalization="standard"))
    saved.save(tmp_path / "m.keras")
    model = keras.models.load_model(tmp_path / "m.keras", safe_mode=True)
    scaled = np.asarray(model(feature_arrays(part, schema)))[:, 1]
    np.testing.assert_allclose(scaled, (np.arange(5) - 2) / np.sqrt(2), atol=1e-5)


def test_raw_columns_stay_as_they_are_and_may_not_have_missing_values() -> None:
    train = load_train_params(imputation="none", normalization="none", missing_indicators=False)
    with pytest.raises(UserError, match=r"column a has missing values.*train\.imputation"):
        preprocess(train)
    with pytest.raises(UserError, match=r"column a .* missing_values are 0, -1"):
        preprocess(train, RAW[:4], TABLE[:4])
    raw = preprocess(train, RAW[:4], TABLE[2:4])
    np.testing.assert_array_equal(raw, [[1, 0], [np.nan, 1], [3, 2], [8, 3]])
    empty = TABLE.set_column(0, "a", pa.nulls(5, pa.float64()))
    with pytest.raises(UserError, match=r"column a has no value"):
        preprocess(load_train_params(), empty, empty)


def test_the_varying_parts_of_a_date_become_columns_and_a_missing_date_is_marked() -> None:
    """The year and the time of day are the same in all rows."""
    schema = build_schema("binary", day={"kind": "datetime", "nullable": True})
    moments = pa.array(["2024-05-31", "2024-06-03", None]).cast(pa.timestamp("us"))
    part = pa.table({"day": moments.cast(pa.timestamp("us", "UTC")), "y": [0, 1, 0]})
    statistics, model = fit(part, schema, load_train_params())
    assert statistics.dates["day"].parts == ("time", "month", "day", "day of the year", "weekday")
    prepared = np.asarray(model(feature_arrays(part, schema)))
    assert prepared.shape == (3, 5 + 2 * 2 + 1)
    np.testing.assert_allclose(prepared[:2, :5], [[-1, -1, 1, -1, 1], [1, 1, -1, 1, -1]])
    assert prepared[:, -1].tolist() == [0, 0, 1]
    assert prepared[2, 0] == pytest.approx(0, abs=1e-6)
