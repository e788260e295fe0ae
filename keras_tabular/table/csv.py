"""CSV files: DuckDB reads them, and Python reads what DuckDB refuses.

Python names the line of a mistake. It also reads sheets, whose rows are lines here, and
leaves out what is no row of a table.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from io import StringIO, TextIOWrapper
from itertools import chain, dropwhile, islice, repeat
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import UserError, join_mistakes, quote
from keras_tabular.core.parallel import worker_count
from keras_tabular.table import excel
from keras_tabular.table.cells import MAX_CELL_LENGTH, Number
from keras_tabular.table.dialect import (
    COMPRESSED,
    CSV_ERRORS,
    describe_error,
    open_bytes,
)
from keras_tabular.table.parquet import is_parquet, regroup_rows

ROWS_PER_BATCH = 32_768
# A batch with more cells has fewer rows, but at least `MIN_ROWS_PER_BATCH`.
MAX_BATCH_CELLS = 2**21
MIN_ROWS_PER_BATCH = 1024
# Bytes that `_duckdb_reads_the_same_rows` reads at a time, and those of the block
# before that it searches again.
BLOCK_BYTES = 2**22
OVERLAP_BYTES = 2**8
# A text that no table has. By default, DuckDB would ignore an empty cell after the last
# column.
NO_CELL = "\x1f\x1e\x1f"
# What `read_last_lines` reads.
LAST_BYTES = 2**16
MAX_LAST_LINES = 100
# Rows in which a column without a name at the end has to be empty.
MAX_ROWS_TO_FIND_UNNAMED = 1000
# Excel's first line that names the delimiter.
SEPARATOR_LINE = re.compile("sep=.?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"\d,\d{1,2}(\D|$)")
Record = tuple[int, list[str]]  # the number of the line, from 1, and its cells


class RawRows(NamedTuple):
    """Consecutive rows of a file, as the file stores them.

    Attributes:
        file: The file.
        first_row: Number of the first of these rows in the file, from 0.
        cells: Columns of any type if the file is Parquet, otherwise of text.
        ragged: Rows of a CSV that have more or fewer cells than the header, by their
            number in `cells`: how many cells are expected and how many there are.
            Missing cells are empty in `cells`.
        percentages: Numbers of a sheet in columns of percentages, by column and number
            in `cells`. A sheet may store 12.5% as 0.125: then `cells` has 0.125, and
            here is 12.5%. Nobody knows which one is right.
    """

    file: Path
    first_row: int
    cells: pa.Table
    ragged: Mapping[int, tuple[str, str]] = {}
    percentages: Mapping[str, dict[int, str]] = {}


def read_csv(
    file: Path,
    dialect: Dialect,
    names: list[str],
    *,
    allow_ragged: bool = False,
) -> Iterator[RawRows]:
    """Yield the columns `names` of a file as text, some rows at a time.

    Args:
        dialect: Result of `fit_dialect`.
        allow_ragged: Whether a row may have more or fewer cells than the header.

    Raises:
        UserError: The file is not a valid CSV; the message names the line.
    """
    import duckdb

    _, header = read_header(file, dialect)
    first_row = 0
    with suppress(duckdb.Error, pa.ArrowException, OSError):
        if _duckdb_reads_the_same_rows(file, dialect, header):
            for cells in _read_with_duckdb(file, dialect, header, names):
                yield RawRows(file, first_row, cells)
                first_row += len(cells)
            return
    # Python reads the remaining rows: it accepts mixed line ends, or names the wrong
    # line.
    records = islice(read_records(file, dialect), 1 + first_row, None)
    while batch := list(islice(records, ROWS_PER_BATCH)):
        rows = [cells for _, cells in batch]
        ragged = {
            number: _describe_ragged(cells, header)
            for number, cells in enumerate(rows)
            if len(cells) != len(header)
        }
        if ragged and not allow_ragged:
            mistakes = [
                f"{describe_place(file, batch[number][0])}: expected {expected}, got"
                f" {got}"
                for number, (expected, got) in ragged.items()
            ]
            raise UserError(
                f"{join_mistakes(mistakes)}\nIf a line is no row, list it in skip_lines"
                " of data/schema.yaml.",
            )
        columns = {}
        for name in names:
            n = header.index(name) if name in header else len(header)
            columns[name] = [cells[n] if n < len(cells) else "" for cells in rows]
        percentages = _find_percentages(dialect, columns)
        set_decimal_points(columns, dialect)
        yield RawRows(file, first_row, pa.table(columns), ragged, percentages)
        first_row += len(batch)


def _describe_ragged(row: list[str], header: list[str]) -> tuple[str, str]:
    """Return how many cells are expected in a row, and how many it has."""
    got = f"{len(row)}"
    if len(row) > len(header):
        without_name = ", ".join(map(quote, row[len(header) :]))
        got += f"; the header has no name for {without_name}"
    return f"{len(header)} cells", got


def _find_percentages(
    dialect: Dialect,
    columns: dict[str, list[str]],
) -> dict[str, dict[int, str]]:
    """Return `RawRows.percentages` for the cells of a file by column."""
    if not isinstance(dialect, Schema):
        return {}
    percentages = {}
    for name in columns.keys() & dialect.columns.keys():
        if "%" in (dialect.columns[name].number_format or ""):
            percentages[name] = {
                row: f"{100 * float(cell):g}%"
                for row, cell in enumerate(columns[name])
                if isinstance(cell, Number)
            }
    return percentages


def set_decimal_points(columns: dict[str, list[str]], dialect: Dialect) -> None:
    """Give the numbers of typed files the decimal point that their column's format has.

    Args:
        columns: The cells by column, of which those of type `Number` change.
        dialect: The schema. If it is none, the other texts of a column show its decimal
            point.
    """
    for name, cells in columns.items():
        if not isinstance(dialect, Schema):
            point = _infer_decimal_point(cells)
        elif name in dialect.columns:
            point = dialect.columns[name].decimal_point
        else:
            continue
        if point != ".":
            columns[name] = [
                cell.replace(".", point) if isinstance(cell, Number) else cell
                for cell in cells
            ]


def _infer_decimal_point(cells: list[str]) -> str:
    """Infer the decimal point of a column from its texts with digits."""
    texts = [
        cell
        for cell in cells
        if not isinstance(cell, Number) and re.search(r"\d", cell)
    ]
    n_with_comma = sum(bool(DECIMAL_COMMA.search(text)) for text in texts)
    return "," if 2 * n_with_comma > len(texts) else "."


def _duckdb_reads_the_same_rows(
    file: Path,
    dialect: Dialect,
    header: list[str],
) -> bool:
    """Return whether DuckDB certainly reads the same rows of a valid file as Python.

    DuckDB reads ` "a"` as `a`, while Python keeps the space and the quotes, and refuses
    `"a" `. DuckDB leaves out a last line that is longer than its buffer. An empty line
    in a file with one column is a row to DuckDB, and so is a last line that has only
    delimiters. A name with one of *?[ is a pattern of several files.
    """
    if excel.is_excel(file) or dialect.skip_lines or not dialect.is_utf8:
        return False
    if len(header) == 1 or any(mark in str(file) for mark in "*?["):
        return False
    delimiter = dialect.delimiter.encode()
    cell_ends = rb"[\r\n" + re.escape(delimiter) + b"]"
    space_outside_quotes = re.compile(
        rb'" +(' + cell_ends + rb"|$)|(^|" + cell_ends + rb') +"',
    )
    tail = b""
    with open_bytes(file) as content:
        while block := content.read(BLOCK_BYTES):
            is_last = len(block) < BLOCK_BYTES
            if not is_last and b"\n" not in block and b"\r" not in block:
                return False
            block = tail + block
            # To find two bytes is much faster than the regular expression.
            may_match = b'" ' in block or b' "' in block
            if may_match and space_outside_quotes.search(block):
                return False
            tail = block[-OVERLAP_BYTES:]
    last_line = re.split(rb"[\r\n]", tail.rstrip(b"\r\n"))[-1]
    return bool(last_line.strip(delimiter + b'" \t'))


def _read_with_duckdb(
    file: Path,
    dialect: Dialect,
    header: list[str],
    names: list[str],
) -> Iterator[pa.Table]:
    """Yield the columns `names` of a file as tables with the same number of rows.

    Raises:
        duckdb.Error: DuckDB cannot read the file, or does not find the same header as
            Python.
    """
    import duckdb

    types = {f"column{n}": "VARCHAR" for n in range(len(header))}
    relation = connect().read_csv(
        str(file),
        sep=dialect.delimiter,
        header=False,
        columns=types,
        auto_detect=False,
        force_not_null=list(types),
        na_values=[NO_CELL],
    )
    selected = [
        f"column{header.index(name)}" if name in header else "''" for name in names
    ]
    reader = relation.project(", ".join(selected)).to_arrow_reader(ROWS_PER_BATCH)
    # The sizes of DuckDB's batches depend on the number of threads.
    batches = (pa.table(batch.columns, names) for batch in reader)
    max_rows = max(MAX_BATCH_CELLS // len(header), MIN_ROWS_PER_BATCH)
    sizes = chain([1], repeat(min(max_rows, ROWS_PER_BATCH)))  # the header comes first
    tables = regroup_rows(batches, sizes)
    first = next(tables, None)
    expected = {name: name if name in header else "" for name in names}
    if first is None or first.to_pylist() != [expected]:
        raise duckdb.DataError("the first row is not the header")
    yield from tables


def read_header(file: Path, dialect: Dialect) -> Record:
    """Return the number of the header's line, and the names in it.

    Args:
        dialect: Result of `fit_dialect`.

    Raises:
        UserError: The file is not a CSV, or it is empty.
    """
    for record in read_records(file, dialect):
        return record
    raise UserError(f"{file}: expected a header line, got an empty file")


def read_records(file: Path, dialect: Dialect) -> Iterator[Record]:
    """Yield the header and the rows of a file, each with the number of its first line.

    Empty lines, the lines `skip_lines` and a first line such as `sep=;` are left out,
    and above the header and at the end also lines with delimiters alone. The last
    columns are left out if they have no names; a single one only if it is empty in the
    first rows.

    Args:
        dialect: Result of `fit_dialect`.

    Raises:
        UserError: The file cannot be read any further; the message names the line.
    """
    records = _read_all_records(file, dialect)
    if dialect.skip_lines:
        marked = _mark_skipped(records, dialect.skip_lines)
        records = (record for record, is_skipped in marked if not is_skipped)
    return _leave_out_unnamed_columns(_leave_out_empty_ends(records))


def skipped_lines(file: Path, dialect: Dialect) -> dict[int, list[str]]:
    """Return the cells of the lines `skip_lines` by the number of the line, from 1.

    Args:
        dialect: Result of `fit_dialect`.

    Raises:
        UserError: The file cannot be read.
    """
    marked = _mark_skipped(_read_all_records(file, dialect), dialect.skip_lines)
    return dict(record for record, is_skipped in marked if is_skipped)


def _mark_skipped(
    records: Iterator[Record],
    skip_lines: tuple[int, ...],
) -> Iterator[tuple[Record, bool]]:
    """Yield each line with whether it is skipped.

    The last lines with text are held back, as many as `skip_lines` counts from the end.
    """
    max_texts = -min(0, *skip_lines)
    held_back = deque[Record]()
    n_texts = 0  # lines in `held_back` with text
    for record in records:
        held_back.append(record)
        n_texts += not is_empty(record[1])
        while n_texts > max_texts:
            oldest = held_back.popleft()
            n_texts -= not is_empty(oldest[1])
            yield oldest, oldest[0] in skip_lines
    for record in held_back:
        line, cells = record
        if is_empty(cells):
            yield record, line in skip_lines
        else:
            yield record, line in skip_lines or -n_texts in skip_lines
            n_texts -= 1


def is_empty(cells: list[str]) -> bool:
    """Return whether a line contains no text."""
    # In a file with one column, "" in quotes is a missing cell.
    return cells != [""] and not "".join(cells).strip(" \t")


def _leave_out_empty_ends(records: Iterator[Record]) -> Iterator[Record]:
    """Leave out lines without text above the header and at the end."""
    waiting = []
    for record in dropwhile(lambda record: is_empty(record[1]), records):
        waiting.append(record)
        if not is_empty(record[1]):
            yield from waiting
            waiting.clear()


def _leave_out_unnamed_columns(records: Iterator[Record]) -> Iterator[Record]:
    """Leave out the last columns if they have no names, see `read_records`."""
    header = list(islice(records, 1))
    names = header[0][1] if header else []
    n_named = len(names)
    while n_named and not names[n_named - 1]:
        n_named -= 1
    first_rows = []
    if n_named == len(names) - 1:
        first_rows = list(islice(records, MAX_ROWS_TO_FIND_UNNAMED))
    has_text = any(any(cells[n_named:]) for _, cells in first_rows)
    all_records = chain(header, first_rows, records)
    if has_text or n_named == len(names):
        yield from all_records
        return
    for line, cells in all_records:
        # A row with text in such a column stays as it is, and is ragged.
        yield line, cells if any(cells[n_named:]) else cells[:n_named]


def _read_all_records(file: Path, dialect: Dialect) -> Iterator[Record]:
    if excel.is_excel(file):
        yield from excel.read_sheet(file, dialect.sheet)
        return
    csv.field_size_limit(MAX_CELL_LENGTH)
    # "utf-8-sig" skips a byte order mark.
    encoding = "utf-8-sig" if dialect.is_utf8 else dialect.encoding
    line = 1
    try:
        with TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as text:
            reader = csv.reader(text, delimiter=dialect.delimiter, strict=True)
            for cells in reader:
                is_separator = line == 1 and SEPARATOR_LINE.fullmatch(
                    dialect.delimiter.join(cells),
                )
                if cells and not is_separator:
                    yield line, cells
                line = reader.line_num + 1
    except CSV_ERRORS as error:
        raise UserError(describe_error(file, dialect, line, error)) from None


def read_last_lines(file: Path, dialect: Dialect) -> list[list[str]]:
    """Return the cells of the last lines of a file, perhaps of all but the first one.

    Args:
        dialect: Result of `fit_dialect`.

    Raises:
        UserError: The file cannot be read.
    """
    if excel.is_excel(file):
        last_records = deque(read_records(file, dialect), MAX_LAST_LINES)
        return [cells for _, cells in last_records]
    blocks = deque[bytes](maxlen=2)
    try:
        with open_bytes(file) as content:
            if file.suffix not in COMPRESSED:
                content.seek(max(0, file.stat().st_size - LAST_BYTES))
            while block := content.read(LAST_BYTES):
                blocks.append(block)
        text = b"".join(blocks).decode(dialect.encoding, "replace")
        # The first line may be cut off.
        lines = csv.reader(StringIO(text, newline=""), delimiter=dialect.delimiter)
        return list(lines)[1:]
    except CSV_ERRORS:  # which `read_records` describes
        return []


def describe_place(file: Path, place: int, name: str = "") -> str:
    """Describe where a row is: by its line, or by its number in a sheet or Parquet."""
    unit = "row" if is_parquet(file) or excel.is_excel(file) else "line"
    return f"{name or file}, {unit} {place}"


def connect() -> Any:
    """Return a connection to an empty database in memory."""
    import duckdb  # takes a fifth of a second

    return duckdb.connect(
        config={
            "memory_limit": "1GB",
            "temp_directory": "",
            "threads": worker_count(),
            "autoinstall_known_extensions": False,
        },
    )
