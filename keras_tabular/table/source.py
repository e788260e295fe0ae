"""The files of a table: CSV, JSON lines, spreadsheets or Parquet."""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from keras_tabular.config.schema import Dialect, Schema
from keras_tabular.core.errors import (
    UserError,
    format_list,
    quote,
    suggestion,
    truncate,
)
from keras_tabular.table import csv
from keras_tabular.table.cells import LONE_SURROGATE, Number, possible_kinds
from keras_tabular.table.dialect import (
    CSV_ERRORS,
    describe_error,
    fit_dialect,
    has_header,
    is_json,
    open_bytes,
    read_start,
)
from keras_tabular.table.parquet import ADDED_COLUMNS, is_parquet

MAX_ROWS_FOR_NAMES = 100_000  # a column has to occur in one of the first rows
UNKNOWN = "neither in columns nor in ignore"
EXPECTED_OBJECT = "expected an object of texts, numbers, true, false and null"

Locate = Callable[[int], str]  # says where the row with a number is, see `row_locator`


def source_files(source: str, required: Iterable[str] = ()) -> list[Path]:
    """Return the file that `source` of the schema names, or the files in that folder.

    Hidden files, the .dvc files of `dvc add` and the ~ files of open Excel files are
    left out.

    Args:
        required: Names of files that must exist, in addition to at least one other
            file.

    Raises:
        UserError: There is no file, it cannot be opened, or a required one is missing.
    """
    path = Path(source)
    where = "(source in data/schema.yaml)"
    try:
        paths = path.glob("[!.~]*") if path.is_dir() else [path]
        files = sorted(file for file in paths if file.suffix != ".dvc")
        for file in files:
            if file.is_dir():
                raise UserError(
                    f"{file}: expected a file, got a folder {where}. Export all files"
                    f" to one: {_export_command(path)}",
                )
            open_bytes(file).close()
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror} {where}") from None
    if not files:
        raise UserError(f"{path}: expected files, got an empty folder {where}")
    names = {file.name for file in files}
    missing = sorted({*required} - names)
    if not missing and names == {*required}:
        missing = ["another file, with training rows"]
    if missing:
        raise UserError(
            f"{path}: test_files in data/schema.yaml needs {format_list(missing)}, but"
            f" the folder has only {format_list(sorted(names))}",
        )
    return files


def _export_command(folder: Path) -> str:
    """Return the command that writes the files in the folders of a folder to one."""
    reader = f'read_csv("{folder}/**/*.csv", all_varchar=True'
    if any(folder.rglob("*.parquet")):
        reader = f'read_parquet("{folder}/**/*.parquet"'
    program = (
        f"import duckdb; duckdb.{reader}, hive_partitioning=True)"
        '.write_parquet("table.parquet")'
    )
    return f"python -c {shlex.quote(program)}"


def check_columns(
    file: Path,
    schema: Schema,
    required: Iterable[str],
    *,
    allow_others: bool = False,
) -> list[str]:
    """Check the columns of a file, and return the names of those that are declared.

    Columns that have a type that no kind can hold are left out. A warning names the
    lines that the schema skips, and another delimiter or encoding.

    Args:
        required: Names that must occur.
        allow_others: Whether columns that the schema does not declare may occur.

    Raises:
        UserError: A column is missing, not declared, repeated or of a type that its
            kind cannot have, or the file cannot be read.
    """
    fitted = fit_dialect(file, schema)
    if fitted != schema:
        print(
            f"warn: {file.name}: read as {fitted.encoding} with {fitted.delimiter!r}",
            file=sys.stderr,
        )
    types = column_types(file, fitted)
    counts = Counter(types.names)
    declared = {*schema.columns, *schema.ignore}
    unknown = [name for name in counts if name not in declared | ADDED_COLUMNS]
    problems = {
        "missing": [name for name in required if name not in counts],
        UNKNOWN: [] if allow_others else unknown,
        "more than once": sorted(name for name in declared if counts[name] > 1),
    }
    if any(problems.values()):
        raise UserError(_describe_problems(file, fitted, types.names, problems))
    for field in types:
        if field.name in schema.columns:
            kind = schema.columns[field.name].kind
            kinds = possible_kinds(field.type)
            if kind not in kinds:
                advice = "Leave it out of columns"
                if kinds:
                    advice = f"Set its kind to {' or '.join(kinds)}"
                raise UserError(
                    f"{file}, column {field.name}: expected {kind}, got"
                    f" {truncate(str(field.type))}. {advice} in the schema.",
                )
    if schema.skip_lines and has_header(file):
        _warn_about_skipped_lines(file, fitted)
    return [name for name in readable_names(types) if name in declared]


def _describe_problems(
    file: Path,
    schema: Schema,
    names: list[str],
    problems: dict[str, list[str]],
) -> str:
    """Describe how the columns of a file differ from those that the schema declares."""
    where = f"{file}: The columns are"
    absent = schema.columns.keys() - {*names}
    hints = [suggestion(name, absent) for name in sorted(problems[UNKNOWN])[:3]]
    if has_header(file):
        line, header = csv.read_header(file, schema)
        where = f"{csv.describe_place(file, line)}: The header is"
        if schema.columns.keys().isdisjoint(header):
            hints = [
                " Is the header missing, or does skip_lines of the schema not fit this"
                " file?",
            ]
    texts = [
        f"{problem}: {format_list(names)}"
        for problem, names in problems.items()
        if names
    ]
    problem = "; ".join(texts)
    return f"{where} not as declared in the schema. {problem}.{''.join(hints)}"


def _warn_about_skipped_lines(file: Path, dialect: Dialect) -> None:
    lines = csv.skipped_lines(file, dialect)
    texts = [f"{line} ({quote(' '.join(cells))})" for line, cells in lines.items()]
    if texts:
        print(
            f"warn: {file}: skip_lines leaves out {format_list(texts)}",
            file=sys.stderr,
        )


def column_types(file: Path, dialect: Dialect) -> pa.Schema:
    """Return the names and types of all columns of a file; the cells of a CSV are text.

    Args:
        dialect: Result of `fit_dialect` if the file is a CSV.

    Raises:
        UserError: The file cannot be read.
    """
    if is_parquet(file):
        with parquet_errors(file):
            return pq.read_schema(file)
    if is_json(file):
        cells_by_name: dict[str, str] = {}
        for _, cells in islice(read_objects(file), MAX_ROWS_FOR_NAMES):
            cells_by_name |= cells
        names = [*cells_by_name]
    else:
        _, names = csv.read_header(file, dialect)
    return pa.schema([(name, "string") for name in names])


def readable_names(types: pa.Schema) -> list[str]:
    """Return the names of the columns that some kind can hold."""
    return [field.name for field in types if possible_kinds(field.type)]


def read_rows(
    file: Path,
    dialect: Dialect,
    names: list[str],
    *,
    allow_ragged: bool = False,
) -> Iterator[csv.RawRows]:
    """Yield the columns `names` of a file, some rows at a time; a missing one is empty.

    Args:
        allow_ragged: Whether a row of a CSV may have more or fewer cells than the
            header.

    Raises:
        UserError: The file is broken; the message names the line if it is not Parquet.
    """
    if is_json(file):
        yield from read_json_lines(file, dialect, names)
    elif is_parquet(file):
        yield from _read_parquet(file, names)
    else:
        fitted = fit_dialect(file, dialect)
        yield from csv.read_csv(file, fitted, names, allow_ragged=allow_ragged)


def _read_parquet(file: Path, names: list[str]) -> Iterator[csv.RawRows]:
    first = 0
    with parquet_errors(file), pq.ParquetFile(file) as parquet:
        for batch in parquet.iter_batches(csv.ROWS_PER_BATCH, columns=names):
            empty = pa.repeat("", len(batch))
            columns = dict.fromkeys(names, empty)
            columns |= zip(batch.schema.names, batch.columns, strict=True)
            yield csv.RawRows(file, first, pa.table(columns))
            first += len(batch)


@contextmanager
def parquet_errors(file: Path) -> Iterator[None]:
    """Raise `UserError` for an error in the block, which reads a Parquet file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read as a Parquet file: {error}") from None


def read_json_lines(
    file: Path,
    dialect: Dialect,
    names: list[str],
) -> Iterator[csv.RawRows]:
    """Yield the columns `names` of a file as text; a missing or null value is empty.

    Numbers get the decimal point of their column, if `dialect` is a schema.

    Raises:
        UserError: The file is not valid; the message names the line.
    """
    first = 0
    objects = read_objects(file)
    while rows := [row for _, row in islice(objects, csv.ROWS_PER_BATCH)]:
        columns = {name: [row.get(name, "") for row in rows] for name in names}
        csv.set_decimal_points(columns, dialect)
        yield csv.RawRows(file, first, pa.table(columns))
        first += len(rows)


def read_objects(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line of each row, and the row's cells by column.

    Raises:
        UserError: The file cannot be read, or a line is not valid; the message names
            the line.
    """
    read_start(file)  # it recognises other formats
    line = 0
    try:
        with open_bytes(file) as content:
            for line, text in enumerate(content, start=1):
                if not text.isspace():
                    yield line, _parse_object(text)
    except ValueError as error:  # of the line: bytes are read without an encoding
        raise UserError(f"{file}, line {line}: {error}") from None
    except CSV_ERRORS as error:
        raise UserError(describe_error(file, Dialect(), line + 1, error)) from None


def _parse_object(text: bytes) -> dict[str, str]:
    """Parse a line to its cells; numbers are of the type `Number`.

    Raises:
        ValueError: The line is not JSON or not an object, a key is repeated, or a value
            is not one cell.
    """
    try:
        # Numbers stay as they are written: 1.50 may be a code.
        row = json.loads(
            text.rstrip(),
            parse_float=Number,
            parse_int=Number,
            parse_constant=Number,
            object_pairs_hook=unique_keys,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{EXPECTED_OBJECT}, got no JSON at character {error.colno}: {error.msg}",
        ) from None
    if not isinstance(row, dict):
        raise ValueError(f"{EXPECTED_OBJECT}, got {quote(text.decode().strip())}")
    may_have_surrogates = b"\\u" in text or b"\xed" in text  # as an escape, or as bytes
    texts = {None: "", True: "true", False: "false"}
    for name, value in row.items():
        if isinstance(value, list | dict):
            raise ValueError(
                f"column {name}: expected one value, got a list or an object",
            )
        row[name] = texts.get(value, value)
        if may_have_surrogates and LONE_SURROGATE.search(name + row[name]):
            raise ValueError(
                f"column {name}: expected text in UTF-8, got {quote(row[name])}",
            )
    return row


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; of equal keys, `json` itself would take the last.

    Raises:
        ValueError: A key occurs more than once.
    """
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("an object has the same key more than once")
    return content


def row_locator(files: list[Path], dialect: Dialect, name: str = "") -> Locate:
    """Return a function that describes where a row is: the line in which it begins.

    Its argument is the number of the row, counted from 0 over all files. It has to be
    called for rows in ascending order, since it reads the files once. A row of a sheet
    is described by the number that Excel shows, and a row of a Parquet file by its
    number in the file, from 0.

    Args:
        name: Name of the file in messages, if there is one file and its path means
            nothing.
    """
    places = enumerate(
        (file, place) for file in files for place in row_places(file, dialect)
    )

    @cache
    def locate(number: int) -> str:
        file, place = next(place for row, place in places if row == number)
        return csv.describe_place(file, place, name)

    return locate


def row_places(file: Path, dialect: Dialect) -> Iterable[int]:
    """Return the line in which each row begins, or its number in a Parquet file."""
    if is_parquet(file):
        return range(pq.read_metadata(file).num_rows)
    if is_json(file):
        return (line for line, _ in read_objects(file))
    records = csv.read_records(file, fit_dialect(file, dialect))
    return (line for line, _ in islice(records, 1, None))
