"""The rows of files, read and checked cell by cell; what fails, and what is set aside for it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.config.schema import Column, Dialect, Schema
from tabular.core.errors import UserError, quoted
from tabular.table import csv
from tabular.table.cells import ARROW_TYPES, direct_kinds, expected, is_direct, parse
from tabular.table.checks import Checks, failed_cells, missing_check
from tabular.table.csv_lines import MISTAKES_SHOWN
from tabular.table.source import Piece, row_locator, schema_for_file, texts

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
        value = "" if self.found is None else f"found {quoted(self.found)}; "
        return f"{self.column}: {value}expected {self.expected}"


class Batch(NamedTuple):
    """Some rows: columns as texts, those that the model reads as values, and what is wrong.

    `texts` has all columns where a row fails a check, else those that were asked for.
    """

    texts: pa.Table
    features: pa.Table
    failures: list[Failure]


def parse_texts(
    texts: pa.Table, columns: Mapping[str, Column], most: int | None = None
) -> tuple[pa.Table, list[Failure]]:
    """The values of columns, null where a cell is wrong, and the cells that are wrong.

    Args:
        most: failures of a column that are told.
    """
    values, failures = {}, []
    for name, column in columns.items():
        cells = texts[name].combine_chunks()
        values[name], wrong = parse(cells, column)
        if pc.any(wrong).as_py():
            rows = pc.indices_nonzero(wrong)[:most]
            failures += [
                Failure(row, name, "kind", cell, expected(column))
                for row, cell in zip(rows.to_pylist(), cells.take(rows).to_pylist(), strict=True)
            ]
    return pa.table(values), failures


def read_piece(piece: Piece, schema: Schema) -> pa.Table:
    """The rows of a piece as a table of the declared columns, in declared order.

    What a cell means is in `cells`.

    Raises:
        UserError: the file cannot be read as declared; the message names lines and columns.
    """
    schema = schema_for_file(piece.file, schema)
    if found := values(piece, schema, schema.columns):
        return found
    tables, first = [], piece.first
    for part in texts(piece, schema, list(schema.columns)):
        table, wrong = parse_texts(part, schema.columns, MISTAKES_SHOWN)
        refuse(wrong, first, row_locator([piece.file], schema))
        tables.append(table)
        first += len(part)
    return pa.concat_tables(tables)


def values(
    piece: Piece, dialect: Dialect, columns: Mapping[str, Column], others: Sequence[str] = ()
) -> pa.Table | None:
    """Some columns of a piece with their values, and `others` as texts, the fast way.

    None where a cell is wrong, or has to be read as a text first, as all of Parquet.
    """
    if piece.cut is None or isinstance(piece.cut.content, pa.Table):
        return None

    def types(window: bytes) -> dict[str, pa.DataType]:
        kinds = direct_kinds(window)
        return dict.fromkeys(others, pa.string()) | {
            name: ARROW_TYPES[column.kind] if is_direct(column, kinds) else pa.string()
            for name, column in columns.items()
        }

    tables = []
    try:
        for part in csv.read(piece.file, dialect, piece.header, piece.cut, types):
            found = {name: part[name] for name in others}
            for name, column in columns.items():
                cells = part[name].combine_chunks()
                if pa.types.is_string(cells.type):
                    found[name], wrong = parse(cells, column)
                else:
                    found[name], wrong = cells, pc.invert(pc.is_finite(cells))
                if pc.any(wrong).as_py():
                    return None
            tables.append(pa.table(found))
    except pa.ArrowInvalid:
        return None
    return pa.concat_tables(tables)


def check_piece(
    piece: Piece, schema: Schema, names: list[str], checks: Checks, kept: Sequence[str] = ()
) -> Batch:
    """The rows of a piece, each cell checked for kind, missing, range and values.

    Args:
        names: of the file's columns to read.
        checks: see `declared_checks`.
        kept: names of the columns that are always wanted as texts.

    Raises:
        UserError: the file is broken; the message names lines.
    """
    schema = schema_for_file(piece.file, schema)
    ragged: dict[int, list[str]] = {}
    if piece.cut and piece.cut.ragged is not None:
        ragged = piece.cut.ragged  # filled by what reads the rows
    found = values(piece, schema, schema.features, kept)
    if found and not ragged and not any(failed_cells(found, schema.features)):
        return Batch(found.select(kept), found.select(list(schema.features)), [])
    batch = check_batch(pa.concat_tables(texts(piece, schema, names)), schema, checks)
    # Of such a row nobody knows which cell belongs to which column.
    failures = [failure for failure in batch.failures if failure.row not in ragged]
    for row, cells in ragged.items():
        needed = str(len(piece.header))
        if beyond := ", ".join(map(repr, cells[len(piece.header) :])):
            needed += f"; after these it has {beyond}"  # which no column of the rejects holds
        failures.append(Failure(row, "row", "cells", f"{len(cells)} cells", needed))
    return batch._replace(failures=sorted(failures, key=lambda failure: failure.row))


def check_batch(texts: pa.Table, schema: Schema, checks: Checks) -> Batch:
    """Parse and check the columns that the model reads; a wrong cell is null in `features`.

    Args:
        checks: see `declared_checks`.
    """
    features, wrong = parse_texts(texts, schema.features)
    unparsed = {(failure.column, failure.row) for failure in wrong}  # null, and said already
    failures = [
        failure
        for failure in cell_failures(features, schema.features, schema, checks, texts)
        if (failure.column, failure.row) not in unparsed
    ]
    return Batch(texts, features, sorted([*wrong, *failures], key=lambda failure: failure.row))


def cell_failures(
    table: pa.Table, columns: Mapping[str, Column], schema: Schema, checks: Checks, texts: pa.Table
) -> Iterator[Failure]:
    """The cells of some columns that fail a declared check.

    Args:
        texts: of which a message shows the cell: the same rows.
    """
    for name, check, rows in failed_cells(table, columns):
        declared = checks[name, missing_check(name, schema) if check == "missing" else check]
        cells = pc.fill_null(texts[name].take(pa.array(rows)).cast(pa.string()), "").to_pylist()
        for row, cell in zip(rows.tolist(), cells, strict=True):
            yield Failure(row, name, check, cell, declared.expected, declared.policy)


def refuse(failures: Iterable[Failure], first: int, line: Callable[[int], str]) -> None:
    """Raises `UserError` where there is a failure: the lines of the first few.

    Args:
        first: the number of the first row of the part in its file.
        line: see `row_locator`.
    """
    if named := mistakes(sorted(failures), first, line):
        more = ["There may be more."] if len(named) == MISTAKES_SHOWN else []
        raise UserError("\n".join([*named, *more]))


def mistakes(failures: Sequence[Failure], first: int, line: Callable[[int], str]) -> list[str]:
    """Line, column and reason of the first few failures, whose rows ascend; see `refuse`."""
    return [f"{line(first + f.row)}, column {f}" for f in failures[:MISTAKES_SHOWN]]


def rejected_schema(names: Iterable[str]) -> pa.Schema:
    """The columns of rows that were set aside: all of them as texts, then `REJECTED`."""
    return pa.schema([(name, pa.string()) for name in [*names, *REJECTED]])


def rejected_rows(
    texts: pa.Table, failures: Iterable[Failure], lines: Mapping[int, str]
) -> pa.Table:
    """The rows of a part that fail, ascending, each with where it stood and every reason.

    Args:
        texts: the part.
        failures: of its rows.
        lines: file and line of each row that fails, by its number in the part.
    """
    reasons: dict[int, list[str]] = {}
    for failure in failures:
        reasons.setdefault(failure.row, []).append(str(failure))
    rows = sorted(reasons)
    failed = texts.take(pa.array(rows, pa.int64()))
    columns = [pc.fill_null(column.cast(pa.string()), "") for column in failed.columns]
    added = [[lines[row] for row in rows], ["; ".join(reasons[row]) for row in rows]]
    return pa.table(
        [*columns, *(pa.array(values, pa.string()) for values in added)],
        schema=rejected_schema(texts.column_names),
    )


class Drop(NamedTuple):
    """The rows of a part to set aside: where each one stood, by its number in it, and why.

    `failed`: for each check of a column what is expected and the rows that fail it, ascending.
    """

    number: int
    path: Path
    lines: dict[int, str]
    failed: dict[tuple[str, str], tuple[str, np.ndarray]]


def drops(paths: list[Path], checks: Checks, lines: dict[int, str]) -> Iterator[Drop]:
    """What is to be set aside of each part of which a row fails a check with the policy `drop`."""
    first = 0
    for number, path in enumerate(paths):
        length = pq.read_metadata(path).num_rows
        failed = {}
        for key, check in checks.items():
            start, end = np.searchsorted(check.rows, [first, first + length])
            if check.policy == "drop" and start < end:
                failed[key] = check.expected, check.rows[start:end] - first
        if failed:
            rows = np.unique(np.concatenate([rows for _, rows in failed.values()])).tolist()
            yield Drop(number, path, {row: lines[first + row] for row in rows}, failed)
        first += length


def dropped_cells(
    part: pa.Table, failed: dict[tuple[str, str], tuple[str, np.ndarray]]
) -> list[Failure]:
    """The cells of a part that fail, see `Drop`."""
    failures = []
    for (column, name), (needed, rows) in failed.items():
        cells = pa.nulls(len(rows), pa.string())
        if name != "duplicate_rows":
            cells = pc.fill_null(part[column].take(pa.array(rows)).cast(pa.string()), "")
        failures += [
            Failure(row, column, name, cell, needed)
            for row, cell in zip(rows.tolist(), cells.to_pylist(), strict=True)
        ]
    return failures
