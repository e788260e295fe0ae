"""The OpenAPI models say of a table's columns what a client has to know."""

from typing import Any

import pytest

from tabular.config.sections import Validate
from tabular.serving.rows import answers_model, body_schema
from tests.helpers import schema_of


@pytest.mark.parametrize(
    ("column", "types", "said"),
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
def test_a_cell_is_described_as_it_is_checked(column: Any, types: str, said: Any) -> None:
    body = body_schema(schema_of("regression", **{"a/b": column}), Validate())
    cell = body["$defs"]["Row"]["properties"]["a/b"]
    kinds = cell.pop("anyOf", [cell])
    assert " ".join(kind.pop("type") for kind in kinds) == types
    assert {key: value for kind in [cell, *kinds] for key, value in kind.items()} == {
        "title": "a/b",
        **said,
    }


def test_what_only_warns_is_no_bound() -> None:
    schema = schema_of("regression", x={"kind": "real", "min": 0, "values": [1.0, 2.0]})
    body = body_schema(schema, Validate(range="warn", values="warn"))
    assert body["$defs"]["Row"]["properties"]["x"] == {"title": "x", "type": "number"}


def test_names_that_are_none_in_python_are_columns() -> None:
    """All that the model reads are required, those of `ignore` are not, in rows and answers."""
    columns = {name: {"kind": "real"} for name in ("model_config", "_a", "copy", "b c")}
    schema = schema_of("regression", **columns).model_copy(update={"ignore": ("class",)})
    row = body_schema(schema, Validate())["$defs"]["Row"]
    assert (list(row["properties"]), row["required"]) == ([*columns, "class"], list(columns))
    answers = answers_model(schema, intervals=True).model_json_schema()
    answer = answers["$defs"]["Answer"]
    assert list(answer["properties"]) == ["class", *answer["required"]]
    assert answer["required"] == ["predicted", "low", "high"]
    assert answers["required"] == ["rows"]
