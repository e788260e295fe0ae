"""Check rows from JSON, convert predictions to JSON, and describe a request as a JSON schema."""

import json
from collections.abc import Mapping
from heapq import nsmallest
from pathlib import Path
from typing import Any

import pyarrow as pa
from fastapi import HTTPException

from keras_tabular.config.schema import EPOCHS, Column, Schema
from keras_tabular.core.errors import MAX_MISTAKES_SHOWN, format_list, quote, suggestion
from keras_tabular.table.cells import LONE_SURROGATE
from keras_tabular.table.checks import Checks
from keras_tabular.table.csv import RawRows
from keras_tabular.table.rows import CheckedRows, check_rows

# The types of kinds that are not strings.
JSON_TYPES = {"real": "number", "integer": "integer", "boolean": "boolean"}
JsonSchema = dict[str, Any]


def request_schema(schema: Schema) -> JsonSchema:
    """Build the JSON schema of a request to `/predict`."""
    cells = {name: _cell_schema(column) for name, column in schema.features.items()}
    cells |= {name: {"type": ["string", "null"]} for name in schema.ignore}
    row = {"type": "object", "properties": cells, "required": list(schema.features)}
    rows = {"type": "array", "items": row, "minItems": 1}
    return {
        "anyOf": [
            rows,
            {"type": "object", "properties": {"rows": rows}, "required": ["rows"]},
        ],
    }


def _cell_schema(column: Column) -> JsonSchema:
    types = [JSON_TYPES.get(column.kind, "string")]
    types += ["number"] if {*column.formats} & {*EPOCHS} else []
    types += (
        ["string"] if column.missing_words or column.replace or column.format else []
    )
    types += ["null"] if column.nullable else []
    cell: JsonSchema = {"type": list(dict.fromkeys(types))}
    if column.kind == "datetime" or column.format:
        cell["description"] = f"as text {' or '.join(column.formats)}"
    elif not column.missing_values and not column.replace:
        limits = {"minimum": column.min, "maximum": column.max}
        cell |= {name: limit for name, limit in limits.items() if limit is not None}
        if column.values is not None:
            cell["enum"] = [*column.values, *([None] if column.nullable else [])]
    return cell


def read_request(body: bytes | bytearray, max_rows: int) -> list[Any]:
    """Read the rows of a request: a list of objects, or an object that has the list as `rows`.

    Raises:
        HTTPException: The body is something else, or has more rows.
    """
    try:
        content = json.loads(body, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    has_key = isinstance(content, dict) and content.keys() == {"rows"}
    rows = content["rows"] if has_key else content
    if not isinstance(rows, list) or not rows:
        expected = 'a list of rows, [{column: value, ...}, ...], or {"rows": [...]}'
        raise HTTPException(
            400,
            f"the body: expected {expected}, with at least one row",
        )
    if len(rows) > max_rows:
        raise HTTPException(
            413,
            f"the body: expected at most {max_rows:,} rows, got {len(rows):,}",
        )
    return rows


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(content := dict(pairs)) < len(pairs):
        raise ValueError("an object has the same key more than once")
    return content


def check_json_rows(
    rows: list[Any],
    schema: Schema,
    checks: Checks,
) -> tuple[CheckedRows, list[str]]:
    """Check rows as the texts that a CSV would contain, with numbers in their column's format.

    Args:
        checks: Result of `declared_checks`.

    Returns:
        The rows, and a line for each mistake for which they are refused, in the order
        of the rows. After some mistakes, the remaining rows are not read.
    """
    cells = list[dict[str, str]]()
    mistakes = list[tuple[int, str]]()
    for number, row in enumerate(rows):
        row_cells, texts = _read_row(row, schema)
        cells.append(row_cells)
        mistakes += [(number, text) for text in texts]
        if len(mistakes) >= MAX_MISTAKES_SHOWN:
            break
    identifiers = [name for name in schema.ignore if any(name in row for row in cells)]
    names = [*schema.features, *identifiers]
    columns = {
        name: pa.array([row.get(name, "") for row in cells], pa.string())
        for name in names
    }
    raw = RawRows(Path("the request"), 0, pa.table(columns), {})
    batch = check_rows(raw, schema.features, checks)
    failures = [
        failure for failure in batch.failures if failure.column in cells[failure.row]
    ]
    mistakes += [(f.row, f", column {f}") for f in failures if f.policy != "warn"]
    mistakes.sort(key=lambda mistake: mistake[0])
    lines = [f"row {number + 1}{mistake}" for number, mistake in mistakes]
    return batch._replace(failures=failures), lines


def _read_row(row: Any, schema: Schema) -> tuple[dict[str, str], list[str]]:
    """Return the valid cells of a row as texts, and what is wrong with the row and other cells."""
    if not isinstance(row, dict):
        return {}, [f": expected an object, got {quote(json.dumps(row))}"]
    cells = {}
    mistakes = list[str]()
    if missing := [name for name in schema.features if name not in row]:
        nullable = all(schema.columns[name].nullable for name in missing)
        hint = "; give null for an empty cell" if nullable else ""
        mistakes.append(f": missing: {format_list(missing)}{hint}")
    undeclared = row.keys() - {*schema.columns, *schema.ignore}
    for number, name in enumerate(nsmallest(MAX_MISTAKES_SHOWN, undeclared)):
        hint = "" if number else suggestion(name, schema.features)
        mistakes.append(f": no column {quote(name)} is declared.{hint}")
    for name in (name for name in row if name not in undeclared):
        cell = row[name]
        if isinstance(cell, dict | list):
            allowed = "a number, text, true, false or null"
            mistakes.append(
                f", column {name}: expected {allowed}, got {quote(json.dumps(cell))}",
            )
        elif not isinstance(cell, str):
            column = schema.columns.get(name)
            text = json.dumps(cell)
            point = column.decimal_point if column else "."
            cells[name] = "" if cell is None else text.replace(".", point)
        elif LONE_SURROGATE.search(cell):
            mistakes.append(
                f", column {name}: expected text in UTF-8, got {quote(cell)}",
            )
        else:
            cells[name] = cell
    return cells, mistakes


def answers_from_columns(
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
) -> list[dict[str, Any]]:
    """Convert columns to JSON rows. A float32 gets the fewest digits that identify it."""
    values = dict(columns)
    for name, column in columns.items():
        if pa.types.is_float32(column.type):
            values[name] = column.cast(pa.string()).cast(pa.float64())
    return pa.table(values).to_pylist()
