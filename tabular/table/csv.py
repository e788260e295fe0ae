"""CSV files: where their rows begin, and what Arrow reads of them."""

import codecs
import csv
from collections.abc import Callable, Iterable, Iterator
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from tabular.config.schema import Dialect
from tabular.core.errors import UserError
from tabular.table.cells import MAX_CELL
from tabular.table.csv_lines import (
    CSV_ERRORS,
    check_format,
    describe_csv_error,
    malformed_lines,
    records,
)

BLOCK_BYTES = 2 * 2**20  # of which Arrow reads 32 ahead
SCAN_BYTES = 2**18  # at a time, where a file is only looked through
WINDOW_BYTES = 4 * 2**20
MAX_ROW = 2**25  # bytes


class Chunk(NamedTuple):
    """Some rows of a CSV file, and where they are.

    `start` and `end` are places in the file, in bytes; `content` is them, or the texts of their
    cells, where the file cannot be read from its middle. `ragged` are the cells of each row
    that has more or fewer than the header, known once it is read; None where that is an error.
    """

    rows: int
    start: int = 0
    end: int = 0
    content: bytes | pa.Table | None = None
    ragged: dict[int, list[str]] | None = None


def chunks(
    file: Path, dialect: Dialect, names: list[str], first: int, size: int, *, ragged: bool = False
) -> Iterator[Chunk]:
    """The rows of a file in pieces, the first of at most `first` rows, the others of `size`.

    Where each quote is in its place, a piece is found by its bytes; else Arrow reads one row after
    the other. (What Python raises in a stream that Arrow reads may end in a deadlock.)

    Args:
        names: of the columns that are read of a file of the second kind.
        ragged: whether a row may have more or fewer cells than the header.

    Raises:
        UserError: the file is broken as CSV; the message names lines. Of a quote that never closes
            and of text after one that closes a cell Arrow would make cells.
    """
    try:
        if quotes_in_place(file, dialect):
            for cut in _chunks(file, dialect, first, size):
                yield cut._replace(ragged={}) if ragged else cut
            return
        if mistakes := malformed_lines(file, dialect, ragged=ragged):
            raise UserError(mistakes)
        if ragged:
            yield from _ragged_chunks(file, dialect, names, first, size)
            return
        whole = pa_csv.ReadOptions(block_size=BLOCK_BYTES, encoding=dialect.encoding)
        options = _options(dialect, dict.fromkeys(names, pa.string()))
        with pa_csv.open_csv(pa.input_stream(file), whole, *options) as reader:
            texts = reader.schema.empty_table()
            for batch in reader:
                texts = pa.concat_tables([texts, pa.Table.from_batches([batch])])
                while len(texts) >= first:
                    yield Chunk(first, content=texts[:first])
                    texts, first = texts[first:], size
            if len(texts):
                yield Chunk(len(texts), content=texts)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise csv_error(file, dialect, error, ragged=ragged) from None


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


def _chunks(file: Path, dialect: Dialect, first: int, size: int) -> Iterator[Chunk]:
    """See `chunks`; each quote is in its place, and ASCII is the same bytes."""
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
            yield Chunk(first, start, end, b"".join([*held, last]) if packed else None)
            start, rows, held, first = end, 0, [], size
        rows += found - taken
        if packed:
            held.append(window[max(start - place, 0) :])
        end_of_window = place + len(window)
    if rows > 0:
        yield Chunk(rows, start, end_of_window, b"".join(held) if packed else None)


def _ragged_chunks(
    file: Path, dialect: Dialect, names: list[str], first: int, size: int
) -> Iterator[Chunk]:
    """See `chunks`, of a file that can be read to its end, row by row."""
    lines = records(file, dialect, strict=False)
    _, header = next(lines)
    while rows := [cells for _, cells in islice(lines, first)]:
        found = ragged_rows(rows, header)
        yield Chunk(len(rows), content=_table_of(rows, header, names), ragged=found)
        first = size


def ragged_rows(rows: Iterable[list[str]], header: list[str]) -> dict[int, list[str]]:
    """The cells of each row that has more or fewer than the header."""
    return {n: cells for n, cells in enumerate(rows) if len(cells) != len(header)}


def _table_of(rows: list[list[str]], header: list[str], names: Iterable[str]) -> pa.Table:
    """Columns of texts; cells that a row lacks are empty."""
    places = {name: header.index(name) for name in names}
    return pa.table(
        {
            name: pa.array([c[n] if n < len(c) else "" for c in rows], pa.string())
            for name, n in places.items()
        }
    )


def read(
    file: Path,
    dialect: Dialect,
    header: list[str],
    cut: Chunk,
    types: Callable[[bytes], dict[str, pa.DataType]],
) -> Iterator[pa.Table]:
    """The rows of a piece, some at a time; those with a wrong number of cells go to `cut.ragged`.

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
            try:
                table = pa_csv.read_csv(pa.BufferReader(window), settings, *options)
            except pa.ArrowInvalid:
                if cut.ragged is None or set(found.values()) != {pa.string()}:
                    raise
                cells = _cells(window, dialect)
                table = _table_of(cells, header, found)
                cut.ragged.update({rows + n: c for n, c in ragged_rows(cells, header).items()})
            rows += len(table)
            yield table
        if rows != cut.rows:
            raise pa.ArrowInvalid(f"found {rows} rows where {cut.rows} were counted")
    except (pa.ArrowException, OSError, UnicodeDecodeError, csv.Error) as error:
        if isinstance(error, pa.ArrowException) and set(found.values()) != {pa.string()}:
            raise
        raise csv_error(file, dialect, error, ragged=cut.ragged is not None) from None


def _cells(window: bytes, dialect: Dialect) -> list[list[str]]:
    """The rows of a window one by one, as Arrow reads them."""
    csv.field_size_limit(MAX_CELL)
    lines = StringIO(window.decode(dialect.encoding), newline="")
    return [cells for cells in csv.reader(lines, delimiter=dialect.delimiter) if cells]


def _windows(file: Path, cut: Chunk) -> Iterator[bytes]:
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
    except CSV_ERRORS:
        raise UserError(malformed_lines(file, dialect)) from None


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
    except CSV_ERRORS as error:
        raise UserError(describe_csv_error(file, dialect, 1, error)) from None


def csv_error(file: Path, dialect: Dialect, error: Exception, *, ragged: bool) -> UserError:
    """Why a file cannot be read, by its lines where these tell it; see `malformed_lines`."""
    return UserError(malformed_lines(file, dialect, ragged=ragged) or f"{file}: {error}")
