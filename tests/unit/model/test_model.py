"""Models are saved and loaded, and new rows are read, predicted and written."""

import gc
import io
import os
import pickle
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from weakref import ref
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from keras_tabular.config.schema import Schema
from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.model import files
from keras_tabular.model.drift import far_numbers, unknown_categories
from keras_tabular.model.metadata import Intervals, ModelMetadata, training_rows
from keras_tabular.model.predict import Predictor, predict_file
from keras_tabular.model.saved_model import load_saved_model
from keras_tabular.network.backend import keras
from keras_tabular.network.record import METADATA, Ensemble
from keras_tabular.network.reproducible import ExactModel
from keras_tabular.table import csv, source
from keras_tabular.table.arrays import Inputs
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.profile import ColumnSummary
from keras_tabular.training.ensemble import write_model
from tests.helpers import build_schema, read_checked_rows

# A model always gives the same file, which plain Keras can load; a broken file has one
# message.
SAVED_METADATA = ModelMetadata(
    task="binary",
    target="y",
    classes=[0, 1],
    repeats="any_cpu",
)


def save_model(folder: Path) -> bytes:
    keras.utils.clear_session()  # names count from 1 again, as in a new process
    keras.utils.set_random_seed(1)
    regularizer = keras.regularizers.L2(0.1)
    layer = keras.layers.Dense(2, name="d", kernel_regularizer=regularizer)
    model = keras.Sequential([keras.Input((3,)), layer], name="m")
    write_model(model, folder / "m.keras", SAVED_METADATA)
    return (folder / "m.keras").read_bytes()


def test_the_same_model_gives_the_same_file_and_plain_keras_loads_it(
    tmp_path: Path,
) -> None:
    content = save_model(tmp_path)
    path = tmp_path / "m.keras"
    plain = tmp_path / "plain.keras"
    # This model stays in memory, so that addresses differ.
    plain_model = keras.models.load_model(path)
    assert save_model(tmp_path) == content
    model = load_saved_model(path, content)
    kernel, _ = model.network.get_weights()
    expected_kernel, _ = plain_model.get_weights()
    np.testing.assert_array_equal(kernel, expected_kernel)
    assert model.metadata == SAVED_METADATA
    # Ray sends only the bytes of the file.
    assert len(pickle.dumps(model)) < len(content) + 1000
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)]).save(plain)
    assert load_saved_model(plain, plain.read_bytes()).metadata == ModelMetadata()


def test_the_memory_of_a_model_that_has_predicted_is_freed() -> None:
    column = keras.Input((), name="x")
    members = keras.layers.Dense(2, "sigmoid")(keras.layers.Reshape((1,))(column))
    mean = keras.layers.GlobalAveragePooling1D(name="a-mean")
    output = mean(keras.layers.Reshape((2, 1))(members))
    model = ExactModel(keras.Model({"x": column}, output))
    model.predict({"x": np.linspace(0, 1, 5)})
    networks = [ref(network) for network in (model.network, *model.plain.layers)]
    del model, column, members, mean, output
    gc.collect()
    assert {network() for network in networks} == {None}


def test_a_file_without_the_summary_or_the_schema_is_an_error(tmp_path: Path) -> None:
    path = Path("m.keras")
    message = r"m\.keras: found no summary of the training rows"
    with pytest.raises(UserError, match=message):
        training_rows(path, ModelMetadata())
    message = r"m\.keras: .* does not contain the schema .*model\.keras"
    with pytest.raises(UserError, match=message):
        files.read_schema(path, save_model(tmp_path))


CONFIG = "config.json"
WEIGHTS = "model.weights.h5"


@pytest.mark.parametrize(
    ("changed", "content"),  # what replaces a file in the model
    [(CONFIG, b"[]"), (WEIGHTS, b"no weights"), (METADATA, b"{"), (METADATA, b"[1]")],
)
def test_a_broken_model_ends_in_one_message(
    tmp_path: Path,
    changed: str,
    content: bytes,
) -> None:
    save_model(tmp_path)
    path = tmp_path / "m.keras"
    with ZipFile(path) as file:
        files = {name: file.read(name) for name in file.namelist()}
    with ZipFile(path, "w") as file:
        for entry, text in (files | {changed: content}).items():
            file.writestr(entry, text)
    with pytest.raises(UserError, match=r"m\.keras: ") as error:
        load_saved_model(path, path.read_bytes())
    assert len(str(error.value)) < 1000


def test_the_code_in_a_model_does_not_run(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    inputs = keras.Input((3,))
    path = Path("m.keras")
    trace = Path("folder")
    code = keras.layers.Lambda(lambda x: (__import__("os").mkdir("folder"), x)[1])
    write_model(keras.Model(inputs, code(inputs)), path, ModelMetadata())
    trace.rmdir()
    message = r"m\.keras: Keras cannot load it in safe mode: "
    with pytest.raises(UserError, match=message):
        load_saved_model(path, path.read_bytes())
    assert not trace.exists()


# The columns and formats of new rows; tests/pipeline/test_new_rows.py has more.
def test_a_file_that_is_no_parquet_file_is_an_error(tmp_path: Path) -> None:
    schema = build_schema("binary")
    file = tmp_path / "n.parquet"
    file.write_text("x\n")
    with pytest.raises(UserError, match=r"n\.parquet.* cannot be read as a Parquet"):
        source.check_columns(file, schema, schema.features)


def test_numbers_of_parquet_and_json_do_not_need_the_format_of_a_csv(
    tmp_path: Path,
) -> None:
    schema = build_schema("binary", price={"kind": "real", "format": "1.234,5 €"})
    (tmp_path / "n.csv").write_text('price\n"1.234,50 €"\n"7,25"\n')
    pd.DataFrame({"price": [1234.5, 7.25]}).to_parquet(tmp_path / "n.parquet")
    (tmp_path / "n.jsonl").write_text('{"price": "1.234,5"}\n{"price": 7.25}\n')
    pd.DataFrame({"price": ["1.234,5 €", "7.25"]}).to_parquet(
        tmp_path / "texts.parquet",
    )
    seconds = {"n.csv": 7.25, "n.parquet": 7.25, "n.jsonl": 7.25, "texts.parquet": None}
    for name, second in seconds.items():
        (batch,) = read_checked_rows(tmp_path / name, schema, ["price"])
        assert batch.features["price"].to_pylist() == [1234.5, second]
    assert "written as 1.234,5 €" in str(batch.failures[0])


ROWS = b"a,b\n1,2\n"


@pytest.mark.parametrize(
    ("content", "suffix"),
    [(b'{"a": 1, "b": 2}\n', ".jsonl"), (b"", "")],
)
def test_the_copy_of_stdin_has_the_suffix_of_its_format(
    content: bytes,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with files.open_rows(Path("-"), build_schema("binary")) as file:
        assert file.suffix == suffix
        assert file.read_bytes() == content


def test_a_message_about_rows_from_a_pipe_names_the_pipe(tmp_path: Path) -> None:
    def read_rows(path: Path) -> None:
        with files.open_rows(path, build_schema("binary")) as file:
            assert file.read_bytes() == ROWS
            raise UserError(f"{file}, line 2")

    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    Thread(target=pipe.write_bytes, args=(ROWS,)).start()
    for path, message in ((pipe, f"^{pipe}, line 2$"), (tmp_path, "Is a directory")):
        with pytest.raises(UserError, match=message):
            read_rows(path)


def test_a_row_of_a_new_file_is_never_left_out_as_a_total(tmp_path: Path) -> None:
    """The table of the training had a total in its last line."""
    schema = build_schema("binary", region="category", x="real")
    schema = schema.model_copy(update={"skip_lines": (-1,)})
    file = tmp_path / "new.csv"
    file.write_text("region,x\nNorth,1\nSouth,2\nTotal,\n")
    files.check_skipped_lines(file, schema)
    file.write_text("region,x\nNorth,1\nSouth,2\n")
    message = r"new\.csv, line 3: skip_lines .* 'South 2', perhaps a row"
    with pytest.raises(UserError, match=message):
        files.check_skipped_lines(file, schema)


# Rows are checked and predicted, here with a function instead of a network.
def make_predictor(schema: Schema, metadata: ModelMetadata) -> Predictor:
    """Return a predictor whose model doubles the column `a`."""

    def double(columns: Inputs) -> np.ndarray:
        return (2 * columns["a"]).astype(np.float32)[:, None]

    model: Any = SimpleNamespace(predict=double, metadata=metadata)
    return Predictor(model, schema, declared_checks(schema, Validate(range="warn")))


def test_every_row_is_predicted_or_set_aside_in_the_order_of_the_rows(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row without a finite prediction fails, even if all its cells pass."""
    schema = build_schema("binary", a={"kind": "real", "max": 9, "nullable": True})
    schema = schema.model_copy(update={"ignore": ("id",)})
    file = tmp_path / "t.csv"
    file.write_text("id,a\n1,0.3\n2,x\n3,10\n4,\n5,0.4\n006,\n")
    predictor = make_predictor(schema, ModelMetadata(threshold=0.7))
    monkeypatch.setattr(csv, "ROWS_PER_BATCH", 5)
    tables = list[pa.Table]()
    failed = list[pa.Table]()
    names = ["id", "a"]
    counts = predict_file(
        file,
        names,
        predictor,
        predictor.output_schema(names, numbered=True),
        tables.append,
        display_name="t.csv",
        reject=failed.append,
    )
    assert pa.concat_tables(tables).to_pydict() == {
        "row": [0, 2, 4],
        "id": ["1", "3", "5"],
        "predicted": [0, 1, 1],
        "probability_1": np.array([0.6, 20, 0.8], np.float32).tolist(),
    }
    rejected = pa.concat_tables(failed).to_pydict()
    assert rejected["id"] == ["2", "4", "006"]
    (warning,) = counts.warnings()
    assert warning.startswith("t.csv, line 4, column a: expected at most 9, got '10' (")
    columns = [reason.partition(":")[0] for reason in rejected["rejected_reason"]]
    assert columns == ["a", "predicted", "predicted"]


def test_a_number_is_far_if_it_is_further_from_a_range_than_the_range_is_wide() -> None:
    """A constant column has no range."""
    schema = build_schema("binary", a="integer", b="real")
    rows = pa.table({"a": [*range(20)], "b": [0.5] * 20})
    summaries = {
        name: ColumnSummary.from_values(rows[name], schema.columns[name])
        for name in schema.features
    }
    trained_on: Any = SimpleNamespace(rows=20, summaries=summaries)
    new = pa.table({"a": [38, 39, -20], "b": [9.0] * 3})
    failures = far_numbers(new, trained_on, schema)
    assert [failure.got for failure in failures] == ["39", "-20"]


def test_a_column_of_missing_values_has_no_unknown_category() -> None:
    features = pa.table(
        {"town": pa.array([None, None], pa.string()), "sort": ["a", "z"]},
    )
    categories = {"town": ["x"], "sort": ["a", "b"]}
    assert unknown_categories(features, categories) == {("sort", "z"): 1}


def test_the_threshold_itself_is_predicted_as_positive() -> None:
    probabilities = np.array([[0.6], [0.59]], np.float32)
    for positive, predicted in ((1, [1, 0]), (0, [0, 1])):
        schema = build_schema("binary").model_copy(update={"positive": positive})
        columns = schema.learning_task.prediction_columns(probabilities, 0.6)
        assert columns["predicted"].equals(pa.array(predicted, pa.int64()))
        assert list(columns) == ["predicted", f"probability_{positive}"]


WITH_INTERVALS = ModelMetadata(
    intervals=Intervals(coverage=0.9, at=(0.0,), half=(1.0,)),
    ensemble=Ensemble(weights={}, folds={}, target_range=(0.0, 9.0)),
)


def test_an_interval_ends_where_the_values_of_the_training_rows_end() -> None:
    ends = WITH_INTERVALS.interval_ends(np.array([0.5, 5.0, 8.5]))
    assert ends is not None
    assert ends.tolist() == [[0.0, 1.5], [4.0, 6.0], [7.5, 9.0]]


@pytest.mark.parametrize(
    ("task", "ignore", "numbered", "names"),
    [
        ("binary", "id", True, ["row", "id", "predicted", "probability_1"]),
        ("binary", "row", True, None),
        ("regression", "id", False, ["id", "predicted", "low", "high"]),
        ("regression", "low", False, None),
    ],
)
def test_identifiers_come_before_predictions_and_have_other_names(
    task: str,
    ignore: str,
    numbered: bool,
    names: list[str] | None,
) -> None:
    schema = build_schema(task, a="real")
    schema = schema.model_copy(update={"ignore": (ignore,)})
    metadata = WITH_INTERVALS if task == "regression" else ModelMetadata()
    predictor = make_predictor(schema, metadata)
    if names is None:
        message = f"a column '{ignore}', but the output has one"
        with pytest.raises(UserError, match=message):
            predictor.output_schema([ignore, "a"], numbered=numbered)
    else:
        assert predictor.output_schema([ignore, "a"], numbered=numbered).names == names


# Predictions are written to files of three formats.
def test_an_output_has_a_known_ending_and_a_file_of_its_own(tmp_path: Path) -> None:
    inputs = [tmp_path / "b.csv"]
    for name in ("a.csv", "a.csv.gz", "a.parquet"):
        files.check_output(tmp_path / name, inputs)
    message = r"a\.xlsx: expected a file whose name ends in \.csv, "
    with pytest.raises(UserError, match=message):
        files.check_output(tmp_path / "a.xlsx", inputs)
    with pytest.raises(UserError, match="named twice"):
        files.check_output(tmp_path / f"../{tmp_path.name}/b.csv", inputs)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_a_csv_has_the_delimiter_of_the_table_and_one_header(
    name: str,
    tmp_path: Path,
) -> None:
    table = pa.table({"x": ["=1+1", "a;1", None], "y": [-1.5, 2.0, 4.0]})
    schema = build_schema("regression", x="category")
    columns = {"y": schema.columns["y"].model_copy(update={"format": "1.234,5"})}
    schema = schema.model_copy(
        update={"delimiter": ";", "columns": schema.columns | columns},
    )
    with files.open_writer(tmp_path / name, table.schema, schema) as write:
        write(table)
        write(table[:1])
    with pa.input_stream(tmp_path / name) as file:
        assert file.read().decode() == 'x;y\n=1+1;-1,5\n"a;1";2\n;4\n=1+1;-1,5\n'
