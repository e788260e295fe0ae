"""JSON lines: an object in each line, whose values are read as texts, as those of a CSV are."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pyarrow as pa

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, quote
from keras_tabular.table.csv import ROWS_PER_BATCH, RawRows, describe_csv_error, open_bytes

NAMED_ROWS = 100_000  # rows in which a column has to occur
EXPECTED = "an object of texts, numbers, true, false and null"


def read_json_lines(file: Path, names: list[str]) -> Iterator[RawRows]:
    """Yield the columns `names` of a file as text; a missing or null value is an empty text.

    Raises:
        UserError: See `read_objects`.
    """
    first, objects = 0, read_objects(file)
    while rows := [row for _, row in islice(objects, ROWS_PER_BATCH)]:
        columns = {name: [row.get(name, "") for row in rows] for name in names}
        yield RawRows(file, first, pa.table(columns), {})
        first += len(rows)


def read_names(file: Path) -> list[str]:
    """Return the columns of the first `NAMED_ROWS` rows, in the order in which they occur.

    Raises:
        UserError: See `read_objects`.
    """
    rows = islice(read_objects(file), NAMED_ROWS)
    return list(dict.fromkeys(name for _, row in rows for name in row))


def read_objects(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the cells of each row by column, with the number of its line.

    Raises:
        UserError: The file cannot be read, or a line is something else; the message names it.
    """
    line = 0
    try:
        with open_bytes(file) as content:
            for line, text in enumerate(content, start=1):
                if not text.isspace():
                    yield line, parse_object(text)
    except OSError as error:
        raise UserError(describe_csv_error(file, Dialect(), line, error)) from None
    except ValueError as error:
        raise UserError(f"{file}: line {line}: {error}; expected {EXPECTED}") from None


def parse_object(text: bytes) -> dict[str, str]:
    """Parse a line to its cells.

    Raises:
        ValueError: It is no JSON, no object, or holds a list or an object.
    """
    try:  # numbers as they are written: 1.50 may be a code
        row = json.loads(text.rstrip(), parse_float=str, parse_int=str, parse_constant=str)
    except json.JSONDecodeError as error:
        raise ValueError(f"found no JSON at column {error.colno}: {error.msg}") from None
    if not isinstance(row, dict):
        raise ValueError(f"found {quote(text.decode().strip())}")
    for name, value in row.items():
        if isinstance(value, list | dict):
            raise ValueError(f"column {name}: found a list or an object")
        row[name] = "" if value is None else str(value)
        if isinstance(value, bool):
            row[name] = row[name].lower()
    return row
