"""Predictions are columns with the classes' own names and types, in files that are whole."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction.outputs import (
    check_output,
    output_schema,
    prediction_columns,
    writing,
)
from tests.helpers import schema_of

BINARY, MULTICLASS, REGRESSION = map(schema_of, ("binary", "multiclass", "regression"))


def test_a_probability_from_the_threshold_on_is_the_positive_class() -> None:
    outputs = np.array([[0.6], [0.59]], np.float32)
    for positive, predicted in ((1, [1, 0]), (0, [0, 1])):
        schema = BINARY.model_copy(update={"positive": positive})
        columns = prediction_columns(outputs, schema, 0.6)
        assert columns["predicted"].equals(pa.array(predicted, pa.int64()))
        assert list(columns) == ["predicted", f"probability_{positive}"]


def test_the_most_probable_class_is_predicted() -> None:
    outputs = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], np.float32)
    columns = prediction_columns(outputs, MULTICLASS, 0.5)
    assert columns["predicted"].to_pylist() == ["b", "a"]
    assert list(columns) == ["predicted", "probability_a", "probability_b", "probability_c"]
    np.testing.assert_array_equal(columns["probability_c"], outputs[:, 2])
    values = prediction_columns(np.array([[2.5]], np.float32), REGRESSION, 0.5)
    assert {name: column.to_pylist() for name, column in values.items()} == {"predicted": [2.5]}


def test_identifiers_stand_first_and_take_no_name_of_an_output() -> None:
    names = output_schema(BINARY, ["id"], numbered=True, intervals=False, reasons=0).names
    assert names == ["row", "id", "predicted", "probability_1"]
    assert (
        output_schema(BINARY, ["row"], numbered=False, intervals=False, reasons=0).names[0] == "row"
    )
    for name, numbered in (("row", True), ("predicted", False), ("probability_1", False)):
        with pytest.raises(UserError, match=f"ignore: found '{name}'"):
            output_schema(BINARY, [name], numbered=numbered, intervals=False, reasons=0)
    with pytest.raises(UserError, match="ignore: found 'low'"):
        output_schema(REGRESSION, ["low"], numbered=False, intervals=True, reasons=0)


def test_an_output_has_a_known_ending_and_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        check_output(tmp_path / name, [tmp_path / "b.csv"])
    for name, message in (
        ("a.xlsx", r"found 'a\.xlsx'; expected a file whose name ends in \.csv"),
        ("folder.csv", "found a folder"),
        ("folder.csv/../b.csv", "named twice"),
    ):
        with pytest.raises(UserError, match=message):
            check_output(tmp_path / name, [tmp_path / "b.csv"])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_a_file_is_whole_or_as_it_was(tmp_path: Path, name: str) -> None:
    path, table = tmp_path / name, pa.table({"x": ["a, b", "c"]})
    path.write_text("before")

    def fail() -> None:
        with writing(path, table.schema, ",") as write:
            write(table)
            raise UserError("line 3")

    with pytest.raises(UserError, match="line 3"):
        fail()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
    with writing(path, table.schema, ";") as write:
        write(table)
        write(table[:1])
    if name == "a.parquet":
        assert pq.read_table(path)["x"].to_pylist() == ["a, b", "c", "a, b"]
    else:
        with pa.input_stream(path) as file:
            assert file.read() == b"x\na, b\nc\na, b\n"
    with pytest.raises(UserError, match="cannot be written"):  # noqa: SIM117
        with writing(path / "under a file.csv", table.schema, ","):
            pass
