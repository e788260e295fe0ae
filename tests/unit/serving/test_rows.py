"""JSON rows are converted to texts, and the JSON schema describes the checks of the columns."""

from typing import Any

import pytest

from keras_tabular.config.sections import Validate
from keras_tabular.serving.rows import check_json_rows, request_schema
from keras_tabular.table.checks import declared_checks
from tests.helpers import build_schema

SCHEMA = build_schema(
    "regression",
    price={"kind": "real", "format": "1.234,5"},
    n={"kind": "integer", "nullable": True},
    flag={"kind": "boolean"},
)
CHECKS = declared_checks(SCHEMA, Validate())


def test_numbers_are_converted_to_the_format_of_their_column() -> None:
    """The column may also contain texts, and numbers of any size."""
    cells: list[Any] = ["1.234,5", 1234.5, -7, 1e-7, 1e20]
    rows = [{"price": cell, "n": None, "flag": True} for cell in cells]
    (texts, values, _), mistakes = check_json_rows(rows, SCHEMA, CHECKS)
    expected = ["1.234,5", "1234,5", "-7", "1e-07", "1e+20"]
    assert texts.to_pydict() == {"price": expected, "n": [""] * 5, "flag": ["true"] * 5}
    assert values["price"].to_pylist() == [1234.5, 1234.5, -7, 1e-7, 1e20]
    assert mistakes == []


EPOCH = {"description": "as text epoch"}


@pytest.mark.parametrize(
    ("column", "types", "checks"),
    [
        ({"kind": "integer", "min": 0, "max": 9}, "integer", {"minimum": 0, "maximum": 9}),
        ({"kind": "real", "max": 1, "nullable": True}, "number null", {"maximum": 1}),
        ({"kind": "real", "missing_values": ["none"]}, "number string", {}),
        ({"kind": "category", "values": ["a"]}, "string", {"enum": ["a"]}),
        ({"kind": "datetime", "format": "epoch"}, "string number", EPOCH),
    ],
)
def test_the_schema_describes_the_checks_of_a_column(column: Any, types: str, checks: Any) -> None:
    rows, _ = request_schema(build_schema("regression", **{"a/b": column}))["anyOf"]
    assert rows["items"]["properties"]["a/b"] == {"type": types.split(), **checks}


def test_the_columns_of_ignore_are_optional() -> None:
    schema = build_schema("regression", x={"kind": "real"}).model_copy(update={"ignore": ("id",)})
    row = request_schema(schema)["anyOf"][0]["items"]
    assert (list(row["properties"]), row["required"]) == (["x", "id"], ["x"])
