"""CSV files: streamed by Arrow, and read again line by line to say where one is wrong."""

import codecs
import csv
import errno
import gzip
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, AnyStr

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from tabular.errors import UserError
from tabular.schema import Dialect, Schema
from tabular.table.cells import MAX_CELL

BLOCK_BYTES = 2 * 2**20  # of which Arrow reads 32 ahead
WINDOW_BYTES = 8 * 2**20
MAX_LINE = 2**26  # characters
MISTAKES_SHOWN = 5
BROKEN = (csv.Error, UnicodeError, OSError, EOFError, zlib.error)  # what `records` raises
OTHER_FORMATS = {
    b"PAR1": "a Parquet file",
    b"PK\3\4": "an Excel file or another zip",
    b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"SQLite": "an SQLite database",
    b"%PDF": "a PDF",
}


def text_chunks(file: Path, dialect: Dialect, names: list[str]) -> Iterator[Callable[[], pa.Table]]:
    """What reads some rows each, as a table of the columns `names`, each cell the text that it is.

    Where each quote is in its place these are windows of the file, which can be read side by side;
    else Arrow reads one row after the other. (What Python raises in a stream that Arrow reads may
    end in a deadlock.)

    Raises:
        UserError: the file is broken as CSV, or what reads some rows says so; the message names
            lines. Of a quote that never closes and of text after one that closes a cell Arrow would
            make cells.
    """

    def broken_off(error: Exception) -> UserError:
        return UserError(broken_lines(file, dialect) or f"{file}: {error}")

    def read(window: bytes, header: list[str]) -> pa.Table:
        try:
            read = pa_csv.ReadOptions(
                use_threads=False,
                block_size=len(window) + 1,
                column_names=header,
                encoding=dialect.encoding,
            )
            return pa_csv.read_csv(pa.BufferReader(window), read, *options)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            raise broken_off(error) from None

    options = (
        pa_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), include_columns=names
        ),
    )
    try:
        if quotes_in_place(file, dialect):
            _, header = next(records(file, dialect))
            for number, window in enumerate(windows(file)):
                yield partial(read, window, header if number else [])
            return
        if mistakes := broken_lines(file, dialect):
            raise UserError(mistakes)
        whole = pa_csv.ReadOptions(block_size=BLOCK_BYTES, encoding=dialect.encoding)
        with pa_csv.open_csv(pa.input_stream(file), whole, *options) as reader:
            for batch in reader:
                yield partial(pa.Table.from_batches, [batch])
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise broken_off(error) from None


def windows(file: Path) -> Iterator[bytes]:
    """The file in pieces of whole rows, about `WINDOW_BYTES` each; the header is in the first.

    Each quote is in its place, and ASCII is the same bytes.

    Raises:
        pa.ArrowInvalid: a row is longer than several of them.
    """
    rest, end, block = b"", b"", b"more"
    with pa.input_stream(file) as stream:
        while block:
            block = stream.read(WINDOW_BYTES)
            content = rest + block
            end = end or (b"\n" if b"\n" in content else b"\r")
            cut = last_row_end(content, end) if block else len(content)
            if content[:cut].strip(b"\r\n"):
                yield content[:cut]
            rest = content[cut:]
            if len(rest) > 4 * WINDOW_BYTES:
                raise pa.ArrowInvalid(f"found a row of more than {len(rest)} bytes")


def last_row_end(content: bytes, end: bytes) -> int:
    """Where the last row of some whole ones ends; 0 if none does. The first one begins at 0."""
    place, quotes = len(content), content.count(b'"')
    while place >= 0:
        before = content.rfind(end, 0, place)
        quotes -= content.count(b'"', max(before, 0), place)
        place = before
        if place >= 0 and quotes % 2 == 0:
            return place + 1
    return 0


def quotes_in_place(file: Path, dialect: Dialect) -> bool:
    """Whether each quote of a file surely opens or closes a cell, or is one of two within it."""
    if not dialect.by_bytes:
        return False
    ends = np.frombuffer(f'"\r\n{dialect.delimiter}'.encode(), np.uint8)
    last, quotes = b"\n", 0  # the last two bytes, and the quotes before the second
    with pa.input_stream(file) as stream:
        while True:
            block = stream.read(BLOCK_BYTES)
            if b'"' in last or b'"' in block:
                letters = np.frombuffer(last + (block or b"\n"), np.uint8)
                places = np.flatnonzero(letters[1:-1] == ord('"')) + 1
                closes = (quotes + np.arange(len(places))) % 2 == 1
                quotes += len(places)
                if not np.isin(letters[places + np.where(closes, 1, -1)], ends).all():
                    return False
            last = (last + block)[-2:]
            if not block:
                return quotes % 2 == 0


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
        BROKEN: the file cannot be read on.
    """
    csv.field_size_limit(MAX_CELL)
    # A byte order mark is no part of the header.
    name = codecs.lookup(dialect.encoding).name
    encoding = "utf-8-sig" if name == "utf-8" else name
    with TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as text:
        lines = bounded_lines(text.readline)
        reader = csv.reader(lines, delimiter=dialect.delimiter, strict=strict)
        line = 1
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1


def bounded_lines(readline: Callable[[int], AnyStr]) -> Iterator[AnyStr]:
    """The lines of a file; raises `csv.Error` where one has `MAX_LINE` letters or more."""
    while line := readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise csv.Error(f"found a line of more than {MAX_LINE} characters")
        yield line


def row_lines(file: Path, dialect: Dialect) -> Iterator[np.ndarray]:
    """The lines in which the rows begin, many at a time, of a file that Arrow has read.

    Raises:
        UserError: a cell is longer than `records` reads, in a file whose quotes are not all in
            place.
    """
    if quotes_in_place(file, dialect):
        yield from _row_lines(file)
        return
    lines = (line for line, _ in islice(records(file, dialect, strict=False), 1, None))
    try:
        while some := list(islice(lines, 2**16)):
            yield np.array(some)
    except BROKEN:
        raise UserError(broken_lines(file, dialect)) from None


def _row_lines(file: Path) -> Iterator[np.ndarray]:
    """See `row_lines`; each quote is in its place, and ASCII is the same bytes."""
    line, rest, is_header, block = 1, b"", True, b"more"
    with pa.input_stream(file) as stream:
        while block:
            block = stream.read(BLOCK_BYTES)
            content = rest + (block or b"\n")
            letters = np.frombuffer(content, np.uint8)
            returns, feeds = letters == ord("\r"), letters == ord("\n")
            ends = feeds | (returns & ~np.append(feeds[1:], True))
            places, quotes = np.flatnonzero(ends), np.flatnonzero(letters == ord('"'))
            of_rows = np.flatnonzero(np.searchsorted(quotes, places) % 2 == 0)
            if not len(of_rows):
                rest = content
                continue
            stops = places[of_rows]
            starts, number = np.append(0, stops[:-1] + 1), np.append(0, of_rows[:-1] + 1)
            lengths = stops - starts
            blank = (lengths == 0) | ((lengths == 1) & returns[starts])
            found = (line + number)[~blank]
            yield found[1:] if is_header else found
            is_header = is_header and not len(found)
            line, rest = line + of_rows[-1] + 1, content[stops[-1] + 1 :]


def read_header(file: Path, dialect: Dialect) -> list[str]:
    """The names in the file's first line.

    Raises:
        UserError: there is no line that can be read.
    """
    try:
        check_format(file)
        return next(records(file, dialect))[1]
    except StopIteration:
        raise UserError(f"{file}: the file is empty; expected a header line") from None
    except BROKEN as error:
        raise UserError(broken(file, dialect, 1, error)) from None


def header_hint(header: list[str], schema: Schema) -> str:
    """Why a header may not be as declared, as a sentence; empty where nothing tells."""
    if len(header) == 1 and len(schema.columns) > 1:
        return f". The line holds no {schema.delimiter!r}; is delimiter in data/schema.yaml right?"
    if not set(header) & set(schema.columns):
        return ". It names no declared column; is the header missing?"
    return ""


def broken_lines(file: Path, dialect: Dialect) -> str:
    """The first few lines that are broken as CSV, a line of text each; empty if none is."""
    mistakes: list[str] = []
    line = 1
    try:
        lines = records(file, dialect)
        _, header = next(lines)
        for line, cells in lines:
            if len(cells) != len(header):
                mistakes.append(
                    f"{file}: line {line}: found {len(cells)} cells; expected {len(header)}"
                )
            if len(mistakes) == MISTAKES_SHOWN:
                mistakes.append("There may be more.")
                break
    except BROKEN as error:
        mistakes.append(broken(file, dialect, line, error))
    return "\n".join(mistakes)


def broken(file: Path, dialect: Dialect, line: int, error: Exception) -> str:
    """A file that cannot be read on after `line`, in words."""
    match error:
        case UnicodeDecodeError() if dialect.by_bytes:
            with open_bytes(file) as content, suppress(csv.Error):
                for number, text in enumerate(bounded_lines(content.readline), start=1):
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
