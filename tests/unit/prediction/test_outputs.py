"""Predictions are columns with the classes' own names and types, in files that are whole."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from keras_tabular.core.errors import UserError
from keras_tabular.prediction import outputs
from tests.helpers import build_schema

BINARY, REGRESSION = build_schema("binary"), build_schema("regression")


def test_a_probability_from_the_threshold_on_is_the_positive_class() -> None:
    probabilities = np.array([[0.6], [0.59]], np.float32)
    for positive, predicted in ((1, [1, 0]), (0, [0, 1])):
        schema = BINARY.model_copy(update={"positive": positive})
        columns = outputs.prediction_columns(probabilities, schema, 0.6)
        assert columns["predicted"].equals(pa.array(predicted, pa.int64()))
        assert list(columns) == ["predicted", f"probability_{positive}"]


def test_identifiers_stand_first_and_take_no_name_of_an_output() -> None:
    names = outputs.output_schema(BINARY, ["id"], numbered=True, intervals=False, reasons=0).names
    assert names == ["row", "id", "predicted", "probability_1"]
    assert (
        outputs.output_schema(BINARY, ["row"], numbered=False, intervals=False, reasons=0).names[0]
        == "row"
    )
    for name, numbered in (("row", True), ("predicted", False), ("probability_1", False)):
        with pytest.raises(UserError, match=f"ignore: found '{name}'"):
            outputs.output_schema(BINARY, [name], numbered=numbered, intervals=False, reasons=0)
    with pytest.raises(UserError, match="ignore: found 'low'"):
        outputs.output_schema(REGRESSION, ["low"], numbered=False, intervals=True, reasons=0)


def test_an_output_has_a_known_ending_and_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        outputs.check_output(tmp_path / name, [tmp_path / "b.csv"])
    for name, message in (
        ("a.xlsx", r"found 'a\.xlsx'; expected a file whose name ends in \.csv"),
        ("folder.csv", "found a folder"),
        ("folder.csv/../b.csv", "named twice"),
    ):
        with pytest.raises(UserError, match=message):
            outputs.check_output(tmp_path / name, [tmp_path / "b.csv"])


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_has_the_delimiter_of_the_table(tmp_path: Path, name: str) -> None:
    table = pa.table({"x": ["a, b", "c"]})
    with outputs.writing(tmp_path / name, table.schema, ";") as write:
        write(table)
        write(table[:1])
    with pa.input_stream(tmp_path / name) as file:
        assert file.read() == b"x\na, b\nc\na, b\n"
