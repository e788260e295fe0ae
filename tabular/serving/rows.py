"""Rows and answers as JSON: the same values, checks and answers as those of files."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tabular.errors import UserError, listed, shown
from tabular.mistakes import suggestion
from tabular.schema import Schema
from tabular.table.csv import MISTAKES_SHOWN

Cell = str | int | float | bool | None
Row = dict[str, Cell]


def read_rows(body: bytes) -> list[Row]:
    """The rows in a request: a list of objects, or an object that has one as `rows`.

    Raises:
        UserError: it is something else.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"found {constant}, which is no JSON")

    try:
        found = json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError) as error:  # of the text, its encoding, a number too long
        raise UserError(f"the body is not JSON: {error}") from None
    rows = found.get("rows") if isinstance(found, dict) and found.keys() == {"rows"} else found
    if not isinstance(rows, list) or not rows:
        raise UserError(
            'the body: expected {"rows": [{column: value, ...}, ...]}, one row at least'
        )
    return rows


def texts_of(rows: list[Row], schema: Schema, optional: set[str]) -> tuple[pa.Table, Schema]:
    """The rows as the texts that a CSV holds, and the schema for them.

    A column of JSON numbers is written in no format of texts; null is an empty cell.

    Args:
        optional: columns that a row may have too.

    Raises:
        UserError: a row has other columns, or a cell is a list or an object; a line for each
            mistake.
    """
    needed, mistakes = set(schema.features), list[str]()
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            mistakes.append(f"row {number}: found {shown(json.dumps(row))}; expected an object")
        elif row.keys() != needed:
            mistakes += _wrong_names(number, row, needed, optional)
        if len(mistakes) >= MISTAKES_SHOWN:
            break
    if mistakes:
        raise UserError("\n".join(mistakes[:MISTAKES_SHOWN]))
    names = [
        *schema.features,
        *(name for name in schema.ignore if any(name in row for row in rows)),
    ]
    columns = {name: [row.get(name) for row in rows] for name in names}
    written, plain = {}, {}
    for name, cells in columns.items():
        column = schema.columns.get(name)
        numbers = any(isinstance(cell, int | float) for cell in cells)
        if column and column.format and column.kind != "datetime" and numbers:
            plain[name] = column.model_copy(update={"format": None})
        written[name] = pa.array(
            [_text(number, name, cell) for number, cell in enumerate(cells, 1)], pa.string()
        )
    return pa.table(written), schema.model_copy(update={"columns": schema.columns | plain})


def _wrong_names(number: int, row: Row, needed: set[str], optional: set[str]) -> list[str]:
    """How the columns of a row differ from the declared ones, in words."""
    found = []
    if missing := [name for name in needed if name not in row]:
        found.append(
            f"row {number}: missing: {listed(sorted(missing))}; give null for an empty cell"
        )
    for name in row.keys() - needed - optional:
        found.append(
            f"row {number}: no column {shown(name)} is declared.{suggestion(name, needed)}"
        )
    return found


def _text(number: int, name: str, cell: Any) -> str:
    """A cell as the text that a CSV holds."""
    if isinstance(cell, str):
        return cell
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, int | float):
        return repr(cell)
    raise UserError(
        f"row {number}, column {name}: found {shown(json.dumps(cell))}; expected a number, a text, "
        "true, false or null"
    )


def answers_of(columns: Mapping[str, pa.Array | pa.ChunkedArray]) -> list[dict[str, Any]]:
    """Columns of one length as JSON values of rows; a float32 in the digits that tell it apart."""
    values = {name: _json_values(column) for name, column in columns.items()}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _json_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    if pa.types.is_float32(column.type):
        return [
            None if value is None else float(str(np.float32(value))) for value in column.to_pylist()
        ]
    return column.to_pylist()
