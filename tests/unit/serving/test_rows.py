"""JSON rows are what a CSV of the same values is, and bad ones are told in bounded time."""

import time
from typing import Any

import pytest

from tabular.core.errors import UserError
from tabular.serving.rows import read_rows, texts_of
from tests.helpers import schema_of

SCHEMA = schema_of(
    "regression",
    price={"kind": "real", "format": "1.234,5"},
    n={"kind": "integer", "nullable": True},
    flag={"kind": "boolean"},
)


def test_a_number_is_written_as_its_column_writes_numbers() -> None:
    """Beside texts of the same column, whatever its size."""
    cells: list[Any] = ["1.234,5", 1234.5, -7, 1e-7, 1e20]
    rows = [{"price": cell, "n": None, "flag": True} for cell in cells]
    texts = texts_of(rows, SCHEMA)
    expected = ["1.234,5", "1234,5", "-7", "0,0000001", "100000000000000000000"]
    assert texts.to_pydict() == {"price": expected, "n": [""] * 5, "flag": ["true"] * 5}


@pytest.mark.parametrize(
    ("cell", "said"), [([1], r"found '\[1\]'"), ("\ud800", ".*half a character")]
)
def test_what_is_no_cell_is_told(cell: Any, said: str) -> None:
    with pytest.raises(UserError, match=f"row 1, column flag: {said}"):
        texts_of([{"price": 1, "n": 1, "flag": cell}], SCHEMA)


def test_many_wrong_names_take_no_time() -> None:
    schema = schema_of("regression", **{f"column {n}": {"kind": "real"} for n in range(500)})
    row: dict[str, Any] = {f"name {n}": 1 for n in range(5000)}
    started = time.process_time()
    with pytest.raises(UserError):
        texts_of([row], schema)
    assert time.process_time() - started < 3


def test_a_key_twice_is_no_row() -> None:
    with pytest.raises(UserError, match="'a' twice"):
        read_rows(b'[{"a": 1, "b": 2, "a": 3}]')
