"""What a server of a model understands and answers: OpenAPI 3.1."""

from typing import Any

from tabular.config.schema import EPOCHS, Column, Schema
from tabular.config.sections import Validate
from tabular.prediction.outputs import output_schema

TYPES = {"real": "number", "integer": "integer", "boolean": "boolean"}  # others are texts


def openapi(schema: Schema, policies: Validate, *, intervals: bool) -> dict[str, Any]:
    """The document for a model of a table.

    Args:
        policies: what a check that only warns allows too.
        intervals: of a regression, whether each value has one.
    """
    row = {
        "type": "object",
        "properties": {
            name: cell_schema(column, policies) for name, column in schema.features.items()
        }
        | {name: {"type": ["string", "null"]} for name in schema.ignore},
        "required": list(schema.features),
    }
    rows = {"type": "array", "minItems": 1, "items": row}
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
                            "description": "how many of the columns that moved an answer most to "
                            "name: reason_1, and reason_1_effect, by how much",
                            "schema": {"type": "integer", "minimum": 0},
                        }
                    ],
                    "requestBody": _json(
                        {
                            "oneOf": [
                                {
                                    "type": "object",
                                    "properties": {"rows": rows},
                                    "required": ["rows"],
                                    "additionalProperties": False,
                                },
                                rows,
                            ]
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
                                "413": "The body is too large, or has too many rows to explain",
                                "422": "A row is not as declared; a line for each mistake",
                                "503": "Too many requests wait, or the server stops",
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


def cell_schema(column: Column, policies: Validate) -> dict[str, Any]:
    """The JSON values of a column."""
    words = any(isinstance(value, str) for value in column.missing_values)
    kinds = [TYPES.get(column.kind, "string")]
    kinds += ["number"] if column.format in EPOCHS else []
    kinds += ["string"] if words or column.format else []
    kinds += ["null"] if column.nullable else []
    kinds = list(dict.fromkeys(kinds))
    found: dict[str, Any] = {"type": kinds if kinds[1:] else kinds[0]}
    exact = not column.missing_values and not column.format
    if exact and policies.range == "error":
        ends = {"minimum": column.min, "maximum": column.max}
        found |= {key: end for key, end in ends.items() if end is not None}
    if exact and policies.values == "error" and column.values is not None:
        found["enum"] = [*column.values, *([None] if column.nullable else [])]
    if column.kind == "datetime" or column.format:
        found["description"] = f"as text {column.format or 'ISO 8601'}"
    return found


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _answer(said: str, properties: dict[str, Any]) -> dict[str, Any]:
    required = [name for name in properties if name != "warnings"]
    of = {"type": "object", "properties": properties, "required": required}
    return {"description": said} | _json(of)


def _plain(said: str) -> dict[str, Any]:
    return {"responses": {"200": {"description": said}}}
