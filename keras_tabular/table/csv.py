"""CSV files: DuckDB reads them, and Python reads what DuckDB refuses and names the wrong line."""

import csv
import re
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedReader, TextIOWrapper
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Dialect
from keras_tabular.core.errors import UserError, join_mistakes, quote
from keras_tabular.table.cells import MAX_CELL_LENGTH
from keras_tabular.table.database import connect
from keras_tabular.table.parquet import regroup_rows

ROWS_PER_BATCH = 32_768
MIN_ROWS_PER_BATCH = 1024
MAX_BATCH_CELLS = 2**21  # of a batch with more than `MIN_ROWS_PER_BATCH` rows
BLOCK_BYTES = 2**22
OVERLAP_BYTES = 2**8
NO_CELL = "\x1f\x1e\x1f"  # a text that no table has
CSV_ERRORS = (csv.Error, UnicodeError, OSError)
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
CSV_PROBLEMS = {  # by a part of Python's message
    "field larger": f"expected at most {MAX_CELL_LENGTH} characters in a cell, got more. Does a "
    "quote never close?",
    "unexpected end": "expected a quote that closes the cell, got the end of the file",
    "expected after": "expected the end of the cell after a closing quote, got more text. Write a "
    "quote inside a quoted cell twice.",
}
OTHER_FORMATS = {
    b"PAR1": "a Parquet file. Let its name end in .parquet.",
    b"PK\3\4": "an Excel file or another zip file. Export the table as CSV.",
    b"\xd0\xcf\x11\xe0": "an old Excel file. Export the table as CSV.",
}


class RawRows(NamedTuple):
    """Consecutive rows of a file, as the file stores them.

    Attributes:
        file: The file.
        first: Number of the first of these rows in the file, from 0.
        cells: Columns of text if the file is a CSV, of any type if it is Parquet.
        ragged: Rows of a CSV that have more or fewer cells than the header, by their number in
            `cells`: how many cells are expected and how many there are. Missing cells are empty in
            `cells`.
    """

    file: Path
    first: int
    cells: pa.Table
    ragged: dict[int, tuple[str, str]]


def read_csv(
    file: Path, dialect: Dialect, names: list[str], *, allow_ragged: bool = False
) -> Iterator[RawRows]:
    """Yield the columns `names` of a file as text, some rows at a time.

    Args:
        allow_ragged: Whether a row may have more or fewer cells than the header.

    Raises:
        UserError: The file is not a valid CSV; the message names the line.
    """
    import duckdb

    header = read_header(file, dialect)
    first = 0
    with suppress(duckdb.Error, pa.ArrowException, OSError):
        if _duckdb_reads_the_same_rows(file, dialect, header):
            for cells in _read_with_duckdb(file, dialect, header, names):
                yield RawRows(file, first, cells, {})
                first += len(cells)
            return
    # Python reads the remaining rows: it accepts mixed line ends, or names the wrong line.
    positions = [header.index(name) for name in names]
    records = islice(read_records(file, dialect), 1 + first, None)
    while batch := list(islice(records, ROWS_PER_BATCH)):
        ragged = {
            number: _describe_ragged(row, header)
            for number, (_, row) in enumerate(batch)
            if len(row) != len(header)
        }
        if ragged and not allow_ragged:
            mistakes = (
                f"{file}, line {batch[number][0]}: expected {expected}, got {got}"
                for number, (expected, got) in ragged.items()
            )
            raise UserError(join_mistakes(mistakes))
        columns = [[row[n] if n < len(row) else "" for _, row in batch] for n in positions]
        cells = pa.table([pa.array(column, pa.string()) for column in columns], names)
        yield RawRows(file, first, cells, ragged)
        first += len(batch)


def _describe_ragged(row: list[str], header: list[str]) -> tuple[str, str]:
    without_name = ", ".join(map(quote, row[len(header) :]))
    note = f"; the header has no name for {without_name}" if without_name else ""
    return f"{len(header)} cells", f"{len(row)}{note}"


def _duckdb_reads_the_same_rows(file: Path, dialect: Dialect, header: list[str]) -> bool:
    """Return whether DuckDB certainly reads the same rows as Python, if the file is valid.

    DuckDB reads ` "a"` as `a`, while Python keeps the space and the quotes, and refuses `"a" `.
    DuckDB leaves out a last line that is longer than its buffer. An empty line in a file with one
    column is a row to DuckDB, and a name with one of *?[ is a pattern of several files.
    """
    if not dialect.is_utf8 or len(header) == 1 or set(str(file)) & set("*?["):
        return False
    ends = rb"[\r\n" + re.escape(dialect.delimiter.encode()) + b"]"
    pattern = re.compile(rb'" +(?:' + ends + rb"|$)|(?:^|" + ends + rb') +"')
    with open_bytes(file) as content:
        tail = b""
        while block := content.read(BLOCK_BYTES):
            is_long_line = len(block) == BLOCK_BYTES and b"\n" not in block and b"\r" not in block
            block = tail + block
            may_match = b'"' in block and (b'" ' in block or b' "' in block)
            if is_long_line or (may_match and pattern.search(block)):
                return False
            tail = block[-OVERLAP_BYTES:]
    return True


def _read_with_duckdb(
    file: Path, dialect: Dialect, header: list[str], names: list[str]
) -> Iterator[pa.Table]:
    """Yield the columns `names` of a file as tables with the same number of rows.

    Raises:
        duckdb.Error: DuckDB cannot read the file, or does not find the same header as Python.
    """
    import duckdb

    batch_rows = min(max(MAX_BATCH_CELLS // len(header), MIN_ROWS_PER_BATCH), ROWS_PER_BATCH)
    types = {f"column{n}": "VARCHAR" for n in range(len(header))}
    relation = connect().read_csv(
        str(file),
        sep=dialect.delimiter,
        header=False,
        columns=types,
        quotechar='"',
        escapechar='"',
        strict_mode=True,
        auto_detect=False,
        force_not_null=list(types),
        na_values=[NO_CELL],  # by default, DuckDB would ignore an empty cell after the last column
    )
    columns = ", ".join(f"column{header.index(name)}" for name in names)
    reader = relation.project(columns).to_arrow_reader(ROWS_PER_BATCH)
    # The sizes of DuckDB's batches depend on the number of threads.
    batches = (pa.table(batch.columns, names) for batch in reader)
    tables = regroup_rows(batches, chain([1], repeat(batch_rows)))
    first_row = next(tables, None)
    if first_row is None or [list(row.values()) for row in first_row.to_pylist()] != [names]:
        raise duckdb.DataError("the first row is not the header")
    yield from tables


def read_header(file: Path, dialect: Dialect) -> list[str]:
    """Return the names in the first line of a file.

    Raises:
        UserError: The file is not a CSV, or it is empty.
    """
    for _, header in read_records(file, dialect):
        return header
    raise UserError(f"{file}: expected a header line, got an empty file")


def read_records(file: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows, each with the number of the line in which it begins.

    Raises:
        UserError: The file cannot be read any further; the message names the line.
    """
    csv.field_size_limit(MAX_CELL_LENGTH)
    encoding = "utf-8-sig" if dialect.is_utf8 else dialect.encoding  # skips a byte order mark
    line = 1
    try:
        check_format(file)
        with TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as text:
            reader = csv.reader(text, delimiter=dialect.delimiter, strict=True)
            for cells in reader:
                if cells:
                    yield line, cells
                line = reader.line_num + 1
    except CSV_ERRORS as error:
        raise UserError(describe_error(file, dialect, line, error)) from None


def check_format(file: Path) -> None:
    """Raise `UserError` if the first bytes of a file are those of another format."""
    with open_bytes(file) as content:
        start = content.read(8)
    for magic, description in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise UserError(f"{file}: expected a CSV file, got {description}")


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file, and decompress it if its name ends in .gz or .zst.

    Raises:
        OSError: The file cannot be opened.
    """
    content = file.open("rb")
    if file.suffix in COMPRESSED:
        return BufferedReader(pa.CompressedInputStream(content, COMPRESSED[file.suffix]))
    return content


def describe_error(file: Path, dialect: Dialect, line: int, error: Exception) -> str:
    """Describe why a file cannot be read from `line` on."""
    problem = str(error)
    if isinstance(error, csv.Error):
        messages = (CSV_PROBLEMS[part] for part in CSV_PROBLEMS if part in problem)
        return f"{file}, line {line}: {next(messages, problem)}"
    if isinstance(error, UnicodeDecodeError):
        line += error.object[: error.start].count(b"\n")  # in the block that cannot be decoded
        problem = f"expected text in {dialect.encoding}, got byte 0x{error.object[error.start]:02x}"
        problem += ". Convert the file, or set encoding in the schema, for example to latin-1."
    if isinstance(error, OSError) and file.suffix in COMPRESSED:
        problem = "The compressed file is cut off or damaged. Copy it again."
    return f"{file}, line {line} or later: {problem}"
