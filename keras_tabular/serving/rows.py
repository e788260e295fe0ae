"""Convert rows from JSON and predictions to JSON, and describe a request as a JSON schema."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from fastapi import HTTPException

from keras_tabular.config.schema import EPOCHS, Column, Schema
from keras_tabular.config.typed_yaml import suggestion
from keras_tabular.core.errors import MAX_MISTAKES_SHOWN, UserError, format_list, quote
from keras_tabular.table.cells import ARROW_TYPES, is_utf8

JSON_TYPES = {"double": "number", "float": "number", "int64": "integer", "bool": "boolean"}
JsonSchema = dict[str, Any]


def request_schema(schema: Schema) -> JsonSchema:
    """Build the JSON schema of a request to `/predict`."""
    cells = {name: _cell_schema(column) for name, column in schema.features.items()}
    cells |= {name: {"type": ["string", "null"]} for name in schema.ignore}
    row = {"type": "object", "properties": cells, "required": list(schema.features)}
    rows = {"type": "array", "items": row, "minItems": 1}
    return {"anyOf": [rows, {"type": "object", "properties": {"rows": rows}, "required": ["rows"]}]}


def _cell_schema(column: Column) -> JsonSchema:
    types = [JSON_TYPES.get(str(ARROW_TYPES[column.kind]), "string")]
    types += ["number"] if {*column.formats} & {*EPOCHS} else []
    types += ["string"] if column.reads_texts else []
    types += ["null"] if column.nullable else []
    cell: JsonSchema = {"type": list(dict.fromkeys(types))}
    if column.feature_type == "datetime" or column.format:
        cell["description"] = f"as text {' or '.join(column.formats)}"
    elif not column.missing_values and not column.replace:
        limits = {"minimum": column.min, "maximum": column.max}
        cell |= {name: limit for name, limit in limits.items() if limit is not None}
        if column.values is not None:
            cell["enum"] = [*column.values, *([None] if column.nullable else [])]
    return cell


def read_rows(body: bytes | bytearray) -> list[Any]:
    """Read the rows of a request: a list of objects, or an object that has the list as `rows`.

    Raises:
        HTTPException: The body is something else.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    has_key = isinstance(content, dict) and content.keys() == {"rows"}
    rows = content["rows"] if has_key else content
    if not isinstance(rows, list) or not rows:
        expected = 'a list of rows, [{column: value, ...}, ...], or {"rows": [...]}'
        raise HTTPException(400, f"the body: expected {expected}, with at least one row")
    return rows


def texts_from_rows(rows: list[Any], schema: Schema) -> pa.Table:
    """Convert rows to the texts that a CSV would contain, with numbers in their column's format.

    Raises:
        UserError: A row has other columns than declared, or a cell is a list or an object. The
            message has a line for each mistake.
    """
    mistakes = [
        f"row {number}{mistake}"
        for number, row in enumerate(rows, 1)
        for mistake in _row_mistakes(row, schema)
    ]
    if mistakes:
        raise UserError("\n".join(mistakes[:MAX_MISTAKES_SHOWN]))
    identifiers = [name for name in schema.ignore if any(name in row for row in rows)]
    columns = {}
    for name in [*schema.features, *identifiers]:
        point = schema.columns[name].decimal_point if name in schema.columns else "."
        columns[name] = pa.array([_cell_text(row.get(name), point) for row in rows], pa.string())
    return pa.table(columns)


def _row_mistakes(row: Any, schema: Schema) -> Iterator[str]:
    """Yield the differences between a row and the declared columns."""
    if not isinstance(row, dict):
        yield f": expected an object, got {quote(json.dumps(row))}"
        return
    if missing := [name for name in schema.features if name not in row]:
        nullable = all(schema.columns[name].nullable for name in missing)
        hint = "; give null for an empty cell" if nullable else ""
        yield f": missing: {format_list(missing)}{hint}"
    for name in sorted(row.keys() - {*schema.columns, *schema.ignore}):
        yield f": no column {quote(name)} is declared.{suggestion(name, schema.features)}"
    for name, cell in row.items():
        if isinstance(cell, dict | list):
            allowed = "a number, text, true, false or null"
            yield f", column {name}: expected {allowed}, got {quote(json.dumps(cell))}"
        elif isinstance(cell, str) and not is_utf8(cell):
            yield f", column {name}: expected text in UTF-8, got {quote(cell)}"


def _cell_text(cell: str | float | bool | None, point: str) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell is None else json.dumps(cell).replace(".", point)


def answers_from_columns(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> list[dict[str, Any]]:
    """Convert columns to JSON rows. A float32 gets the fewest digits that identify it."""
    values = {
        name: column.cast(pa.string()).cast(pa.float64())
        if pa.types.is_float32(column.type)
        else column
        for name, column in columns.items()
    }
    answers: list[dict[str, Any]] = pa.table(values).to_pylist()
    return answers
