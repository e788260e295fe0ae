"""The Python API predicts data frames as the commands predict files."""

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import keras_tabular
from keras_tabular.config.schema import load_schema
from tests.commands import call_command, run_command


@pytest.fixture(scope="module")
def model(binary_project: Path) -> keras_tabular.Model:
    """The model of two classes, which is loaded once."""
    return keras_tabular.load_model(binary_project / "models/model.keras")


@pytest.fixture(scope="module")
def frame(binary_project: Path) -> pd.DataFrame:
    """A data frame with columns of all kinds, missing values and an index."""
    rows = pd.read_csv(
        binary_project / "data/raw/t.csv",
        dtype={"zip/code": str},
        na_values="?",
    )
    rows["colour"] = rows["colour"].astype("category")
    return rows[:50].set_index(pd.Index([f"row {n}" for n in range(50)], name="key"))


def test_predictions_and_reasons_are_those_of_the_command(
    binary_project: Path,
    model: keras_tabular.Model,
    frame: pd.DataFrame,
    tmp_path: Path,
) -> None:
    frame.to_csv(tmp_path / "rows.csv", index=False)
    assert model.schema == load_schema(binary_project / "data/schema.yaml")
    explained = model.explain(frame, columns=2)
    out = tmp_path / "out.parquet"
    call_command(
        binary_project,
        "predict",
        tmp_path / "rows.csv",
        "--explain=2",
        "-o",
        out,
    )
    expected = pd.read_parquet(out).set_axis(frame.index)
    pd.testing.assert_frame_equal(explained, expected, check_exact=True)
    names = [name for name in expected.columns if not name.startswith("reason_")]
    pd.testing.assert_frame_equal(
        model.predict(frame),
        expected[names],
        check_exact=True,
    )
    assert model.predict(frame.head(0)).dtypes.equals(expected[names].dtypes)


def test_mistakes_name_the_row_and_the_column(
    model: keras_tabular.Model,
    frame: pd.DataFrame,
) -> None:
    with pytest.raises(
        keras_tabular.UserError,
        match=r"^data frame: .* nor in ignore: new\.$",
    ):
        model.predict(frame.assign(new=1))
    assert len(model.predict(frame.assign(new=1), ignore_extra=True)) == 50
    for name, cell, text in (
        ("cast", "much", "'much'"),
        ("cast", {"a": 1}, "{'a': 1}"),
        ("colour", "\ud800", r"\ud800"),
    ):
        cells = [*frame[name][:7], cell, *frame[name][8:]]
        with pytest.raises(keras_tabular.UserError) as error:
            model.predict(frame.assign(**{name: pd.Series(cells, frame.index, object)}))
        assert str(error.value).startswith(
            f"data frame, row 7, column {name}: expected ",
        )
        assert text in str(error.value)
    missing: list[Any] = [None] * 47
    mixed = frame.assign(cast=["0.25", 1.5, *[2] * 48], id=[1, "a", 2.0, *missing])
    texts = mixed.assign(
        cast=["0.25", "1.5", *["2"] * 48],
        id=["1", "a", "2", *missing],
    )
    pd.testing.assert_frame_equal(
        model.predict(mixed),
        model.predict(texts),
        check_exact=True,
    )
    with pytest.warns(UserWarning, match="^colour: "):
        model.predict(frame.assign(colour="pink"))


def test_other_types_than_a_data_frame_are_refused(
    model: keras_tabular.Model,
    frame: pd.DataFrame,
) -> None:
    wrong_rows: list[Any] = [{"cast": 0.5}, frame.iloc[0]]
    for rows in wrong_rows:
        message = rf"DataFrame, got {type(rows).__name__}\. .*DataFrame\(\[row\]\)"
        with pytest.raises(keras_tabular.UserError, match=message):
            model.predict(rows)
    with pytest.raises(keras_tabular.UserError, match=r"DataFrame, got dict\."):
        keras_tabular.infer_schema({"x": [1], "y": [0]}, "y")  # type: ignore[arg-type]


def test_a_data_frame_has_the_schema_of_its_file(
    binary_project: Path,
    frame: pd.DataFrame,
) -> None:
    rows = pd.read_csv(binary_project / "data/raw/t.csv", dtype={"zip/code": str})
    schema = keras_tabular.infer_schema(rows, "y")
    file_schema = keras_tabular.infer_schema(
        str(binary_project / "data/raw/t.csv"),
        "y",
    )
    kinds = {name: column.kind for name, column in schema.columns.items()}
    assert kinds == {name: column.kind for name, column in file_schema.columns.items()}
    assert schema.source == "data frame"
    assert schema.classes == file_schema.classes


IMPORTS = """
import sys
import keras_tabular
assert "numpy" not in sys.modules
keras_tabular.infer_schema
assert "tensorflow" not in sys.modules
assert sys.excepthook is sys.__excepthook__
import tensorflow as tf
tf.function(lambda x: x + 1, jit_compile=IS_COMPILED)(tf.constant(1.0))
tf.keras.config.set_floatx("float64")
tf.keras.config.set_dtype_policy("mixed_float16")
model = keras_tabular.load_model("models/model.keras")
import pandas as pd
print(model.predict(pd.read_pickle(sys.argv[1])).to_csv())
assert tf.keras.config.dtype_policy().name == "mixed_float16"
"""


@pytest.mark.parametrize("is_compiled", [False, True])
def test_a_warning_says_if_tensorflow_cannot_be_set_up(
    is_compiled: bool,
    binary_project: Path,
    model: keras_tabular.Model,
    frame: pd.DataFrame,
    tmp_path: Path,
) -> None:
    rows = tmp_path / "rows.pkl"
    frame.to_pickle(rows)
    code = IMPORTS.replace("IS_COMPILED", str(is_compiled))
    command = [sys.executable, "-c", code, str(rows)]
    completed = run_command(binary_project, *command, XLA_FLAGS="")  # set in this one
    expected = model.predict(frame).to_csv()
    assert ("TensorFlow was used before" in completed.stderr) is is_compiled
    assert (completed.stdout.strip() == expected.strip()) is not is_compiled
