"""The rows of files, read and checked cell by cell; what fails, and what is set aside for it."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from keras_tabular.config.schema import Column, Schema
from keras_tabular.core.errors import UserError, quote
from keras_tabular.table.cells import as_texts, describe_expected, is_written, parse
from keras_tabular.table.checks import Checks, check_of_cell, failed_cells
from keras_tabular.table.csv import MAX_MISTAKES_SHOWN, RawRows
from keras_tabular.table.source import is_parquet, row_locator

REJECTED = ("rejected_line", "rejected_reason")


class Failure(NamedTuple):
    """A cell that fails a check: its row counted from the first of its part, and why."""

    row: int
    column: str
    check: str
    found: str | None  # None where a whole row fails
    expected: str
    policy: str = "error"

    def __str__(self) -> str:
        value = "" if self.found is None else f"found {quote(self.found)}; "
        return f"{self.column}: {value}expected {self.expected}"


class CheckedRows(NamedTuple):
    """Rows of a file, parsed and checked.

    Attributes:
        texts: All columns that were read, as text.
        features: The columns that were checked, as values; an invalid one is null.
        failures: The checks that failed, in the order of the rows.
    """

    texts: pa.Table
    features: pa.Table
    failures: list[Failure]


def text_columns(raw: RawRows, columns: Mapping[str, Column]) -> pa.Table:
    """Return all columns of some rows as the text that a CSV would hold.

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
        try:
            texts[name] = as_texts(cells, columns[name].kind if name in columns else None)
        except pa.ArrowInvalid as error:
            raise UserError(
                f"{raw.file}: column {name}: found {cells.type} which is no text: {error}; write "
                "it in UTF-8, or leave it out of columns in data/schema.yaml"
            ) from None
    return pa.table(texts)


def parse_rows(
    raw: RawRows, texts: pa.Table, columns: Mapping[str, Column], max_failures: int | None = None
) -> tuple[pa.Table, list[Failure]]:
    """Return the values of `columns`, null where a cell is invalid, and the invalid cells.

    Args:
        texts: Result of `text_columns`.
        max_failures: Number of invalid cells of a column to return.
    """
    values, failures = {}, []
    for name, column in columns.items():
        if not is_written(raw.cells[name].type, column.kind):  # numbers and dates of Parquet
            column = column.model_copy(update={"format": None})
        cells = texts[name].combine_chunks()
        values[name], is_invalid = parse(cells, column)
        if pc.any(is_invalid).as_py():
            rows = pc.indices_nonzero(is_invalid)[:max_failures]
            failures += [
                Failure(row, name, "kind", cell, describe_expected(column))
                for row, cell in zip(rows.to_pylist(), cells.take(rows).to_pylist(), strict=True)
            ]
    return pa.table(values), failures


def parse_valid_rows(raw: RawRows, schema: Schema) -> pa.Table:
    """Return the declared columns of some rows as values, in declared order.

    Raises:
        UserError: A cell is invalid; the message names lines and columns.
    """
    texts = text_columns(raw, schema.columns)
    values, failures = parse_rows(raw, texts, schema.columns, MAX_MISTAKES_SHOWN)
    raise_failures(failures, raw.first, row_locator([raw.file], schema))
    return values


def check_rows(raw: RawRows, columns: Mapping[str, Column], checks: Checks) -> CheckedRows:
    """Parse rows and check each cell of `columns` for kind, missing, range and values.

    Args:
        checks: See `declared_checks`.

    Raises:
        UserError: A column of a Parquet file is not text in UTF-8.
    """
    texts = text_columns(raw, columns)
    features, failures = parse_rows(raw, texts, columns)
    invalid = {(failure.column, failure.row) for failure in failures}  # null, and not missing
    for name, check, rows in failed_cells(features, columns):
        declared = check_of_cell(checks, name, check)
        cells = texts[name].take(pa.array(rows)).to_pylist()
        failures += [
            Failure(row, name, check, cell, declared.expected, declared.policy)
            for row, cell in zip(rows.tolist(), cells, strict=True)
            if (name, row) not in invalid
        ]
    # Nobody knows which cell of a ragged row belongs to which column.
    failures = [failure for failure in failures if failure.row not in raw.ragged]
    failures += [Failure(row, "row", "cells", *problem) for row, problem in raw.ragged.items()]
    return CheckedRows(texts, features, sorted(failures, key=lambda failure: failure.row))


def raise_failures(
    failures: Iterable[Failure], first: int, locate: Callable[[int], str], advice: str = ""
) -> None:
    """Raise `UserError` if there is a failure: where the first few are, and what was expected.

    Args:
        first: Number of the first row of the part in its file.
        locate: Says where a row of the file stands, see `row_locator`.
        advice: Another line of the message.
    """
    lines = [
        f"{locate(first + failure.row)}, column {failure}"
        for failure in sorted(failures, key=lambda failure: failure.row)[:MAX_MISTAKES_SHOWN]
    ]
    if len(lines) == MAX_MISTAKES_SHOWN:
        lines.append("There may be more.")
    if lines:
        raise UserError("\n".join([*lines, *filter(None, [advice])]))


def rejected_schema(names: Iterable[str]) -> pa.Schema:
    """Return the columns of rows that were set aside: all of them as texts, then `REJECTED`."""
    return pa.schema([(name, pa.string()) for name in [*names, *REJECTED]])


def rejected_rows(
    texts: pa.Table, failures: Iterable[Failure], lines: Mapping[int, str]
) -> pa.Table:
    """Return the rows of a part that fail, ascending, each with its place and every reason.

    Args:
        texts: The part.
        failures: Failures of its rows.
        lines: File and line of each row that fails, by its number in the part.
    """
    reasons: dict[int, list[str]] = {}
    for failure in failures:
        reasons.setdefault(failure.row, []).append(str(failure))
    rows = sorted(reasons)
    failed = texts.take(pa.array(rows, pa.int64()))
    columns = [pc.fill_null(column.cast(pa.string()), "") for column in failed.columns]
    columns.append(pa.array([lines[row] for row in rows], pa.string()))
    columns.append(pa.array(["; ".join(reasons[row]) for row in rows], pa.string()))
    return pa.table(columns, schema=rejected_schema(texts.column_names))


def dropped_failures(part: pa.Table, first: int, checks: Checks) -> list[Failure]:
    """Return the failures of a part of a table whose policy is `drop`.

    Args:
        first: Number of the first row of the part in the table.
    """
    failures = []
    for (column, name), check in checks.items():
        start, end = np.searchsorted(check.rows, [first, first + len(part)])
        if check.policy != "drop" or start == end:
            continue
        rows = check.rows[start:end] - first
        cells = pa.nulls(len(rows), pa.string())
        if name != "duplicate_rows" and column in part.column_names:
            cells = pc.fill_null(part[column].take(pa.array(rows)).cast(pa.string()), "")
        failures += [
            Failure(row, column, name, cell, check.expected)
            for row, cell in zip(rows.tolist(), cells.to_pylist(), strict=True)
        ]
    return failures
