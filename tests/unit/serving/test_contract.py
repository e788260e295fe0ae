"""The OpenAPI document describes the columns of a table as they are checked."""

from typing import Any

import pytest

from tabular.config.sections import Validate
from tabular.serving.rows import answer_schema, request_schema
from tests.helpers import schema_of


def row_schema(policies: Validate | None = None, **columns: Any) -> Any:
    """Return the JSON schema of a row of a table with these columns."""
    rows, _ = request_schema(schema_of("regression", **columns), policies or Validate())["anyOf"]
    return rows["items"]


@pytest.mark.parametrize(
    ("column", "types", "others"),
    [
        ({"kind": "integer", "min": 0, "max": 9}, "integer", {"minimum": 0, "maximum": 9}),
        ({"kind": "real", "max": 1, "nullable": True}, "number null", {"maximum": 1}),
        ({"kind": "real", "min": 0, "missing_values": [-1]}, "number", {}),
        ({"kind": "real", "missing_values": ["none"]}, "number string", {}),
        ({"kind": "category", "values": ["a"]}, "string", {"enum": ["a"]}),
        (
            {"kind": "integer", "values": [1, 2], "nullable": True},
            "integer null",
            {"enum": [1, 2, None]},
        ),
        ({"kind": "boolean"}, "boolean", {}),
        (
            {"kind": "datetime", "format": "epoch_ms", "nullable": True},
            "string number null",
            {"description": "as text epoch_ms"},
        ),
    ],
)
def test_a_cell_is_described_as_it_is_checked(column: Any, types: str, others: Any) -> None:
    cell = row_schema(**{"a/b": column})["properties"]["a/b"]
    assert cell == {"type": types.split(), **others}


def test_a_check_that_only_warns_sets_no_limit() -> None:
    policies = Validate(range="warn", values="warn")
    row = row_schema(policies, x={"kind": "real", "min": 0, "values": [1.0, 2.0]})
    assert row["properties"]["x"] == {"type": ["number"]}


def test_the_columns_of_ignore_are_optional_in_rows_and_answers() -> None:
    schema = schema_of("regression", x={"kind": "real"}).model_copy(update={"ignore": ("id",)})
    row = request_schema(schema, Validate())["anyOf"][0]["items"]
    assert (list(row["properties"]), row["required"]) == (["x", "id"], ["x"])
    answer = answer_schema(schema, intervals=True)["properties"]["rows"]["items"]
    assert list(answer["properties"]) == ["id", "predicted", "low", "high"]
    assert answer["required"] == ["predicted", "low", "high"]
