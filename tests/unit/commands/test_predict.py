"""One batch of rows through a function in place of a model."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from commands.predict import predict_piece
from tabular.params.validate import Validate
from tabular.prediction.answers import predict_batch
from tabular.prediction.drift import unknown_categories, unknown_lines
from tabular.prediction.inputs import Batch, check_batch
from tabular.table.checks import declared_checks
from tabular.table.rejects import rejected_rows
from tabular.table.source import pieces
from tests.helpers import schema_of

SCHEMA = schema_of("binary", a={"kind": "real", "max": 9, "nullable": True})


def batch_of(cells: list[str]) -> Batch:
    checks = declared_checks(SCHEMA, Validate(range="warn"))
    return check_batch(pa.table({"a": pa.array(cells, pa.string())}), SCHEMA, checks)


def double(threshold: float = 0.5) -> Any:
    """A model that says twice as much."""

    def predict(columns: dict[str, np.ndarray]) -> np.ndarray:
        return (2 * columns["a"]).astype(np.float32)[:, None]

    return SimpleNamespace(
        path=Path("m"), predict=predict, threshold=threshold, metadata={}, intervals=None
    )


def test_every_row_gets_a_prediction_and_the_failed_ones_are_told_in_order() -> None:
    batch = batch_of(["0.3", "x", "10", "", "0.2"])
    predicted = predict_batch(batch, double(), SCHEMA)
    assert predicted.columns["predicted"].to_pylist()[::4] == [1, 0]
    np.testing.assert_array_equal(
        predicted.columns["probability_1"], np.array([0.6, np.nan, 20, np.nan, 0.4], np.float32)
    )
    failures = [(f.row, f.column, f.check, f.policy) for f in predicted.failures]
    assert failures == [
        (1, "a", "kind", "error"),
        (2, "a", "range", "warn"),
        (3, "predicted", "finite", "error"),
    ]
    assert "expected a number from the model" in str(predicted.failures[2])


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_the_threshold_is_that_of_evaluate(threshold: float) -> None:
    predicted = predict_batch(batch_of(["0.3"]), double(threshold), SCHEMA)
    assert predicted.columns["predicted"].to_pylist() == [int(threshold <= 0.6)]
    assert predicted.failures == []


def test_no_rows_have_no_predictions() -> None:
    predicted = predict_batch(batch_of([]), double(), SCHEMA)
    assert {name: len(column) for name, column in predicted.columns.items()} == {
        "predicted": 0,
        "probability_1": 0,
    }


def test_a_column_without_a_value_has_no_unknown_category() -> None:
    features = pa.table({"town": pa.array([None, None], pa.string()), "sort": ["a", "z"]})
    known = {"town": ["x"], "sort": ["a", "b"]}
    schema = schema_of("binary", town={"kind": "category"}, sort={"kind": "category"})
    found = unknown_categories(features, known, schema)
    assert found == {("sort", "z"): 1}
    (line,) = unknown_lines(found, 2)
    assert line == "sort: 1 of 2 rows hold a category that the model does not know: 'z' (1)"


def test_a_row_without_a_number_is_set_aside_with_all_its_columns(tmp_path: Path) -> None:
    """Though each of its cells passes its checks."""
    file = tmp_path / "t.csv"
    file.write_text("id,a\n007,0.3\n008,\n")
    schema = SCHEMA.model_copy(update={"ignore": ["id"]})
    (piece,) = pieces(file, schema, ["id", "a"], 100)
    checks = declared_checks(schema, Validate())
    answer = predict_piece(piece, double(), schema, ["id", "a"], [], checks, {})
    aside = rejected_rows(answer.texts, answer.predicted.failures, {1: "t.csv: line 3"})
    assert aside.select(["id", "a", "rejected_line"]).to_pylist() == [
        {"id": "008", "a": "", "rejected_line": "t.csv: line 3"}
    ]
