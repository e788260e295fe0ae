"""A broken file ends in one message that names it."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from keras_tabular.config.schema import Schema
from keras_tabular.config.typed_yaml import parse_section
from keras_tabular.core.errors import UserError
from keras_tabular.model_file.metadata import METADATA, ModelMetadata
from keras_tabular.model_file.saved_model import load_model, write_model
from keras_tabular.networks.backend import keras
from keras_tabular.schema_inference.schema import infer_schema
from tests.helpers import build_schema, read_table
from tests.workbooks import write_workbook


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("PAR1\x15\x04", ": expected a CSV file, got a Parquet file"),
        ("PK\x03\x04\x14\0", ": expected a CSV file, got an Excel or another"),
        ('x,y\n"re"d,1\n', ", line 2: expected the end of the cell after a closing quote"),
        ('x,y\n1,0\n1,0\n"', ", line 4: expected a quote that closes the cell"),
    ],
)
def test_a_file_that_is_not_a_csv_is_an_error(tmp_path: Path, text: str, message: str) -> None:
    file, schema = tmp_path / "t.csv", build_schema("binary", x={"kind": "category"})
    file.write_text(text)
    for read in (lambda: [*read_table(file, schema)], lambda: infer_schema(file, "y", 1000)):
        with pytest.raises(UserError, match=rf"t\.csv{message}"):
            read()


@pytest.mark.parametrize(
    ("name", "start", "text", "problem"),
    [
        ("t.csv.zst", "x,y\n", "0" * 2**27, "less than 67,108,864 characters, got more"),
        ("t.jsonl.zst", '{"x": 1, "y": 0}\n', "0" * 2**27, "less than 67,108,864 characters"),
        ("t.jsonl", '{"x": 1, "y": 0}\n', "[" * 200_000, "an object .*, got too many brackets"),
    ],
)
def test_a_line_that_would_fill_the_memory_is_an_error(
    tmp_path: Path, name: str, start: str, text: str, problem: str
) -> None:
    """The compressed files have only some kilobytes."""
    file = tmp_path / name
    compression = "zstd" if file.suffix == ".zst" else None
    with pa.output_stream(file, compression=compression) as content:
        content.write(f"{start}{text}\n".encode())
    with pytest.raises(UserError, match=f"{name}, line 2: expected {problem}"):
        infer_schema(file, "y", 1000)


def test_a_spreadsheet_that_would_fill_the_memory_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "t.xlsx"
    file.write_bytes(write_workbook([["x", "y"], [1, 0]]))
    with zipfile.ZipFile(file, "a") as archive:
        archive.getinfo("xl/worksheets/1.xml").file_size = 2**31
        archive.writestr("changed", "")
    with pytest.raises(UserError, match=r"t\.xlsx: is unpacked to 2,147,48\d,\d{3} bytes"):
        infer_schema(file, "y", 1000)


def test_a_pipe_is_no_source(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "t.csv")
    with pytest.raises(UserError, match=r"t\.csv: expected a file, got a pipe"):
        infer_schema(tmp_path / "t.csv", "y", 1000)


def test_utf_16_as_excel_writes_it_is_read(tmp_path: Path) -> None:
    rows = ["Größe\ty", *(f"{n}\t{'ja' if n % 2 else 'nein'}" for n in range(50))]
    (tmp_path / "t.csv").write_text("\r\n".join(rows), encoding="utf-16", newline="")
    written = yaml.safe_load(infer_schema(tmp_path / "t.csv", "y", 99).text)
    schema = parse_section(written, Schema, tmp_path)
    (table,) = read_table(tmp_path / "t.csv", schema)
    assert table["Größe"].to_pylist() == list(range(50))


CONFIG, WEIGHTS, LAMBDA = "config.json", "model.weights.h5", {"class_name": "__lambda__"}


@pytest.mark.parametrize(
    ("changed", "wrong"),  # what replaces a file in the model, or keys of its layer
    [
        (CONFIG, b"[]"),
        (WEIGHTS, b"no weights"),
        (METADATA, b"{"),
        (METADATA, b"[1]"),
        (CONFIG, {"class_name": "Lambda", "config": {"function": LAMBDA}}),
    ],
)
def test_a_broken_model_ends_in_one_message(tmp_path: Path, changed: str, wrong: Any) -> None:
    path = tmp_path / "m.keras"
    write_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), path, ModelMetadata())
    with zipfile.ZipFile(path) as file:
        files = {name: file.read(name) for name in file.namelist()}
    if isinstance(wrong, dict):
        config = json.loads(files[CONFIG])
        config["config"]["layers"][1] |= wrong
        wrong = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as file:
        for entry, content in (files | {changed: wrong}).items():
            file.writestr(entry, content)
    with pytest.raises(UserError, match=r"m\.keras: ") as error:
        load_model(path, path.read_bytes())
    assert len(str(error.value)) < 1000
