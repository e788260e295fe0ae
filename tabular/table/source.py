"""The files of a table, CSV or Parquet: as texts, as values, and what a message calls a row."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tabular.engine import ordered_map
from tabular.errors import UserError, listed
from tabular.schema import Schema
from tabular.table import csv
from tabular.table.cells import expected, parse
from tabular.table.csv import MISTAKES_SHOWN
from tabular.table.rejects import Failure

ROWS = 32_768  # of a Parquet file at a time


def source_files(source: str, needed: Iterable[str] = ()) -> list[Path]:
    """The file that `source` of the schema names, or the files in that folder, sorted.

    Hidden files and those of `dvc add` are left out.

    Args:
        needed: names of which each has to be there, and not be all there is.

    Raises:
        UserError: there is none, or it cannot be opened.
    """
    path = Path(source)
    files = [path]
    try:
        if path.is_dir():
            files = sorted(
                f for f in path.iterdir() if not f.name.startswith(".") and f.suffix != ".dvc"
            )
        for file in files:
            csv.open_bytes(file).close()
    except OSError as error:
        where = f"{error.filename}: {error.strerror}"
        raise UserError(f"{where} (source in data/schema.yaml)") from None
    if not files:
        raise UserError(f"{path}: the folder is empty (source in data/schema.yaml)")
    names = [file.name for file in files]
    if (absent := sorted({*needed} - {*names})) or (needed and set(names) == set(needed)):
        raise UserError(
            f"{path}: found {listed(names)}; test_files in data/schema.yaml needs "
            f"{listed(absent) if absent else 'another file, to train with'}"
        )
    return files


def is_parquet(file: Path) -> bool:
    """By its name: what else is in such a file is refused when it is read."""
    return file.suffix == ".parquet"


def column_names(
    file: Path,
    schema: Schema,
    needed: Iterable[str],
    optional: Iterable[str] = (),
    *,
    extra: bool = False,
) -> list[str]:
    """The declared names among the file's columns, which are as `wrong_names` wants them.

    Raises:
        UserError: they are not, or the file cannot be read.
    """
    kinds = parquet_schema(file) if is_parquet(file) else None
    names = csv.read_header(file, schema) if kinds is None else kinds.names
    if wrong := wrong_names(names, schema, needed, optional, extra=extra):
        if kinds is not None:
            raise UserError(f"{file}: the columns are not as declared. {wrong}")
        hint = csv.header_hint(names, schema)
        raise UserError(f"{file}: line 1: the header is not as declared. {wrong}{hint}")
    known = {*schema.columns, *schema.ignore}
    names = [name for name in names if name in known]
    if kinds is not None:
        for name in names:
            kind = kinds.field(name).type
            if pa.types.is_nested(kind):
                raise UserError(f"{file}: column {name}: found {kind}; expected numbers or texts")
    return names


def wrong_names(
    names: list[str],
    schema: Schema,
    needed: Iterable[str],
    optional: Iterable[str] = (),
    *,
    extra: bool = False,
) -> str:
    """How the names of a file's columns differ from the declared ones, in words; empty if not.

    Each of `needed` has to be there once, each of `optional` at most once; others only if `extra`.
    """
    counts, known = Counter(names), {*schema.columns, *schema.ignore}
    problems = {
        "missing": [name for name in needed if name not in counts],
        "neither in columns nor in ignore": [n for n in counts if n not in known and not extra],
        "more than once": sorted(n for n in {*needed, *optional} if counts[n] > 1),
    }
    return "; ".join(f"{what}: {listed(n)}" for what, n in problems.items() if n)


def parquet_schema(file: Path) -> pa.Schema:
    """The names and types of a Parquet file.

    Raises:
        UserError: it is none, or cannot be opened.
    """
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: not a Parquet file that can be read: {error}") from None


def text_chunks(file: Path, schema: Schema, names: list[str]) -> Iterator[Callable[[], pa.Table]]:
    """What reads some rows each: the columns `names`, each cell the text that a CSV holds.

    Raises:
        UserError: the file is broken, or what reads some rows says so; of a CSV the message names
            lines.
    """
    return parquet_chunks(file, names) if is_parquet(file) else csv.text_chunks(file, schema, names)


def parquet_chunks(file: Path, names: list[str]) -> Iterator[Callable[[], pa.Table]]:
    """The columns `names` of a Parquet file as the texts that a CSV would hold, see `text_chunks`.

    Raises:
        UserError: it cannot be read.
    """

    def read(batch: pa.RecordBatch) -> pa.Table:
        return pa.table({name: as_texts(batch[name]) for name in names})

    try:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(ROWS, columns=names):
                yield partial(read, batch)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None


def as_texts(values: pa.Array) -> pa.Array:
    """Values as a CSV would write them; NaN is an empty cell."""
    texts = values.cast(pa.string())
    if pa.types.is_floating(values.type):
        numbers = values.cast(pa.float64())
        whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), 2**53))
        integers = pc.if_else(whole, numbers, 0).cast(pa.int64()).cast(pa.string())
        texts = pc.if_else(whole, integers, texts)  # and not 1e+06
        texts = pc.if_else(pc.is_nan(numbers), None, texts)
    return pc.fill_null(texts, "")


def as_written(file: Path, schema: Schema) -> Schema:
    """The schema for one file: numbers and dates of a Parquet file are in no format of texts."""
    if not is_parquet(file):
        return schema
    found = parquet_schema(file)
    kinds = dict(zip(found.names, found.types, strict=True))
    plain = {
        name: column.model_copy(update={"format": None})
        for name, column in schema.columns.items()
        if name in kinds
        and (
            pa.types.is_temporal(kinds[name])
            or (
                column.kind != "datetime"
                and (pa.types.is_primitive(kinds[name]) or pa.types.is_decimal(kinds[name]))
            )
        )
    }
    return schema.model_copy(update={"columns": schema.columns | plain})


def read_table(file: Path, schema: Schema) -> Iterator[pa.Table]:
    """The file's rows as tables of the declared columns, in declared order; memory stays bounded.

    A plain or gzip CSV, or Parquet. What a cell means is in `cells`.

    Raises:
        UserError: the file cannot be read as declared; the message names lines and columns.
    """
    column_names(file, schema, schema.columns)
    schema = as_written(file, schema)

    def values(read: Callable[[], pa.Table]) -> tuple[pa.Table, list[Failure]]:
        texts = read()
        columns, wrong = {}, []
        for name, column in schema.columns.items():
            columns[name], failed = parse(texts[name].combine_chunks(), column)
            if pc.any(failed).as_py():
                rows = pc.indices_nonzero(failed)[:MISTAKES_SHOWN].to_pylist()
                cells = texts[name].take(pa.array(rows)).to_pylist()
                wrong += [
                    Failure(row, name, "kind", cell, expected(column))
                    for row, cell in zip(rows, cells, strict=True)
                ]
        return pa.table(columns), wrong

    first = 0
    for table, wrong in ordered_map(values, text_chunks(file, schema, list(schema.columns))):
        if wrong:
            shown = sorted(wrong)[:MISTAKES_SHOWN]
            wrong = [failure._replace(row=first + failure.row) for failure in shown]
            raise UserError(_wrong_cells(file, schema, wrong))
        yield table
        first += len(table)


def _wrong_cells(file: Path, schema: Schema, wrong: list[Failure]) -> str:
    """A line of text for each cell."""
    lines = row_names([file], schema, (failure.row for failure in wrong))
    mistakes = [f"{lines[failure.row]}, column {failure}" for failure in wrong]
    return "\n".join([*mistakes, *(["There may be more."] if len(wrong) == MISTAKES_SHOWN else [])])


def row_name(files: list[Path], schema: Schema, name: str = "") -> Callable[[int], str]:
    """What says where a row (counted from 0 over all files) stands; ask in ascending order.

    Of a CSV the line in which it begins, of a Parquet file the row in it. It may raise `UserError`,
    see `csv.row_lines`.

    Args:
        files: that have been read.
        name: of the only file, for messages.
    """

    def places() -> Iterator[tuple[str, np.ndarray]]:
        for file in files:
            if is_parquet(file):
                yield f"{name or file}: row", np.arange(pq.read_metadata(file).num_rows)
            else:
                for lines in csv.row_lines(file, schema):
                    yield f"{name or file}: line", lines

    following, first = places(), 0
    where, numbers = "", np.empty(0, np.int64)

    def name_of(row: int) -> str:
        nonlocal first, where, numbers
        while row >= first + len(numbers):
            first += len(numbers)
            where, numbers = next(following)
        return f"{where} {numbers[row - first]}"

    return name_of


def row_names(files: list[Path], schema: Schema, rows: Iterable[int]) -> dict[int, str]:
    """Where each of `rows` stands, see `row_name`."""
    name_of = row_name(files, schema)
    return {row: name_of(row) for row in sorted(set(rows))}
