"""Rows are checked and predicted, here with a function instead of a network."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.model_file.metadata import Intervals, ModelMetadata
from keras_tabular.prediction.drift import unknown_categories
from keras_tabular.prediction.predict import predict_rows
from keras_tabular.prediction.predictor import Predictor
from keras_tabular.table import csv
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.source import read_rows
from tests.helpers import build_schema


def make_predictor(schema: Schema, metadata: ModelMetadata) -> Predictor:
    """Return a predictor whose model doubles the column `a`."""

    def double(columns: dict[str, np.ndarray]) -> np.ndarray:
        return (2 * columns["a"]).astype(np.float32)[:, None]

    model: Any = SimpleNamespace(predict=double, metadata=metadata)
    return Predictor(model, schema, declared_checks(schema, Validate(range="warn")))


def test_every_row_is_predicted_and_failures_are_in_the_order_of_the_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row without a finite prediction fails, even if each of its cells passes its checks."""
    schema = build_schema("binary", a={"kind": "real", "max": 9, "nullable": True})
    schema = schema.model_copy(update={"ignore": ("id",)})
    file = tmp_path / "t.csv"
    file.write_text("id,a\n1,0.3\n2,x\n3,10\n4,\n5,0.4\n006,\n")
    predictor = make_predictor(schema, ModelMetadata(threshold=0.7))
    monkeypatch.setattr(csv, "ROWS_PER_BATCH", 5)
    batches = read_rows(file, schema, ["id", "a"])
    (first, columns), (second, _) = (predict_rows(raw, predictor) for raw in batches)
    assert columns["predicted"].to_pylist()[::2] == [0, 1, 1]
    probabilities = np.array([0.6, np.nan, 20, np.nan, 0.8], np.float32)
    np.testing.assert_array_equal(columns["probability_1"], probabilities)
    failures = [(1, "a", "error"), (2, "a", "warn"), (3, "predicted", "error")]
    assert [(f.row, f.column, f.policy) for f in first.failures] == failures
    assert [failure.row for failure in second.failures] == [0]
    assert second.texts.to_pylist() == [{"id": "006", "a": ""}]


def test_a_column_of_missing_values_has_no_unknown_category() -> None:
    features = pa.table({"town": pa.array([None, None], pa.string()), "sort": ["a", "z"]})
    categories = {"town": ["x"], "sort": ["a", "b"]}
    assert unknown_categories(features, categories) == {("sort", "z"): 1}


def test_the_threshold_itself_is_predicted_as_positive() -> None:
    probabilities = np.array([[0.6], [0.59]], np.float32)
    for positive, predicted in ((1, [1, 0]), (0, [0, 1])):
        schema = build_schema("binary").model_copy(update={"positive": positive})
        columns = schema.learning_task.prediction_columns(probabilities, 0.6)
        assert columns["predicted"].equals(pa.array(predicted, pa.int64()))
        assert list(columns) == ["predicted", f"probability_{positive}"]


@pytest.mark.parametrize(
    ("task", "ignore", "numbered", "names"),
    [
        ("binary", "id", True, ["row", "id", "predicted", "probability_1"]),
        ("binary", "row", False, ["row", "predicted", "probability_1"]),
        ("binary", "row", True, None),
        ("regression", "id", False, ["id", "predicted", "low", "high"]),
        ("regression", "low", False, None),
    ],
)
def test_identifiers_come_before_predictions_and_have_other_names(
    task: str, ignore: str, numbered: bool, names: list[str] | None
) -> None:
    schema = build_schema(task, a={"kind": "real"}).model_copy(update={"ignore": (ignore,)})
    intervals = Intervals(coverage=0.9, at=(0.0,), half=(1.0,)) if task == "regression" else None
    predictor = make_predictor(schema, ModelMetadata(intervals=intervals))
    if names is None:
        with pytest.raises(UserError, match=f"a column '{ignore}', but the output has one"):
            predictor.output_schema([ignore, "a"], numbered=numbered)
    else:
        assert predictor.output_schema([ignore, "a"], numbered=numbered).names == names
