"""CSV files: DuckDB reads them, and Python reads what DuckDB refuses and names the broken lines."""

import csv
import errno
import re
from collections.abc import Iterator, Sequence
from io import BufferedReader, TextIOWrapper
from itertools import chain, islice, repeat
from pathlib import Path
from typing import IO, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.table.cells import MAX_CELL_LENGTH
from keras_tabular.table.database import connect
from keras_tabular.table.parquet import regroup_rows

ROWS_PER_BATCH = 32_768
MIN_ROWS_PER_BATCH = 1024
BATCH_BYTES = 2**25  # of a batch of long rows
SAMPLE_BYTES = 2**20  # of the first rows, to see how long they are
BLOCK_BYTES = 2**22
OVERLAP_BYTES = 2**8
NO_CELL = "\x1f\x1e\x1f"  # a text that no table has
MAX_MISTAKES_SHOWN = 5
CSV_ERRORS = (csv.Error, UnicodeError, OSError)
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
CSV_PROBLEMS = {  # by a part of Python's message
    "field larger": f"found a cell of more than {MAX_CELL_LENGTH} characters; "
    "expected shorter ones. Does a quote never close?",
    "unexpected end": "found a quote that never closes",
    "expected after": "found text after the quote that closes a cell; "
    "a quote inside a quoted cell is written twice",
}
OTHER_FORMATS = {
    b"PAR1": "a Parquet file",
    b"PK\3\4": "an Excel file or another zip",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"SQLite": "an SQLite database",
    b"%PDF": "a PDF",
}


class RawRows(NamedTuple):
    """Consecutive rows of a file, as the file stores them.

    Attributes:
        file: The file that they are from.
        first: Number of the first of these rows in the file, from 0.
        cells: Columns of text if the file is a CSV; of any type if it is Parquet.
        ragged: Rows of a CSV that have more or fewer cells than the header, by their number in
            `cells`: what was found and what is expected. Missing cells are empty there.
    """

    file: Path
    first: int
    cells: pa.Table
    ragged: dict[int, tuple[str, str]]


def read_csv(
    file: Path, dialect: Dialect, names: list[str], *, allow_ragged: bool = False
) -> Iterator[RawRows]:
    """Yield the columns `names` of a file as text, an empty cell as an empty text.

    Args:
        allow_ragged: Whether a row may have more or fewer cells than the header.

    Raises:
        UserError: The file is not a valid CSV; the message names lines.
    """
    import duckdb

    header = read_header(file, dialect)
    first = 0
    try:
        for cells in read_with_duckdb(file, dialect, header, names):
            yield RawRows(file, first, cells, {})
            first += len(cells)
        return
    except (duckdb.Error, pa.ArrowException, *CSV_ERRORS):
        # Python reads the rest: it accepts mixed line ends, or names the line that is broken.
        if not allow_ragged and (mistakes := malformed_lines(file, dialect)):
            raise UserError(mistakes) from None
    places = [header.index(name) for name in names]
    rows = islice(records(file, dialect), 1 + first, None)
    try:
        while some_rows := [cells for _, cells in islice(rows, ROWS_PER_BATCH)]:
            ragged = {}
            for number, row in enumerate(some_rows):
                if len(row) != len(header):
                    needed = str(len(header))
                    if beyond := ", ".join(map(repr, row[len(header) :])):
                        needed += f"; after these it has {beyond}"  # which no column holds
                    ragged[number] = f"{len(row)} cells", needed
            columns = [[row[n] if n < len(row) else "" for row in some_rows] for n in places]
            cells = pa.table([pa.array(column, pa.string()) for column in columns], names)
            yield RawRows(file, first, cells, ragged)
            first += len(some_rows)
    except CSV_ERRORS:
        raise UserError(malformed_lines(file, dialect, allow_ragged=True)) from None


def read_with_duckdb(
    file: Path, dialect: Dialect, header: list[str], names: list[str]
) -> Iterator[pa.Table]:
    """Yield the columns `names` of a file in tables of `ROWS_PER_BATCH` rows.

    Raises:
        duckdb.Error: DuckDB cannot read the file, or would read other rows than Python.
    """
    import duckdb

    # An empty line of a file with one column is a row to DuckDB; it takes such names for patterns.
    if not dialect.is_utf8 or len(header) == 1 or set(str(file)) & set("*?["):
        raise duckdb.NotSupportedError
    if not reads_alike(file, dialect):
        raise duckdb.NotSupportedError
    with open_bytes(file) as content:
        lines = content.readlines(SAMPLE_BYTES)
    row_bytes = sum(map(len, lines)) // max(len(lines), 1) + 1
    batch_rows = min(max(BATCH_BYTES // row_bytes, MIN_ROWS_PER_BATCH), ROWS_PER_BATCH)
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
        na_values=[NO_CELL],  # one of them after the last cell would be left out
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


def reads_alike(file: Path, dialect: Dialect) -> bool:
    """Return whether DuckDB and Python surely read the same rows of a file that is valid.

    DuckDB reads ` "a"` as `a`; Python reads it as it is, and refuses `"a" `. DuckDB also leaves out
    a last line that is longer than its buffer.
    """
    ends = rb"[\r\n" + re.escape(dialect.delimiter.encode()) + b"]"
    pattern = re.compile(rb'" +(?:' + ends + rb"|$)|(?:^|" + ends + rb') +"')
    with open_bytes(file) as content:
        tail = b""
        while block := content.read(BLOCK_BYTES):
            is_long_line = len(block) == BLOCK_BYTES and b"\n" not in block and b"\r" not in block
            block = tail + block
            has_space = b'"' in block and (b'" ' in block or b' "' in block)
            if is_long_line or (has_space and pattern.search(block)):
                return False
            tail = block[-OVERLAP_BYTES:]
    return True


def row_lines(file: Path, dialect: Dialect) -> Sequence[int]:
    """Return the line in which each row of a file begins.

    Raises:
        UserError: The file cannot be read to its end.
    """
    lines, last = 0, b"\n"
    try:
        with open_bytes(file) as content:
            is_plain = dialect.is_utf8  # without quotes or empty lines
            while is_plain and (block := content.read(BLOCK_BYTES)):
                ends = (last + block).replace(b"\r\n", b"\n")
                is_plain = not any(mark in ends for mark in (b'"', b"\r", b"\n\n"))
                lines, last = lines + block.count(b"\n"), block[-1:]
        if is_plain:
            return range(2, lines + 1 + (last != b"\n"))
        return [line for line, _ in islice(records(file, dialect), 1, None)]
    except CSV_ERRORS:
        raise UserError(malformed_lines(file, dialect)) from None


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file, which is decompressed if its name ends in .gz or .zst.

    Raises:
        OSError: It cannot be opened, or is a pipe, which would wait for whoever writes to it.
    """
    if file.exists() and not file.is_file():
        raise OSError(
            errno.EINVAL, "found a folder, a pipe or a device; expected a file", str(file)
        )
    content = file.open("rb")
    if file.suffix in COMPRESSED:
        return BufferedReader(pa.CompressedInputStream(content, COMPRESSED[file.suffix]))
    return content


def read_header(file: Path, dialect: Dialect) -> list[str]:
    """Return the names in the first line of a file.

    Raises:
        UserError: It is not a CSV, or has no line that can be read.
    """
    try:
        check_format(file)
        return next(records(file, dialect))[1]
    except StopIteration:
        raise UserError(f"{file}: the file is empty; expected a header line") from None
    except CSV_ERRORS as error:
        raise UserError(describe_csv_error(file, dialect, 1, error)) from None


def check_format(file: Path) -> None:
    """Raise `UserError` if a file is one of `OTHER_FORMATS`, by its first bytes."""
    with open_bytes(file) as content:
        start = content.read(8)
    for magic, name in OTHER_FORMATS.items():
        if start.startswith(magic):
            advice = "name it .parquet" if magic == b"PAR1" else "export the table as one"
            raise UserError(f"{file}: found {name}; expected a CSV file: {advice}")


def records(file: Path, dialect: Dialect) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows as Python reads them, the header first, each with the line where it begins.

    Raises:
        CSV_ERRORS: The file cannot be read further.
    """
    csv.field_size_limit(MAX_CELL_LENGTH)
    encoding = "utf-8-sig" if dialect.is_utf8 else dialect.encoding  # no byte order mark
    with TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as text:
        reader = csv.reader(text, delimiter=dialect.delimiter, strict=True)
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1


def header_hint(header: list[str], schema: Schema) -> str:
    """Return a sentence on why a header is not as declared; empty if nothing tells."""
    if len(header) == 1 and len(schema.columns) > 1:
        return f". The line holds no {schema.delimiter!r}; is delimiter in data/schema.yaml right?"
    if not set(header) & set(schema.columns):
        return ". It names no declared column; is the header missing?"
    return ""


def malformed_lines(file: Path, dialect: Dialect, *, allow_ragged: bool = False) -> str:
    """Describe the first few lines that are not valid CSV, each in a line; empty if all are."""
    mistakes: list[str] = []
    line = 1
    try:
        lines = records(file, dialect)
        _, header = next(lines)
        for line, cells in lines:
            if len(cells) != len(header) and not allow_ragged:
                mistakes.append(
                    f"{file}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            if len(mistakes) == MAX_MISTAKES_SHOWN:
                mistakes.append("There may be more.")
                break
    except CSV_ERRORS as error:
        mistakes.append(describe_csv_error(file, dialect, line, error))
    return "\n".join(mistakes)


def describe_csv_error(file: Path, dialect: Dialect, line: int, error: Exception) -> str:
    """Say why a file cannot be read beyond `line`."""
    if isinstance(error, UnicodeDecodeError) and dialect.is_ascii_compatible:
        with open_bytes(file) as content:
            for number, text in enumerate(content, start=1):
                try:
                    text.decode(dialect.encoding)
                except UnicodeDecodeError as wrong:
                    return (
                        f"{file}: line {number}: found byte 0x{text[wrong.start]:02x}, which "
                        f"is not {dialect.encoding}; set encoding in data/schema.yaml, for "
                        "example to latin-1"
                    )
    problem = str(error)
    if isinstance(error, OSError) and file.suffix in COMPRESSED:
        problem = "the compressed file is cut off or broken; copy it again"
    if isinstance(error, csv.Error):
        explanations = (CSV_PROBLEMS[words] for words in CSV_PROBLEMS if words in problem)
        problem = next(explanations, problem)
    return f"{file}: after line {line}: {problem}"
