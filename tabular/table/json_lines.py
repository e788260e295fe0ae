"""JSON lines: an object in each line, whose values are read as texts, as those of a CSV are."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from tabular.core.errors import UserError, quoted
from tabular.table.csv import open_bytes

NAMED_ROWS = 100_000  # rows in which a column has to occur
EXPECTED = "an object of texts, numbers, true, false and null"


def read_objects(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the cells of each row by column, with the number of its line; null is an empty text.

    Raises:
        UserError: The file cannot be opened, or a line is something else; the message names it.
    """
    line = 0
    try:
        with open_bytes(file) as content:
            for line, text in enumerate(content, start=1):
                if text.isspace():
                    continue
                # Numbers as they are written: 1.50 may be a code.
                try:
                    row = json.loads(
                        text.rstrip(), parse_float=str, parse_int=str, parse_constant=str
                    )
                except json.JSONDecodeError as error:
                    raise ValueError(
                        f"found no JSON at column {error.colno}: {error.msg}"
                    ) from None
                if not isinstance(row, dict):
                    raise ValueError(f"found {quoted(text.decode().strip())}")
                for name, value in row.items():
                    if isinstance(value, list | dict):
                        raise ValueError(f"column {name}: found a list or an object")
                    row[name] = "" if value is None else str(value)
                    if isinstance(value, bool):
                        row[name] = row[name].lower()
                yield line, row
    except (ValueError, OSError) as error:
        raise UserError(f"{file}: line {line}: {error}; expected {EXPECTED}") from None


def column_names(file: Path) -> list[str]:
    """Return the columns of the first `NAMED_ROWS` rows, in the order in which they occur.

    Raises:
        UserError: See `read_objects`.
    """
    rows = islice(read_objects(file), NAMED_ROWS)
    return list(dict.fromkeys(name for _, row in rows for name in row))
