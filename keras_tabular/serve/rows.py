"""Check rows from JSON, convert predictions to JSON, and describe a request."""

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
from keras_tabular.table.rows import Failure, check_rows
from keras_tabular.table.source import unique_keys

# The types of kinds that are not strings.
JSON_TYPES = {"real": "number", "integer": "integer", "boolean": "boolean"}
JsonSchema = dict[str, Any]
# The texts of each row, by column.
Cells = list[dict[str, str]]
# The number of a row, and what is wrong with it.
Mistakes = list[tuple[int, str]]


def request_schema(schema: Schema) -> JsonSchema:
    """Build the JSON schema of a request to `/predict`."""
    cells = {name: _cell_schema(column) for name, column in schema.features.items()}
    for name in schema.ignore:
        cells[name] = {"type": ["string", "null"]}
    row = {
        "type": "object",
        "properties": cells,
        "required": list(schema.features),
    }
    rows = {"type": "array", "items": row, "minItems": 1}
    object_with_rows = {
        "type": "object",
        "properties": {"rows": rows},
        "required": ["rows"],
    }
    return {"anyOf": [rows, object_with_rows]}


def _cell_schema(column: Column) -> JsonSchema:
    types = [JSON_TYPES.get(column.kind, "string")]
    if any(form in EPOCHS for form in column.formats):
        types.append("number")
    may_be_text = column.missing_words or column.replace or column.format
    if may_be_text and "string" not in types:
        types.append("string")
    if column.nullable:
        types.append("null")
    cell: JsonSchema = {"type": types}
    if column.kind == "datetime" or column.format:
        cell["description"] = f"as text {' or '.join(column.formats)}"
    elif not column.missing_values and not column.replace:
        if column.min is not None:
            cell["minimum"] = column.min
        if column.max is not None:
            cell["maximum"] = column.max
        if column.values is not None:
            nulls = [None] if column.nullable else []
            cell["enum"] = [*column.values, *nulls]
    return cell


def read_request(body: bytearray, max_rows: int) -> list[Any]:
    """Read the rows of a request: a list of objects, or an object with it as `rows`.

    Raises:
        HTTPException: The body is something else, or has more rows.
    """
    try:
        content = json.loads(body, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    rows = content
    if isinstance(content, dict) and content.keys() == {"rows"}:
        rows = content["rows"]
    if not isinstance(rows, list) or not rows:
        raise HTTPException(
            400,
            "the body: expected a list of rows, [{column: value, ...}, ...], or"
            ' {"rows": [...]}, with at least one row',
        )
    if len(rows) > max_rows:
        raise HTTPException(
            413,
            f"the body: expected at most {max_rows:,} rows, got {len(rows):,}",
        )
    return rows


def read_cells(rows: list[Any], schema: Schema) -> tuple[Cells, Mistakes]:
    """Read rows as the texts that a CSV file would contain.

    Args:
        rows: Rows from JSON.
        schema: The schema of the model.

    Returns:
        The valid cells, and the mistakes for which the rows are refused. After some
        mistakes, the remaining rows are not read.
    """
    cells = []
    mistakes = []
    for number, row in enumerate(rows):
        row_cells, texts = _read_row(row, schema)
        cells.append(row_cells)
        mistakes += [(number, text) for text in texts]
        if len(mistakes) >= MAX_MISTAKES_SHOWN:
            break
    return cells, mistakes


def check_cells(
    cells: Cells,
    schema: Schema,
    checks: Checks,
) -> tuple[pa.Table, list[Failure]]:
    """Check cells like those of a CSV file.

    Args:
        cells: Result of `read_cells`. A cell that is not there fails no check, since it
            is a mistake already.
        schema: The schema of the model.
        checks: Result of `declared_checks`.

    Returns:
        The values, null for an invalid cell, and the failures.
    """
    columns = {}
    for name in schema.features:
        texts = [row.get(name, "") for row in cells]
        columns[name] = pa.array(texts, "string")
    raw = RawRows(Path("the request"), 0, pa.table(columns))
    _, features, failures = check_rows(raw, schema.features, checks)
    return features, [
        failure for failure in failures if failure.column in cells[failure.row]
    ]


def mistake_lines(mistakes: Mistakes, failures: list[Failure]) -> list[str]:
    """Return a line for each mistake for which rows are refused, in their order.

    Args:
        mistakes: Result of `read_cells`.
        failures: Result of `check_cells`.
    """
    errors = [failure for failure in failures if failure.policy != "warn"]
    mistakes = mistakes + [(error.row, f", column {error}") for error in errors]
    mistakes.sort(key=lambda mistake: mistake[0])
    return [f"row {number + 1}{mistake}" for number, mistake in mistakes]


def _read_row(row: Any, schema: Schema) -> tuple[dict[str, str], list[str]]:
    """Return the valid cells of a row as texts, and the mistakes in the row."""
    if not isinstance(row, dict):
        return {}, [f": expected an object, got {quote(json.dumps(row))}"]
    cells = {}
    mistakes = []
    missing = [name for name in schema.features if name not in row]
    if missing:
        nullable = all(schema.columns[name].nullable for name in missing)
        hint = "; give null for an empty cell" if nullable else ""
        mistakes.append(f": missing: {format_list(missing)}{hint}")
    undeclared = row.keys() - {*schema.columns, *schema.ignore}
    for number, name in enumerate(nsmallest(MAX_MISTAKES_SHOWN, undeclared)):
        hint = "" if number else suggestion(name, schema.features)
        mistakes.append(f": no column {quote(name)} is declared.{hint}")
    for name, cell in row.items():
        if name in undeclared:
            continue
        if isinstance(cell, dict | list):
            problem = (
                "expected a number, text, true, false or null, got"
                f" {quote(json.dumps(cell))}"
            )
        elif isinstance(cell, str) and LONE_SURROGATE.search(cell):
            problem = f"expected text in UTF-8, got {quote(cell)}"
        else:
            cells[name] = _as_text(cell, schema.columns.get(name))
            continue
        mistakes.append(f", column {name}: {problem}")
    return cells, mistakes


def _as_text(cell: str | float | None, column: Column | None) -> str:
    """Return a cell as a text, a number with the decimal mark of its column."""
    if cell is None:
        return ""
    if isinstance(cell, str):
        return cell
    mark = column.decimal_point if column else "."
    return json.dumps(cell).replace(".", mark)


def answers_from_columns(
    columns: Mapping[str, pa.Array | pa.ChunkedArray],
) -> list[dict[str, Any]]:
    """Convert columns to JSON rows, each float32 with the digits that identify it."""
    values = dict(columns)
    for name, column in columns.items():
        if pa.types.is_float32(column.type):
            values[name] = column.cast("string").cast("double")
    return pa.table(values).to_pylist()
