"""Some rows of a file through a function in place of a model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.model_file.metadata import ModelMetadata
from keras_tabular.prediction.drift import unknown_categories
from keras_tabular.prediction.predict import predict_rows
from keras_tabular.table import csv
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.source import read_rows
from tests.helpers import build_schema


def double(columns: dict[str, np.ndarray]) -> np.ndarray:
    return (2 * columns["a"]).astype(np.float32)[:, None]


def test_every_row_gets_a_prediction_and_the_failed_ones_are_told_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row without a number has all its columns, though each of its cells passes its checks."""
    schema = build_schema("binary", a={"kind": "real", "max": 9, "nullable": True})
    schema = schema.model_copy(update={"ignore": ("id",)})
    file, names = tmp_path / "t.csv", ["id", "a"]
    file.write_text("id,a\n1,0.3\n2,x\n3,10\n4,\n5,0.4\n006,\n")
    model: Any = SimpleNamespace(predict=double, metadata=ModelMetadata(threshold=0.7))
    checks = declared_checks(schema, Validate(range="warn"))
    monkeypatch.setattr(csv, "ROWS_PER_BATCH", 5)
    first, second = (
        predict_rows(raw, model, schema, checks, None) for raw in read_rows(file, schema, names)
    )
    assert first.predicted.columns["predicted"].to_pylist()[::2] == [0, 1, 1]
    np.testing.assert_array_equal(
        first.predicted.columns["probability_1"],
        np.array([0.6, np.nan, 20, np.nan, 0.8], np.float32),
    )
    assert [(f.row, f.column, f.check, f.policy) for f in first.predicted.failures] == [
        (1, "a", "kind", "error"),
        (2, "a", "range", "warn"),
        (3, "predicted", "finite", "error"),
    ]
    assert [failure.row for failure in second.predicted.failures] == [0]
    assert second.texts.to_pylist() == [{"id": "006", "a": ""}]


def test_a_column_without_a_value_has_no_unknown_category() -> None:
    schema = build_schema("binary", town={"kind": "category"}, sort={"kind": "category"})
    features = pa.table({"town": pa.array([None, None], pa.string()), "sort": ["a", "z"]})
    known = {"town": ["x"], "sort": ["a", "b"]}
    assert unknown_categories(features, known, schema) == {("sort", "z"): 1}
