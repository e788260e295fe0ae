"""New rows are checked as the training rows were; tests/pipeline has all kinds of files."""

import gzip
import io
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.core.errors import UserError
from keras_tabular.prediction.inputs import row_columns, seekable_file
from keras_tabular.table.cells import as_texts
from keras_tabular.table.checks import declared_checks
from keras_tabular.table.csv import RawRows
from keras_tabular.table.rows import check_rows
from tests.helpers import checked_rows, schema_of

SCHEMA = schema_of(
    "binary",
    a={"kind": "real", "max": 9, "missing_values": [0, "?"], "nullable": True},
    b={"kind": "category", "values": ["x", "y"]},
).model_copy(update={"ignore": ("id",)})


def test_every_cell_is_checked_and_a_wrong_one_told_once() -> None:
    schema = schema_of(
        "binary", **{n: c.model_dump() for n, c in SCHEMA.features.items()}, c={"kind": "integer"}
    )
    texts = pa.table(
        {"c": ["1.5", "2", "", "4"], "b": ["x", "z", "", "y"], "a": ["1e999", "10", "?", "0"]}
    )
    checks = declared_checks(schema, Validate(range="warn"))
    batch = check_rows(RawRows(Path("t.csv"), 0, texts, {}), schema.features, checks)
    assert batch.texts is texts
    assert batch.features.to_pydict() == {
        "a": [None, 10, None, 0],
        "b": ["x", "z", None, "y"],
        "c": [None, 2, None, 4],
    }
    assert [(f.row, str(f), f.policy) for f in batch.failures] == [
        (0, "a: found '1e999'; expected a finite number", "error"),
        (0, "c: found '1.5'; expected a whole number of at most 64 bits", "error"),
        (1, "a: found '10'; expected at most 9", "warn"),
        (1, "b: found 'z'; expected one of ['x', 'y']", "error"),
        (2, "b: found ''; expected a value in every row", "error"),
        (2, "c: found ''; expected a value in every row", "error"),
    ]


def test_whole_numbers_of_a_parquet_file_are_whole_though_gaps_made_them_floats() -> None:
    values = pa.array([123456789012.0, -0.0, 1e6, 1e300, 0.5, None, float("nan")])
    texts = ["123456789012", "0", "1000000", "1e+300", "0.5", "", ""]
    assert as_texts(values).to_pylist() == texts


@pytest.mark.parametrize("name", ["id", "y"])
def test_nothing_may_be_there_twice(tmp_path: Path, name: str) -> None:
    (tmp_path / "n.csv").write_text(f"a,b,{name},{name}\n")
    with pytest.raises(UserError, match=rf"n\.csv: line 1: .*once: {name}"):
        row_columns(tmp_path / "n.csv", SCHEMA)


def test_a_parquet_file_has_numbers_where_a_csv_has_them_in_a_form(tmp_path: Path) -> None:
    schema = schema_of("binary", price={"kind": "real", "format": "1.234,5 €"})
    (tmp_path / "n.csv").write_text('price\n"1.234,50 €"\n"7,25"\n')
    pd.DataFrame({"price": [1234.5, 7.25]}).to_parquet(tmp_path / "n.parquet")
    pd.DataFrame({"price": ["1.234,5 €", "7.25"]}).to_parquet(tmp_path / "texts.parquet")
    for name, second in {"n.csv": 7.25, "n.parquet": 7.25, "texts.parquet": None}.items():
        (batch,) = checked_rows(tmp_path / name, schema, ["price"])
        assert batch.features["price"].to_pylist() == [1234.5, second]
    assert "written as 1.234,5 €" in str(batch.failures[0])


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"a,b\n1,2\n", "stdin"),
        (gzip.compress(b"a,b\n1,2\n"), "stdin.gz"),
        (b'{"a": 1, "b": 2}\n', "stdin.jsonl"),
        (b"", "stdin"),
    ],
)
def test_stdin_is_copied_under_the_name_of_its_format(
    content: bytes, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    with seekable_file(Path("-")) as file:
        assert file.name == name
        assert file.read_bytes() == content
