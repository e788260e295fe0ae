"""New rows are read from files of all kinds, and each is checked as the training rows were."""

import gzip
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from tabular.errors import UserError
from tabular.params.validate import Validate
from tabular.prediction.inputs import check_batch, regular_file, row_columns
from tabular.table.checks import declared_checks
from tabular.table.source import as_texts, row_name
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
    batch = check_batch(texts, schema, declared_checks(schema, Validate(range="warn")))
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


@pytest.mark.parametrize("name", ["n.csv", "n.csv.gz", "n.parquet"])
def test_rows_are_the_same_whatever_file_they_come_from(tmp_path: Path, name: str) -> None:
    text = 'a,id,b\n1.5,007,x\n?,"a\nb",y\n,8,\n'
    file = tmp_path / name
    if name == "n.parquet":
        frame = pd.DataFrame({"a": [1.5, None, None], "id": ["007", "a\nb", "8"]})
        frame.assign(b=["x", "y", None]).to_parquet(file)
    else:
        file.write_bytes(gzip.compress(text.encode()) if name == "n.csv.gz" else text.encode())
    names = row_columns(file, SCHEMA)
    assert set(names) == {"a", "b", "id"}
    (batch,) = checked_rows(file, SCHEMA, names)
    assert batch.texts["id"].to_pylist() == ["007", "a\nb", "8"]
    assert batch.features.to_pydict() == {"a": [1.5, None, None], "b": ["x", "y", None]}
    line = row_name([file], SCHEMA, "n")
    where = ["row 0", "row 2"] if name == "n.parquet" else ["line 2", "line 5"]
    assert [line(row) for row in (0, 2)] == [f"n: {w}" for w in where]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("a,y\n", "missing: b"),
        ("a,b,x\n", "neither in columns nor in ignore: x"),
        ("a,b,id,id\n", "more than once: id"),
        ("a,b,y,y\n", "more than once: y"),
    ],
)
def test_columns_that_are_not_as_declared_are_named(
    tmp_path: Path, header: str, message: str
) -> None:
    (tmp_path / "n.csv").write_text(header)
    with pytest.raises(UserError, match=rf"n\.csv: line 1: .*{message}"):
        row_columns(tmp_path / "n.csv", SCHEMA)


def test_a_cell_longer_than_any_is_named(tmp_path: Path) -> None:
    file = tmp_path / "n.csv"
    file.write_text(f"a,b\n1,x\n1,{'x' * 300_000}\n")
    (batch,) = checked_rows(file, SCHEMA, ["a", "b"])
    (failure,) = batch.failures
    assert f"{failure}".endswith("expected text without NUL bytes, of at most 262144 bytes")
    assert row_name([file], SCHEMA)(failure.row) == f"{file}: line 3"


def test_a_pipe_is_copied_and_messages_call_it_stdin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "piped").open("w+b") as piped:
        piped.write(gzip.compress(b"a,b\n1,x\n1\n"))
        piped.seek(0)
        monkeypatch.setattr("sys.stdin", type("Stdin", (), {"buffer": piped}))
        with pytest.raises(UserError, match=r"^stdin: line 3: found 1 cells; expected 2"):  # noqa: SIM117
            with regular_file(Path("-")) as file:
                list(checked_rows(file, SCHEMA, row_columns(file, SCHEMA)))


def test_a_parquet_file_has_numbers_where_a_csv_has_them_in_a_form(tmp_path: Path) -> None:
    schema = schema_of("binary", price={"kind": "real", "format": "1.234,5 €"})
    (tmp_path / "n.csv").write_text('price\n"1.234,50 €"\n"7,25"\n')
    pd.DataFrame({"price": [1234.5, 7.25]}).to_parquet(tmp_path / "n.parquet")
    pd.DataFrame({"price": ["1.234,5 €", "7.25"]}).to_parquet(tmp_path / "texts.parquet")
    for name, expected in {
        "n.csv": [1234.5, 7.25],
        "n.parquet": [1234.5, 7.25],
        "texts.parquet": [1234.5, None],
    }.items():
        (batch,) = checked_rows(tmp_path / name, schema, ["price"])
        assert batch.features["price"].to_pylist() == expected
    assert "written as 1.234,5 €" in str(batch.failures[0])
