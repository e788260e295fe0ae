"""CSV files line by line: where rows begin, and which line is broken."""

import codecs
import csv
import errno
import gzip
import zlib
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import IO

from tabular.config.schema import Dialect, Schema
from tabular.core.errors import UserError
from tabular.table.cells import MAX_CELL

MISTAKES_SHOWN = 5
CSV_ERRORS = (csv.Error, UnicodeError, OSError, EOFError, zlib.error)  # what `records` raises
OTHER_FORMATS = {
    b"PAR1": "a Parquet file",
    b"PK\3\4": "an Excel file or another zip",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"SQLite": "an SQLite database",
    b"%PDF": "a PDF",
}


def open_bytes(file: Path) -> IO[bytes]:
    """The content of a plain or gzip file.

    Raises:
        OSError: it cannot be opened, or is neither: a pipe would wait for who writes to it.
    """
    if file.exists() and not file.is_file():
        raise OSError(
            errno.EINVAL, "found a folder, a pipe or a device; expected a file", str(file)
        )
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def check_format(file: Path) -> None:
    """Raises `UserError` where a file is one of `OTHER_FORMATS`, by its first bytes."""
    with open_bytes(file) as content:
        start = content.read(8)
    for magic, name in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise UserError(
                f"{file}: found {name}; expected a CSV file: export the table as one"
                if magic != b"PAR1"
                else f"{file}: found {name}; expected a CSV file: name it .parquet"
            )


def records(
    file: Path, dialect: Dialect, *, strict: bool = True
) -> Iterator[tuple[int, list[str]]]:
    """The records with the line in which each one begins, the header first; slow, for messages.

    Not `strict`, it reads what Arrow reads: a quote opens only at the start of a cell.

    Raises:
        CSV_ERRORS: the file cannot be read on.
    """
    csv.field_size_limit(MAX_CELL)
    # A byte order mark is no part of the header.
    name = codecs.lookup(dialect.encoding).name
    encoding = "utf-8-sig" if name == "utf-8" else name
    with TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as text:
        reader = csv.reader(text, delimiter=dialect.delimiter, strict=strict)
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1


def header_hint(header: list[str], schema: Schema) -> str:
    """Why a header may not be as declared, as a sentence; empty where nothing tells."""
    if len(header) == 1 and len(schema.columns) > 1:
        return f". The line holds no {schema.delimiter!r}; is delimiter in data/schema.yaml right?"
    if not set(header) & set(schema.columns):
        return ". It names no declared column; is the header missing?"
    return ""


def malformed_lines(file: Path, dialect: Dialect, *, ragged: bool = False) -> str:
    """The first few lines that are broken as CSV, a line of text each; empty if none is.

    Args:
        ragged: whether a row may have more or fewer cells than the header.
    """
    mistakes: list[str] = []
    line = 1
    try:
        lines = records(file, dialect)
        _, header = next(lines)
        for line, cells in lines:
            if len(cells) != len(header) and not ragged:
                mistakes.append(
                    f"{file}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            if len(mistakes) == MISTAKES_SHOWN:
                mistakes.append("There may be more.")
                break
    except CSV_ERRORS as error:
        mistakes.append(describe_csv_error(file, dialect, line, error))
    return "\n".join(mistakes)


def describe_csv_error(file: Path, dialect: Dialect, line: int, error: Exception) -> str:
    """A file that cannot be read on after `line`, in words."""
    match error:
        case UnicodeDecodeError() if dialect.by_bytes:
            with open_bytes(file) as content, suppress(csv.Error):
                for number, text in enumerate(content, start=1):
                    try:
                        text.decode(dialect.encoding)
                    except UnicodeDecodeError as wrong:
                        byte = text[wrong.start]
                        return (
                            f"{file}: line {number}: found byte 0x{byte:02x}, which is not "
                            f"{dialect.encoding}; set encoding in data/schema.yaml, for example "
                            "to latin-1"
                        )
        case csv.Error() if "field larger" in str(error):
            return (
                f"{file}: after line {line}: found a cell of more than {MAX_CELL} characters; "
                "expected shorter ones. Does a quote never close?"
            )
        case csv.Error() if "unexpected end" in str(error):
            return f"{file}: after line {line}: found a quote that never closes"
        case csv.Error() if "expected after" in str(error):
            return (
                f"{file}: after line {line}: found text after the quote that closes a cell; "
                "a quote inside a quoted cell is written twice"
            )
        case EOFError() | zlib.error() | gzip.BadGzipFile():
            return f"{file}: after line {line}: the gzip file is cut off or broken; copy it again"
    return f"{file}: after line {line}: {error}"
