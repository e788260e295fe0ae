"""JSON rows have the texts of a CSV with the same values."""

from typing import Any

import pytest

from tabular.core.errors import UserError
from tabular.serving.rows import texts_from_rows
from tests.helpers import schema_of

SCHEMA = schema_of(
    "regression",
    price={"kind": "real", "format": "1.234,5"},
    n={"kind": "integer", "nullable": True},
    flag={"kind": "boolean"},
)


def test_a_number_is_written_as_its_column_writes_numbers() -> None:
    """The same column may have texts too, and a number may have any size."""
    cells: list[Any] = ["1.234,5", 1234.5, -7, 1e-7, 1e20]
    rows = [{"price": cell, "n": None, "flag": True} for cell in cells]
    texts = texts_from_rows(rows, SCHEMA)
    expected = ["1.234,5", "1234,5", "-7", "0,0000001", "100000000000000000000"]
    assert texts.to_pydict() == {"price": expected, "n": [""] * 5, "flag": ["true"] * 5}


@pytest.mark.parametrize(
    ("cell", "message"), [([1], r"found '\[1\]'"), ("\ud800", ".*half a character")]
)
def test_a_wrong_cell_has_a_message(cell: Any, message: str) -> None:
    with pytest.raises(UserError, match=f"row 1, column flag: {message}"):
        texts_from_rows([{"price": 1, "n": 1, "flag": cell}], SCHEMA)
