"""Hostile files: each is read as what it is, or answered by one bounded message in time."""

import gzip
import io
import json
import re
import resource
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from commands.infer_schema import as_text, infer_schema
from tabular.errors import UserError
from tabular.model.backend import keras
from tabular.model.checkpoint import Checkpoint
from tabular.model.metadata import METADATA
from tabular.model.saved_model import read_model, write_model
from tabular.schema import Schema
from tabular.typed_yaml import check, read_yaml
from tests.faults.hostile import answer, table_schema, try_many, try_params
from tests.helpers import PROJECT, read_table

needs_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="memory is limited, and counted in KiB, on Linux"
)


def test_mutated_tables_and_params_are_read_or_refused(tmp_path: Path) -> None:
    outcomes = try_many(300, 60, 11, tmp_path)
    print(f"\n{outcomes.total()} mutated files: {dict(outcomes.most_common())}")
    assert outcomes["t.csv: read, schema read"] > 10
    assert outcomes["t.csv: refused, schema refused"] > 100


@pytest.mark.parametrize(
    "letter", [b"9", b"a", b'"', b" ", b"\0", b"\xff", b"\n", b"-", b"\xc3\xa9"]
)
@pytest.mark.parametrize("kind", ["real", "integer", "boolean", "category"])
def test_a_cell_of_256_kilobytes_is_answered_in_a_second(
    tmp_path: Path, kind: str, letter: bytes
) -> None:
    schema = Schema.model_validate(
        {
            "source": "t.csv",
            **{"task": "binary", "target": "y", "positive": 1},
            "columns": {"x": {"kind": kind}, "y": {"kind": "integer", "values": [0, 1]}},
        }
    )
    (tmp_path / "t.csv").write_bytes(b"x,y\n1,0\n" + letter * (2**18 // len(letter)) + b",1\n")
    start = time.monotonic()
    answer(lambda: [*read_table(tmp_path / "t.csv", schema)])
    answer(lambda: infer_schema(tmp_path / "t.csv", "y", 1000))
    assert time.monotonic() - start < 1


@pytest.mark.parametrize("twice", [False, True])
def test_a_header_of_thirty_thousand_names_is_answered_in_time(tmp_path: Path, twice: bool) -> None:
    names = [f"column {number % 15_000 if twice else number}" for number in range(30_000)]
    (tmp_path / "t.csv").write_text("\n".join([",".join(names), ",".join("1" * 30_000)]) + "\n")
    outcome, message = answer(
        lambda: [*read_table(tmp_path / "t.csv", table_schema(tmp_path / "other.csv"))]
    )
    assert outcome == "refused"
    assert "and 29980 more" in message or "and 14980 more" in message


@needs_linux
def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    """Its gzip file is small."""
    with gzip.open(tmp_path / "t.csv.gz", "wb") as file:
        for _ in range(2**9):
            file.write(b"x" * 2**20)
    schema = table_schema(tmp_path / "other.csv")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError, match="more than"):
        [*read_table(tmp_path / "t.csv.gz", schema)]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**19  # KiB


@pytest.mark.parametrize(
    ("start", "found"),
    [
        (b"PAR1\x15\x04", "Parquet"),
        (b"PK\x03\x04\x14\0", "Excel"),
        (b'a,y\n"re"d,1\n', "after the quote"),
        (b'a,y\n1,0\n"1,0\n', "line 2: found a quote that never closes"),
        (b"a,y\n1\n", "line 2: found 1 cells"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, start: bytes, found: str) -> None:
    (tmp_path / "t.csv").write_bytes(start)
    with pytest.raises(UserError, match=found):
        infer_schema(tmp_path / "t.csv", "y", 1000)


@pytest.mark.parametrize("end", ['"1,0', '1,0\n"', '1,"0', '5" pipe,"0'])
def test_a_quote_that_never_closes_is_no_cell(tmp_path: Path, end: str) -> None:
    columns = {"x": {"kind": "category"}, "y": {"kind": "integer", "values": [0, 1]}}
    keys = {"source": "t.csv", "task": "binary", "target": "y", "positive": 1, "columns": columns}
    (tmp_path / "t.csv").write_text(f"x,y\n1,0\n{end}")
    with pytest.raises(UserError, match=r"found a quote that never closes|found 1 cells"):
        [*read_table(tmp_path / "t.csv", Schema.model_validate(keys))]


def test_utf_16_as_excel_writes_it_is_a_table(tmp_path: Path) -> None:
    rows = ["Größe\ty", *(f"{n}\t{'ja' if n % 2 else 'nein'}" for n in range(50))]
    (tmp_path / "t.csv").write_text("\r\n".join(rows), encoding="utf-16", newline="")
    schema = check(
        yaml.safe_load(as_text(infer_schema(tmp_path / "t.csv", "y", 99))), Schema, tmp_path
    )
    (table,) = read_table(tmp_path / "t.csv", schema)
    assert table["Größe"].to_pylist() == list(range(50))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(["a0: &a0 x", *(f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]" for n in range(1, 10))]),
         "aliases stand for"),
        ("a: &a [*a]", "aliases stand for"),
        ("[" * 10**5, "recursion"),
        ("a: " + "9" * 10**5, "100000 digits"),
        ("a: " + ":".join("1" * 10**5), "digits"),
        ("a: !!python/object/apply:os.system [ls]", "constructor"),
        ("a: \0", "not valid YAML"),
        ("x" * 2**25, "short file"),
    ],
)  # fmt: skip
def test_yaml_that_stands_for_more_than_it_says_is_refused(
    tmp_path: Path, text: str, message: str
) -> None:
    (tmp_path / "p.yaml").write_text(text)
    outcome, found = answer(lambda: read_yaml(tmp_path / "p.yaml"))
    assert outcome == "refused"
    assert message in found


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("units: [16]", "units: [1000000000000]"),
        ("epochs: 100\n", "epochs: 1000000000\n"),
        ("embedding: {bins: 48, units: 8}", "embedding: {bins: 1000000, units: 1000000}"),
        ("class_weight: ", "class_weight: {0: 0, 1: -1}  # "),
        ("seed: 9", 'seed: "\\0"'),
    ],
)
def test_a_parameter_of_absurd_size_is_refused_before_training(
    tmp_path: Path, old: str, new: str
) -> None:
    text = (PROJECT / "params.yaml").read_text()
    assert old in text
    schema = check(read_yaml(PROJECT / "data/schema.yaml"), Schema, tmp_path)
    assert try_params(text.replace(old, new), tmp_path / "params.yaml", schema) == "refused"


@pytest.mark.parametrize(
    "key", ["source: a\0b", "encoding: klingon", "encoding: 'a\\0b'", "encoding: gzip"]
)
def test_a_schema_names_what_python_can_open(tmp_path: Path, key: str) -> None:
    found = yaml.safe_load((PROJECT / "data/schema.yaml").read_text())
    name, value = key.split(": ")
    found[name] = value
    with pytest.raises(UserError, match=name):
        check(found, Schema, tmp_path)


Files = dict[str, bytes]
CONFIG, WEIGHTS = "config.json", "model.weights.h5"


def config(change: Callable[[Any], None]) -> Callable[[Files], None]:
    def changed(files: Files) -> None:
        found = json.loads(files[CONFIG])
        change(found["config"]["layers"][1])
        files[CONFIG] = json.dumps(found).encode()

    return changed


def huge(layer: Any) -> None:
    layer["config"]["units"] = 10**12


BROKEN_MODELS: dict[str, Callable[[Files], Any]] = {
    "no config": lambda files: files.pop(CONFIG),
    "no weights": lambda files: files.pop(WEIGHTS),
    "empty config": lambda files: files.update({CONFIG: b""}),
    "config is a list": lambda files: files.update({CONFIG: b"[]"}),
    "deep config": lambda files: files.update({CONFIG: b'{"a":' * 10**5}),
    "config is not UTF-8": lambda files: files.update({CONFIG: b"\xff\xfe"}),
    "weights are text": lambda files: files.update({WEIGHTS: b"no weights"}),
    "weights are cut": lambda files: files.update({WEIGHTS: files[WEIGHTS][:900]}),
    "metadata is no JSON": lambda files: files.update({METADATA: b"{"}),
    "metadata is a list": lambda files: files.update({METADATA: b"[1]"}),
    "a layer of a class that is not there": config(lambda of: of.update(class_name="Nothing")),
    "a function as layer": config(
        lambda of: of.update(module="builtins", class_name="function", config="eval")
    ),
    "another module": config(lambda of: of.update(module="os", class_name="system")),
    "a lambda": config(
        lambda of: of.update(class_name="Lambda", config={"function": {"class_name": "__lambda__"}})
    ),
    "a billion units": config(huge),
    "negative units": config(lambda of: of["config"].update(units=-1)),
    "units are a text": config(lambda of: of["config"].update(units="many")),
    "an unknown activation": config(lambda of: of["config"].update(activation="os.system")),
}


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    path = tmp_path_factory.mktemp("model") / "m.keras"
    write_model(keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]), path, {})
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=needs_linux) if name == "a billion units" else name
        for name in BROKEN_MODELS
    ],
)
def test_a_broken_model_is_one_message(model_files: Files, tmp_path: Path, name: str) -> None:
    files = dict(model_files)
    BROKEN_MODELS[name](files)
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as file:
        for entry, content in files.items():
            file.writestr(entry, content)
    with pytest.raises(UserError, match=r"m\.keras: not a model that Keras can load") as error:
        read_model(path)
    assert len(str(error.value)) < 1000


def test_a_model_that_unpacks_to_gigabytes_is_refused_by_its_directory(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "m.keras", "w", zipfile.ZIP_DEFLATED) as file,
        file.open(CONFIG, "w", force_zip64=True) as entry,
    ):
        for _ in range(300):
            entry.write(b" " * 2**20)
    start = time.monotonic()
    with pytest.raises(UserError, match="unpacks from"):
        read_model(tmp_path / "m.keras")
    assert time.monotonic() - start < 1


def test_a_checkpoint_that_is_wrong_in_any_way_begins_the_training_afresh(tmp_path: Path) -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    path = tmp_path / "c.npz"
    checkpoint = Checkpoint(path, "one")
    checkpoint.save(model, model.variables, [], [{"loss": 1.0}], ended=True)
    assert checkpoint.restore(model, model.variables, []) == [{"loss": 1.0}]
    whole = path.read_bytes()
    with np.load(path) as file:
        arrays = dict(file)
    state = json.loads(str(arrays["state"]))

    def saved(state: Any, **changes: np.ndarray) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, **{**arrays, "state": np.array(json.dumps(state)), **changes})
        return buffer.getvalue()

    before = [np.array(value) for value in model.get_weights()]
    wrong = {
        "empty": b"",
        "cut": whole[:-100],
        "no zip": b"PK\x03\x04" + b"\0" * 99,
        "bad bytes": re.sub(rb"variable", b"variably", whole, count=1),
        "another shape": saved(state, variable_0=np.zeros((9, 9), np.float32)),
        "another type": saved(state, variable_0=np.array([["a", "b"]] * 3)),
        "no history": saved({"identity": "one"}),
        "history of texts": saved(state | {"history": ["loss"]}),
        "state is a list": saved([1]),
        "of another training": saved(state | {"identity": "two"}),
    }
    for name, content in wrong.items():
        path.write_bytes(content)
        assert checkpoint.restore(model, model.variables, []) == [], name
    for value, expected in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(value, expected)
