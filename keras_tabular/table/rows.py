"""The rows of files, parsed and checked cell by cell, and the report of failures."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from keras_tabular.config.schema import SCHEMA, Columns, Schema
from keras_tabular.core.errors import UserError, join_mistakes, quote
from keras_tabular.core.files import link
from keras_tabular.core.parallel import Result, ordered_map
from keras_tabular.table import parquet, source
from keras_tabular.table.cells import (
    as_texts,
    can_have_format,
    describe_expected,
    parse,
)
from keras_tabular.table.checks import Check, Checks, check_of_cell, failed_cells
from keras_tabular.table.csv import RawRows, describe_place
from keras_tabular.table.parquet import FILE, FILE_SUBSET, LINE, is_parquet
from keras_tabular.table.source import Locate, read_rows

REJECTED_COLUMNS = ("rejected_line", "rejected_reason")


class Failure(NamedTuple):
    """A cell or a row that fails a check.

    Attributes:
        row: Number of the row in its part.
        column: Name of the column; "row" if the row has too many or too few cells.
        check: Name of the check.
        expected: What the check expects.
        got: What was found instead; empty if the check is about the whole row.
        policy: What follows: error, drop or warn.
    """

    row: int
    column: str
    check: str
    expected: str
    got: str
    policy: str = "error"

    def __str__(self) -> str:
        got = f", got {self.got}" if self.got else ""
        return f"{self.column}: expected {self.expected}{got}"


class CheckedRows(NamedTuple):
    """Rows of a file, parsed and checked.

    Attributes:
        texts: All columns that were read, as text.
        features: The columns that were checked, as values; an invalid value is null.
        failures: The failed checks, in the order of the rows.
    """

    texts: pa.Table
    features: pa.Table
    failures: list[Failure]


def check_rows(raw: RawRows, columns: Columns, checks: Checks) -> CheckedRows:
    """Parse rows and check each cell of `columns` for kind, missing, range and values.

    Args:
        checks: Result of `declared_checks`.

    Raises:
        UserError: A column of a Parquet file is not text in UTF-8.
    """
    texts = text_columns(raw, columns)
    features, failures = parse_rows(raw, texts, columns)
    # An invalid cell is null, but it is not missing.
    invalid = {(failure.column, failure.row) for failure in failures}
    for name, check_name, rows in failed_cells(features, columns):
        check = check_of_cell(checks, name, check_name)
        failed = cell_failures(name, check_name, check, rows, texts[name])
        failures += [
            failure for failure in failed if (name, failure.row) not in invalid
        ]
    # Nobody knows to which columns the cells of a ragged row belong.
    failures = [failure for failure in failures if failure.row not in raw.ragged]
    for row, (expected, got) in raw.ragged.items():
        failures.append(Failure(row, "row", "cells", expected, got))
    failures.sort(key=lambda failure: failure.row)
    return CheckedRows(texts, features, failures)


def map_checked_rows(
    function: Callable[[CheckedRows], Result],
    rows: Iterable[RawRows],
    columns: Columns,
    checks: Checks,
) -> Iterator[Result]:
    """Check the rows of a file, and yield what a function makes of them, in order.

    Args:
        function: Takes some rows; it is called for several batches at the same time.
        rows: Result of `read_rows`.
        columns: The columns to check.
        checks: Result of `declared_checks`.
    """
    return ordered_map(lambda raw: function(check_rows(raw, columns, checks)), rows)


def text_columns(raw: RawRows, columns: Columns) -> pa.Table:
    """Return all columns of some rows as the texts that a CSV would have.

    Args:
        columns: The columns whose kind is known.

    Raises:
        UserError: A column of a Parquet file is not text in UTF-8.
    """
    if not is_parquet(raw.file):
        return raw.cells
    texts = {}
    for name in raw.cells.column_names:
        cells = raw.cells[name].combine_chunks()
        kind = columns[name].kind if name in columns else None
        try:
            texts[name] = as_texts(cells, kind)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{raw.file}, column {name}: expected text in UTF-8, got {cells.type}"
                f" that is not: {error}",
            ) from None
    return pa.table(texts)


def parse_rows(
    raw: RawRows,
    texts: pa.Table,
    columns: Columns,
) -> tuple[pa.Table, list[Failure]]:
    """Return the values of `columns`, null for an invalid cell, and the failures."""
    values = {}
    failures = []
    for name, column in columns.items():
        if not can_have_format(raw.cells[name].type, column.kind):
            # Numbers and dates of Parquet are not written in a format.
            column = column.model_copy(update={"format": None})
        cells = texts[name].combine_chunks()
        values[name], is_invalid = parse(cells, column)
        expected = describe_expected(column)
        if percentages := raw.percentages.get(name):
            is_stored = pa.array([row in percentages for row in range(len(cells))])
            values[name] = pc.if_else(is_stored, None, values[name])
            is_invalid = pc.and_not(is_invalid, is_stored)
            for row, percentage in percentages.items():
                got = quote(f"{cells[row]} (or {percentage}? Write a text)")
                failures.append(Failure(row, name, "kind", expected, got))
        if is_invalid.true_count:
            check = Check(expected, "error")
            rows = pc.indices_nonzero(is_invalid).to_numpy()
            failures += cell_failures(name, "kind", check, rows, cells)
    return pa.table(values), failures


def cell_failures(
    column: str,
    check_name: str,
    check: Check,
    rows: np.ndarray,
    cells: pa.Array | pa.ChunkedArray,
) -> list[Failure]:
    """Return the failures of a check in some rows of a column.

    Args:
        rows: Numbers of the rows that fail, int64.
        cells: All cells of the column.
    """
    failed = cells.take(pa.array(rows)).cast("string")
    texts = pc.fill_null(failed, "").to_pylist()
    return [
        Failure(row, column, check_name, check.expected, quote(text), check.policy)
        for row, text in zip(rows.tolist(), texts, strict=True)
    ]


def parse_files(files: list[Path], schema: Schema) -> Iterator[pa.Table]:
    """Yield the declared columns of all files as values, some rows at a time.

    Of several files, some may lack a column that is nullable: it has missing values
    there. If the schema names test files, the column `FILE_SUBSET` says which rows are
    theirs. Then come `FILE`, `LINE`, and as texts the columns that the schema ignores
    without a description, if all files have them.

    Raises:
        UserError: A file cannot be read, a cell is invalid, or the columns are not as
            declared; then, the message is about all files.
    """
    shared_names = _check_files(files, schema)
    ignored = [name for name in schema.ignore if name not in schema.columns]
    identifiers = [name for name in ignored if name in shared_names]
    paths = [str(file) for file in files]

    def parse_batch(rows_and_lines: tuple[RawRows, np.ndarray]) -> pa.Table:
        raw, lines = rows_and_lines
        texts = text_columns(raw, schema.columns)
        table, failures = parse_rows(raw, texts, schema.columns)
        if failures:
            cell = failures[0].got
            advice = (
                f"Correct the file, or add replace: {{{cell}: NEW}} or missing_values:"
                f" [{cell}] to the column in {SCHEMA}."
            )
            locate = source.row_locator([raw.file], schema)
            raise_failures(failures, raw.first_row, locate, advice)
        if schema.test_files:
            subset = "test" if raw.file.name in schema.test_files else "train"
            table = table.append_column(FILE_SUBSET, pa.repeat(subset, len(table)))
        numbers = np.full(len(table), files.index(raw.file), np.int32)
        file_column = pa.DictionaryArray.from_arrays(numbers, paths)
        table = table.append_column(FILE, file_column)
        table = table.append_column(LINE, pa.array(lines))
        for name in identifiers:
            table = table.append_column(name, texts[name])
        return table

    batches = _read_with_lines(files, schema, [*schema.columns, *identifiers])
    yield from ordered_map(parse_batch, batches)


def _check_files(files: list[Path], schema: Schema) -> set[str]:
    """Check the columns of all files, and return the declared ones that all have."""
    required = [
        name
        for name, column in schema.columns.items()
        if len(files) == 1 or not column.nullable
    ]
    shared_names = {*schema.columns, *schema.ignore}
    mistakes = []
    for file in files:
        try:
            shared_names &= {*source.check_columns(file, schema, required)}
        except UserError as error:
            mistakes.append(str(error))
    if mistakes:
        raise UserError(join_mistakes(mistakes))
    return shared_names


def _read_with_lines(
    files: list[Path],
    schema: Schema,
    names: list[str],
) -> Iterator[tuple[RawRows, np.ndarray]]:
    """Yield the rows of files, some at a time, and the line of each row, int64."""
    for file in files:
        places = iter(source.row_places(file, schema))
        for raw in read_rows(file, schema, names):
            yield raw, np.fromiter(islice(places, len(raw.cells)), np.int64)


def describe_origins(paths: list[Path], rows: list[int]) -> dict[int, str]:
    """Return the file and the line of some rows of an ingested table, by their number.

    Args:
        paths: The Parquet files of the table.
    """
    from pyarrow.dataset import dataset  # takes a twentieth of a second

    parts = dataset([str(path) for path in paths])
    origins = parts.take(rows, columns=[FILE, LINE]).to_pylist()
    return {
        row: describe_place(Path(origin[FILE]), origin[LINE])
        for row, origin in zip(rows, origins, strict=True)
    }


def raise_failures(
    failures: list[Failure],
    first_row: int,
    locate: Locate,
    advice: str = "",
) -> None:
    """Raise `UserError` if there is a failure; the message shows the first few.

    Args:
        first_row: Number of the first row of the part in its file.
        locate: Describes where a row of the file is, see `row_locator`.
        advice: Another line of the message.
    """
    if failures:
        ordered = sorted(failures, key=lambda failure: failure.row)
        message = join_mistakes(
            f"{locate(first_row + f.row)}, column {f}" for f in ordered
        )
        raise UserError(f"{message}\n{advice}".rstrip())


def rejected_schema(names: Iterable[str]) -> pa.Schema:
    """Return the columns of rejected rows: all as texts, then `REJECTED_COLUMNS`."""
    all_names = [*names, *REJECTED_COLUMNS]
    return pa.schema([(name, "string") for name in all_names])


def rejected_rows(
    texts: pa.Table,
    failures: list[Failure],
    places: dict[int, str],
) -> pa.Table:
    """Return the rows of a part that fail, each with its line and all reasons.

    Args:
        texts: The part.
        failures: Failures of its rows.
        places: File and line of each row that fails, by its number in the part.
    """
    reasons = defaultdict(list)
    for failure in failures:
        reasons[failure.row].append(str(failure))
    rows = sorted(reasons)
    rejected = texts.take(pa.array(rows, "int64"))
    columns = [pc.fill_null(column.cast("string"), "") for column in rejected.columns]
    columns += [
        [places[row] for row in rows],
        ["; ".join(reasons[row]) for row in rows],
    ]
    return pa.table(columns, schema=rejected_schema(texts.column_names))


def dropped_failures(part: pa.Table, first_row: int, checks: Checks) -> list[Failure]:
    """Return the failures in a part of a table whose policy is `drop`.

    Args:
        first_row: Number of the first row of the part in the table.
    """
    failures = []
    for (column, name), check in checks.items():
        if check.policy != "drop":
            continue
        start, end = np.searchsorted(check.rows, [first_row, first_row + len(part)])
        rows = check.rows[start:end] - first_row
        if name != "duplicate_rows" and column in part.column_names:
            failures += cell_failures(column, name, check, rows, part[column])
        else:
            failures += [
                Failure(row, column, name, check.expected, "") for row in rows.tolist()
            ]
    return failures


def set_aside(
    paths: list[Path],
    checks: Checks,
    places: dict[int, str],
    validated: Path,
    rejected: Path,
) -> None:
    """Write the rows that a check with the policy `drop` rejects, and the other rows.

    Args:
        paths: The parts of the table.
        places: File and line of each row that is rejected, by its number in the table.
        validated: Folder for the other rows.
        rejected: Folder for the rejected rows; it gets a part without rows if there are
            none.
    """
    validated.mkdir()
    dropped = np.empty(0, np.int64)
    for check in checks.values():
        if check.policy == "drop":
            dropped = np.union1d(dropped, check.rows)
    first_row = 0
    for number, path in enumerate(paths):
        end = first_row + pq.read_metadata(path).num_rows
        rows = dropped[(dropped >= first_row) & (dropped < end)] - first_row
        if len(rows):
            part = pq.read_table(path)
            is_valid = ~np.isin(np.arange(len(part)), rows)
            parquet.write_part(validated, number, part.filter(is_valid))
            failures = dropped_failures(part, first_row, checks)
            part_places = {row: places[first_row + row] for row in rows.tolist()}
            texts = part.drop_columns(parquet.origin_names(part.column_names))
            rejected_part = rejected_rows(texts, failures, part_places)
            parquet.write_part(rejected, number, rejected_part)
        else:
            link(path, validated / path.name)
        first_row = end
    if not len(dropped):
        texts = pq.read_schema(paths[0]).empty_table()
        texts = texts.drop_columns(parquet.origin_names(texts.column_names))
        parquet.write_part(rejected, 0, rejected_rows(texts, [], {}))
