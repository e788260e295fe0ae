"""JSON lines: an object in each line, whose values are read as texts, like the cells of a CSV."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, quote
from keras_tabular.table import csv
from keras_tabular.table.cells import LONE_SURROGATE, Number

MAX_ROWS_FOR_NAMES = 100_000  # a column has to occur in one of the first rows
EXPECTED = "expected an object of texts, numbers, true, false and null"


def read_json_lines(file: Path, dialect: Dialect, names: list[str]) -> Iterator[csv.RawRows]:
    """Yield the columns `names` of a file as text; a missing or null value is an empty text.

    Numbers get the decimal point of their column, if `dialect` is a schema.

    Raises:
        UserError: The file is not valid; the message names the line.
    """
    first, objects = 0, read_objects(file, Number)
    while rows := [row for _, row in islice(objects, csv.ROWS_PER_BATCH)]:
        columns = {name: [row.get(name, "") for row in rows] for name in names}
        csv.set_decimal_points(columns, dialect)
        yield csv.RawRows(file, first, pa.table(columns), {})
        first += len(rows)


def read_names(file: Path) -> list[str]:
    """Return the columns of the first `MAX_ROWS_FOR_NAMES` rows, in the order of their occurrence.

    Raises:
        UserError: The file is not valid; the message names the line.
    """
    rows = islice(read_objects(file), MAX_ROWS_FOR_NAMES)
    return list(dict.fromkeys(name for _, row in rows for name in row))


def read_objects(file: Path, number: type[str] = str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line of each row, and the row's cells by column.

    Args:
        number: Type of the cells that are numbers.

    Raises:
        UserError: The file cannot be read, or a line is not valid; the message names the line.
    """
    line = 0
    try:
        with csv.open_bytes(file) as content:
            for line, text in enumerate(csv.read_lines(content), start=1):
                if not text.isspace():
                    yield line, _parse_object(text, number)
    except ValueError as error:  # of the line: bytes are read without an encoding
        raise UserError(f"{file}, line {line}: {error}") from None
    except csv.CSV_ERRORS as error:
        raise UserError(csv.describe_error(file, Dialect(), line + 1, error)) from None


def _parse_object(text: bytes, number: type[str]) -> dict[str, str]:
    """Parse a line to its cells.

    Raises:
        ValueError: The line is not JSON or not an object, or a value is not one cell.
    """
    try:
        # Numbers stay as they are written: 1.50 may be a code.
        row = json.loads(text.rstrip(), parse_float=number, parse_int=number, parse_constant=number)
    except json.JSONDecodeError as error:
        problem = f"no JSON at character {error.colno}: {error.msg}"
        raise ValueError(f"{EXPECTED}, got {problem}") from None
    except RecursionError:
        raise ValueError(f"{EXPECTED}, got too many brackets within each other") from None
    if not isinstance(row, dict):
        raise ValueError(f"{EXPECTED}, got {quote(text.decode().strip())}")
    may_have_surrogates = b"\\u" in text or b"\xed" in text  # as an escape, or as bytes
    for name, value in row.items():
        if isinstance(value, list | dict):
            raise ValueError(f"column {name}: expected one value, got a list or an object")
        row[name] = {None: "", True: "true", False: "false"}.get(value, value)
        if may_have_surrogates and LONE_SURROGATE.search(name + row[name]):
            raise ValueError(f"column {name}: expected text in UTF-8, got {quote(row[name])}")
    return row
