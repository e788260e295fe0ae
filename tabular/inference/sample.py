"""A look at the first rows of a table: how it is written, and how often each text occurs."""

import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from tabular.config.schema import Dialect
from tabular.core.errors import UserError, listed
from tabular.table.csv_lines import (
    CSV_ERRORS,
    check_format,
    describe_csv_error,
    open_bytes,
    records,
)
from tabular.table.source import (
    Piece,
    is_parquet,
    parquet_rows,
    parquet_schema,
    parquet_texts,
    unreadable,
)

MISSING = {"NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "none", "?", "-", "."}


def is_missing(text: str) -> bool:
    """Return whether a text usually stands for a missing value."""
    return text in MISSING or text.isspace()


class Sample(NamedTuple):
    """The first rows of a table.

    Attributes:
        dialect: How the table is written.
        delimiter: Delimiter of its files; empty for Parquet.
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
    """Delimiter and encoding of a file, from its first megabyte."""
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
    """The first rows of each file of a table: `limit` in all, of each alike where it has them.

    Raises:
        UserError: one cannot be read, its header names a column twice, or it has other columns
            than the first one; or there is no row.
    """
    dialects = [Dialect() if is_parquet(file) else infer_dialect(file) for file in files]
    # In ASCII a file says nothing of the others' encoding.
    dialect = dialects[0].model_copy(
        update={"encoding": next((d.encoding for d in dialects if d.encoding != "utf-8"), "utf-8")}
    )
    columns, rows, whole = dict[str, Counter[str]](), 0, True
    hashes, rows_by_file = set[int](), list[int]()
    for number, file in enumerate(files):
        names, lines = header_and_lines(file, dialect)
        columns = columns or {name: Counter() for name in names}
        if {*names} != {*columns}:
            other = listed(sorted({*names} ^ {*columns}))
            raise UserError(f"{file}: found other columns than in {files[0]}: {other}")
        counts = [columns[name] for name in names]
        share = -(-(limit - rows) // (len(files) - number))
        for cells in islice(lines, share):
            rows += 1
            hashes.add(hash(tuple(cells)))
            for count, cell in zip(counts, cells, strict=True):
                count[cell] += 1
        whole = whole and next(lines, None) is None
        rows_by_file.append(rows - sum(rows_by_file))
    if not rows:
        raise UserError(f"{files[0]}: found a header and no rows; expected some")
    cannot = {name: said for file in files for name, said in unreadable(file).items()}
    delimiter = "" if is_parquet(files[0]) else dialect.delimiter
    return Sample(dialect, delimiter, columns, rows, rows_by_file, len(hashes), whole, cannot)


def header_and_lines(file: Path, dialect: Dialect) -> tuple[list[str], Iterator[list[str]]]:
    """The names of a file's columns, and the cells of each row."""
    records_of = parquet_records(file) if is_parquet(file) else records(file, dialect)
    line = 1

    def lines() -> Iterator[list[str]]:
        nonlocal line
        try:
            for line, cells in records_of:
                if len(cells) != len(names):
                    raise UserError(
                        f"{file}: line {line}: found {len(cells)} cells; expected {len(names)}"
                    )
                yield cells
        except CSV_ERRORS as error:
            raise UserError(describe_csv_error(file, dialect, line, error)) from None

    try:
        _, names = next(records_of)
    except StopIteration:
        raise UserError(f"{file}: the file is empty; expected a header line") from None
    except CSV_ERRORS as error:
        raise UserError(describe_csv_error(file, dialect, line, error)) from None
    if repeated := sorted(name for name, times in Counter(names).items() if times > 1):
        said = f"found {listed(map(repr, repeated))} more than once"
        if not is_parquet(file):
            said = f"line 1: {said}; is the header missing?"
        raise UserError(f"{file}: {said}")
    return names, lines()


def parquet_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """What `records` gives for a CSV file of the same table; an unreadable column is empty."""
    names = parquet_schema(path).names
    yield 0, names
    empty = unreadable(path)
    read = [name for name in names if name not in empty]
    for table in parquet_texts(Piece(path, names, 0, parquet_rows(path)), read, {}):
        gaps = [""] * len(table)
        columns = [gaps if name in empty else table[name].to_pylist() for name in names]
        yield from ((0, list(cells)) for cells in zip(*columns, strict=True))
