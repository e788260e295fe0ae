"""A look at the first rows of a table: how it is written, and how often each text occurs."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, format_list
from keras_tabular.table.csv import CSV_ERRORS, check_format, describe_csv_error, open_bytes
from keras_tabular.table.rows import text_columns
from keras_tabular.table.source import column_types, is_csv, read_rows, unreadable

MISSING = {"NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "-", "."}


def is_missing(text: str) -> bool:
    """Return whether a text usually stands for a missing value."""
    return text in MISSING or text.isspace()


class Sample(NamedTuple):
    """The first rows of a table.

    Attributes:
        dialect: How the table is written.
        delimiter: Delimiter of its files; empty if they are no CSV.
        columns: How often each text occurs in each column.
        rows: Number of rows.
        rows_by_file: Number of rows of each file.
        distinct_rows: Number of rows that differ from all rows before them.
        whole: Whether these are all rows of the table.
        unreadable: What no kind of column can hold, see `source.unreadable`.
    """

    dialect: Dialect
    delimiter: str
    columns: dict[str, Counter[str]]
    rows: int
    rows_by_file: list[int]
    distinct_rows: int
    whole: bool
    unreadable: dict[str, str]


def infer_dialect(path: Path) -> Dialect:
    """Infer the delimiter and encoding of a file from its first megabyte."""
    try:
        check_format(path)
        with open_bytes(path) as file:
            start = file.read(2**20)
    except CSV_ERRORS as error:
        raise UserError(describe_csv_error(path, Dialect(), 1, error)) from None
    encoding = "utf-16" if start[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8"
    if encoding == "utf-8" and b"\0" in start:
        raise UserError(f"{path}: found NUL bytes; expected a CSV file in UTF-8 or latin-1")
    try:
        start.decode(encoding)
    except UnicodeDecodeError as error:
        if error.end < len(start) - 4:  # not a letter that the megabyte cuts
            encoding = "latin-1"
    # A cell between quotes may hold a delimiter or a line break.
    header, *rows = re.sub('"[^"]*"', "", start.decode(encoding, "replace")).split("\n", 2)[:2]

    def fitness(delimiter: str) -> tuple[bool, int]:
        count = header.count(delimiter)
        return all(row.count(delimiter) == count for row in rows if row), count

    present = [mark for mark in ",;\t|" if mark in header]
    return Dialect(delimiter=max(present, key=fitness, default=","), encoding=encoding)


def read_sample(files: list[Path], limit: int) -> Sample:
    """Read the first rows of each file of a table, `limit` in all, equally many of each.

    Raises:
        UserError: A file cannot be read, its header names a column twice, or it has other columns
            than the first one; or there is no row.
    """
    dialects = [infer_dialect(file) if is_csv(file) else Dialect() for file in files]
    # In ASCII a file says nothing of the others' encoding.
    dialect = dialects[0].model_copy(
        update={"encoding": next((d.encoding for d in dialects if d.encoding != "utf-8"), "utf-8")}
    )
    columns, rows_by_file, whole = dict[str, Counter[str]](), list[int](), True
    hashes, unreadable_columns = set[int](), dict[str, str]()
    for number, file in enumerate(files):
        types = column_types(file, dialect)
        check_names(file, types.names)
        columns = columns or {name: Counter() for name in types.names}
        if other := sorted(set(types.names) ^ set(columns)):
            raise UserError(f"{file}: found other columns than in {files[0]}: {format_list(other)}")
        unreadable_columns |= unreadable(types)
        readable = [name for name in types.names if name not in unreadable_columns]
        rows, max_rows = 0, -(-(limit - sum(rows_by_file)) // (len(files) - number))
        for raw in read_rows(file, dialect, readable):
            texts = text_columns(raw, {})[: max_rows - rows]
            cells = [texts[name].to_pylist() for name in readable]
            for name, column in zip(readable, cells, strict=True):
                columns[name].update(column)
            hashes.update(map(hash, zip(*cells, strict=True)))
            rows += len(texts)
            if len(texts) < len(raw.cells):
                whole = False
                break
        for name in set(types.names) - set(readable):
            columns[name].update({"": rows})
        rows_by_file.append(rows)
    row_count = sum(rows_by_file)
    if not row_count:
        raise UserError(f"{files[0]}: found a header and no rows; expected some")
    return Sample(
        dialect,
        dialect.delimiter if is_csv(files[0]) else "",
        columns,
        row_count,
        rows_by_file,
        len(hashes),
        whole,
        unreadable_columns,
    )


def check_names(file: Path, names: list[str]) -> None:
    """Raise `UserError` if two columns of a file have the same name."""
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        problem = f"found {format_list(map(repr, repeated))} more than once"
        if is_csv(file):
            problem = f"line 1: {problem}; is the header missing?"
        raise UserError(f"{file}: {problem}")
