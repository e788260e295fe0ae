"""A look at the first rows of a table: how it is written, and how often each text occurs."""

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
HEAD, HEAD_CELLS = 5_000, 500_000  # rows that are kept to look for leaks


class Sample(NamedTuple):
    """How a file is written, how often each text occurs in each column, and in how many rows.

    `head`: the cells of the first `HEAD` rows; `unreadable`: see the function of this name.
    """

    dialect: Dialect
    columns: dict[str, Counter[str]]
    rows: int
    head: list[list[str]]
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
    first = start.decode(encoding, "replace").split("\n", 1)[0]
    return Dialect(delimiter=max(",;\t|", key=first.count), encoding=encoding)


def read_sample(path: Path, limit: int) -> Sample:
    """The first `limit` rows of a file.

    Raises:
        UserError: it cannot be read, its header names a column twice, or it has no row.
    """
    dialect = Dialect() if is_parquet(path) else infer_dialect(path)
    try:
        lines, line = parquet_records(path) if is_parquet(path) else records(path, dialect), 1
        _, header = next(lines)
        if repeated := sorted(name for name, times in Counter(header).items() if times > 1):
            said = f"found {listed(map(repr, repeated))} more than once"
            if not is_parquet(path):
                said = f"line 1: {said}; is the header missing?"
            raise UserError(f"{path}: {said}")
        counts = [Counter[str]() for _ in header]
        rows, head = 0, list[list[str]]()
        for line, cells in islice(lines, limit):
            if len(cells) != len(header):
                raise UserError(
                    f"{path}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            rows += 1
            if rows <= min(HEAD, HEAD_CELLS // len(header)):
                head.append(cells)
            for count, cell in zip(counts, cells, strict=True):
                count[cell] += 1
    except StopIteration:
        raise UserError(f"{path}: the file is empty; expected a header line") from None
    except CSV_ERRORS as error:
        raise UserError(describe_csv_error(path, dialect, line, error)) from None
    if not rows:
        raise UserError(f"{path}: found a header and no rows; expected some")
    columns = dict(zip(header, counts, strict=True))
    return Sample(dialect, columns, rows, head, unreadable(path))


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
