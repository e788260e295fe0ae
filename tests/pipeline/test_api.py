"""The Python API makes the same predictions for data frames as the commands for files."""

import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

import keras_tabular
from keras_tabular.api import frame_as_file
from keras_tabular.cli import predict
from keras_tabular.config.schema import load_schema
from tests.commands import call_main, check_output, run_command
from tests.helpers import build_schema

CELL = "a number of at most 64 bits, a date, true, false or text in UTF-8"


@pytest.fixture(scope="module")
def frame(binary_project: Path) -> pd.DataFrame:
    """A data frame with columns of all kinds, missing values and an index."""
    rows = pd.read_csv(
        binary_project / "data/raw/t.csv", dtype={"zip/code": str}, na_values="?"
    ).head(50)
    rows["colour"] = rows["colour"].astype("category")
    return rows.set_index(pd.Index([f"row {n}" for n in range(50)], name="key"))


def test_predictions_and_reasons_are_those_of_the_command(
    binary_project: Path, frame: pd.DataFrame, tmp_path: Path
) -> None:
    frame.to_csv(tmp_path / "rows.csv", index=False)
    model = keras_tabular.load_model(binary_project / "models/model.keras")
    assert model.schema == load_schema(binary_project / "data/schema.yaml")
    explained = model.explain(frame, columns=2)
    call_main(binary_project, predict.__name__, str(tmp_path / "rows.csv"), "--explain=2",
         "-o", str(tmp_path / "out.parquet"))  # fmt: skip
    expected = pd.read_parquet(tmp_path / "out.parquet").set_axis(frame.index)
    pd.testing.assert_frame_equal(explained, expected, check_exact=True)
    names = [name for name in expected if not name.startswith("reason_")]
    pd.testing.assert_frame_equal(model.predict(frame), expected[names], check_exact=True)
    assert model.predict(frame.head(0)).dtypes.equals(expected[names].dtypes)


def test_mistakes_name_the_row_and_the_column(binary_project: Path, frame: pd.DataFrame) -> None:
    model = keras_tabular.load_model(binary_project / "models/model.keras")
    wrong = frame.assign(cast=["0.5", "much", *["1"] * 48])
    with pytest.raises(keras_tabular.UserError) as error:
        model.predict(wrong)
    assert (
        str(error.value) == "data frame, row 1, column cast: expected a finite number, got 'much'"
    )
    with pytest.raises(keras_tabular.UserError, match=r"^data frame: .* nor in ignore: new$"):
        model.predict(frame.assign(new=1))
    assert len(model.predict(frame.assign(new=1), ignore_extra=True)) == 50
    for name, cells, expected, text in (
        ("count", ["a", *range(49)], "a whole number of at most 64 bits", "a"),
        ("cast", [{"a": 1}, *[0.5] * 49], CELL, "{'a': 1}"),
        ("cast", [[1]] * 50, CELL, "[1]"),
        ("colour", [["red"], *["red"] * 49], CELL, "['red']"),
        ("colour", ["\ud800", *["red"] * 49], CELL, r"\ud800"),
    ):
        with pytest.raises(keras_tabular.UserError) as error:
            model.predict(frame.assign(**{name: pd.Series(cells, frame.index, object)}))
        message = f"data frame, row 0, column {name}: expected {expected}, got "
        assert str(error.value).startswith(message)
        assert text in str(error.value)
    mixed = frame.assign(cast=["0.25", 1.5, *[2] * 48], id=[1, "a", 2.0, *[None] * 47])
    texts = mixed.assign(cast=["0.25", "1.5", *["2"] * 48], id=["1", "a", "2", *[None] * 47])
    pd.testing.assert_frame_equal(model.predict(mixed), model.predict(texts), check_exact=True)
    with pytest.warns(UserWarning, match="^colour: "):
        model.predict(frame.assign(colour="pink"))


def test_numbers_among_texts_do_not_need_the_format_of_the_texts() -> None:
    schema = build_schema("binary", price={"kind": "real", "format": "1.234,5"})
    frame = pd.DataFrame({"price": [1.234, "1.234,5", 1e-7, None]})
    with frame_as_file(frame, schema.features) as file:
        assert pq.read_table(file)["price"].to_pylist() == ["1,234", "1.234,5", "1e-7", ""]


def test_other_types_than_a_data_frame_are_refused(
    binary_project: Path, frame: pd.DataFrame
) -> None:
    model = keras_tabular.load_model(binary_project / "models/model.keras")
    for rows in ({"cast": 0.5}, frame.iloc[0], "rows.csv"):
        kind = type(rows).__name__
        message = rf"^expected a pandas DataFrame, got {kind}\. .*DataFrame\(\[row\]\)"
        with pytest.raises(keras_tabular.UserError, match=message):
            model.predict(rows)
    with pytest.raises(keras_tabular.UserError, match=r"^expected a pandas DataFrame, got dict\."):
        keras_tabular.infer_schema({"x": [1], "y": [0]}, "y")


def test_a_data_frame_has_the_schema_of_its_file(binary_project: Path, frame: pd.DataFrame) -> None:
    rows = pd.read_csv(binary_project / "data/raw/t.csv", dtype={"zip/code": str})
    schema = keras_tabular.infer_schema(rows, "y")
    file_schema = keras_tabular.infer_schema(str(binary_project / "data/raw/t.csv"), "y")
    kinds = {name: column.kind for name, column in schema.columns.items()}
    assert kinds == {name: column.kind for name, column in file_schema.columns.items()}
    assert (schema.source, schema.classes) == ("data frame", file_schema.classes)
    with pytest.raises(keras_tabular.UserError, match=r"^target: expected one of id, .*, got 'z'"):
        keras_tabular.infer_schema(rows, "z")


def test_only_loading_a_model_imports_tensorflow(binary_project: Path) -> None:
    code = "import keras_tabular, sys\nassert 'numpy' not in sys.modules\n"
    code += "keras_tabular.infer_schema\nassert 'tensorflow' not in sys.modules\n"
    code += "assert sys.excepthook is sys.__excepthook__\n"
    check_output(binary_project, sys.executable, "-c", code)
    code = "import tensorflow, keras_tabular\nkeras_tabular.load_model('models/model.keras')"
    error = run_command(binary_project, sys.executable, "-c", code).stderr
    assert "UserError: TensorFlow was imported before keras_tabular" in error
