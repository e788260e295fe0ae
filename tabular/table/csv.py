"""CSV files: streamed by Arrow, and read again line by line to say where one is wrong."""

import codecs
import csv
import errno
import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import IO, AnyStr, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from tabular.errors import UserError
from tabular.schema import Dialect, Schema
from tabular.table.cells import MAX_CELL

BLOCK_BYTES = 2 * 2**20  # of which Arrow reads 32 ahead
SCAN_BYTES = 2**18  # at a time, where a file is only looked through
WINDOW_BYTES = 4 * 2**20
MAX_ROW = 2**25  # bytes
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


class Cut(NamedTuple):
    """Some rows of a CSV file, and where they are.

    `start` and `end` are places in the file, in bytes; `content` is them, or the texts of their
    cells, where the file cannot be read from its middle.
    """

    rows: int
    start: int = 0
    end: int = 0
    content: bytes | pa.Table | None = None


def cuts(file: Path, dialect: Dialect, names: list[str], first: int, size: int) -> Iterator[Cut]:
    """The rows of a file in pieces, the first of at most `first` rows, the others of `size`.

    Where each quote is in its place, a piece is found by its bytes; else Arrow reads one row after
    the other. (What Python raises in a stream that Arrow reads may end in a deadlock.)

    Args:
        names: of the columns that are read of a file of the second kind.

    Raises:
        UserError: the file is broken as CSV; the message names lines. Of a quote that never closes
            and of text after one that closes a cell Arrow would make cells.
    """
    try:
        if quotes_in_place(file, dialect):
            yield from _cuts(file, dialect, first, size)
            return
        if mistakes := broken_lines(file, dialect):
            raise UserError(mistakes)
        whole = pa_csv.ReadOptions(block_size=BLOCK_BYTES, encoding=dialect.encoding)
        options = _options(dialect, dict.fromkeys(names, pa.string()))
        with pa_csv.open_csv(pa.input_stream(file), whole, *options) as reader:
            texts = reader.schema.empty_table()
            for batch in reader:
                texts = pa.concat_tables([texts, pa.Table.from_batches([batch])])
                while len(texts) >= first:
                    yield Cut(first, content=texts[:first])
                    texts, first = texts[first:], size
            if len(texts):
                yield Cut(len(texts), content=texts)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise broken_off(file, dialect, error) from None


def scan(file: Path, dialect: Dialect) -> Iterator[tuple[int, bytes]]:
    """The windows of a file, see `windows`, each with its place, without a byte order mark."""
    place = 0
    with pa.input_stream(file) as stream:
        for window in windows(iter(lambda: stream.read(SCAN_BYTES), b"")):
            if not place and codecs.lookup(dialect.encoding).name == "utf-8":
                place = len(codecs.BOM_UTF8) if window.startswith(codecs.BOM_UTF8) else 0
                window = window[place:]
            if window:
                yield place, window
            place += len(window)


def _cuts(file: Path, dialect: Dialect, first: int, size: int) -> Iterator[Cut]:
    """See `cuts`; each quote is in its place, and ASCII is the same bytes."""
    packed = file.suffix == ".gz"
    start, rows, end_of_window = 0, -1, 0  # start and rows of the piece, -1 for the header
    held: list[bytes] = []  # of the piece, before the window
    for place, window in scan(file, dialect):
        found = count_rows(window)
        taken, begins = 0, np.empty(0, np.int64)  # rows of the window, and where each begins
        if rows < 0 or rows + found >= first:
            begins = np.append(row_places(window)[0], len(window))
        if rows < 0 and found:
            start, rows, taken = place + int(begins[1]), 0, 1
        while rows >= 0 and rows + found - taken >= first:
            taken += first - rows
            end = place + int(begins[taken])
            last = window[max(start - place, 0) : end - place]
            yield Cut(first, start, end, b"".join([*held, last]) if packed else None)
            start, rows, held, first = end, 0, [], size
        rows += found - taken
        if packed:
            held.append(window[max(start - place, 0) :])
        end_of_window = place + len(window)
    if rows > 0:
        yield Cut(rows, start, end_of_window, b"".join(held) if packed else None)


def read(
    file: Path,
    dialect: Dialect,
    header: list[str],
    cut: Cut,
    types: Callable[[bytes], dict[str, pa.DataType]],
) -> Iterator[pa.Table]:
    """The rows of a piece, some at a time.

    Args:
        header: the names in the file's first line.
        types: the columns to read of some rows, by the bytes of these, and as what; an empty cell
            of a number is null.

    Raises:
        UserError: the bytes are no rows of so many cells; the message names lines.
        pa.ArrowInvalid: the same, or a cell is none of its type, where `types` are not all texts.
    """
    rows, found = 0, {"": pa.string()}
    try:
        for window in _windows(file, cut):
            found = types(window)
            if window.startswith(codecs.BOM_UTF8):  # of a cell: Arrow would skip it
                window = b"\n" + window
            settings = pa_csv.ReadOptions(
                use_threads=False,
                block_size=len(window) + 1,
                column_names=header,
                encoding=dialect.encoding,
            )
            options = _options(dialect, found)
            table = pa_csv.read_csv(pa.BufferReader(window), settings, *options)
            rows += len(table)
            yield table
        if rows != cut.rows:
            raise pa.ArrowInvalid(f"found {rows} rows where {cut.rows} were counted")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, pa.ArrowException) and set(found.values()) != {pa.string()}:
            raise
        raise broken_off(file, dialect, error) from None


def _windows(file: Path, cut: Cut) -> Iterator[bytes]:
    """The bytes of a piece, see `windows`."""
    if isinstance(cut.content, bytes):
        starts = range(0, len(cut.content), WINDOW_BYTES)
        yield from windows(cut.content[start : start + WINDOW_BYTES] for start in starts)
        return
    with file.open("rb") as stream:
        stream.seek(cut.start)
        starts = range(cut.start, cut.end, WINDOW_BYTES)
        yield from windows(stream.read(min(WINDOW_BYTES, cut.end - start)) for start in starts)


def _options(
    dialect: Dialect, types: dict[str, pa.DataType]
) -> tuple[pa_csv.ParseOptions, pa_csv.ConvertOptions]:
    return (
        pa_csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=True),
        pa_csv.ConvertOptions(column_types=types, include_columns=list(types), null_values=[""]),
    )


def windows(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes that begin with a row in pieces of whole rows, not much longer than the blocks.

    Each quote is in its place, and ASCII is the same bytes.

    Raises:
        pa.ArrowInvalid: a row is longer than several blocks.
    """
    rest, end = b"", b""
    for block in blocks:
        content = rest + block if rest else block
        # A carriage return at the end may be half of a line end.
        known = content[:-1] if content.endswith(b"\r") else content
        end = end or next((mark for mark in (b"\n", b"\r") if mark in known), b"")
        cut = last_row_end(known, end) if end else 0
        cut += end == b"\r" and content[cut : cut + 1] == b"\n"
        if cut:
            yield content[:cut]
        rest = content[cut:]
        if len(rest) > MAX_ROW:
            raise pa.ArrowInvalid(f"found a row of more than {MAX_ROW} bytes")
    if rest:
        yield rest


def last_row_end(content: bytes, end: bytes) -> int:
    """Where the last row of some whole ones ends; 0 if none does. The first one begins at 0."""
    place = content.rfind(end)
    if content.count(b'"', 0, max(place, 0)) % 2 == 0:
        return place + 1
    letters = np.frombuffer(content, np.uint8)
    ends = np.flatnonzero(letters == ord(end))
    outside = np.searchsorted(np.flatnonzero(letters == ord('"')), ends) % 2 == 0
    return int(ends[outside][-1]) + 1 if outside.any() else 0


def count_rows(window: bytes) -> int:
    """How many rows are in a window; empty lines are none."""
    rows = plain_rows(window)
    return len(row_places(window)[0]) if rows is None else rows


def plain_rows(window: bytes) -> int | None:
    """How many rows are in a window where each line, ended by a line feed, is one; else None."""
    if b'"' in window or b"\r" in window:
        return None
    ends = np.frombuffer(window, np.uint8) == ord("\n")
    if ends[0] or (ends[1:] & ends[:-1]).any():
        return None
    return int(np.count_nonzero(ends)) + int(not ends[-1])


def row_places(window: bytes) -> tuple[np.ndarray, np.ndarray, int]:
    """The byte in which each row of a window begins, its line from 0, and how many lines end."""
    letters = np.frombuffer(window, np.uint8)
    ends = letters == ord("\n")
    returns = letters == ord("\r") if b"\r" in window else None
    if returns is not None:
        ends |= returns & ~np.append(ends[1:], False)
    places = np.flatnonzero(ends)
    closed = places
    numbers = np.arange(len(places))
    if b'"' in window:
        numbers = np.flatnonzero(
            np.searchsorted(np.flatnonzero(letters == ord('"')), places) % 2 == 0
        )
        closed = places[numbers]
    starts, lines = np.append(0, closed + 1), np.append(0, numbers + 1)
    lengths = np.append(closed, len(window)) - starts
    blank = lengths == 0
    if returns is not None:
        blank |= (lengths == 1) & returns[np.minimum(starts, len(window) - 1)]
    return starts[~blank], lines[~blank], len(places)


def quotes_in_place(file: Path, dialect: Dialect) -> bool:
    """Whether each quote of a file surely opens or closes a cell, or is one of two within it."""
    if not dialect.by_bytes:
        return False
    ends = np.frombuffer(f'"\r\n{dialect.delimiter}'.encode(), np.uint8)
    last, quotes = b"\n", 0  # the last two bytes, and the quotes before the second
    with pa.input_stream(file) as stream:
        while True:
            block = stream.read(SCAN_BYTES)
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
        first, header = 1, 1
        for _, window in scan(file, dialect):
            rows = plain_rows(window)
            if rows is not None:
                lines, ended = np.arange(rows), rows
            else:
                _, lines, ended = row_places(window)
            yield (first + lines)[header:]
            header = 0 if len(lines) else header
            first += ended
        return
    begins = (line for line, _ in islice(records(file, dialect, strict=False), 1, None))
    try:
        while some := list(islice(begins, 2**16)):
            yield np.array(some)
    except BROKEN:
        raise UserError(broken_lines(file, dialect)) from None


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


def broken_off(file: Path, dialect: Dialect, error: Exception) -> UserError:
    """Why Arrow cannot read a file, by its lines where these tell it."""
    return UserError(broken_lines(file, dialect) or f"{file}: {error}")


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
