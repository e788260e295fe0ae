"""JSON lines: an object in each line, whose values are read as texts, like the cells of a CSV.

A file may also be the log of a server's answers, or a folder of such files: each line is then an
answer, and its inputs are the row. Lines of a log that are not a complete and valid answer are
skipped, since a server that is killed may leave part of a line.
"""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, quote
from keras_tabular.table import csv
from keras_tabular.table.cells import LONE_SURROGATE, Number

MAX_ROWS_FOR_NAMES = 100_000  # a column has to occur in one of the first rows
MAX_LINES_TO_RECOGNISE_LOG = 10  # the first ones may be incomplete
EXPECTED = "expected an object of texts, numbers, true, false and null"


class Answer(NamedTuple):
    """A line of a log, without the predictions.

    Attributes:
        model: Version, if it has one, and MD5 hash of the model that answered.
        inputs: The cells of the row that the client sent, by column.
    """

    model: tuple[str | None, str]
    inputs: dict[str, str]


def read_json_lines(file: Path, dialect: Dialect, names: list[str]) -> Iterator[csv.RawRows]:
    """Yield the columns `names` of a file as text; a missing or null value is an empty text.

    Numbers get the decimal point of their column, if `dialect` is a schema.

    Raises:
        UserError: The file is not valid; the message names the line.
    """
    first, objects = 0, read_objects(file, Number)
    while rows := [row for *_, row in islice(objects, csv.ROWS_PER_BATCH)]:
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
    return list(dict.fromkeys(name for *_, row in rows for name in row))


def read_objects(file: Path, number: type[str] = str) -> Iterator[tuple[Path, int, dict[str, str]]]:
    """Yield the file and the line of each row, and the row's cells by column.

    Args:
        number: Type of the cells that are numbers.

    Raises:
        UserError: The file cannot be read, or a line is not valid; the message names the line.
    """
    in_log = is_log(file)
    for path, line, text in _read_lines(file):
        try:
            if not in_log:
                yield path, line, _parse_object(text, number)
            elif answer := _parse_answer(text, number):
                yield path, line, answer.inputs
        except ValueError as error:
            raise UserError(f"{path}, line {line}: {error}") from None


def read_answers(log: Path) -> Iterator[tuple[Path, int, Answer | None]]:
    """Yield the file and the number of each line, and its answer, or None if it has none."""
    return ((path, line, _parse_answer(text)) for path, line, text in _read_lines(log))


def is_log(file: Path) -> bool:
    """Return whether a file of JSON lines is a log of answers; a folder is."""
    lines = islice(read_answers(file), MAX_LINES_TO_RECOGNISE_LOG)
    return file.is_dir() or any(answer for *_, answer in lines)


def _read_lines(path: Path) -> Iterator[tuple[Path, int, bytes]]:
    """Yield the file, the number and the text of each line of a file, or of the files of a log."""
    # Another ending, as in .jsonl~, may be that of a copy, whose rows would count twice.
    names = [f"[!.]*.jsonl{ending}" for ending in ("", *csv.COMPRESSED)]
    files = sorted(file for name in names for file in path.glob(name)) if path.is_dir() else [path]
    for file in files:
        line = 0
        try:
            with csv.open_bytes(file) as content:
                for line, text in enumerate(csv.read_lines(content), start=1):
                    if not text.isspace():
                        yield file, line, text
        except csv.CSV_ERRORS as error:
            raise UserError(csv.describe_error(file, Dialect(), line + 1, error)) from None


def _parse_answer(text: bytes, number: type[str] = str) -> Answer | None:
    try:
        answer = _parse_json(text, number)
        model = answer["model"]["version"], answer["model"]["md5"]
        return Answer(model, _cells(answer["inputs"], text))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _parse_object(text: bytes, number: type[str]) -> dict[str, str]:
    """Parse a line to its cells.

    Raises:
        ValueError: The line is not JSON or not an object, or a value is not one cell.
    """
    try:
        row = _parse_json(text, number)
    except json.JSONDecodeError as error:
        problem = f"no JSON at character {error.colno}: {error.msg}"
        raise ValueError(f"{EXPECTED}, got {problem}") from None
    except RecursionError:
        raise ValueError(f"{EXPECTED}, got too many brackets within each other") from None
    if not isinstance(row, dict):
        raise ValueError(f"{EXPECTED}, got {quote(text.decode().strip())}")
    return _cells(row, text)


def _parse_json(text: bytes, number: type[str]) -> Any:
    # Numbers stay as they are written: 1.50 may be a code.
    return json.loads(text.rstrip(), parse_float=number, parse_int=number, parse_constant=number)


def _cells(row: dict[str, Any], line: bytes) -> dict[str, str]:
    may_have_surrogates = b"\\u" in line or b"\xed" in line  # as an escape, or as bytes
    for name, value in row.items():
        if isinstance(value, list | dict):
            raise ValueError(f"column {name}: expected one value, got a list or an object")
        row[name] = {None: "", True: "true", False: "false"}.get(value, value)
        if may_have_surrogates and LONE_SURROGATE.search(name + row[name]):
            raise ValueError(f"column {name}: expected text in UTF-8, got {quote(row[name])}")
    return row
