"""The dialect of a CSV file: its encoding and delimiter, and errors in its bytes."""

import csv
import re
import shlex
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, getincrementaldecoder
from collections.abc import Set
from io import BufferedReader
from itertools import product
from pathlib import Path
from typing import IO, TypeVar

import pyarrow as pa

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import UserError
from keras_tabular.table import excel
from keras_tabular.table.cells import MAX_CELL_LENGTH
from keras_tabular.table.parquet import is_parquet

BYTES_FOR_DIALECT = 2**20  # from which the encoding is inferred
# The header is in the first of these bytes and lines.
BYTES_FOR_HEADER = 2**17
MAX_LINES_TO_HEADER = 20
ROWS_FOR_DELIMITER = 3  # below the header, with the same number of delimiters
DELIMITERS = ",;\t|"
# NUL bytes among every other byte, in UTF-16 without a byte order mark.
MIN_NUL_SHARE = 0.25
CSV_ERRORS = (csv.Error, UnicodeError, OSError)
# Arrow's name of the compression, by the end of a file's name.
COMPRESSED = {".gz": "gzip", ".zst": "zstd"}
JSON_SUFFIXES = {".jsonl", ".ndjson"}
# What a message says, by a part of Python's message.
CSV_PROBLEMS = {
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
# What a file is that is not a CSV, by a pattern of its first bytes. With {} as the
# name of the file, the commands export a table.
OTHER_FORMATS = {
    rb"PAR1": "a Parquet file. Let its name end in .parquet.",
    rb"PK\x03\x04.*opendocument\.spreadsheet": (
        "an OpenDocument file. Let its name end in .ods."
    ),
    rb"PK\x03\x04": (
        "an Excel or another zip file. Let the name of an Excel file end in .xlsx."
    ),
    rb"\xd0\xcf\x11\xe0": "an old Excel file. Let its name end in .xls.",
    rb"SQLite format 3\0": (
        "a SQLite database. Export a table:"
        " sqlite3 -header -csv {} 'SELECT * FROM TABLE' > table.csv"
    ),
    rb"ARROW1|FEA1": (
        "a Feather or Arrow file. Export it: python -c 'import sys;"
        " from pyarrow import feather, parquet;"
        ' parquet.write_table(feather.read_table(sys.argv[1]), "table.parquet")\' {}'
    ),
    rb"\s*\[\s*(\{|\Z)": (
        "a JSON array. Write each row in a line: python -c 'import json, sys;"
        " [print(json.dumps(row)) for row in json.load(sys.stdin)]' < {} > table.jsonl"
    ),
}

DialectT = TypeVar("DialectT", bound=Dialect)  # a dialect or a schema


def is_json(file: Path) -> bool:
    """Return whether a file is JSON lines, by its name."""
    return not JSON_SUFFIXES.isdisjoint(file.suffixes[-2:])


def has_header(file: Path) -> bool:
    """Return whether the columns are named in the first line: of a CSV or a sheet."""
    return not (is_parquet(file) or is_json(file))


def is_csv(file: Path) -> bool:
    """Return whether a file is a CSV, as every file without the name of another is."""
    return has_header(file) and not excel.is_excel(file)


def fit_dialect(file: Path, dialect: DialectT) -> DialectT:
    """Return a dialect with the delimiter and the encoding of a file, if it is a CSV.

    They are inferred, but those of a schema stay unless others find more of its columns
    in the first lines. A file that begins with letters in UTF-8 is in UTF-8: as cp1252,
    it would be valid, but with other letters.

    Raises:
        UserError: The file cannot be read, or it is of another format.
    """
    if not is_csv(file):
        return dialect
    start = read_start(file)
    encoding = _infer_encoding(start, dialect)
    # A cell in quotes may contain a delimiter or a line break.
    text = re.sub('"[^"]*"', "cell", start.decode(encoding, "replace"))
    delimiter = infer_delimiter(text)
    if isinstance(dialect, Schema):
        declared = dialect.columns.keys()
        encodings = [dialect.encoding, encoding]
        if encoding == "utf-8":
            encodings = [encoding]
        # The first one of equal candidates is taken, and that is the declared one.
        delimiter, encoding = max(
            product([dialect.delimiter, delimiter], encodings),
            key=lambda candidate: _count_names(start, declared, *candidate),
        )
    return dialect.model_copy(update={"delimiter": delimiter, "encoding": encoding})


def read_start(file: Path) -> bytes:
    """Return the first bytes of a file, decompressed.

    Raises:
        UserError: The file cannot be read, or it is of another format.
    """
    try:
        with open_bytes(file) as content:
            start = content.read(BYTES_FOR_DIALECT)
    except CSV_ERRORS as error:
        raise UserError(describe_error(file, Dialect(), 1, error)) from None
    for pattern, description in OTHER_FORMATS.items():
        if re.match(pattern, start[:100], re.DOTALL):
            raise UserError(f"{file} is {description.format(shlex.quote(str(file)))}")
    return start


def _infer_encoding(start: bytes, dialect: Dialect) -> str:
    """Infer the encoding of a file, which is the declared one if all is ASCII."""
    if start.startswith((BOM_UTF16_LE, BOM_UTF16_BE)):
        return "utf-16"
    # In UTF-16, the second one of the two bytes of most letters is NUL.
    n_nuls = start[1::2].count(0)
    has_nuls = 2 * n_nuls >= MIN_NUL_SHARE * len(start) > 0
    if has_nuls and 10 * start[::2].count(0) <= n_nuls:
        return "utf-16-le"
    try:
        # An incremental decoder accepts a letter that is cut off at the end.
        getincrementaldecoder("utf-8")().decode(start)
    except UnicodeDecodeError:
        return "cp1252"
    return dialect.encoding if dialect.is_utf8 or start.isascii() else "utf-8"


def infer_delimiter(text: str) -> str:
    r"""Infer the delimiter from the first lines of a file, which may begin with titles.

    >>> infer_delimiter("Sales, in 2024\na;b\n1,5;2\n2,5;3\n3,5;4\n")
    ';'
    """
    if match := re.match("\ufeff?sep=(.)\r?\n", text, re.IGNORECASE):
        return match[1]
    lines = text.split("\n", MAX_LINES_TO_HEADER)[:MAX_LINES_TO_HEADER]
    lines = [line for line in lines if line.strip()]
    delimiters: dict[tuple[bool, int, int, int], str] = {}
    for n_titles, header in enumerate(lines):
        rows = lines[n_titles + 1 :][:ROWS_FOR_DELIMITER]
        has_rows = n_titles == 0 or len(rows) == ROWS_FOR_DELIMITER
        for delimiter in DELIMITERS:
            n_delimiters = header.count(delimiter)
            n_equal = sum(row.count(delimiter) == n_delimiters for row in rows)
            is_sure = has_rows and n_equal == len(rows)
            # How well it fits, by what counts most. The first one of equal ones stays.
            fit = (is_sure, -n_titles, n_equal, n_delimiters)
            if n_delimiters:
                delimiters.setdefault(fit, delimiter)
    return delimiters[max(delimiters)] if delimiters else ","


def _count_names(
    start: bytes,
    names: Set[str],
    delimiter: str,
    encoding: str,
) -> int:
    """Return how many of the names occur in one of the first lines, at most."""
    text = start[:BYTES_FOR_HEADER].decode(encoding, "replace")
    most = 0
    for line in text.splitlines()[:MAX_LINES_TO_HEADER]:
        cells = {cell.strip('\ufeff" ') for cell in line.split(delimiter)}
        most = max(most, len(names & cells))
    return most


def open_bytes(file: Path) -> IO[bytes]:
    """Open a file, and decompress it if its name ends in .gz or .zst.

    Raises:
        OSError: The file cannot be opened.
    """
    content = file.open("rb")
    compression = COMPRESSED.get(file.suffix)
    if compression:
        return BufferedReader(pa.CompressedInputStream(content, compression))
    return content


def describe_error(file: Path, dialect: Dialect, line: int, error: Exception) -> str:
    """Describe why a file cannot be read from `line` on."""
    problem = str(error)
    if isinstance(error, csv.Error):
        for part, description in CSV_PROBLEMS.items():
            if part in str(error):
                problem = description
        return f"{file}, line {line}: {problem}"
    if isinstance(error, UnicodeDecodeError):
        # The error has the block that cannot be decoded.
        line += error.object[: error.start].count(b"\n")
        byte = error.object[error.start]
        example = "cp1251" if dialect.encoding == "cp1252" else "cp1252"
        problem = (
            f"expected text in {dialect.encoding}, got byte 0x{byte:02x}. Convert the"
            f" file, or set encoding in the schema, for example to {example}."
        )
    elif isinstance(error, OSError) and file.suffix in COMPRESSED:
        problem = "The compressed file is cut off or damaged. Copy it again."
    return f"{file}, line {line} or later: {problem}"
