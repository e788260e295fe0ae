"""CSV files: DuckDB reads them, and Python reads what DuckDB refuses and names the wrong line.

Python also reads sheets, whose rows are lines here, and leaves out what is no row of a
table.
"""

import csv
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from io import BufferedReader, StringIO, TextIOWrapper
from itertools import chain, dropwhile, islice, product, repeat
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import UserError, join_mistakes, quote
from keras_tabular.core.parallel import worker_count
from keras_tabular.table import excel
from keras_tabular.table.cells import MAX_CELL_LENGTH, Number
from keras_tabular.table.parquet import is_parquet, regroup_rows

ROWS_PER_BATCH = 32_768
MIN_ROWS_PER_BATCH = 1024
MAX_BATCH_CELLS = 2**21  # of a batch with more than `MIN_ROWS_PER_BATCH` rows
BLOCK_BYTES = 2**22
OVERLAP_BYTES = 2**8
NO_CELL = "\x1f\x1e\x1f"  # a text that no table has
CSV_ERRORS = (csv.Error, UnicodeError, OSError)
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
CSV_PROBLEMS = {  # by a part of Python's message
    "field larger": (
        f"expected at most {MAX_CELL_LENGTH} characters in a cell, got more. Does a "
        "quote never close?"
    ),
    "unexpected end": "expected a quote that closes the cell, got the end of the file",
    "expected after": (
        "expected the end of the cell after a closing quote, got more text. Write a "
        "quote inside a quoted cell twice."
    ),
}
OTHER_FORMATS = {  # by a pattern of the first bytes
    rb"PAR1": "a Parquet file. Let its name end in .parquet.",
    rb"PK\x03\x04.*opendocument\.spreadsheet": (
        "an OpenDocument file. Let its name end in .ods."
    ),
    rb"PK\x03\x04": (
        "an Excel or another zip file. Let the name of an Excel file end in .xlsx."
    ),
    rb"\xd0\xcf\x11\xe0": "an old Excel file. Let its name end in .xls.",
}
SEPARATOR_LINE = re.compile(
    "sep=.?",
    re.IGNORECASE,
)  # Excel's first line that names the delimiter
DECIMAL_COMMA = re.compile(r"\d,\d{1,2}(\D|$)")
# that `read_last_lines` reads
LAST_BYTES = 2**16
MAX_LAST_LINES = 100
BYTES_FOR_DIALECT = 2**20
BYTES_FOR_HEADER = 2**17
# in which titles end, and that have the same delimiters
MAX_LINES = 20
ROWS_FOR_DELIMITER = 3
MIN_NUL_SHARE = 0.25  # of every other byte, in UTF-16 without a byte order mark
MAX_ROWS_TO_FIND_UNNAMED = 1000  # in which a column without a name at the end is empty

Record = tuple[int, list[str]]  # the number of the line, from 1, and its cells


class RawRows(NamedTuple):
    """Consecutive rows of a file, as the file stores them.

    Attributes:
        file: The file.
        first: Number of the first of these rows in the file, from 0.
        cells: Columns of any type if the file is Parquet, otherwise of text.
        ragged: Rows of a CSV that have more or fewer cells than the header, by their
            number in `cells`: how many cells are expected and how many there are.
            Missing cells are empty in `cells`.
    """

    file: Path
    first: int
    cells: pa.Table
    ragged: dict[int, tuple[str, str]]


def read_csv(
    file: Path,
    dialect: Dialect,
    names: list[str],
    *,
    allow_ragged: bool = False,
) -> Iterator[RawRows]:
    """Yield the columns `names` of a file as text, some rows at a time.

    Args:
        allow_ragged: Whether a row may have more or fewer cells than the header.

    Raises:
        UserError: The file is not a valid CSV; the message names the line.
    """
    import duckdb

    _, header = read_header(file, dialect)
    first = 0
    with suppress(duckdb.Error, pa.ArrowException, OSError):
        if _duckdb_reads_the_same_rows(file, dialect, header):
            for cells in _read_with_duckdb(file, dialect, header, names):
                yield RawRows(file, first, cells, {})
                first += len(cells)
            return
    # Python reads the remaining rows: it accepts mixed line ends, or names the wrong
    # line.
    positions = [
        header.index(name) if name in header else len(header) for name in names
    ]
    records = islice(read_records(file, dialect), 1 + first, None)
    while batch := list(islice(records, ROWS_PER_BATCH)):
        ragged = {
            number: _describe_ragged(row, header)
            for number, (_, row) in enumerate(batch)
            if len(row) != len(header)
        }
        if ragged and not allow_ragged:
            mistakes = (
                f"{describe_place(file, batch[number][0])}: expected {expected}, got"
                f" {got}"
                for number, (expected, got) in ragged.items()
            )
            advice = "If a line is no row, list it in skip_lines of data/schema.yaml."
            raise UserError(f"{join_mistakes(mistakes)}\n{advice}")
        columns = {
            name: [row[n] if n < len(row) else "" for _, row in batch]
            for name, n in zip(names, positions, strict=True)
        }
        set_decimal_points(columns, dialect, is_sheet=excel.is_excel(file))
        cells = pa.table(
            {name: pa.array(column, pa.string()) for name, column in columns.items()},
        )
        yield RawRows(file, first, cells, ragged)
        first += len(batch)


def set_decimal_points(
    columns: dict[str, list[str]],
    dialect: Dialect,
    *,
    is_sheet: bool = False,
) -> None:
    """Give the numbers of typed files the decimal point that the format of their column has.

    Args:
        columns: The cells by column, of which those of type `Number` change.
        dialect: The schema. If it is none, the other texts of a column show its decimal
            point.
        is_sheet: Whether 12.5% may be stored as 0.125. In a column of percentages, the
            numbers become texts that cannot be read.
    """
    for name, cells in columns.items():
        point = "."
        form = ""
        if isinstance(dialect, Schema):
            if column := dialect.columns.get(name):
                point = column.decimal_point
                form = column.number_format or ""
        elif any(isinstance(cell, Number) for cell in cells):
            texts = [
                c for c in cells if re.search(r"\d", c) and not isinstance(c, Number)
            ]
            with_comma = [text for text in texts if DECIMAL_COMMA.search(text)]
            point = "," if 2 * len(with_comma) > len(texts) else "."
        is_percent = is_sheet and "%" in form
        if is_percent or point != ".":
            for row, cell in enumerate(cells):
                if isinstance(cell, Number):
                    question = (
                        f" (or {100 * float(cell):g}%? Write a text)"
                        if is_percent
                        else ""
                    )
                    cells[row] = cell.replace(".", point) + question


def _describe_ragged(row: list[str], header: list[str]) -> tuple[str, str]:
    without_name = ", ".join(map(quote, row[len(header) :]))
    note = f"; the header has no name for {without_name}" if without_name else ""
    return f"{len(header)} cells", f"{len(row)}{note}"


def _duckdb_reads_the_same_rows(
    file: Path,
    dialect: Dialect,
    header: list[str],
) -> bool:
    """Return whether DuckDB certainly reads the same rows as Python, if the file is valid.

    DuckDB reads ` "a"` as `a`, while Python keeps the space and the quotes, and refuses
    `"a" `. DuckDB leaves out a last line that is longer than its buffer. An empty line
    in a file with one column is a row to DuckDB, and so is a last line that has only
    delimiters. A name with one of *?[ is a pattern of several files.
    """
    may_skip = dialect.skip_lines or excel.is_excel(file)
    if (
        may_skip
        or not dialect.is_utf8
        or len(header) == 1
        or set(str(file)) & set("*?[")
    ):
        return False
    ends = rb"[\r\n" + re.escape(dialect.delimiter.encode()) + b"]"
    pattern = re.compile(rb'" +(?:' + ends + rb"|$)|(?:^|" + ends + rb') +"')
    with open_bytes(file) as content:
        tail = b""
        while block := content.read(BLOCK_BYTES):
            is_long_line = (
                len(block) == BLOCK_BYTES and b"\n" not in block and b"\r" not in block
            )
            block = tail + block
            may_match = b'"' in block and (b'" ' in block or b' "' in block)
            if is_long_line or (may_match and pattern.search(block)):
                return False
            tail = block[-OVERLAP_BYTES:]
    last_line = re.split(rb"[\r\n]", tail.rstrip(b"\r\n"))[-1]
    return bool(last_line.strip(dialect.delimiter.encode() + b'" \t'))


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

    batch_rows = min(
        max(MAX_BATCH_CELLS // len(header), MIN_ROWS_PER_BATCH),
        ROWS_PER_BATCH,
    )
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
        na_values=[
            NO_CELL,
        ],  # by default, DuckDB would ignore an empty cell after the last column
    )
    columns = ", ".join(
        f"column{header.index(n)}" if n in header else "''" for n in names
    )
    reader = relation.project(columns).to_arrow_reader(ROWS_PER_BATCH)
    # The sizes of DuckDB's batches depend on the number of threads.
    batches = (pa.table(batch.columns, names) for batch in reader)
    tables = regroup_rows(batches, chain([1], repeat(batch_rows)))
    first = next(tables, None)
    if first is None or first.to_pylist() != [
        {n: n if n in header else "" for n in names},
    ]:
        raise duckdb.DataError("the first row is not the header")
    yield from tables


def fit_dialect(file: Path, dialect: Dialect) -> Dialect:
    """Return a dialect with the delimiter and the encoding of a file.

    They are inferred, but those of a schema stay unless others find more of its columns
    in the first lines. A file that begins with letters in UTF-8 is in UTF-8: as cp1252,
    it would be valid, but with other letters.
    """
    start, encoding = _read_start(file, dialect)
    # A cell in quotes may contain a delimiter or a line break.
    delimiter = infer_delimiter(
        re.sub('"[^"]*"', "cell", start.decode(encoding, "replace")),
    )
    if not isinstance(dialect, Schema):
        return dialect.model_copy(update={"delimiter": delimiter, "encoding": encoding})

    def count_columns(pair: tuple[str, str]) -> int:
        lines = (
            start[:BYTES_FOR_HEADER].decode(pair[1], "replace").splitlines()[:MAX_LINES]
        )
        headers = (
            {cell.strip('\ufeff" ') for cell in line.split(pair[0])} for line in lines
        )
        return max(
            (len(dialect.columns.keys() & header) for header in headers),
            default=0,
        )

    encodings = (encoding,) if encoding == "utf-8" else (dialect.encoding, encoding)
    best = max(product((dialect.delimiter, delimiter), encodings), key=count_columns)
    return dialect.model_copy(update={"delimiter": best[0], "encoding": best[1]})


def _read_start(file: Path, dialect: Dialect) -> tuple[bytes, str]:
    """Return the first megabyte of a file, and its encoding: the declared one if all is ASCII."""
    try:
        check_format(file)
        with open_bytes(file) as content:
            start = content.read(BYTES_FOR_DIALECT)
    except CSV_ERRORS as error:
        raise UserError(describe_error(file, Dialect(), 1, error)) from None
    if start[:2] in (BOM_UTF16_LE, BOM_UTF16_BE):
        return start, "utf-16"
    counts = [start[n::2].count(0) for n in (0, 1)]  # of the NUL bytes
    if 2 * max(counts) >= MIN_NUL_SHARE * len(start) > 0 and 10 * min(counts) <= max(
        counts,
    ):
        return start, "utf-16-be" if counts[0] > counts[1] else "utf-16-le"
    try:
        getincrementaldecoder("utf-8")().decode(
            start,
        )  # not the letter that is cut off at the end
    except UnicodeDecodeError:
        return start, "cp1252"
    return start, dialect.encoding if dialect.is_utf8 or start.isascii() else "utf-8"


def infer_delimiter(text: str) -> str:
    """Infer the delimiter from the first lines of a file, of which the first ones may be titles."""
    if match := re.match("\ufeff?sep=(.)\r?\n", text, re.IGNORECASE):
        return match[1]
    lines = [line for line in text.split("\n", MAX_LINES)[:MAX_LINES] if line.strip()]
    places = [
        (n, mark) for n, line in enumerate(lines) for mark in ",;\t|" if mark in line
    ]

    def fitness(place: tuple[int, str]) -> tuple[bool, int, int, int]:
        n_titles, mark = place
        count = lines[n_titles].count(mark)
        fits = [
            line.count(mark) == count
            for line in lines[n_titles + 1 :][:ROWS_FOR_DELIMITER]
        ]
        is_sure = all(fits) and (n_titles == 0 or len(fits) == ROWS_FOR_DELIMITER)
        return is_sure, -n_titles, sum(fits), count

    return max(places, key=fitness, default=(0, ","))[1]


def read_header(file: Path, dialect: Dialect) -> tuple[int, list[str]]:
    """Return the number of the header's line, and the names in it.

    Raises:
        UserError: The file is not a CSV, or it is empty.
    """
    for record in read_records(file, dialect):
        return record
    raise UserError(f"{file}: expected a header line, got an empty file")


def read_records(file: Path, dialect: Dialect) -> Iterator[Record]:
    """Yield the header and the rows of a file, each with the number of the line in which it begins.

    Empty lines, the lines `skip_lines` and a first line such as `sep=;` are left out,
    and above the header and at the end also lines with delimiters alone. The last
    columns are left out if they have no names; a single one only if it is empty in the
    first rows.

    Raises:
        UserError: The file cannot be read any further; the message names the line.
    """
    records = _read_all_records(file, dialect)
    if dialect.skip_lines:
        marked = _mark_skipped(records, dialect.skip_lines)
        records = (record for record, is_skipped in marked if not is_skipped)
    records = _leave_out_empty_ends(records)
    first = list(islice(records, 1))
    if first and not first[0][1][-1]:
        first += islice(records, MAX_ROWS_TO_FIND_UNNAMED)
        width = max(n for n, name in enumerate(first[0][1], start=1) if name)
        n_unnamed = len(first[0][1]) - width
        if n_unnamed > 1 or not any(any(cells[width:]) for _, cells in first):
            all_records = chain(first, records)
            first = []
            records = (
                (n, row if any(row[width:]) else row[:width]) for n, row in all_records
            )
    yield from chain(first, records)


def skipped_lines(file: Path, dialect: Dialect) -> dict[int, list[str]]:
    """Return the cells of the lines `skip_lines` by the number of the line, from 1.

    Raises:
        UserError: The file cannot be read.
    """
    marked = _mark_skipped(_read_all_records(file, dialect), dialect.skip_lines)
    return dict(record for record, is_skipped in marked if is_skipped)


def _mark_skipped(
    records: Iterator[Record],
    skip_lines: tuple[int, ...],
) -> Iterator[tuple[Record, bool]]:
    """Yield each line with whether it is skipped; hold back those that may count from the end."""
    # lines, and how many of them contain a text
    held_back = deque[Record]()
    n_texts = 0
    for record in records:
        held_back.append(record)
        n_texts += not is_empty(record[1])
        while n_texts > -min(0, *skip_lines):
            oldest = held_back.popleft()
            n_texts -= not is_empty(oldest[1])
            yield oldest, oldest[0] in skip_lines
    for record in held_back:
        has_text = not is_empty(record[1])
        yield record, record[0] in skip_lines or (has_text and -n_texts in skip_lines)
        n_texts -= has_text


def is_empty(cells: list[str]) -> bool:
    """Return whether a line contains no text."""
    return not "".join(cells).strip(" \t") and cells != [
        "",
    ]  # a missing cell, in quotes


def _leave_out_empty_ends(records: Iterator[Record]) -> Iterator[Record]:
    """Leave out lines without text above the header and at the end."""
    waiting = list[Record]()
    for record in dropwhile(lambda record: is_empty(record[1]), records):
        waiting.append(record)
        if not is_empty(record[1]):
            yield from waiting
            waiting.clear()


def _read_all_records(file: Path, dialect: Dialect) -> Iterator[Record]:
    if excel.is_excel(file):
        yield from excel.read_sheet(file, dialect.sheet)
        return
    csv.field_size_limit(MAX_CELL_LENGTH)
    dialect = fit_dialect(file, dialect)
    encoding = (
        "utf-8-sig" if dialect.is_utf8 else dialect.encoding
    )  # skips a byte order mark
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

    Raises:
        UserError: The file cannot be read.
    """
    if excel.is_excel(file):
        return [
            cells for _, cells in deque(read_records(file, dialect), MAX_LAST_LINES)
        ]
    dialect = fit_dialect(file, dialect)
    try:
        with open_bytes(file) as content:
            encoding = (
                "utf-16-be" if content.read(2) == BOM_UTF16_BE else dialect.encoding
            )
            if file.suffix not in COMPRESSED:
                content.seek(max(0, file.stat().st_size - LAST_BYTES))
            blocks = deque(iter(partial(content.read, LAST_BYTES), b""), maxlen=2)
        text = b"".join(blocks).decode(encoding, "replace")
        return list(
            csv.reader(StringIO(text, newline=""), delimiter=dialect.delimiter),
        )[1:]
    except CSV_ERRORS:  # which `read_records` describes
        return []


def check_format(file: Path) -> None:
    """Raise `UserError` if the first bytes of a file are those of another format."""
    with open_bytes(file) as content:
        start = content.read(100)
    for pattern, description in OTHER_FORMATS.items():
        if re.match(pattern, start, re.DOTALL):
            raise UserError(f"{file}: expected a CSV file, got {description}")


def describe_place(file: Path, place: int, name: str = "") -> str:
    """Describe where a row is: by its line, by its number in a sheet, or in a Parquet file."""
    has_rows = is_parquet(file) or excel.is_excel(file)
    return f"{name or file}, {'row' if has_rows else 'line'} {place}"


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file, and decompress it if its name ends in .gz or .zst.

    Raises:
        OSError: The file cannot be opened.
    """
    content = file.open("rb")
    if file.suffix in COMPRESSED:
        return BufferedReader(
            pa.CompressedInputStream(content, COMPRESSED[file.suffix]),
        )
    return content


def describe_error(file: Path, dialect: Dialect, line: int, error: Exception) -> str:
    """Describe why a file cannot be read from `line` on."""
    problem = str(error)
    if isinstance(error, csv.Error):
        messages = (CSV_PROBLEMS[part] for part in CSV_PROBLEMS if part in problem)
        return f"{file}, line {line}: {next(messages, problem)}"
    if isinstance(error, UnicodeDecodeError):
        line += error.object[: error.start].count(
            b"\n",
        )  # in the block that cannot be decoded
        problem = (
            f"expected text in {dialect.encoding}, got byte"
            f" 0x{error.object[error.start]:02x}"
        )
        example = "cp1251" if dialect.encoding == "cp1252" else "cp1252"
        problem += (
            ". Convert the file, or set encoding in the schema, for example to"
            f" {example}."
        )
    if isinstance(error, OSError) and file.suffix in COMPRESSED:
        problem = "The compressed file is cut off or damaged. Copy it again."
    return f"{file}, line {line} or later: {problem}"


def connect() -> Any:
    """Return a connection to an empty database in memory."""
    import duckdb  # takes a fifth of a second

    config: dict[str, Any] = {"memory_limit": "1GB", "temp_directory": ""}
    config |= {"threads": worker_count(), "autoinstall_known_extensions": False}
    return duckdb.connect(config=config)
