"""What a server of a model understands and answers: OpenAPI 3.1."""

from typing import Any

from tabular.prediction.outputs import output_schema
from tabular.schema import Column, Schema

TYPES = {"real": "number", "integer": "integer", "boolean": "boolean"}  # others are texts


def openapi(schema: Schema, *, intervals: bool) -> dict[str, Any]:
    """The document for a model of a table.

    Args:
        intervals: of a regression, whether each value has one.
    """
    row = {
        "type": "object",
        "properties": {name: cell_schema(column) for name, column in schema.features.items()}
        | {name: {"type": ["string", "null"]} for name in schema.ignore},
        "required": list(schema.features),
    }
    found = output_schema(schema, [], numbered=False, intervals=intervals)
    kinds = {"float": "number", "double": "number", "int64": "integer", "bool": "boolean"}
    answer = {
        "type": "object",
        "properties": {
            field.name: {"type": kinds.get(str(field.type), "string")} for field in found
        },
        "required": found.names,
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": f"Predictions of {schema.target}", "version": "1"},
        "paths": {
            "/predict": {
                "post": {
                    "summary": f"Predict {schema.target} of rows",
                    "parameters": [
                        {
                            "name": "explain",
                            "in": "query",
                            "description": "how many of the columns that moved an answer to name",
                            "schema": {"type": "integer", "minimum": 0},
                        }
                    ],
                    "requestBody": _json(
                        {
                            "type": "object",
                            "properties": {"rows": {"type": "array", "minItems": 1, "items": row}},
                            "required": ["rows"],
                            "additionalProperties": False,
                        }
                    )
                    | {"required": True},
                    "responses": {
                        "200": _answer(
                            "An answer for each row, in their order",
                            {
                                "rows": {"type": "array", "items": answer},
                                "warnings": {"type": "array", "items": {"type": "string"}},
                            },
                        ),
                        **{
                            code: _answer(
                                said, {"errors": {"type": "array", "items": {"type": "string"}}}
                            )
                            for code, said in {
                                "400": "The body is not JSON, or explain no number",
                                "408": "The body did not arrive in time",
                                "413": "The body is too large",
                                "422": "A row is not as declared; a line for each mistake",
                                "503": "Too many requests wait; try again",
                            }.items()
                        },
                    },
                }
            },
            "/health": {"get": _plain("The server answers, and which model it has")},
            "/schema": {"get": _plain("This document")},
            "/metrics": {"get": _plain("Counts and times in the text format of Prometheus")},
        },
    }


def cell_schema(column: Column) -> dict[str, Any]:
    """The JSON values of a column. What its checks warn of is allowed too."""
    words = any(isinstance(value, str) for value in column.missing_values)
    kinds = [TYPES.get(column.kind, "string"), *(["string"] if words else [])]
    kinds = list(dict.fromkeys([*kinds, *(["null"] if column.nullable else [])]))
    found: dict[str, Any] = {"type": kinds if kinds[1:] else kinds[0]}
    if column.min is not None:
        found["minimum"] = column.min
    if column.max is not None:
        found["maximum"] = column.max
    if column.values is not None and not words:
        found["enum"] = [*column.values, *([None] if column.nullable else [])]
    if column.kind == "datetime":
        found["description"] = column.format or "ISO 8601"
    return found


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _answer(said: str, properties: dict[str, Any]) -> dict[str, Any]:
    required = [name for name in properties if name != "warnings"]
    of = {"type": "object", "properties": properties, "required": required}
    return {"description": said} | _json(of)


def _plain(said: str) -> dict[str, Any]:
    return {"responses": {"200": {"description": said}}}
